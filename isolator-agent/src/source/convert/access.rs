//! Roles and bindings (rbac.authorization.k8s.io/v1), which only checks look at: what is wrong in them is no error,
//! because nothing is enforced by them. Not here: what they permit taken together (`lint` in `isolator-policy`).

use super::super::node::{Data, Node};
use isolator_policy::model::{Access, Account, Binding, Operator, Permission, Requirement, Role, Selector};
use k8s_openapi::api::rbac::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Takes the roles and bindings of a document. Returns the names of those that cannot be read, each with the reason.
pub(crate) fn take(node: &Node, access: &mut Access) -> Vec<(String, String)> {
    let mut unreadable = Vec::new();
    if let Some(Data::Sequence(items)) = node.get("items").map(|items| &items.data) {
        unreadable.extend(items.iter().flat_map(|item| take(item, access)));
    }
    let text = |key| node.get(key).and_then(Node::as_str).unwrap_or_default();
    if !text("apiVersion").starts_with("rbac.authorization.k8s.io/") {
        return unreadable;
    }
    let kind = text("kind");
    let error = match kind {
        "Role" => api::Role::deserialize(node).map(|role| {
            let api::Role { metadata, rules } = role;
            access.roles.push(self::role(Some(namespace(&metadata)), metadata, rules, None));
        }),
        "ClusterRole" => api::ClusterRole::deserialize(node).map(|role| {
            let api::ClusterRole { metadata, rules, aggregation_rule } = role;
            let selectors = aggregation_rule.and_then(|rule| rule.cluster_role_selectors);
            access.roles.push(self::role(None, metadata, rules, selectors));
        }),
        "RoleBinding" => api::RoleBinding::deserialize(node).map(|binding| {
            let api::RoleBinding { metadata, role_ref, subjects } = binding;
            access.bindings.push(self::binding(Some(namespace(&metadata)), metadata, role_ref, subjects));
        }),
        "ClusterRoleBinding" => api::ClusterRoleBinding::deserialize(node).map(|binding| {
            let api::ClusterRoleBinding { metadata, role_ref, subjects } = binding;
            access.bindings.push(self::binding(None, metadata, role_ref, subjects));
        }),
        _ => return unreadable,
    };
    if let Err(error) = error {
        let metadata = node.get("metadata");
        let text = |key| metadata.and_then(|metadata| metadata.get(key)).and_then(Node::as_str);
        let name = text("name").unwrap_or("(no name)");
        let name = match kind {
            "Role" | "RoleBinding" => format!("{kind} {}/{name}", text("namespace").unwrap_or("default")),
            _ => format!("{kind} {name}"),
        };
        unreadable.push((name, error.to_string()));
    }
    unreadable
}

fn namespace(metadata: &ObjectMeta) -> String {
    metadata.namespace.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned())
}

fn role(
    namespace: Option<String>,
    metadata: ObjectMeta,
    rules: Option<Vec<api::PolicyRule>>,
    aggregates: Option<Vec<LabelSelector>>,
) -> Role {
    let set = |list: Option<Vec<String>>| list.unwrap_or_default().into_iter().collect::<BTreeSet<_>>();
    let permissions = rules.unwrap_or_default().into_iter().map(|rule| {
        let api::PolicyRule { api_groups, non_resource_urls: _, resource_names, resources, verbs } = rule;
        Permission {
            verbs: verbs.into_iter().collect(),
            groups: set(api_groups),
            resources: set(resources),
            names: set(resource_names),
        }
    });
    Role {
        namespace,
        name: metadata.name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        permissions: permissions.collect(),
        aggregates: aggregates.unwrap_or_default().into_iter().map(selector).collect(),
    }
}

fn selector(labels: LabelSelector) -> Selector {
    let LabelSelector { match_labels, match_expressions } = labels;
    let equal = match_labels
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| Requirement { key, operator: Operator::In(BTreeSet::from([value])) });
    let expressions = match_expressions.unwrap_or_default().into_iter().map(|expression| {
        let values: BTreeSet<String> = expression.values.unwrap_or_default().into_iter().collect();
        let operator = match expression.operator.as_str() {
            "NotIn" => Operator::NotIn(values),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            // The API server knows no other operator; one that it would refuse selects nothing.
            _ => Operator::In(values),
        };
        Requirement { key: expression.key, operator }
    });
    Selector::new(equal.chain(expressions))
}

fn binding(
    namespace: Option<String>,
    metadata: ObjectMeta,
    role: api::RoleRef,
    subjects: Option<Vec<api::Subject>>,
) -> Binding {
    let accounts = subjects.unwrap_or_default().into_iter().filter_map(|subject| {
        let api::Subject { api_group: _, kind, name, namespace: own } = subject;
        Some(match kind.as_str() {
            "ServiceAccount" => {
                let namespace = own.or_else(|| namespace.clone()).unwrap_or_default();
                Account::ServiceAccount { namespace, name }
            }
            "User" => Account::User(name),
            "Group" => Account::Group(name),
            _ => return None,
        })
    });
    Binding {
        accounts: accounts.collect(),
        name: metadata.name.unwrap_or_default(),
        cluster_role: role.kind == "ClusterRole",
        role: role.name,
        namespace,
    }
}
