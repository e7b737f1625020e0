//! Namespaces and their pods, in every order. Not here: the rest of the state machine.

use super::super::objects::Delta;
use super::super::order::Order;
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::{Labels, Namespace, Pod, PodKey};

fn namespace() -> Delta {
    let namespace = Namespace { name: "a".into(), labels: Labels::new(), accept_tenants: Default::default() };
    Delta { change: Change::Apply(Object::Namespace(namespace)), added: true }
}

fn no_namespace() -> Delta {
    Delta { change: Change::Delete(ObjectKey::Namespace("a".into())), added: false }
}

fn key(name: &str) -> PodKey {
    PodKey { namespace: "a".into(), name: name.into() }
}

fn pod(name: &str, added: bool) -> Delta {
    let pod = Pod {
        key: key(name),
        labels: Default::default(),
        node: None,
        addresses: Vec::new(),
        host_network: false,
        finished: false,
        ports: Vec::new(),
        service_account: "default".into(),
    };
    Delta { change: Change::Apply(Object::Pod(pod)), added }
}

fn no_pod(name: &str) -> Delta {
    Delta { change: Change::Delete(ObjectKey::Pod(key(name))), added: false }
}

fn pass(order: &mut Order, delta: Delta) -> Vec<String> {
    let mut out = Vec::new();
    order.pass(delta, &mut out);
    let name = |change: &Change| match change {
        Change::Apply(object) => format!("+{}", object.key()),
        Change::Delete(key) => format!("-{key}"),
        Change::Reset(_) => String::new(),
    };
    out.iter().map(name).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_pod_counts_from_when_its_namespace_is_known() {
    let mut order = Order::default();
    assert_eq!(pass(&mut order, pod("p", true)), NOTHING);
    assert_eq!(pass(&mut order, pod("p", false)), NOTHING);
    assert_eq!(pass(&mut order, pod("q", true)), NOTHING);
    assert_eq!(pass(&mut order, no_pod("q")), NOTHING, "it was never told");
    assert_eq!(order.problems().count(), 1);
    assert_eq!(pass(&mut order, namespace()), ["+Namespace a", "+Pod a/p"]);
    assert_eq!(order.problems().count(), 0);
    assert_eq!(pass(&mut order, no_pod("p")), ["-Pod a/p"]);
    assert_eq!(pass(&mut order, no_namespace()), ["-Namespace a"]);
}

#[test]
fn a_namespace_counts_until_its_last_pod_is_gone() {
    let mut order = Order::default();
    pass(&mut order, namespace());
    pass(&mut order, pod("p", true));
    pass(&mut order, pod("p", false));
    pass(&mut order, pod("q", true));
    assert_eq!(pass(&mut order, no_namespace()), NOTHING);
    assert_eq!(pass(&mut order, no_pod("p")), ["-Pod a/p"]);
    assert_eq!(pass(&mut order, no_pod("q")), ["-Pod a/q", "-Namespace a"]);
    assert_eq!(pass(&mut order, pod("p", true)), NOTHING, "it is not known any more");
}

#[test]
fn a_namespace_that_comes_back_stays() {
    let mut order = Order::default();
    pass(&mut order, namespace());
    pass(&mut order, pod("p", true));
    pass(&mut order, no_namespace());
    assert_eq!(pass(&mut order, namespace()), ["+Namespace a"]);
    assert_eq!(pass(&mut order, no_pod("p")), ["-Pod a/p"]);
}
