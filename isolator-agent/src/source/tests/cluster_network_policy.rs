//! Tests of ClusterNetworkPolicy: what it becomes, and what is refused.

use super::{assert_said, load, one, said};
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{
    Action, NamespaceMatch, Part, Peer, Peers, Policy, PolicyKey, PolicyKind, PortMatch, Ports, Rule,
    RuleField, Rules, Selector, Subject, Tier,
};

fn text(spec: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: c}}\nspec: {spec}\n"
    )
}

fn of_all(rules: &str) -> String {
    text(&format!("{{tier: Admin, priority: 7, subject: {{namespaces: {{}}}}, {rules}}}"))
}

#[test]
fn tier_priority_rules_peers_and_ports_are_read() {
    let spec = "egress: [{name: first, action: Pass, to: [{pods: {podSelector: {}}}, {nodes: {}}, {networks: ['::/0']}], \
                protocols: [{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 1, end: 9}}}}]}, \
                {action: Accept, to: [{namespaces: {}}], protocols: [{destinationNamedPort: http}]}]";
    let everywhere = || NamespaceMatch::Matching(Selector::everything());
    let pods = || Peer::Pods { namespaces: everywhere(), pods: Selector::everything() };
    let cidr = isolator_common::addr::Prefix::ALL_V6;
    let first = Rule {
        at: RuleField::of(Direction::Egress, 0),
        action: Action::Pass,
        peers: Peers::OneOf(vec![
            pods(),
            Peer::Nodes { labels: Selector::everything(), own: true },
            Peer::Block { cidr, except: vec![], inside: true },
        ]),
        ports: Ports::OneOf(vec![
            PortMatch::Range { protocol: 6, first: 80, last: 80 },
            PortMatch::Range { protocol: 17, first: 1, last: 9 },
        ]),
    };
    let named = |protocol| PortMatch::Named { protocol, name: "http".into() };
    let second = Rule {
        at: RuleField::of(Direction::Egress, 1),
        action: Action::Allow,
        peers: Peers::OneOf(vec![pods()]),
        ports: Ports::OneOf([6, 17, 132].map(named).into()),
    };
    let wanted = Policy {
        key: PolicyKey { kind: PolicyKind::ClusterNetworkPolicy, namespace: String::new(), name: "c".into() },
        tier: Tier::Admin,
        priority: 7,
        parts: vec![Part {
            subject: Subject::Pods { namespaces: everywhere(), pods: Selector::everything() },
            ingress: None,
            egress: Some(Rules { default_deny: false, rules: vec![first, second] }),
        }],
    };
    assert_eq!(one(&of_all(spec)), Object::Policy(wanted));
}

#[test]
fn what_the_schema_refuses_is_refused_and_says_where() {
    let rule = |rule: &str| of_all(&format!("egress: [{{action: Deny, {rule}}}]"));
    let many = |one: &str| vec![one; 26].join(", ");
    for (text, field, words) in [
        (
            text("{tier: Normal, priority: 1, subject: {namespaces: {}}}"),
            "spec.tier: ",
            "it is Admin or Baseline",
        ),
        (
            text("{tier: Admin, priority: 1001, subject: {namespaces: {}}}"),
            "spec.priority: ",
            "1001 is not a priority",
        ),
        (text("{tier: Admin, priority: -1, subject: {namespaces: {}}}"), "spec.priority: ", "0 to 1000"),
        (text("{tier: Admin, subject: {namespaces: {}}}"), "spec.priority: ", "nothing is not a priority"),
        (text("{tier: Admin, priority: 1}"), "spec.subject: ", "exactly one of namespaces and pods"),
        (
            text("{tier: Admin, priority: 1, subject: {pods: {}}}"),
            "spec.subject.pods.podSelector: ",
            "is missing",
        ),
        (
            of_all("ingress: [{action: Allow, from: [{namespaces: {}}]}]"),
            "spec.ingress[0].action: ",
            "Accept, Deny or Pass",
        ),
        (of_all("ingress: [{action: Deny, from: []}]"), "spec.ingress[0].from: ", "needs an entry at least"),
        (of_all("ingress: [null]"), "spec.ingress[0]: ", "must not be null"),
        (of_all("ingress: [{action: Deny, from: [null]}]"), "spec.ingress[0].from[0]: ", "must not be null"),
        (rule("to: [{networks: [null]}]"), "spec.egress[0].to[0].networks[0]: ", "null"),
        (
            of_all("ingress: [{action: Deny, from: [{}]}]"),
            "spec.ingress[0].from[0]: ",
            "exactly one kind of peer",
        ),
        (
            of_all("ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]"),
            "from[0].networks: ",
            "not known",
        ),
        (rule("to: [{namespaces: {}, nodes: {}}]"), "spec.egress[0].to[0]: ", "exactly one kind of peer"),
        (rule("to: [{networks: [10.0.0.1]}]"), "to[0].networks[0]: ", "is not a CIDR"),
        (
            rule(&format!("to: [{}]", many("{namespaces: {}}"))),
            "spec.egress[0].to: ",
            "26 entries, more than 25",
        ),
        (rule("to: [{namespaces: {}}], protocols: []"), "spec.egress[0].protocols: ", "needs an entry"),
        (rule("to: [{namespaces: {}}], protocols: [{tcp: {}}]"), "tcp.destinationPort: ", "is missing"),
        (
            rule("to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 0}}}]"),
            "tcp.destinationPort.number: ",
            "0 is not a port",
        ),
        (
            rule(
                "to: [{namespaces: {}}], protocols: [{sctp: {destinationPort: {range: {start: 5, end: 5}}}}]",
            ),
            "sctp.destinationPort.range: ",
            "must be below",
        ),
        (
            rule("to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]"),
            "protocols[0].destinationNamedPort: ",
            "have no named ports",
        ),
    ] {
        let loaded = load(&text);
        assert!(loaded.objects.is_empty(), "accepted: {text}");
        assert_said(&loaded, &["ClusterNetworkPolicy c", field, words]);
    }
}

#[test]
fn domain_names_accept_nothing_and_deny_everything() {
    for (action, peers) in [("Accept", Peers::OneOf(vec![])), ("Deny", Peers::Any), ("Pass", Peers::Any)] {
        let loaded =
            load(&of_all(&format!("egress: [{{action: {action}, to: [{{domainNames: [a.org]}}]}}]")));
        assert_said(&loaded, &["unenforced-field", "spec.egress[0].to[0].domainNames: "]);
        let [Object::Policy(policy)] = &loaded.objects[..] else { panic!("{:?}", said(&loaded)) };
        let rule = &policy.parts[0].egress.as_ref().unwrap().rules[0];
        let wanted = if action == "Accept" { Action::Allow } else { Action::Deny };
        assert_eq!((rule.action, &rule.peers), (wanted, &peers), "{action}");
    }
}
