//! Tenants that may change the namespace label that says which tenant they are. Who may `update` or `patch` a namespace
//! may change its labels; a RoleBinding in a namespace reaches that namespace, a ClusterRoleBinding all.
//! Not here: admission policies, which may forbid it all the same.

use super::warning;
use crate::cluster::snapshot::Snapshot;
use crate::model::{Access, Account, Binding, Permission, Problem, Role};
use std::collections::BTreeSet;

/// Roles that every cluster has and that never permit to change a namespace.
const HARMLESS: [&str; 3] = ["admin", "edit", "view"];
/// The role that every cluster has and that permits everything.
const EVERYTHING: &str = "cluster-admin";

pub(super) fn check(snapshot: &Snapshot, access: &Access, problems: &mut Vec<Problem>) {
    let namespaces: Vec<&str> = snapshot.namespaces().keys().map(String::as_str).collect();
    let tenants: Vec<&str> =
        namespaces.into_iter().filter(|name| snapshot.tenant_of(name).is_some()).collect();
    for binding in &access.bindings {
        let reached: Vec<&str> = match &binding.namespace {
            Some(own) => tenants.iter().copied().filter(|name| name == own).collect(),
            None => tenants.clone(),
        };
        let accounts: Vec<String> =
            binding.accounts.iter().filter_map(|account| tenant(snapshot, binding, account)).collect();
        if reached.is_empty() || accounts.is_empty() {
            continue;
        }
        let Some(permissions) = permissions(access, binding) else {
            let kind = if binding.cluster_role { "ClusterRole" } else { "Role" };
            let message = format!(
                "it gives {} the {kind} {}, which is not in the input, so what it permits is not known",
                accounts.join(", "),
                binding.role
            );
            problems.push(warning("role-unknown", binding, "roleRef", message));
            continue;
        };
        let changed: Vec<&str> = reached
            .into_iter()
            .filter(|name| permissions.iter().any(|permission| may_change(permission, name)))
            .collect();
        if !changed.is_empty() {
            let message = format!(
                "{} may change Namespace {} and with it the label {}, which says whose it is: a tenant that chooses \
                 its tenant is not isolated. Take `update` and `patch` of namespaces away",
                accounts.join(", "),
                super::listed(&changed, 3),
                snapshot.tenant_label()
            );
            problems.push(warning("tenant-can-relabel", binding, "roleRef", message));
        }
    }
}

/// The account in words, if it is a tenant's. Within a tenant's namespace everybody is taken for one who is not a service
/// account of a namespace without a tenant.
fn tenant(snapshot: &Snapshot, binding: &Binding, account: &Account) -> Option<String> {
    let of = |namespace: &str| Some(format!("{account} (tenant {})", snapshot.tenant_of(namespace)?));
    match account {
        Account::ServiceAccount { namespace, .. } => of(namespace),
        Account::User(name) => match name.strip_prefix("system:serviceaccount:") {
            Some(rest) => of(rest.split(':').next().unwrap_or_default()),
            None => binding.namespace.as_ref().map(|_| account.to_string()),
        },
        Account::Group(name) => match (name.as_str(), name.strip_prefix("system:serviceaccounts:")) {
            (_, Some(namespace)) => of(namespace),
            ("system:serviceaccounts" | "system:authenticated" | "system:unauthenticated", _) => {
                Some(account.to_string())
            }
            _ => binding.namespace.as_ref().map(|_| account.to_string()),
        },
    }
}

/// What the role of a binding permits; `None` where that is not known.
fn permissions(access: &Access, binding: &Binding) -> Option<Vec<Permission>> {
    let wanted = if binding.cluster_role { None } else { binding.namespace.as_ref() };
    let role =
        access.roles.iter().find(|role| role.namespace.as_ref() == wanted && role.name == binding.role);
    match role {
        Some(role) => Some(permitted(access, role)),
        None if binding.cluster_role && binding.role == EVERYTHING => {
            let all = BTreeSet::from(["*".to_owned()]);
            let (verbs, groups, resources) = (all.clone(), all.clone(), all);
            Some(vec![Permission { verbs, groups, resources, names: BTreeSet::new() }])
        }
        None => {
            let built_in = HARMLESS.contains(&binding.role.as_str()) || binding.role.starts_with("system:");
            (binding.cluster_role && built_in).then(Vec::new)
        }
    }
}

/// What a role permits, with those that it aggregates.
fn permitted(access: &Access, role: &Role) -> Vec<Permission> {
    let aggregated = access.roles.iter().filter(|other| {
        other.namespace.is_none() && role.aggregates.iter().any(|labels| labels.matches(&other.labels))
    });
    let all = std::iter::once(role).chain(aggregated);
    all.flat_map(|role| role.permissions.iter().cloned()).collect()
}

/// Whether a permission is enough to change the labels of a namespace. The subresources take labels, too.
fn may_change(permission: &Permission, namespace: &str) -> bool {
    let Permission { verbs, groups, resources, names } = permission;
    let any = |set: &BTreeSet<String>, wanted: &[&str]| wanted.iter().any(|one| set.contains(*one));
    any(verbs, &["*", "update", "patch"])
        && any(groups, &["*", ""])
        && any(
            resources,
            &["*", "namespaces", "namespaces/status", "namespaces/finalize", "*/status", "*/finalize"],
        )
        && (names.is_empty() || names.contains(namespace))
}
