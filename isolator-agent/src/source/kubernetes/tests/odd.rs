//! Objects that no API server should let through, and the awkward moments of those that it does: what may pass then. None
//! ends the agent, none widens. Not here: what each event changes (`state`), connections (`watch`).

use super::super::kinds::Kind;
use super::state::{Machine, codes, gone, kind, put};
use super::*;
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Owner;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::meaning::oracle::judge;
use isolator_policy::model::PodKey;

/// What an agent on the node `n1` makes of what is said.
struct Told {
    machine: Machine,
    index: Index,
    codes: Vec<&'static str>,
}

impl Told {
    /// The namespace `a`, the node `n1`, a pod `a/db`, and beside them these.
    fn new(objects: &[(&str, Value)]) -> Told {
        let node = json!({"metadata": {"name": "n1"}, "status": {"addresses": [
            {"type": "InternalIP", "address": "172.16.0.1"}]}});
        let mut db = mk_pod("db", 100);
        db["metadata"]["labels"] = json!({"app": "db"});
        let mut all = vec![("Namespace", mk_namespace("a")), ("Node", node), ("Pod", db)];
        all.extend(objects.iter().cloned());
        let (machine, update) = Machine::synced(&all);
        let mut told = Told { machine, index: Index::new(Options::default()), codes: codes(&update) };
        for change in update.changes {
            told.index.apply(change);
        }
        told
    }

    fn put(&mut self, name: &str, object: &Value) {
        self.take(kind(name), |kind| put(kind, object));
    }

    fn gone(&mut self, name: &str, object: &Value) {
        self.take(kind(name), |kind| gone(kind, object));
    }

    fn take(&mut self, kind: Kind, event: impl Fn(Kind) -> super::super::state::Event) {
        self.machine.take(kind, event(kind));
        let Some(update) = self.machine.0.update() else { return };
        self.codes = codes(&update);
        for change in update.changes {
            self.index.apply(change);
        }
    }

    /// Whether `from` reaches TCP/80 of the pod `to`.
    fn passes(&self, from: End, to: &str) -> bool {
        let flow = FlowSpec { from, to: pod(to), protocol: protocol::TCP, port: 80 };
        judge(&self.index.snapshot(), &flow).unwrap().allowed()
    }

    /// Who the node `n1` takes for the owner of 10.0.0.`last`.
    fn owner(&self, last: u8) -> String {
        match self.index.snapshot().owner(&Addr::v4([10, 0, 0, last]), "n1") {
            Owner::Pod(pod) => pod.key.to_string(),
            Owner::Conflict(_) => "several".to_owned(),
            Owner::LocalHost | Owner::RemoteNode(_) => "a node".to_owned(),
            Owner::Outside => "nobody".to_owned(),
        }
    }
}

fn pod(name: &str) -> End {
    let (namespace, name) = name.split_once('/').unwrap_or(("a", name));
    End::Pod(PodKey { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn address(last: u8) -> End {
    End::Address(Addr::v4([10, 0, 0, last]))
}

/// Only pods with the label `app=web` may come to pods with the label `app=db`.
fn web_only() -> Value {
    json!({
        "metadata": {"name": "web-only", "namespace": "a"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}},
                 "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]},
    })
}

#[test]
fn objects_without_labels_have_none() {
    for labels in [None, Some(json!(null)), Some(json!({}))] {
        let with = |mut object: Value| {
            match &labels {
                Some(labels) => object["metadata"]["labels"] = labels.clone(),
                None => drop(object["metadata"].as_object_mut().unwrap().remove("labels")),
            }
            object
        };
        let mut told = Told::new(&[("NetworkPolicy", with(web_only()))]);
        told.put("Namespace", &with(mk_namespace("a")));
        told.put("Pod", &with(mk_pod("plain", 1)));
        assert_eq!(told.codes, [""; 0]);
        assert!(!told.passes(pod("plain"), "db"), "it is not app=web");
        assert!(told.passes(pod("db"), "plain"), "nothing selects it");
        // A selector without requirements means it, too.
        told.put("NetworkPolicy", &with(mk_policy("port-81", 81)));
        assert!(!told.passes(pod("db"), "plain"));
    }
}

#[test]
fn a_pod_with_an_address_twice_is_left_out_and_nobody_has_the_address() {
    let mut told = Told::new(&[("NetworkPolicy", web_only())]);
    let mut twice = mk_pod("web", 1);
    twice["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]);
    told.put("Pod", &twice);
    assert_eq!(told.codes, ["invalid-field", "not-enforced"]);
    assert_eq!(told.owner(1), "nobody");
    assert!(!told.passes(address(1), "db"));
    told.put("Pod", &mk_pod("web", 1));
    assert!(told.codes.is_empty() && told.passes(address(1), "db"));
    // A bad word about a good pod changes nothing.
    told.put("Pod", &twice);
    assert_eq!(told.codes, ["invalid-field", "last-good"]);
    assert!(told.passes(address(1), "db"));
}

#[test]
fn an_address_that_is_used_again_is_nobodys_until_the_old_pod_is_done() {
    for ends in ["finished", "gone"] {
        let mut told = Told::new(&[("Pod", mk_pod("old", 1)), ("NetworkPolicy", web_only())]);
        assert!(told.passes(address(1), "db"));
        told.put("Pod", &mk_pod("new", 1));
        assert_eq!(told.owner(1), "several");
        assert!(!told.passes(pod("new"), "db"), "nobody knows whose packets these are");
        let mut old = mk_pod("old", 1);
        old["status"]["phase"] = json!("Succeeded");
        if ends == "finished" {
            told.put("Pod", &old);
        } else {
            told.gone("Pod", &old);
        }
        assert_eq!(told.owner(1), "a/new", "{ends}");
        assert!(told.passes(address(1), "db"));
    }
}

#[test]
fn a_pod_whose_address_changes_leaves_no_right_behind() {
    let mut told = Told::new(&[("Pod", mk_pod("web", 1)), ("NetworkPolicy", web_only())]);
    told.put("Pod", &mk_pod("web", 9));
    assert_eq!((told.owner(1).as_str(), told.owner(9).as_str()), ("nobody", "a/web"));
    assert!(!told.passes(address(1), "db"));
    assert!(told.passes(address(9), "db"));
}

#[test]
fn a_namespace_that_vanishes_before_its_pods_keeps_them_apart() {
    let namespace = |name: &str| {
        let mut namespace = mk_namespace(name);
        namespace["metadata"]["labels"] = json!({"isolator.dev/tenant": name});
        namespace
    };
    let mut told = Told::new(&[
        ("Namespace", namespace("x")),
        ("Namespace", namespace("y")),
        ("Pod", mk_pod_in("x", "p", "10.0.1.1")),
        ("Pod", mk_pod_in("y", "q", "10.0.1.2")),
    ]);
    assert!(!told.passes(pod("x/p"), "y/q"));
    told.gone("Namespace", &namespace("y"));
    assert!(!told.passes(pod("x/p"), "y/q"), "its tenant counts while it has pods");
    told.gone("Pod", &mk_pod_in("y", "q", "10.0.1.2"));
    assert_eq!(told.index.snapshot().namespaces().keys().collect::<Vec<_>>(), ["a", "x"]);
}

#[test]
fn a_policy_that_says_something_unknown_opens_nothing() {
    let mut other = mk_pod("other", 2);
    other["metadata"]["labels"] = json!({"app": "other"});
    let mut told = Told::new(&[("Pod", mk_pod("web", 1)), ("Pod", other)]);
    assert!(told.passes(pod("web"), "db") && told.passes(pod("db"), "web"));
    let mut policy = web_only();
    policy["spec"]["ingress"][0]["onlyOnSundays"] = json!(true);
    policy["spec"]["policyTypes"] = json!(["Ingress"]);
    told.put("NetworkPolicy", &policy);
    assert_eq!(told.codes, ["cut-off", "unknown-field"]);
    assert!(!told.passes(pod("web"), "db"), "nobody knows when");
    assert!(told.passes(pod("db"), "web"), "it does not speak of egress");
    assert!(told.passes(pod("web"), "other"), "nor of other pods");
    // In what it selects, too.
    policy["spec"]["podSelector"]["matchMoods"] = json!([]);
    told.put("NetworkPolicy", &policy);
    assert!(!told.passes(pod("web"), "other") && !told.passes(pod("db"), "web"));
    // An edit of it that is good is enforced as written, and what follows keeps that.
    told.put("NetworkPolicy", &web_only());
    assert!(told.passes(pod("web"), "db") && !told.passes(pod("other"), "db"));
    told.put("NetworkPolicy", &policy);
    assert!(told.passes(pod("web"), "db") && !told.passes(pod("other"), "db"));
    assert_eq!(told.codes, ["last-good", "unknown-field", "unknown-field"]);
    told.gone("NetworkPolicy", &policy);
    assert!(told.codes.is_empty() && told.passes(pod("other"), "db"));
}

#[test]
fn a_cilium_policy_that_says_something_unknown_opens_nothing() {
    let mut told = Told::new(&[("Pod", mk_pod("web", 1))]);
    let definition = mk_definition("ciliumnetworkpolicies", &["v2"]);
    let definitions = &super::super::kinds::DEFINITIONS;
    told.take(definitions, |kind| put(kind, &definition));
    told.machine.list(kind("CiliumNetworkPolicy"), &[]);
    let mut policy = mk_cilium("cnp");
    policy["spec"] = json!({
        "endpointSelector": {"matchLabels": {"app": "db"}},
        "ingressDeny": [{"fromEndpoints": [{}], "onlyOnSundays": true}],
    });
    told.put("CiliumNetworkPolicy", &policy);
    assert_eq!(told.codes, ["cut-off", "unknown-field"]);
    assert!(!told.passes(pod("web"), "db") && told.passes(pod("db"), "web"));
}

#[test]
fn a_cluster_policy_that_says_something_unknown_denies_where_it_may_have_denied() {
    let new = || {
        let mut other = mk_pod("other", 2);
        other["metadata"]["labels"] = json!({"app": "other"});
        let far = json!({"metadata": {"name": "n2"}, "status": {"addresses": [
            {"type": "InternalIP", "address": "172.16.0.2"}]}});
        let mut told = Told::new(&[("Node", far), ("Pod", mk_pod("web", 1)), ("Pod", other)]);
        let mut definition = mk_definition("clusternetworkpolicies", &["v1alpha2"]);
        definition["metadata"]["name"] = json!("clusternetworkpolicies.policy.networking.k8s.io");
        definition["spec"]["group"] = json!("policy.networking.k8s.io");
        told.take(&super::super::kinds::DEFINITIONS, |kind| put(kind, &definition));
        told.machine.list(kind("ClusterNetworkPolicy"), &[]);
        told
    };
    let with = |rules: Value, egress: Value| {
        json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "admin"}, "spec": {
            "tier": "Admin", "priority": 10, "ingress": rules, "egress": egress,
            "subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}}}})
    };
    let rule = |action, to: &str| {
        let peers = json!([{"namespaces": {}, "onlyOnSundays": true}]);
        json!({"action": action, to: peers})
    };
    let node = || End::Node("n1".to_owned());
    for action in ["Deny", "Pass"] {
        let mut told = new();
        told.put("ClusterNetworkPolicy", &with(json!([rule(action, "from")]), json!([])));
        assert_eq!(told.codes, ["cut-off", "unknown-field"], "{action}");
        assert!(!told.passes(pod("web"), "db"), "nobody knows when");
        assert!(told.passes(pod("db"), "web"), "it does not speak of egress");
        assert!(told.passes(pod("web"), "other"), "nor of other pods");
        assert!(told.passes(node(), "db"), "the own node reaches its pods");
        told.put("ClusterNetworkPolicy", &with(json!([]), json!([rule(action, "to")])));
        assert!(told.passes(pod("web"), "db") && !told.passes(pod("db"), "web"));
        for to in [End::Node("n2".to_owned()), End::Address(Addr::v4([192, 0, 2, 1]))] {
            let flow = FlowSpec { from: pod("db"), to, protocol: protocol::TCP, port: 80 };
            assert!(!judge(&told.index.snapshot(), &flow).unwrap().allowed(), "{flow:?}");
        }
    }
    // Without what accepts, less passes.
    let mut told = new();
    told.put("ClusterNetworkPolicy", &with(json!([rule("Accept", "from")]), json!([])));
    assert_eq!(told.codes, ["not-enforced", "unknown-field"]);
    assert!(told.passes(pod("web"), "db"));
}

#[test]
fn a_terminating_pod_counts_until_it_is_gone_and_a_finished_one_does_not() {
    let mut told = Told::new(&[("NetworkPolicy", web_only())]);
    let mut web = mk_pod("web", 1);
    web["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    web["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    told.put("Pod", &web);
    assert!(told.passes(address(1), "db"), "it may say its last word");
    for phase in ["Succeeded", "Failed"] {
        web["status"]["phase"] = json!(phase);
        told.put("Pod", &web);
        assert_eq!(told.owner(1), "nobody", "{phase}");
        assert!(!told.passes(address(1), "db"), "{phase}");
    }
}

#[test]
fn a_pod_on_the_host_network_is_its_node_and_one_without_an_address_nobody() {
    let mut told = Told::new(&[("NetworkPolicy", web_only())]);
    let mut host = mk_pod_in("a", "host", "172.16.0.1");
    host["spec"]["hostNetwork"] = json!(true);
    told.put("Pod", &host);
    let node = Addr::v4([172, 16, 0, 1]);
    assert!(matches!(told.index.snapshot().owner(&node, "n1"), Owner::LocalHost));
    let snapshot = told.index.snapshot();
    let remote = snapshot.owner(&node, "n2");
    assert!(matches!(remote, Owner::RemoteNode(_)), "its labels give it nothing");
    let mut pending = mk_pod("pending", 1);
    pending["status"] = json!({"phase": "Pending"});
    told.put("Pod", &pending);
    assert_eq!(told.codes, [""; 0]);
    assert_eq!(told.owner(1), "nobody");
    told.put("Pod", &mk_pod("pending", 1));
    assert_eq!(told.owner(1), "a/pending");
}
