//! Whether peers hold a peer, and whether ports hold ports. Never wrongly yes. Not here: whose rules.

use crate::cluster::snapshot::Snapshot;
use crate::lint::facts::Facts;
use crate::model::{Entity, NamespaceMatch, Peer, Peers, PortMatch, Ports, Selector};
use isolator_common::addr::Prefix;

/// Whether all ends that `peer` means are meant by `peers`, one of them by itself.
pub(super) fn peers_hold(peers: &Peers, peer: &Peer, snapshot: &Snapshot) -> bool {
    match peers {
        Peers::Any => true,
        Peers::OneOf(peers) => peers.iter().any(|wide| holds(wide, peer, snapshot)),
    }
}

fn holds(wide: &Peer, peer: &Peer, snapshot: &Snapshot) -> bool {
    if wide == peer
        || matches!(peer, Peer::Entity(Entity::Health | Entity::Init | Entity::Unmanaged | Entity::Ingress))
    {
        return true;
    }
    match (wide, peer) {
        (Peer::Entity(entity), _) => entity_holds(*entity, peer),
        (Peer::Block { cidr, except, inside }, Peer::Block { cidr: inner, except: own, inside: narrow }) => {
            (*inside || !*narrow)
                && cidr.covers(inner)
                && except.iter().all(|hole| is_apart(hole, inner, own))
        }
        (Peer::Nodes { labels, own }, Peer::Nodes { labels: inner, own: narrow }) if *own || !*narrow => {
            let anywhere = NamespaceMatch::Matching(Selector::everything());
            let facts = |labels| Facts::of_pods(&anywhere, labels);
            facts(inner).are_within(&facts(labels), snapshot)
        }
        _ => match (facts(wide), facts(peer)) {
            (Some(wide), Some(peer)) => peer.are_within(&wide, snapshot),
            _ => false,
        },
    }
}

fn facts(peer: &Peer) -> Option<Facts> {
    match peer {
        Peer::Pods { namespaces, pods } => Some(Facts::of_pods(namespaces, pods)),
        Peer::Labelled(identity) => Some(Facts::of_identity(identity)),
        Peer::Nodes { .. }
        | Peer::Block { .. }
        | Peer::CidrGroups { .. }
        | Peer::Services { .. }
        | Peer::Entity(_) => None,
    }
}

fn entity_holds(wide: Entity, peer: &Peer) -> bool {
    match wide {
        Entity::All => true,
        Entity::World => match peer {
            Peer::Block { inside, .. } => !inside,
            Peer::CidrGroups { .. } | Peer::Entity(Entity::WorldIpv4 | Entity::WorldIpv6) => true,
            _ => false,
        },
        Entity::WorldIpv4 => matches!(peer, Peer::Block { cidr, inside: false, .. } if cidr.is_v4()),
        Entity::Cluster => match peer {
            Peer::Pods { .. } | Peer::Nodes { .. } => true,
            Peer::Labelled(identity) => Facts::of_identity(identity).mean_pods(),
            Peer::Entity(entity) => {
                matches!(entity, Entity::Host | Entity::RemoteNode | Entity::KubeApiserver)
            }
            _ => false,
        },
        Entity::RemoteNode => matches!(peer, Peer::Nodes { own: false, .. }),
        _ => false,
    }
}

/// Whether a hole of the wider range leaves nothing out of the inner one that its own holes do not leave out.
fn is_apart(hole: &Prefix, inner: &Prefix, own: &[Prefix]) -> bool {
    let disjoint = !hole.covers(inner) && !inner.covers(hole);
    disjoint || own.iter().any(|own| own.covers(hole))
}

/// Ports that are still to be covered.
pub(super) struct Need {
    /// All of them, ICMP and the like included.
    everything: bool,
    names: Vec<(u8, String)>,
    /// Protocol, first, last.
    ranges: Vec<(u8, u16, u16)>,
}

impl Need {
    pub(super) fn of(ports: &Ports) -> Self {
        let mut need = Need { everything: *ports == Ports::Any, names: Vec::new(), ranges: Vec::new() };
        if let Ports::OneOf(ports) = ports {
            for port in ports {
                match port {
                    PortMatch::Range { protocol, first, last } => {
                        need.ranges.push((*protocol, *first, *last));
                    }
                    PortMatch::Named { protocol, name } => need.names.push((*protocol, name.clone())),
                }
            }
        }
        need
    }

    pub(super) fn is_met(&self) -> bool {
        !self.everything && self.names.is_empty() && self.ranges.is_empty()
    }

    /// Takes off what these ports cover, and says whether that is anything.
    pub(super) fn take(&mut self, ports: &Ports) -> bool {
        let before = (self.everything, self.names.len(), self.ranges.clone());
        match ports {
            Ports::Any => *self = Need { everything: false, names: Vec::new(), ranges: Vec::new() },
            Ports::OneOf(ports) => ports.iter().for_each(|port| self.take_one(port)),
        }
        before != (self.everything, self.names.len(), self.ranges.clone())
    }

    fn take_one(&mut self, port: &PortMatch) {
        match port {
            PortMatch::Named { protocol, name } => {
                self.names.retain(|(own, needed)| (own, needed) != (protocol, name));
            }
            PortMatch::Range { protocol, first, last } => {
                if (*first, *last) == (0, u16::MAX) {
                    self.names.retain(|(own, _)| own != protocol);
                }
                let cut = |(own, begin, end): (u8, u16, u16)| {
                    if own != *protocol || end < *first || begin > *last {
                        return vec![(own, begin, end)];
                    }
                    let left = (begin < *first).then(|| (own, begin, *first - 1));
                    let right = (end > *last).then(|| (own, *last + 1, end));
                    left.into_iter().chain(right).collect()
                };
                self.ranges = std::mem::take(&mut self.ranges).into_iter().flat_map(cut).collect();
            }
        }
    }
}

/// Whether all of `ports` is in `wide`.
pub(super) fn ports_hold(wide: &Ports, ports: &Ports) -> bool {
    let mut need = Need::of(ports);
    need.take(wide);
    need.is_met()
}
