//! Named corners of the semantics, each judged by the direct reading and by the compiled form. A case is a
//! small change of one cluster, and flows with what must become of them (`cases`). Not here: manifests (`tests/cases`).

mod cases;

use self::cases::{any_port, ingress, one_of};
use crate::evaluate;
use crate::mk::*;
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::Object;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::compile::compile;
use isolator_policy::meaning::explain::{Needed, explain};
use isolator_policy::meaning::flow::{End, FlowError, FlowSpec, find, judging_node};
use isolator_policy::meaning::oracle::judge;
use isolator_policy::model::{Pod, Ports, RuleField};

const TCP: u8 = 6;
const UDP: u8 = 17;

struct Case {
    /// What must hold, as a sentence.
    name: &'static str,
    /// Added to the cluster; replaces what has the same name.
    with: Vec<Object>,
    /// Flows that pass: `from > to protocol port`.
    pass: &'static [&'static str],
    /// Flows that are dropped, and what the side that drops them says.
    drop: &'static [(&'static str, &'static str)],
}

/// Two namespaces without tenants, one pod each of tenants red and blue, two nodes, a pod on the host
/// network, and a finished pod whose address is another's now.
fn cluster() -> Vec<Object> {
    let host_pod = Pod { host_network: true, ..pod("ops/proxy", "n2", &["172.16.0.2"], "app=web") };
    let finished = Pod { finished: true, ..pod("ops/old", "n1", &["10.0.0.3"], "app=db") };
    vec![
        Object::Namespace(namespace("ops", "env=dev")),
        Object::Namespace(namespace("lab", "env=prod")),
        Object::Namespace(namespace("shop", "isolator.dev/tenant=red")),
        Object::Namespace(namespace("pay", "isolator.dev/tenant=blue")),
        Object::Node(node("n1", &["172.16.0.1"])),
        Object::Node(node("n2", &["172.16.0.2"])),
        Object::Pod(pod("ops/web", "n1", &["10.0.0.1", "fd00::1"], "app=web")),
        Object::Pod(pod("ops/db", "n2", &["10.0.0.2", "fd00::2"], "app=db tier=")),
        Object::Pod(pod("lab/web", "n2", &["10.0.0.3"], "app=web")),
        Object::Pod(pod("shop/web", "n1", &["10.0.0.4"], "app=web")),
        Object::Pod(pod("pay/web", "n1", &["10.0.0.5"], "app=web")),
        Object::Pod(host_pod),
        Object::Pod(finished),
    ]
}

#[test]
fn every_named_case_holds_in_both_readings() {
    let mut count = 0;
    for case in cases::all() {
        let snapshot = snapshot(cluster().into_iter().chain(case.with).collect());
        let expected = case.pass.iter().map(|flow| (*flow, "")).chain(case.drop.iter().copied());
        for (text, reason) in expected {
            let (by_text, compiled) = both(&snapshot, &flow(text));
            assert_eq!(by_text, reason, "{}: {text}, read directly", case.name);
            assert_eq!(compiled, reason, "{}: {text}, compiled", case.name);
            count += 1;
        }
    }
    assert!(count > 90, "{count} flows");
}

/// What the first side that drops says, empty if none does: read directly, and compiled.
fn both(snapshot: &Snapshot, flow: &FlowSpec) -> (String, String) {
    let verdict = judge(snapshot, flow).unwrap();
    let dropped = [verdict.egress, verdict.ingress].into_iter().find(|side| !side.allowed);
    let (from, to) = find(snapshot, flow).unwrap();
    let sides = [(Direction::Egress, &from, &to), (Direction::Ingress, &to, &from)];
    let compiled = sides.into_iter().find_map(|(direction, end, other)| {
        let pod = end.pod.filter(|pod| other.pod.is_none_or(|other| other.key != pod.key))?;
        let compiled = compile(snapshot, judging_node(pod));
        let (side, _) =
            evaluate::side(&compiled, &pod.key, direction, &other.addr, (flow.protocol, flow.port));
        (!side.allowed).then_some(side)
    });
    let text = |side: Option<isolator_policy::meaning::oracle::Side>| side.map(|side| side.by.to_string());
    (text(dropped).unwrap_or_default(), text(compiled).unwrap_or_default())
}

/// A flow written as `from > to protocol port`.
fn flow(text: &str) -> FlowSpec {
    let words: Vec<_> = text.split_whitespace().collect();
    let [from, ">", to, protocol, port] = words[..] else { panic!("{text}") };
    let end = |text: &str| match text.strip_prefix("node:") {
        Some(name) => End::Node(name.to_owned()),
        None if text.contains('/') => End::Pod(pod_key(text)),
        None => End::Address(addr(text)),
    };
    let protocols = [("icmp", 1), ("tcp", 6), ("udp", 17), ("gre", 47), ("icmpv6", 58), ("sctp", 132)];
    let protocol = protocols.iter().find(|(name, _)| *name == protocol).unwrap().1;
    FlowSpec { from: end(from), to: end(to), protocol, port: port.parse().unwrap() }
}

#[test]
fn a_flow_that_cannot_be_judged_is_an_error() {
    let with_twin = Object::Pod(pod("shop/twin", "n2", &["10.0.0.3"], ""));
    let snapshot = snapshot(cluster().into_iter().chain([with_twin]).collect());
    let error = |text: &str| judge(&snapshot, &flow(text)).unwrap_err();
    assert_eq!(error("ops/none > ops/db tcp 80"), FlowError::UnknownPod(pod_key("ops/none")));
    assert_eq!(error("ops/old > ops/db tcp 80"), FlowError::FinishedPod(pod_key("ops/old")));
    assert_eq!(error("ops/db > node:n9 tcp 80"), FlowError::UnknownNode("n9".to_owned()));
    assert_eq!(error("ops/db > 10.0.0.3 tcp 80"), FlowError::Ambiguous(addr("10.0.0.3")));
    assert_eq!(error("lab/web > ops/db icmpv6 128"), FlowError::NoAddress(End::Pod(pod_key("lab/web"))));
    assert!(matches!(error("lab/web > fd00::2 tcp 80"), FlowError::DifferentFamilies(..)));
}

#[test]
fn an_unknown_pod_may_talk_to_the_local_host_only() {
    let snapshot = snapshot(cluster());
    let compiled = compile(&snapshot, "n1");
    for row in compiled.startup {
        let row = row.unwrap();
        for (peer, reaches) in
            [("172.16.0.1", true), ("172.16.0.2", false), ("10.0.0.1", false), ("8.8.8.8", false)]
        {
            let group = evaluate::locate(&compiled, &addr(peer)).group;
            assert_eq!(evaluate::is_open(compiled.rows.cell(row, group)), reaches, "{peer}");
        }
    }
}

#[test]
fn the_connection_table_comes_first_where_nobody_is_admitted_freely() {
    let web = || one_of(&[pods_in("ops", "app=web")]);
    let at_a_port = allow(web(), Ports::OneOf(vec![range(TCP, 80, 80)]));
    for (rules, first) in
        [(vec![], true), (vec![at_a_port.clone()], true), (vec![at_a_port, allow(web(), Ports::Any)], false)]
    {
        let snapshot = snapshot(cluster().into_iter().chain([ingress("ops/np", "app=db", rules)]).collect());
        let compiled = compile(&snapshot, "n2");
        assert_eq!(compiled.endpoints[&pod_key("ops/db")].connection_first, [first; 2]);
        assert_eq!(compiled.endpoints[&pod_key("lab/web")].connection_first, [false; 2], "not isolated");
    }
}

#[test]
fn identities_name_labels_and_prefixes_alike_on_every_node() {
    let rules = any_port(&[block("192.0.2.0/24", &[])]);
    let snapshot = snapshot(cluster().into_iter().chain([ingress("ops/np", "", rules)]).collect());
    let (one, other) = (compile(&snapshot, "n1"), compile(&snapshot, "n2"));
    let name = |text: &str| one.identities[&evaluate::locate(&one, &addr(text)).identity].as_str();
    assert_eq!(name("10.0.0.1"), "k8s:app=web k8s:io.kubernetes.pod.namespace=ops");
    assert_eq!(name("172.16.0.1"), "reserved:host");
    assert_eq!(name("172.16.0.2"), "reserved:remote-node");
    assert_eq!(name("192.0.2.9"), "cidr:192.0.2.0/24");
    assert_eq!([name("8.8.8.8"), name("2001:db8::1")], ["reserved:world-ipv4", "reserved:world-ipv6"]);
    for pod in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.9"].map(addr) {
        assert_eq!(evaluate::locate(&one, &pod).identity, evaluate::locate(&other, &pod).identity);
    }
}

#[test]
fn an_explanation_says_what_each_rule_lacks() {
    let rules = vec![
        allow(one_of(&[pods_in("ops", "app=web")]), Ports::OneOf(vec![range(TCP, 80, 80)])),
        allow(one_of(&[pods_in("lab", "")]), Ports::Any),
    ];
    let snapshot = snapshot(cluster().into_iter().chain([ingress("ops/np", "app=db", rules)]).collect());
    let explained = explain(&snapshot, &flow("ops/web > ops/db tcp 81")).unwrap();
    assert!(explained.egress.side.allowed && explained.egress.needed.is_empty());
    let [read] = explained.ingress.policies.as_slice() else { panic!("{explained:?}") };
    assert_eq!(
        read.rules.iter().map(|rule| (rule.peers, rule.ports)).collect::<Vec<_>>(),
        [(true, false), (false, true)]
    );
    let policy = read.policy.clone();
    assert_eq!(
        explained.ingress.needed,
        [
            Needed::AddPort { policy: policy.clone(), rule: RuleField::of(Direction::Ingress, 0) },
            Needed::AddPeer { policy: policy.clone(), rule: RuleField::of(Direction::Ingress, 1) },
            Needed::AddRule(vec![policy])
        ]
    );
    let explained = explain(&snapshot, &flow("shop/web > pay/web tcp 80")).unwrap();
    let accept = Needed::AcceptTenant { namespace: "pay".to_owned(), tenant: "red".to_owned() };
    assert_eq!([explained.egress.needed, explained.ingress.needed], [vec![accept.clone()], vec![accept]]);
}
