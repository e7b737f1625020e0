//! What the policies of the measured endpoints are made of: selectors, or many prefixes, port ranges, or rules
//! that deny. Not here: the rest of the cluster.

use crate::cluster::{first, peer};
use isolator_common::addr::Prefix;
use isolator_common::policy::Direction;
use isolator_policy::datapath::frame::CLIENT_PORT;
use isolator_policy::model::{
    Action, NamespaceMatch, Operator, Peer, Peers, PortMatch, Ports, Requirement, Rule, RuleField, RuleList,
    Rules, Selector,
};

/// Peers that share a prefix of the shape [`Shape::Prefixes`]: 2 to the power of this.
const PREFIX_BITS: u32 = 4;

/// A kind of policy and how much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Peers are pods, allowed by their labels.
    Selectors,
    /// Peers are outside the cluster, allowed by this many prefixes.
    Prefixes(u32),
    /// Peers are pods, allowed at this many ranges of ports.
    Ranges(u32),
    /// Peers are pods, allowed by their labels, and this many rules deny other pods and other ports.
    Denies(u32),
    /// Peers are pods, allowed by their labels, and there are this many services: what goes through them is measured.
    Services(u32),
}

impl Shape {
    /// As printed.
    pub(crate) fn name(self) -> String {
        match self {
            Shape::Selectors => "selectors".to_owned(),
            Shape::Prefixes(number) => format!("{number} prefixes"),
            Shape::Ranges(number) => format!("{number} port ranges"),
            Shape::Denies(number) => format!("{number} rules that deny"),
            Shape::Services(number) => format!("{number} services"),
        }
    }

    /// Whether the peers are pods.
    pub(crate) fn peers_are_pods(self) -> bool {
        !matches!(self, Shape::Prefixes(_))
    }

    /// Whether peers may send everything, so that their connections need no entry.
    pub(crate) fn is_free(self) -> bool {
        !matches!(self, Shape::Ranges(_) | Shape::Denies(_))
    }

    /// How many services there are.
    pub(crate) fn services(self) -> u32 {
        if let Shape::Services(number) = self { number } else { 0 }
    }

    /// The section that allows the peers.
    pub(crate) fn allowing(self) -> Rules {
        let mut rules = vec![rule(Action::Allow, self.peers(), self.ports())];
        if let Shape::Denies(number) = self {
            rules.extend((0..number).map(deny));
        }
        Rules { default_deny: true, rules }
    }

    fn peers(self) -> Vec<Peer> {
        match self {
            Shape::Prefixes(number) => {
                let block = |v4: bool, number: u32| {
                    let addr = peer(v4, number << PREFIX_BITS);
                    Peer::Block {
                        cidr: Prefix::new(addr, 128 - PREFIX_BITS),
                        except: Vec::new(),
                        inside: false,
                    }
                };
                debug_assert!(first(true).trailing_zeros() >= PREFIX_BITS);
                (0..number).flat_map(|number| [block(true, number), block(false, number)]).collect()
            }
            Shape::Selectors | Shape::Ranges(_) | Shape::Denies(_) | Shape::Services(_) => {
                vec![pods("role", "peer".to_owned())]
            }
        }
    }

    fn ports(self) -> Ports {
        let Shape::Ranges(number) = self else { return Ports::Any };
        // The measured ports, and ranges of two between them with gaps.
        let mut ranges = vec![range(0, 1023), range(CLIENT_PORT, u16::MAX)];
        ranges.extend((0..number.saturating_sub(2)).filter_map(|number| {
            let first = u16::try_from(1024 + number * 4).ok()?;
            (first + 1 < CLIENT_PORT).then(|| range(first, first + 1))
        }));
        Ports::OneOf(ranges)
    }
}

fn rule(action: Action, peers: Vec<Peer>, ports: Ports) -> Rule {
    Rule { at: RuleField::of(Direction::Ingress, 0), action, peers: Peers::OneOf(peers), ports }
}

fn range(first: u16, last: u16) -> PortMatch {
    PortMatch::Range { protocol: 6, first, last }
}

/// Denies pods that are there and not measured, or a port that is not.
fn deny(number: u32) -> Rule {
    let port = u16::try_from(20_000 + number % 40_000).unwrap_or(u16::MAX);
    let at = RuleField { spec: None, list: RuleList::IngressDeny, index: number };
    let denied = match number % 2 {
        0 => rule(Action::Deny, vec![pods("name", format!("stranger-{number}"))], Ports::Any),
        _ => rule(Action::Deny, vec![pods("role", "peer".to_owned())], Ports::OneOf(vec![range(port, port)])),
    };
    Rule { at, ..denied }
}

fn pods(key: &str, value: String) -> Peer {
    let everywhere = NamespaceMatch::Matching(Selector::everything());
    let requirement = Requirement { key: key.to_owned(), operator: Operator::In([value].into()) };
    Peer::Pods { namespaces: everywhere, pods: Selector::new([requirement]) }
}
