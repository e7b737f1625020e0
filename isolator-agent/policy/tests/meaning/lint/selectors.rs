//! Selectors that match nothing, names of ports that nobody has.

use super::{found, objects};
use crate::mk::{
    allow, block, isolating, named, namespace, pod, pods_in, pods_where, policy, range, with_egress,
    with_ingress,
};
use isolator_common::conntrack::protocol::{TCP, UDP};
use isolator_policy::model::{Peers, Pod, Policy, Ports};

fn pods() -> Vec<Pod> {
    vec![pod("a/web", "n1", &["10.0.0.1"], "app=web"), pod("a/db", "n1", &["10.0.0.2"], "app=db")]
}

fn of(policy: Policy) -> Vec<String> {
    found(objects(vec![namespace("a", "")], pods(), vec![policy]))
}

fn ingress(peers: Peers, ports: Ports) -> Policy {
    with_ingress(policy("a/np", "app=web"), isolating(vec![allow(peers, ports)]))
}

#[test]
fn a_policy_that_selects_no_pod_is_found() {
    let lonely = with_ingress(policy("a/np", "app=none"), isolating(vec![]));
    assert_eq!(of(lonely.clone()), ["selects-nothing NetworkPolicy a/np spec.podSelector"]);
    assert_eq!(of(with_ingress(policy("a/np", "app=web"), isolating(vec![]))), [""; 0]);
    // Who checks policies alone knows that they select nobody.
    assert_eq!(found(objects(vec![namespace("a", "")], vec![], vec![lonely])), [""; 0]);
}

#[test]
fn a_selector_that_no_pod_could_match_is_found_without_any_pod() {
    let wrong = with_ingress(policy("a/np", "app=web app=db"), isolating(vec![]));
    assert_eq!(
        found(objects(vec![], vec![], vec![wrong])),
        ["contradictory-selector NetworkPolicy a/np spec.podSelector"]
    );
    for (labels, impossible) in
        [("!app app=db", true), ("app!=db app=db", true), ("app=a|b app=b|c", false), ("!app app!=db", false)]
    {
        let peers = Peers::OneOf(vec![pods_in("a", labels)]);
        let wanted: &[&str] =
            if impossible { &["contradictory-selector NetworkPolicy a/np spec.ingress[0]"] } else { &[] };
        assert_eq!(found(objects(vec![], vec![], vec![ingress(peers, Ports::Any)])), wanted, "{labels}");
    }
}

#[test]
fn a_peer_that_no_pod_matches_is_found() {
    for (peer, silent) in [
        (pods_in("a", "app=db"), false),
        (pods_in("a", "app=cache"), true),
        (pods_in("b", ""), true),
        (pods_where("kubernetes.io/metadata.name=a", ""), false),
        (pods_where("team=x", ""), true),
        // There may be somebody.
        (block("192.0.2.0/24", &[]), false),
    ] {
        let wanted: &[&str] =
            if silent { &["peer-matches-nothing NetworkPolicy a/np spec.ingress[0]"] } else { &[] };
        assert_eq!(of(ingress(Peers::OneOf(vec![peer.clone()]), Ports::Any)), wanted, "{peer:?}");
    }
}

#[test]
fn a_port_name_that_no_receiver_has_is_found() {
    let one = |port| Ports::OneOf(vec![port]);
    for (port, unknown) in [
        (named(TCP, "http"), false),
        (named(UDP, "http"), true),
        (named(TCP, "metrics"), true),
        (range(TCP, 1, 9), false),
    ] {
        let wanted: &[&str] =
            if unknown { &["named-port-unknown NetworkPolicy a/np spec.ingress[0]"] } else { &[] };
        assert_eq!(of(ingress(Peers::Any, one(port.clone()))), wanted, "{port:?}");
        // For egress it is the peers that have ports.
        let egress = with_egress(
            policy("a/np", "app=web"),
            isolating(vec![
                allow(Peers::OneOf(vec![pods_in("a", "app=db")]), one(port.clone())),
                allow(Peers::Any, Ports::OneOf(vec![range(UDP, 53, 53), range(TCP, 53, 53)])),
            ]),
        );
        let wanted: &[&str] =
            if unknown { &["named-port-unknown NetworkPolicy a/np spec.egress[0]"] } else { &[] };
        assert_eq!(of(egress), wanted, "{port:?}");
    }
}
