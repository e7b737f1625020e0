//! Tests of NetworkPolicy: what it becomes, and what is refused.

use super::{assert_said, load, one, policy_text, said};
use isolator_common::addr::{Addr, Prefix};
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{
    Action, NamespaceMatch, Operator, Part, Peer, Peers, Policy, PolicyKey, PolicyKind, PortMatch, Ports,
    Requirement, Rule, RuleField, Rules, Selector, Severity, Subject, Tier,
};
use std::collections::BTreeSet;

fn requirement(key: &str, operator: Operator) -> Requirement {
    Requirement { key: key.into(), operator }
}

fn values(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| value.to_string()).collect()
}

fn label(key: &str, value: &str) -> Selector {
    Selector::new([requirement(key, Operator::In(values(&[value])))])
}

fn named(namespace: &str) -> NamespaceMatch {
    NamespaceMatch::Named(namespace.into())
}

/// The policy `x/np` on all pods of `x` with these rules.
fn policy(ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>) -> Policy {
    let numbered = |direction, rules: Option<Vec<Rule>>| {
        let rules = rules?;
        let rules =
            (0..).zip(rules).map(|(index, rule)| Rule { at: RuleField::of(direction, index), ..rule });
        Some(Rules { default_deny: true, rules: rules.collect() })
    };
    Policy {
        key: PolicyKey { kind: PolicyKind::NetworkPolicy, namespace: "x".into(), name: "np".into() },
        tier: Tier::Normal,
        priority: 0,
        parts: vec![Part {
            subject: Subject::Pods { namespaces: named("x"), pods: Selector::everything() },
            ingress: numbered(Direction::Ingress, ingress),
            egress: numbered(Direction::Egress, egress),
        }],
    }
}

fn rule(peers: Peers, ports: Ports) -> Rule {
    Rule { at: RuleField::of(Direction::Ingress, 0), action: Action::Allow, peers, ports }
}

fn v4(a: u8, b: u8, c: u8, bits: u32) -> Prefix {
    Prefix::new(Addr::v4([a, b, c, 0]), 96 + bits)
}

#[track_caller]
fn assert_policy(spec: &str, wanted: Policy) {
    assert_eq!(one(&policy_text(&format!("  podSelector: {{}}\n{spec}"))), Object::Policy(wanted), "{spec}");
}

#[test]
fn policy_types_default_to_ingress_and_to_egress_where_it_says_something() {
    let any = || rule(Peers::Any, Ports::Any);
    for (spec, wanted) in [
        ("", policy(Some(vec![]), None)),
        ("  policyTypes: []\n", policy(Some(vec![]), None)),
        ("  policyTypes:\n", policy(Some(vec![]), None)),
        ("  ingress: [{}]\n", policy(Some(vec![any()]), None)),
        ("  egress: [{}]\n", policy(Some(vec![]), Some(vec![any()]))),
        ("  egress: []\n", policy(Some(vec![]), None)),
        ("  egress:\n  ingress:\n", policy(Some(vec![]), None)),
        ("  policyTypes: [Egress]\n", policy(None, Some(vec![]))),
        ("  policyTypes: [Egress, Ingress]\n", policy(Some(vec![]), Some(vec![]))),
        ("  policyTypes: [Ingress, Ingress]\n", policy(Some(vec![]), None)),
        ("  policyTypes: [Egress]\n  ingress: []\n", policy(None, Some(vec![]))),
        // Go leaves a null entry at its zero value: a rule without limits.
        ("  ingress: [null]\n", policy(Some(vec![any()]), None)),
    ] {
        assert_policy(spec, wanted);
    }
}

#[test]
fn a_section_that_policy_types_do_not_name_is_ignored_with_a_warning() {
    let loaded = load(&policy_text("  podSelector: {}\n  policyTypes: [Egress]\n  ingress: [{}]\n"));
    assert_eq!(loaded.objects, [Object::Policy(policy(None, Some(vec![])))]);
    assert_said(&loaded, &["section-without-effect", "spec.ingress", "f.yaml:7:3"]);
    assert_eq!(loaded.problems[0].severity, Severity::Warning);
}

#[test]
fn an_absent_pod_selector_selects_everything_with_a_warning() {
    for spec in ["  policyTypes: [Ingress]\n", "  podSelector:\n", ""] {
        let loaded = load(&policy_text(spec));
        assert_eq!(loaded.objects, [Object::Policy(policy(Some(vec![]), None))], "{:?}", said(&loaded));
        assert_said(&loaded, &["selects-everything", "spec.podSelector"]);
    }
}

#[test]
fn peers_and_ports_become_the_model() {
    let spec = "
  ingress:
  - from:
    - podSelector: {matchLabels: {app: web}}
    - namespaceSelector: {matchLabels: {team: a}}
    - namespaceSelector: {}
      podSelector: {matchLabels: {app: }}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.3.0/24]}
    - ipBlock: {cidr: '::/0'}
    ports:
    - {}
    - port: 80
    - {protocol: UDP, port: 5000, endPort: 6000}
    - {protocol: SCTP, port: sig}
    - {protocol: UDP}
  - from: []
    ports: []
  - {from: , ports: }
";
    let range = |protocol, first, last| PortMatch::Range { protocol, first, last };
    let pods = |namespaces, pods| Peer::Pods { namespaces, pods };
    let block = |cidr, except| Peer::Block { cidr, except, inside: true };
    let first = rule(
        Peers::OneOf(vec![
            pods(named("x"), label("app", "web")),
            pods(NamespaceMatch::Matching(label("team", "a")), Selector::everything()),
            pods(NamespaceMatch::Matching(Selector::everything()), label("app", "")),
            block(v4(10, 0, 0, 8), vec![v4(10, 1, 0, 16), v4(10, 2, 3, 24)]),
            block(Prefix::ALL_V6, vec![]),
        ]),
        Ports::OneOf(vec![
            range(6, 0, 65535),
            range(6, 80, 80),
            range(17, 5000, 6000),
            PortMatch::Named { protocol: 132, name: "sig".into() },
            range(17, 0, 65535),
        ]),
    );
    let any = || rule(Peers::Any, Ports::Any);
    assert_policy(spec, policy(Some(vec![first.clone(), any(), any()]), None));
    let egress = spec.replace("ingress:", "policyTypes: [Egress]\n  egress:").replace("from:", "to:");
    assert_policy(&egress, policy(None, Some(vec![first, any(), any()])));
}

#[test]
fn selectors_become_the_model() {
    let text = policy_text(
        "  podSelector:\n    matchLabels: {a: b}\n    matchExpressions:\n    - {key: c, operator: In, values: [d, e, d]}\n    \
         - {key: f/g, operator: NotIn, values: ['']}\n    - {key: h, operator: Exists}\n    \
         - {key: i, operator: DoesNotExist, values: []}\n",
    );
    let pods = Selector::new([
        requirement("a", Operator::In(values(&["b"]))),
        requirement("c", Operator::In(values(&["d", "e"]))),
        requirement("f/g", Operator::NotIn(values(&[""]))),
        requirement("h", Operator::Exists),
        requirement("i", Operator::DoesNotExist),
    ]);
    let mut wanted = policy(Some(vec![]), None);
    wanted.parts[0].subject = Subject::Pods { namespaces: named("x"), pods };
    assert_eq!(one(&text), Object::Policy(wanted));
}

#[test]
fn a_port_that_was_left_empty_is_named_and_an_absent_one_is_meant() {
    let text = |port: &str| {
        policy_text(&format!("  podSelector: {{}}\n  egress:\n  - ports:\n    - protocol: TCP\n{port}"))
    };
    let loaded = load(&text("      port:\n"));
    assert_eq!(loaded.objects.len(), 1);
    assert_said(&loaded, &["empty-port", "spec.egress[0].ports[0].port", "every port of the protocol"]);
    assert!(load(&text("")).problems.is_empty());
}

#[test]
fn a_range_with_host_bits_is_masked_with_a_warning() {
    let loaded =
        load(&policy_text("  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/8}}]}]\n"));
    let peers = Peers::OneOf(vec![Peer::Block { cidr: v4(10, 0, 0, 8), except: vec![], inside: true }]);
    assert_eq!(loaded.objects, [Object::Policy(policy(Some(vec![rule(peers, Ports::Any)]), None))]);
    assert_said(&loaded, &["host-bits", "spec.ingress[0].from[0].ipBlock.cidr", "10.1.2.3/8"]);
}

#[test]
fn what_the_api_server_refuses_is_refused_by_field() {
    let from = |peer: &str| format!("  ingress: [{{from: [{peer}]}}]\n");
    let port = |port: &str| format!("  ingress: [{{ports: [{port}]}}]\n");
    let pods = |expression: &str| from(&format!("{{podSelector: {{matchExpressions: [{expression}]}}}}"));
    let block = |block: &str| from(&format!("{{ipBlock: {block}}}"));
    let expression = "spec.ingress[0].from[0].podSelector.matchExpressions[0]";
    let cidr = "spec.ingress[0].from[0].ipBlock.cidr";
    let except = "spec.ingress[0].from[0].ipBlock.except[0]";
    let number = "spec.ingress[0].ports[0].port";
    let end = "spec.ingress[0].ports[0].endPort";
    for (spec, field, says) in [
        (from("{}"), "spec.ingress[0].from[0]", "peer is empty"),
        (from("null"), "spec.ingress[0].from[0]", "peer is empty"),
        (from("{podSelector: }"), "spec.ingress[0].from[0]", "peer is empty"),
        (from("{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}"), "spec.ingress[0].from[0]", "stands alone"),
        (from("{podSelector: all}"), "spec.ingress[0].from[0].podSelector", "invalid type: string"),
        (from("{podSelectr: {}}"), "spec.ingress[0].from[0].podSelectr", "`podSelectr` is not known"),
        (pods("{key: a, operator: In}"), &format!("{expression}.values"), "at least one value"),
        (
            pods("{key: a, operator: NotIn, values: []}"),
            &format!("{expression}.values"),
            "at least one value",
        ),
        (pods("{key: a, operator: Exists, values: [b]}"), &format!("{expression}.values"), "takes no values"),
        (
            pods("{key: a, operator: DoesNotExist, values: [b]}"),
            &format!("{expression}.values"),
            "takes no values",
        ),
        (pods("{key: a, operator: in, values: [b]}"), &format!("{expression}.operator"), "not an operator"),
        (pods("{key: a}"), &format!("{expression}.operator"), "not an operator"),
        (pods("{operator: Exists}"), &format!("{expression}.key"), "not a label's key"),
        (
            pods("{key: a, operator: In, values: [a b]}"),
            &format!("{expression}.values[0]"),
            "not a label's value",
        ),
        (pods("{key: a, operator: In, values: [on]}"), &format!("{expression}.values[0]"), "quote it"),
        (block("{}"), cidr, "missing"),
        (block("{cidr: 10.0.0.0}"), cidr, "not a CIDR"),
        (block("{cidr: 10.0.0/8}"), cidr, "not an IP address"),
        (block("{cidr: 010.0.0.0/8}"), cidr, "leading zeros"),
        (block("{cidr: 10.0.0.0/08}"), cidr, "not a CIDR"),
        (block("{cidr: 10.0.0.0/+8}"), cidr, "not a CIDR"),
        (block("{cidr: 10.0.0.0/33}"), cidr, "above 32"),
        (block("{cidr: 'fd00::/129'}"), cidr, "above 128"),
        (block("{cidr: '::ffff:10.0.0.0/104'}"), cidr, "write it as IPv4"),
        (block("{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}"), except, "not a smaller range"),
        (block("{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}"), except, "not a smaller range"),
        (block("{cidr: 10.0.0.0/8, except: ['fd00::/16']}"), except, "not a smaller range"),
        (block("{cidr: 10.0.0.0/8, except: [x]}"), except, "not a CIDR"),
        (port("{port: 0}"), number, "1 to 65535"),
        (port("{port: 65536}"), number, "1 to 65535"),
        (port("{port: '80'}"), number, "without quotes"),
        (port("{port: Http}"), number, "lower-case"),
        (port("{port: a-name-of-16-chr}"), number, "at most 15"),
        (port("{port: a--b}"), number, "single"),
        (port("{port: [80]}"), number, "invalid type: sequence"),
        (port("{endPort: 90}"), end, "needs a `port`"),
        (port("{port: http, endPort: 90}"), end, "is a number"),
        (port("{port: 80, endPort: 79}"), end, "not be below port 80"),
        (port("{port: 80, endPort: 65536}"), end, "1 to 65535"),
        (port("{port: 80, protocol: ICMP}"), "spec.ingress[0].ports[0].protocol", "TCP, UDP or SCTP"),
        (port("{port: 80, protocol: ''}"), "spec.ingress[0].ports[0].protocol", "TCP, UDP or SCTP"),
        ("  policyTypes: [ingress]\n".into(), "spec.policyTypes[0]", "Ingress or Egress"),
        ("  policyTypes: [Ingress, Egress, Egress]\n".into(), "spec.policyTypes", "more than two"),
        ("  policyTypes: Ingress\n".into(), "spec.policyTypes", "invalid type: string"),
        ("  ingress: {}\n".into(), "spec.ingress", "invalid type: map"),
        ("  ingress: [{to: [{podSelector: {}}]}]\n".into(), "spec.ingress[0].to", "`to` is not known"),
        // Checked although it has no effect.
        (format!("  policyTypes: [Egress]\n{}", port("{port: 0}")), number, "1 to 65535"),
        ("  egress: [{to: [{}]}]\n".into(), "spec.egress[0].to[0]", "peer is empty"),
    ] {
        let loaded = load(&policy_text(&format!("  podSelector: {{}}\n{spec}")));
        assert!(loaded.objects.is_empty(), "{spec}");
        let field = format!("{field}: ");
        assert_said(&loaded, &["f.yaml:", "(document 1)", "NetworkPolicy x/np", &field, says]);
        assert_said(&loaded, &["not-enforced", "NOTHING of this policy is enforced"]);
    }
}
