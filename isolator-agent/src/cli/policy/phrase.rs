//! Selectors, peers and ports in words. Not here: layout.

use crate::flows::text::protocol_name;
use isolator_policy::model::{
    Action, Entity, NamespaceMatch, Operator, Peer, Peers, PortMatch, Ports, Rule, Selector, Subject, Tier,
    cidr,
};

/// `app=web, tier in (a, b)`, or `all`.
pub(super) fn selector(selector: &Selector) -> String {
    let words = selector.requirements().iter().map(|requirement| {
        let key = &requirement.key;
        let list = |values: &std::collections::BTreeSet<String>| {
            values.iter().cloned().collect::<Vec<_>>().join(", ")
        };
        match &requirement.operator {
            Operator::In(values) if values.iter().eq([""]) => format!("{key}=\"\""),
            Operator::In(values) if values.len() == 1 => format!("{key}={}", list(values)),
            Operator::In(values) => format!("{key} in ({})", list(values)),
            Operator::NotIn(values) => format!("{key} not in ({})", list(values)),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        }
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "all".to_owned() } else { words.join(", ") }
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
pub(super) fn subject(subject: &Subject) -> String {
    format!("{} in {}", pods(&subject.pods), namespaces(&subject.namespaces))
}

/// One kind of peer.
pub(super) fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Pods { namespaces: where_, pods: labels } => {
            format!("{} in {}", pods(labels), namespaces(where_))
        }
        Peer::Block { cidr: range, except, inside } => {
            let mut words = cidr(range);
            if !except.is_empty() {
                let except: Vec<_> = except.iter().map(cidr).collect();
                words = format!("{words} except {}", except.join(", "));
            }
            if *inside { words } else { format!("{words} outside the cluster") }
        }
        Peer::Entity(entity) => match entity {
            Entity::All => "everybody",
            Entity::World => "everybody outside the cluster",
            Entity::Cluster => "everybody in the cluster",
            Entity::Host => "the local host",
            Entity::RemoteNode => "other nodes",
        }
        .to_owned(),
    }
}

/// One entry of a port list.
pub(super) fn port(port: &PortMatch) -> String {
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
pub(super) fn peers(peers: &Peers) -> Vec<String> {
    match peers {
        Peers::Any => vec!["everybody".to_owned()],
        Peers::OneOf(list) if list.is_empty() => vec!["nobody".to_owned()],
        Peers::OneOf(list) => list.iter().map(peer).collect(),
    }
}

/// The ports of a rule, one by one.
pub(super) fn ports(ports: &Ports) -> Vec<String> {
    match ports {
        Ports::Any => vec!["every protocol and port".to_owned()],
        Ports::OneOf(list) if list.is_empty() => vec!["no port".to_owned()],
        Ports::OneOf(list) => list.iter().map(port).collect(),
    }
}

/// What a rule does.
pub(super) const fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
    }
}

/// Name of a tier.
pub(super) const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Admin => "admin",
        Tier::Normal => "normal",
        Tier::Baseline => "baseline",
    }
}

/// `allow everybody on TCP/80, TCP/443`; `direction` says on which side the peers are.
pub(super) fn rule(rule: &Rule, towards: &str) -> String {
    let Rule { action: what, peers: who, ports: which } = rule;
    let on = match which {
        Ports::Any => String::new(),
        some => format!(" on {}", ports(some).join(", ")),
    };
    format!("{} {towards} {}{on}", action(*what), peers(who).join("; or "))
}
