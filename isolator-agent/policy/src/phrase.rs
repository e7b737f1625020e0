//! Selectors, peers and ports in words. Not here: layout.

use crate::model::protocol_name;
use crate::model::{
    Action, Entity, IdentitySelector, LabelSource, NamespaceMatch, ObjectMatch, Operator, Peer, Peers,
    PortMatch, Ports, Rule, Selector, Subject, Tier, cidr,
};
use isolator_common::addr::Prefix;

/// `app=web, tier in (a, b)`, or `all`.
#[must_use]
pub fn selector(selector: &Selector) -> String {
    let words = selector.requirements().iter();
    let words: Vec<_> = words.map(|wanted| requirement(&wanted.key, &wanted.operator)).collect();
    if words.is_empty() { "all".to_owned() } else { words.join(", ") }
}

fn requirement(key: &str, operator: &Operator) -> String {
    let list =
        |values: &std::collections::BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(", ");
    match operator {
        Operator::In(values) if values.iter().eq([""]) => format!("{key}=\"\""),
        Operator::In(values) if values.len() == 1 => format!("{key}={}", list(values)),
        Operator::In(values) => format!("{key} in ({})", list(values)),
        Operator::NotIn(values) => format!("{key} not in ({})", list(values)),
        Operator::Exists => key.to_owned(),
        Operator::DoesNotExist => format!("!{key}"),
    }
}

/// `k8s:app=web, reserved:host`, or `any labels`.
#[must_use]
pub fn identity(selector: &IdentitySelector) -> String {
    let words = selector.requirements().iter().map(|wanted| {
        let source = match &wanted.source {
            LabelSource::Any => "",
            LabelSource::Kubernetes => "k8s:",
            LabelSource::Reserved => "reserved:",
            LabelSource::Other(source) => &format!("{source}:"),
        };
        requirement(&format!("{source}{}", wanted.key), &wanted.operator)
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "any labels".to_owned() } else { words.join(", ") }
}

fn objects(which: &ObjectMatch) -> String {
    match which {
        ObjectMatch::Named(name) => name.clone(),
        ObjectMatch::Matching(labels) => format!("with labels {}", selector(labels)),
    }
}

fn except(holes: &[Prefix]) -> String {
    let holes: Vec<_> = holes.iter().map(cidr).collect();
    if holes.is_empty() { String::new() } else { format!(" except {}", holes.join(", ")) }
}

fn namespaces(namespaces: &NamespaceMatch) -> String {
    match namespaces {
        NamespaceMatch::Named(name) => format!("namespace {name}"),
        NamespaceMatch::Matching(labels) => match selector(labels).as_str() {
            "all" => "all namespaces".to_owned(),
            words => format!("namespaces with {words}"),
        },
    }
}

fn pods(labels: &Selector) -> String {
    match selector(labels).as_str() {
        "all" => "all pods".to_owned(),
        words => format!("pods with {words}"),
    }
}

/// `pods with app=web in namespace a`.
#[must_use]
pub fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Pods { namespaces: where_, pods: labels } => {
            format!("{} in {}", pods(labels), namespaces(where_))
        }
        Subject::Labelled { namespace, identity } => match namespace {
            Some(name) => format!("endpoints with {} in namespace {name}", self::identity(identity)),
            None => format!("endpoints with {}", self::identity(identity)),
        },
    }
}

/// One kind of peer.
#[must_use]
pub fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Pods { namespaces: where_, pods: labels } => {
            format!("{} in {}", pods(labels), namespaces(where_))
        }
        Peer::Block { cidr: range, except, inside } => {
            let words = format!("{}{}", cidr(range), self::except(except));
            if *inside { words } else { format!("{words} outside the cluster") }
        }
        Peer::Labelled(identity) => format!("endpoints with {}", self::identity(identity)),
        Peer::Nodes { labels, own } => {
            let nodes = if *own { "nodes" } else { "other nodes" };
            match selector(labels).as_str() {
                "all" => nodes.to_owned(),
                words => format!("{nodes} with {words}"),
            }
        }
        Peer::CidrGroups { groups, except } => {
            format!("CIDR groups {}{}", objects(groups), self::except(except))
        }
        Peer::Services { namespace, services } => {
            let namespace =
                namespace.as_ref().map_or("every namespace".to_owned(), |name| format!("namespace {name}"));
            format!("backends of services {} in {namespace}", objects(services))
        }
        Peer::Entity(entity) => match entity {
            Entity::All => "everybody",
            Entity::World => "everybody outside the cluster",
            Entity::WorldIpv4 => "everybody outside the cluster with an IPv4 address",
            Entity::WorldIpv6 => "everybody outside the cluster with an IPv6 address",
            Entity::Cluster => "everybody in the cluster",
            Entity::Host => "the local host",
            Entity::RemoteNode => "other nodes",
            Entity::KubeApiserver => "the API server",
            Entity::Health => "health endpoints (there are none)",
            Entity::Init => "endpoints without labels (there are none)",
            Entity::Unmanaged => "unmanaged pods (there are none)",
            Entity::Ingress => "ingress proxies (there are none)",
        }
        .to_owned(),
    }
}

/// One entry of a port list.
#[must_use]
pub fn port(port: &PortMatch) -> String {
    match port {
        PortMatch::Range { protocol, first: 0, last: u16::MAX } => protocol_name(*protocol),
        PortMatch::Range { protocol, first, last } if first == last => {
            format!("{}/{first}", protocol_name(*protocol))
        }
        PortMatch::Range { protocol, first, last } => format!("{}/{first}-{last}", protocol_name(*protocol)),
        PortMatch::Named { protocol, name } => format!("{}/{name}", protocol_name(*protocol)),
    }
}

/// The peers of a rule, one by one.
#[must_use]
pub fn peers(peers: &Peers) -> Vec<String> {
    match peers {
        Peers::Any => vec!["everybody".to_owned()],
        Peers::OneOf(list) if list.is_empty() => vec!["nobody".to_owned()],
        Peers::OneOf(list) => list.iter().map(peer).collect(),
    }
}

/// The ports of a rule, one by one.
#[must_use]
pub fn ports(ports: &Ports) -> Vec<String> {
    match ports {
        Ports::Any => vec!["every protocol and port".to_owned()],
        Ports::OneOf(list) if list.is_empty() => vec!["no port".to_owned()],
        Ports::OneOf(list) => list.iter().map(port).collect(),
    }
}

/// What a rule does.
#[must_use]
pub const fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
    }
}

/// Name of a tier.
#[must_use]
pub const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Admin => "admin",
        Tier::Normal => "normal",
        Tier::Baseline => "baseline",
    }
}

/// `allow everybody on TCP/80, TCP/443`; `direction` says on which side the peers are.
#[must_use]
pub fn rule(rule: &Rule, towards: &str) -> String {
    let Rule { at: _, action: what, peers: who, ports: which } = rule;
    let on = match which {
        Ports::Any => String::new(),
        some => format!(" on {}", ports(some).join(", ")),
    };
    format!("{} {towards} {}{on}", action(*what), peers(who).join("; or "))
}
