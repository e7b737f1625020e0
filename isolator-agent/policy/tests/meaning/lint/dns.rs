//! The DNS trap: isolated for egress, and nothing that says where names come from.

use super::{brief, objects, problems};
use crate::mk::{
    adding, allow, block, deny, isolating, namespace, pod, pods_in, pods_where, policy, range, with_egress,
    with_ingress,
};
use isolator_common::conntrack::protocol::{TCP, UDP};
use isolator_policy::model::{Entity, Peer, Peers, Pod, Policy, Ports, Rule};

fn web() -> Pod {
    pod("a/web", "n1", &["10.0.0.1"], "app=web")
}

fn server() -> Pod {
    pod("kube-system/coredns", "n1", &["10.0.0.9"], "k8s-app=kube-dns")
}

/// The article's first policy: everything is denied.
fn default_deny() -> Policy {
    with_ingress(with_egress(policy("a/default-deny-all", ""), isolating(vec![])), isolating(vec![]))
}

/// A policy `a/more` that lets all pods of `a` out by these rules.
fn more(rules: Vec<Rule>) -> Policy {
    with_egress(policy("a/more", ""), isolating(rules))
}

fn dns(peers: Vec<Peer>, protocols: &[u8]) -> Rule {
    let ports = protocols.iter().map(|protocol| range(*protocol, 53, 53));
    allow(Peers::OneOf(peers), Ports::OneOf(ports.collect()))
}

/// What is found about DNS, with the DNS server in the input, and without it.
#[track_caller]
fn assert_found(pods: Vec<Pod>, policies: Vec<Policy>, wanted: &[&str]) {
    for server in [vec![server()], vec![]] {
        let pods: Vec<Pod> = pods.iter().cloned().chain(server).collect();
        let mut all = problems(objects(vec![namespace("a", "")], pods.clone(), policies.clone()));
        all.retain(|problem| problem.code.starts_with("no-dns"));
        assert_eq!(brief(&all), wanted, "{} pods", pods.len());
    }
}

const CUT: &str = "no-dns NetworkPolicy a/default-deny-all spec.egress";

#[test]
fn a_default_deny_alone_cuts_dns() {
    assert_found(vec![web()], vec![default_deny()], &[CUT]);
    assert_found(vec![], vec![default_deny()], &[CUT]);
    let ingress_only = with_ingress(policy("a/np", ""), isolating(vec![]));
    assert_found(vec![web()], vec![ingress_only], &[]);
    let not_isolating = with_egress(policy("a/np", ""), adding(vec![]));
    assert_found(vec![web()], vec![not_isolating], &[]);
}

#[test]
fn rules_that_reach_no_dns_server_do_not_help() {
    for rules in [
        vec![allow(Peers::OneOf(vec![pods_in("a", "")]), Ports::Any)],
        vec![dns(vec![pods_in("kube-system", "k8s-app=coredns")], &[UDP, TCP])],
        vec![dns(vec![pods_in("kube-system", "")], &[TCP])],
        vec![dns(vec![], &[UDP, TCP])],
        vec![allow(Peers::Any, Ports::OneOf(vec![range(UDP, 54, 99), range(TCP, 1, 999)]))],
        vec![
            dns(vec![pods_in("kube-system", "")], &[UDP, TCP]),
            deny(Peers::OneOf(vec![pods_in("kube-system", "")]), Ports::Any),
        ],
    ] {
        let text = format!("{rules:?}");
        let policies = vec![default_deny(), more(rules)];
        let mut all = problems(objects(vec![], vec![web(), server()], policies));
        all.retain(|problem| problem.code.starts_with("no-dns"));
        assert_eq!(brief(&all), [CUT], "{text}");
    }
}

#[test]
fn rules_that_reach_a_dns_server_do() {
    for rules in [
        vec![dns(vec![pods_where("kubernetes.io/metadata.name=kube-system", "")], &[UDP, TCP])],
        vec![dns(vec![pods_where("", "k8s-app=kube-dns")], &[UDP, TCP])],
        vec![allow(Peers::OneOf(vec![pods_in("kube-system", "")]), Ports::Any)],
        vec![allow(Peers::Any, Ports::Any)],
        vec![allow(Peers::Any, Ports::OneOf(vec![range(UDP, 1, 99), range(TCP, 53, 53)]))],
        // A cache on the node, a resolver elsewhere.
        vec![dns(vec![block("169.254.20.10/32", &[])], &[UDP, TCP])],
        vec![dns(vec![Peer::Entity(Entity::Host)], &[UDP, TCP])],
        // Another DNS server of the cluster, or whoever that is.
        vec![dns(vec![pods_in("a", "app=web")], &[UDP, TCP])],
    ] {
        assert_found(vec![web()], vec![default_deny(), more(rules)], &[]);
    }
}

#[test]
fn udp_alone_is_a_smaller_trouble() {
    let policies = vec![default_deny(), more(vec![dns(vec![pods_in("kube-system", "")], &[UDP])])];
    let wanted = "no-dns-over-tcp NetworkPolicy a/default-deny-all spec.egress";
    assert_found(vec![web()], policies, &[wanted]);
}

#[test]
fn pods_with_one_trouble_are_one_finding_and_others_none() {
    let pods =
        vec![web(), pod("a/db", "n1", &["10.0.0.2"], "app=db"), pod("a/ok", "n1", &["10.0.0.3"], "app=ok")];
    let ok = with_egress(
        policy("a/ok", "app=ok"),
        isolating(vec![dns(vec![pods_in("kube-system", "")], &[UDP, TCP])]),
    );
    assert_found(pods.clone(), vec![default_deny(), ok.clone()], &[CUT]);
    let all = problems(objects(vec![], pods, vec![default_deny(), ok]));
    let message = &all.iter().find(|problem| problem.code == "no-dns").unwrap().message;
    assert!(message.starts_with("Pod a/db, Pod a/web may not ask any DNS server"), "{message}");
}
