//! Objects in one line each. Not here: random ones (`generate`).

use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::protocol::TCP;
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::{Change, Object};
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{
    Action, ContainerPort, Labels, Namespace, NamespaceMatch, Node, Operator, Part, Peer, Peers, Pod, PodKey,
    Policy, PolicyKey, PolicyKind, PortMatch, Ports, Requirement, Rule, RuleField, Rules, Selector, Subject,
    Tier,
};
use std::net::IpAddr;
use std::sync::Arc;

/// An address of either family.
pub(crate) fn addr(text: &str) -> Addr {
    match text.parse().unwrap() {
        IpAddr::V4(v4) => Addr::v4(v4.octets()),
        IpAddr::V6(v6) => Addr(v6.octets()),
    }
}

/// A prefix of either family.
pub(crate) fn prefix(text: &str) -> Prefix {
    let (network, bits) = text.split_once('/').unwrap();
    let network = addr(network);
    let bits: u32 = bits.parse().unwrap();
    Prefix::new(network, if network.is_v4() { 96 + bits } else { bits })
}

/// Labels out of `key=value` words.
pub(crate) fn labels(text: &str) -> Labels {
    text.split_whitespace()
        .map(|word| word.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The name of a pod written as `namespace/name`.
pub(crate) fn pod_key(text: &str) -> PodKey {
    let (namespace, name) = text.split_once('/').unwrap();
    PodKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// A namespace with its name as a label.
pub(crate) fn namespace(name: &str, more: &str) -> Namespace {
    let mut labels = labels(more);
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    Namespace { name: name.to_owned(), labels, accept_tenants: Default::default() }
}

/// A node with these addresses.
pub(crate) fn node(name: &str, addresses: &[&str]) -> Node {
    Node {
        name: name.to_owned(),
        labels: Labels::new(),
        addresses: addresses.iter().map(|text| addr(text)).collect(),
        pod_cidrs: Vec::new(),
    }
}

/// A running pod with a port `http` of number 80 and a port `dns`, 53/UDP.
pub(crate) fn pod(key: &str, node: &str, addresses: &[&str], more: &str) -> Pod {
    Pod {
        key: pod_key(key),
        labels: labels(more).into(),
        node: Some(node.to_owned()),
        addresses: addresses.iter().map(|text| addr(text)).collect(),
        host_network: false,
        finished: false,
        ports: vec![port("http", TCP, 80), port("dns", 17, 53)],
        service_account: "default".to_owned(),
    }
}

/// A container port.
pub(crate) fn port(name: &str, protocol: u8, port: u16) -> ContainerPort {
    ContainerPort { name: name.to_owned(), protocol, port }
}

/// A selector out of words: `key=a|b`, `key!=a|b`, `key`, `!key`.
pub(crate) fn selector(text: &str) -> Selector {
    let values = |text: &str| text.split('|').map(str::to_owned).collect();
    Selector::new(text.split_whitespace().map(|word| {
        if let Some((key, list)) = word.split_once("!=") {
            Requirement { key: key.to_owned(), operator: Operator::NotIn(values(list)) }
        } else if let Some((key, list)) = word.split_once('=') {
            Requirement { key: key.to_owned(), operator: Operator::In(values(list)) }
        } else if let Some(key) = word.strip_prefix('!') {
            Requirement { key: key.to_owned(), operator: Operator::DoesNotExist }
        } else {
            Requirement { key: word.to_owned(), operator: Operator::Exists }
        }
    }))
}

/// Pods of one namespace.
pub(crate) fn pods_in(namespace: &str, pods: &str) -> Peer {
    Peer::Pods { namespaces: NamespaceMatch::Named(namespace.to_owned()), pods: selector(pods) }
}

/// Pods of the namespaces that a selector matches.
pub(crate) fn pods_where(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods { namespaces: NamespaceMatch::Matching(selector(namespaces)), pods: selector(pods) }
}

/// An ipBlock, which means addresses inside the cluster, too.
pub(crate) fn block(cidr: &str, except: &[&str]) -> Peer {
    Peer::Block { cidr: prefix(cidr), except: except.iter().map(|text| prefix(text)).collect(), inside: true }
}

/// Ports of one protocol.
pub(crate) fn range(protocol: u8, first: u16, last: u16) -> PortMatch {
    PortMatch::Range { protocol, first, last }
}

/// A port by its name.
pub(crate) fn named(protocol: u8, name: &str) -> PortMatch {
    PortMatch::Named { protocol, name: name.to_owned() }
}

/// A rule that allows.
pub(crate) fn allow(peers: Peers, ports: Ports) -> Rule {
    Rule { at: RuleField::of(Direction::Ingress, 0), action: Action::Allow, peers, ports }
}

/// A rule that denies.
pub(crate) fn deny(peers: Peers, ports: Ports) -> Rule {
    Rule { at: RuleField::of(Direction::Ingress, 0), action: Action::Deny, peers, ports }
}

/// A NetworkPolicy without sections.
pub(crate) fn policy(key: &str, pods: &str) -> Policy {
    let PodKey { namespace, name } = pod_key(key);
    Policy {
        key: PolicyKey { kind: PolicyKind::NetworkPolicy, namespace: namespace.clone(), name },
        tier: Tier::Normal,
        priority: 0,
        parts: vec![Part {
            subject: Subject::Pods { namespaces: NamespaceMatch::Named(namespace), pods: selector(pods) },
            ingress: None,
            egress: None,
        }],
    }
}

/// The policy with its rules named by where they stand.
pub(crate) fn numbered(mut policy: Policy) -> Policy {
    for part in &mut policy.parts {
        for (direction, section) in
            [(Direction::Ingress, &mut part.ingress), (Direction::Egress, &mut part.egress)]
        {
            for (index, rule) in (0..).zip(section.iter_mut().flat_map(|rules| &mut rules.rules)) {
                rule.at = RuleField::of(direction, index);
            }
        }
    }
    policy
}

/// The policy with these rules for ingress.
pub(crate) fn with_ingress(mut policy: Policy, rules: Option<Rules>) -> Policy {
    policy.parts[0].ingress = rules;
    numbered(policy)
}

/// The policy with these rules for egress.
pub(crate) fn with_egress(mut policy: Policy, rules: Option<Rules>) -> Policy {
    policy.parts[0].egress = rules;
    numbered(policy)
}

/// A section that isolates.
pub(crate) fn isolating(rules: Vec<Rule>) -> Option<Rules> {
    Some(Rules { default_deny: true, rules })
}

/// A section that only adds rules.
pub(crate) fn adding(rules: Vec<Rule>) -> Option<Rules> {
    Some(Rules { default_deny: false, rules })
}

/// A snapshot of exactly these objects.
pub(crate) fn snapshot(objects: Vec<Object>) -> Arc<Snapshot> {
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(objects));
    index.snapshot()
}
