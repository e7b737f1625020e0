//! Tenants that may change the label that says whose they are.

use super::brief;
use crate::mk::{labels, namespace, selector, snapshot};
use isolator_policy::cluster::change::Object;
use isolator_policy::lint::lint;
use isolator_policy::model::{Access, Account, Binding, Permission, Role};

/// What is permitted: verbs, resources and names of objects, with commas.
fn permission(verbs: &str, resources: &str, names: &str) -> Permission {
    let set = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Permission {
        verbs: set(verbs),
        groups: [String::new()].into(),
        resources: set(resources),
        names: set(names),
    }
}

fn cluster_role(name: &str, permissions: Vec<Permission>) -> Role {
    Role { namespace: None, name: name.to_owned(), labels: labels(""), permissions, aggregates: vec![] }
}

fn account(namespace: &str) -> Account {
    Account::ServiceAccount { namespace: namespace.to_owned(), name: "deployer".to_owned() }
}

/// Gives the ClusterRole `role`, in one namespace or everywhere.
fn binding(namespace: Option<&str>, account: Account) -> Binding {
    Binding {
        namespace: namespace.map(str::to_owned),
        name: "b".to_owned(),
        cluster_role: true,
        role: "role".to_owned(),
        accounts: vec![account],
    }
}

fn found(roles: Vec<Role>, binding: Binding) -> Vec<String> {
    let namespaces = [("a", "isolator.dev/tenant=alpha"), ("c", "isolator.dev/tenant=gamma"), ("ops", "")];
    let objects = namespaces.map(|(name, labels)| Object::Namespace(namespace(name, labels)));
    brief(&lint(&snapshot(objects.to_vec()), &Access { roles, bindings: vec![binding] }))
}

const WIDE: &str = "tenant-can-relabel ClusterRoleBinding b roleRef";
const NARROW: &str = "tenant-can-relabel RoleBinding a/b roleRef";

#[test]
fn who_may_update_or_patch_a_namespace_may_relabel_it() {
    for (verbs, resources, names, may) in [
        ("update", "namespaces", "", true),
        ("get,patch", "pods,namespaces", "", true),
        ("*", "*", "", true),
        ("patch", "namespaces/status", "", true),
        ("get,list,watch", "namespaces", "", false),
        ("create,delete", "namespaces", "", false),
        ("update", "pods", "", false),
        ("update", "namespaces", "a", true),
        ("update", "namespaces", "ops", false),
    ] {
        let role = || vec![cluster_role("role", vec![permission(verbs, resources, names)])];
        let wanted: &[&str] = if may { &[WIDE] } else { &[] };
        assert_eq!(found(role(), binding(None, account("a"))), wanted, "{verbs} {resources} {names}");
        let wanted: &[&str] = if may { &[NARROW] } else { &[] };
        assert_eq!(found(role(), binding(Some("a"), account("a"))), wanted, "{verbs} {resources} {names}");
    }
    let mut other_group = permission("update", "namespaces", "");
    other_group.groups = ["apps".to_owned()].into();
    assert_eq!(found(vec![cluster_role("role", vec![other_group])], binding(None, account("a"))), [""; 0]);
}

#[test]
fn only_tenants_count() {
    let role = || vec![cluster_role("role", vec![permission("update", "namespaces", "")])];
    let user = |name: &str| Account::User(name.to_owned());
    let group = |name: &str| Account::Group(name.to_owned());
    for (namespace, account, wanted) in [
        (None, account("a"), Some(WIDE)),
        (None, account("ops"), None),
        (None, user("admin@example.org"), None),
        (None, user("system:serviceaccount:a:x"), Some(WIDE)),
        (None, user("system:serviceaccount:ops:x"), None),
        (None, group("admins"), None),
        (None, group("system:serviceaccounts:c"), Some(WIDE)),
        (None, group("system:serviceaccounts:ops"), None),
        (None, group("system:authenticated"), Some(WIDE)),
        (Some("a"), user("dev@example.org"), Some(NARROW)),
        (Some("a"), account("c"), Some(NARROW)),
        (Some("a"), account("ops"), None),
        (Some("ops"), user("dev@example.org"), None),
        (Some("ops"), account("a"), None),
    ] {
        let text = format!("{namespace:?} {account}");
        let wanted: Vec<&str> = wanted.into_iter().collect();
        assert_eq!(found(role(), binding(namespace, account)), wanted, "{text}");
    }
}

#[test]
fn roles_are_looked_up_as_the_api_server_does() {
    let strong = || vec![permission("patch", "namespaces", "")];
    // A Role of another namespace, or a ClusterRole of that name, is not the Role that is bound.
    let mut local = binding(Some("a"), account("a"));
    local.cluster_role = false;
    let role = |namespace: Option<&str>| Role {
        namespace: namespace.map(str::to_owned),
        ..cluster_role("role", strong())
    };
    assert_eq!(found(vec![role(Some("a"))], local.clone()), [NARROW]);
    for other in [role(Some("c")), role(None)] {
        assert_eq!(found(vec![other], local.clone()), ["role-unknown RoleBinding a/b roleRef"]);
    }
    // Roles that every cluster has.
    for (name, wanted) in [
        ("cluster-admin", vec![WIDE]),
        ("admin", vec![]),
        ("view", vec![]),
        ("system:node", vec![]),
        ("mine", vec!["role-unknown ClusterRoleBinding b roleRef"]),
    ] {
        let mut binding = binding(None, account("a"));
        binding.role = name.to_owned();
        assert_eq!(found(vec![], binding), wanted, "{name}");
    }
    // Aggregation.
    let mut sum = cluster_role("role", vec![]);
    sum.aggregates = vec![selector("to=role")];
    let mut part = cluster_role("part", strong());
    assert_eq!(found(vec![sum.clone(), part.clone()], binding(None, account("a"))), [""; 0]);
    part.labels = labels("to=role");
    assert_eq!(found(vec![sum, part], binding(None, account("a"))), [WIDE]);
}
