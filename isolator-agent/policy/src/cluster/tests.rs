//! The index's promise to say whether anything changed, and who owns an address.

use super::change::{Change, Object, ObjectKey};
use super::index::{Index, Options};
use super::problems::Problems;
use super::snapshot::Owner;
use crate::model::{Labels, Namespace, Node, Pod, PodKey, Policy, PolicyKey, PolicyKind, Tier};
use isolator_common::addr::{Addr, Prefix};
use std::collections::BTreeSet;
use std::sync::Arc;

fn mk_pod(name: &str, node: &str, last: u8) -> Pod {
    Pod {
        key: PodKey { namespace: "shop".into(), name: name.into() },
        labels: Labels::from([("app".into(), name.into())]).into(),
        node: Some(node.into()),
        addresses: vec![Addr::v4([10, 0, 0, last])],
        host_network: false,
        finished: false,
        ports: Vec::new(),
        service_account: "default".into(),
    }
}

fn mk_node(name: &str, last: u8) -> Node {
    Node {
        name: name.into(),
        labels: Labels::new(),
        addresses: vec![Addr::v4([172, 16, 0, last])],
        pod_cidrs: vec![Prefix::new(Addr::v4([10, 0, 0, 0]), 96 + 24)],
    }
}

fn mk_namespace(name: &str, tenant: &str) -> Namespace {
    let labels = [("kubernetes.io/metadata.name", name), ("isolator.dev/tenant", tenant)];
    Namespace {
        name: name.into(),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        accept_tenants: BTreeSet::new(),
    }
}

fn everything() -> Vec<Object> {
    vec![
        Object::Namespace(mk_namespace("shop", "a")),
        Object::Node(mk_node("n1", 1)),
        Object::Node(mk_node("n2", 2)),
        Object::Pod(mk_pod("web", "n1", 5)),
        Object::Pod(mk_pod("db", "n2", 6)),
    ]
}

fn index() -> Index {
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(everything()));
    index
}

fn codes(index: &Index) -> Vec<&'static str> {
    index.snapshot().problems().iter().map(|problem| problem.code).collect()
}

#[test]
fn equal_input_changes_nothing() {
    let mut index = Index::new(Options::default());
    for object in everything() {
        assert!(index.apply(Change::Apply(object.clone())));
        assert!(!index.apply(Change::Apply(object)));
    }
    assert!(!index.apply(Change::Reset(everything())));
    assert!(!index.apply(Change::Delete(ObjectKey::Node("n9".into()))));
    assert!(index.apply(Change::Delete(ObjectKey::Node("n2".into()))));
    assert!(index.apply(Change::Reset(everything())));
    assert!(index.apply(Change::Reset(Vec::new())));
    assert!(!index.apply(Change::Reset(Vec::new())));
}

#[test]
fn a_snapshot_does_not_change_and_shares_what_stays() {
    let mut index = index();
    let before = index.snapshot();
    assert!(matches!(before.owner(&Addr::v4([10, 0, 0, 5]), "n1"), Owner::Pod(_)));
    assert!(index.apply(Change::Apply(Object::Pod(mk_pod("web", "n1", 7)))));
    let after = index.snapshot();
    assert!(matches!(before.owner(&Addr::v4([10, 0, 0, 5]), "n1"), Owner::Pod(_)));
    assert!(matches!(after.owner(&Addr::v4([10, 0, 0, 5]), "n1"), Owner::Outside));
    assert!(matches!(after.owner(&Addr::v4([10, 0, 0, 7]), "n1"), Owner::Pod(_)));
    let db = PodKey { namespace: "shop".into(), name: "db".into() };
    assert!(Arc::ptr_eq(&before.pods()[&db], &after.pods()[&db]));
}

#[test]
fn a_node_is_the_local_host_only_to_itself() {
    let snapshot = index().snapshot();
    let addr = Addr::v4([172, 16, 0, 1]);
    assert!(matches!(snapshot.owner(&addr, "n1"), Owner::LocalHost));
    assert!(matches!(snapshot.owner(&addr, "n2"), Owner::RemoteNode(node) if node.name == "n1"));
    assert!(matches!(snapshot.owner(&Addr::v4([8, 8, 8, 8]), "n1"), Owner::Outside));
}

#[test]
fn finished_pods_own_nothing_and_host_network_pods_are_their_node() {
    let mut index = index();
    index.apply(Change::Apply(Object::Pod(Pod { finished: true, ..mk_pod("old", "n1", 6) })));
    let daemon =
        Pod { host_network: true, addresses: vec![Addr::v4([172, 16, 0, 9])], ..mk_pod("proxy", "n1", 0) };
    index.apply(Change::Apply(Object::Pod(daemon)));
    let snapshot = index.snapshot();
    assert!(
        matches!(snapshot.owner(&Addr::v4([10, 0, 0, 6]), "n1"), Owner::Pod(pod) if pod.key.name == "db")
    );
    assert!(matches!(snapshot.owner(&Addr::v4([172, 16, 0, 9]), "n1"), Owner::LocalHost));
    assert_eq!(codes(&index), Vec::<&str>::new());
}

#[test]
fn an_address_of_two_pods_is_nobodys_and_the_problem_names_both() {
    let mut index = index();
    index.apply(Change::Apply(Object::Pod(mk_pod("thief", "n2", 5))));
    let snapshot = index.snapshot();
    assert!(
        matches!(snapshot.owner(&Addr::v4([10, 0, 0, 5]), "n1"), Owner::Conflict(all) if all.pods.len() == 2)
    );
    let problems = snapshot.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("shop/web") && problems[0].message.contains("shop/thief"));
    index.apply(Change::Delete(ObjectKey::Pod(PodKey { namespace: "shop".into(), name: "thief".into() })));
    assert_eq!(codes(&index), Vec::<&str>::new());
}

#[test]
fn a_pod_with_a_nodes_address_is_a_conflict_and_makes_nobody_the_local_host() {
    let mut index = index();
    let thief = Pod { addresses: vec![Addr::v4([172, 16, 0, 1])], ..mk_pod("thief", "n1", 0) };
    index.apply(Change::Apply(Object::Pod(thief)));
    let addr = Addr::v4([172, 16, 0, 1]);
    assert!(matches!(index.snapshot().owner(&addr, "n1"), Owner::Conflict(_)));
    assert_eq!(codes(&index), ["address-outside-pod-cidr", "duplicate-address"]);
}

#[test]
fn a_node_address_that_two_nodes_share_gives_no_local_rights() {
    let mut index = index();
    let twin = Node { name: "n3".into(), ..mk_node("n3", 1) };
    index.apply(Change::Apply(Object::Node(twin)));
    assert!(matches!(index.snapshot().owner(&Addr::v4([172, 16, 0, 1]), "n1"), Owner::RemoteNode(_)));
    assert_eq!(codes(&index), ["shared-node-address"]);
}

#[test]
fn only_the_first_address_of_a_family_counts() {
    let mut index = index();
    let mut pod = mk_pod("web", "n1", 5);
    pod.addresses.extend([Addr::v4([10, 0, 0, 8]), Addr::from_words(0xfd00 << 48, 5)]);
    index.apply(Change::Apply(Object::Pod(pod)));
    let snapshot = index.snapshot();
    assert!(matches!(snapshot.owner(&Addr::v4([10, 0, 0, 8]), "n1"), Owner::Outside));
    assert!(matches!(snapshot.owner(&Addr::from_words(0xfd00 << 48, 5), "n1"), Owner::Pod(_)));
    assert_eq!(codes(&index), ["surplus-address"]);
}

#[test]
fn what_nobody_declares_is_reported() {
    let mut index = Index::new(Options::default());
    index.apply(Change::Apply(Object::Pod(mk_pod("web", "n1", 5))));
    assert_eq!(codes(&index), ["undeclared-namespace", "undeclared-node"]);
    let snapshot = index.snapshot();
    assert_eq!(snapshot.tenant_of("shop"), None);
    assert_eq!(
        snapshot.namespace_labels("shop").get("kubernetes.io/metadata.name").map(String::as_str),
        Some("shop")
    );
}

#[test]
fn the_tenant_is_the_value_of_the_configured_label() {
    let mut index = Index::new(Options { tenant_label: "team".into(), ..Options::default() });
    let mut shop = mk_namespace("shop", "a");
    shop.labels.insert("team".into(), "red".into());
    shop.accept_tenants.insert("blue".into());
    let mut empty = mk_namespace("empty", "a");
    empty.labels.insert("team".into(), String::new());
    index.apply(Change::Reset(vec![Object::Namespace(shop), Object::Namespace(empty)]));
    let snapshot = index.snapshot();
    assert_eq!(snapshot.tenant_of("shop"), Some("red"));
    assert_eq!(snapshot.tenant_of("empty"), None);
    assert!(snapshot.accepts("shop", "blue") && !snapshot.accepts("shop", "red"));
}

#[test]
fn equal_priorities_in_one_tier_are_named_as_a_tie() {
    let mut index = Index::new(Options::default());
    for (name, tier, priority) in [
        ("a", Tier::Admin, 5),
        ("b", Tier::Admin, 5),
        ("c", Tier::Admin, 6),
        ("d", Tier::Baseline, 5),
        ("e", Tier::Normal, 0),
        ("f", Tier::Normal, 0),
    ] {
        let kind = PolicyKind::ClusterNetworkPolicy;
        let key = PolicyKey { kind, namespace: String::new(), name: name.into() };
        index.apply(Change::Apply(Object::Policy(Policy { key, tier, priority, parts: Vec::new() })));
    }
    let problems = index.snapshot().problems();
    let [tie] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!((tie.code, tie.object.as_str()), ("priority-tie", "ClusterNetworkPolicy b"));
    assert!(tie.message.contains("ClusterNetworkPolicy a"), "{tie}");
}

#[test]
fn problems_come_and_go_with_what_they_are_about() {
    let mut index = index();
    let mut going_on = Problems::default();
    let elsewhere = |name: &str, host: u8| {
        let pod = mk_pod(name, "n9", host);
        Pod { key: PodKey { namespace: "nowhere".into(), name: name.into() }, ..pod }
    };
    let gone = |name: &str| Change::Delete(ObjectKey::Pod(elsewhere(name, 0).key));
    let put = |pod: Pod| Change::Apply(Object::Pod(pod));
    let mut surplus = mk_pod("web", "n1", 5);
    surplus.addresses.push(Addr::v4([10, 0, 0, 99]));
    let (namespace, node) = ("undeclared-namespace", "undeclared-node");
    let steps = [
        (put(elsewhere("a", 7)), vec![namespace, node]),
        (put(elsewhere("b", 8)), vec![namespace, node]),
        (gone("a"), vec![namespace, node]),
        (put(elsewhere("b", 5)), vec!["duplicate-address", namespace, node]),
        (put(surplus), vec!["duplicate-address", "surplus-address", namespace, node]),
        (put(elsewhere("b", 9)), vec!["surplus-address", namespace, node]),
        (put(mk_pod("web", "n1", 5)), vec![namespace, node]),
        (put(Pod { finished: true, ..elsewhere("b", 9) }), vec![]),
        (put(elsewhere("b", 9)), vec![namespace, node]),
        (Change::Apply(Object::Namespace(mk_namespace("nowhere", "a"))), vec![node]),
        (gone("b"), vec![]),
    ];
    for (number, (change, mut wanted)) in steps.into_iter().enumerate() {
        index.apply(change);
        let found = going_on.of(&index.snapshot());
        let mut codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
        codes.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(codes, wanted, "step {number}");
        assert_eq!(found, index.snapshot().problems(), "step {number}");
    }
}
