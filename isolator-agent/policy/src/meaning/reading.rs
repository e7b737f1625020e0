//! Whether a policy selects a pod, and whether a rule's peers and ports match, read straight from the
//! model. Slow and plain on purpose: `compile` is measured against it. Not here: precedence (`oracle`).

use crate::cluster::snapshot::{Owner, Snapshot};
use crate::model::{
    Action, Entity, NamespaceMatch, Peer, Peers, Pod, Policy, PortMatch, Ports, Rule, Rules, Selector,
};
use isolator_common::addr::Addr;
use isolator_common::policy::Direction;

/// One side of a flow: an endpoint and what it talks to.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The endpoint whose rules are read.
    pub(super) subject: &'a Pod,
    pub(super) direction: Direction,
    /// The other end.
    pub(super) addr: Addr,
    pub(super) owner: Owner<'a>,
    pub(super) protocol: u8,
    pub(super) port: u16,
}

/// The section of a policy for one direction.
pub(super) fn section(policy: &Policy, direction: Direction) -> Option<&Rules> {
    match direction {
        Direction::Egress => policy.egress.as_ref(),
        Direction::Ingress => policy.ingress.as_ref(),
    }
}

/// Whether the policy speaks of this pod.
pub(super) fn selects(snapshot: &Snapshot, policy: &Policy, pod: &Pod) -> bool {
    pod_matches(snapshot, &policy.subject.namespaces, &policy.subject.pods, pod)
}

fn pod_matches(snapshot: &Snapshot, namespaces: &NamespaceMatch, pods: &Selector, pod: &Pod) -> bool {
    let namespace = match namespaces {
        NamespaceMatch::Named(name) => *name == pod.key.namespace,
        NamespaceMatch::Matching(selector) => {
            selector.matches(&snapshot.namespace_labels(&pod.key.namespace))
        }
    };
    namespace && pods.matches(&pod.labels)
}

impl Seen<'_> {
    /// Whether the rule's peers match the other end.
    ///
    /// An address that several ends claim: a rule that denies matches if it would match any of them. One
    /// that allows, or passes on, matches only if it matches everything there is.
    pub(super) fn peers_match(&self, rule: &Rule) -> bool {
        let peers = match &rule.peers {
            Peers::Any => return true,
            Peers::OneOf(peers) => peers,
        };
        peers.iter().any(|peer| match self.owner {
            Owner::Conflict(_) if rule.action != Action::Deny => *peer == Peer::Entity(Entity::All),
            Owner::Conflict(conflict) => {
                let pods = conflict.pods.iter().map(|pod| Owner::Pod(pod));
                let nodes =
                    conflict.nodes.iter().flat_map(|node| [Owner::RemoteNode(node), Owner::LocalHost]);
                pods.chain(nodes).any(|owner| self.peer_matches(peer, owner))
            }
            owner => self.peer_matches(peer, owner),
        })
    }

    fn peer_matches(&self, peer: &Peer, owner: Owner<'_>) -> bool {
        match peer {
            Peer::Pods { namespaces, pods } => match owner {
                Owner::Pod(pod) => pod_matches(self.snapshot, namespaces, pods, pod),
                _ => false,
            },
            Peer::Block { cidr, except, inside } => {
                (*inside || matches!(owner, Owner::Outside))
                    && cidr.contains(&self.addr)
                    && !except.iter().any(|hole| hole.contains(&self.addr))
            }
            Peer::Entity(entity) => match entity {
                Entity::All => true,
                Entity::World => matches!(owner, Owner::Outside),
                Entity::Cluster => !matches!(owner, Owner::Outside),
                Entity::Host => matches!(owner, Owner::LocalHost),
                Entity::RemoteNode => matches!(owner, Owner::RemoteNode(_)),
            },
        }
    }

    /// Whether the rule's ports match. A rule without ports matches every protocol.
    pub(super) fn ports_match(&self, rule: &Rule) -> bool {
        let ports = match &rule.ports {
            Ports::Any => return true,
            Ports::OneOf(ports) => ports,
        };
        ports.iter().any(|port| match port {
            PortMatch::Range { protocol, first, last } => {
                *protocol == self.protocol && (*first..=*last).contains(&self.port)
            }
            PortMatch::Named { protocol, name } => {
                *protocol == self.protocol && self.named(name, rule.action)
            }
        })
    }

    /// Whether the receiving end declares the flow's port by this name.
    fn named(&self, name: &str, action: Action) -> bool {
        let declares = |pod: &Pod| {
            pod.ports
                .iter()
                .any(|port| port.name == name && port.protocol == self.protocol && port.port == self.port)
        };
        match (self.direction, self.owner) {
            (Direction::Ingress, _) => declares(self.subject),
            (Direction::Egress, Owner::Pod(peer)) => declares(peer),
            (Direction::Egress, Owner::Conflict(conflict)) => {
                action == Action::Deny && conflict.pods.iter().any(|pod| declares(pod))
            }
            (Direction::Egress, _) => false,
        }
    }
}
