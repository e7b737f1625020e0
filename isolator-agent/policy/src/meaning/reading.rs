//! Whether a policy selects a pod, and whether a rule's peers and ports match, read straight from the
//! model. Slow and plain on purpose: `compile` is measured against it. Not here: precedence (`oracle`).

use super::flow::judging_node;
use crate::cluster::ends::EndLabels;
use crate::cluster::snapshot::{Owner, Snapshot};
use crate::cluster::translations::Translated;
use crate::model::{
    Action, CidrGroup, Entity, IdentitySelector, NamespaceMatch, ObjectMatch, Peer, Peers, Pod, PortMatch,
    Ports, Requirement, Rule, Selector, Service, Subject,
};
use isolator_common::addr::{Addr, Prefix};
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

/// Whether a part of a policy speaks of this pod.
#[must_use]
pub fn selects(snapshot: &Snapshot, subject: &Subject, pod: &Pod) -> bool {
    match subject {
        Subject::Pods { namespaces, pods } => pod_matches(snapshot, namespaces, pods, pod),
        Subject::Labelled { namespace, identity } => {
            namespace.as_ref().is_none_or(|name| *name == pod.key.namespace)
                && identity.matches(&EndLabels::of_pod(snapshot, pod))
        }
    }
}

/// Whether a peer means this pod, whatever address it uses.
#[must_use]
pub fn means_pod(snapshot: &Snapshot, peer: &Peer, pod: &Pod) -> bool {
    match peer {
        Peer::Pods { namespaces, pods } => pod_matches(snapshot, namespaces, pods, pod),
        Peer::Labelled(identity) => identity.matches(&EndLabels::of_pod(snapshot, pod)),
        Peer::Services { namespace, services } => {
            meant(snapshot, namespace.as_deref(), services).any(|service| is_selected(service, pod))
        }
        Peer::Block { cidr, except, inside } => {
            let holds = |addr| cidr.contains(addr) && !except.iter().any(|hole| hole.contains(addr));
            *inside && pod.addresses.iter().any(holds)
        }
        Peer::Entity(entity) => matches!(entity, Entity::All | Entity::Cluster),
        Peer::Nodes { .. } | Peer::CidrGroups { .. } => false,
    }
}

/// The services that a peer means.
fn meant<'a>(
    snapshot: &'a Snapshot,
    namespace: Option<&str>,
    which: &ObjectMatch,
) -> impl Iterator<Item = &'a Service> {
    snapshot.services().values().map(AsRef::as_ref).filter(move |service| {
        namespace.is_none_or(|namespace| namespace == service.key.namespace)
            && match which {
                ObjectMatch::Named(name) => service.key.name == *name,
                ObjectMatch::Matching(labels) => labels.matches(&service.labels),
            }
    })
}

fn is_selected(service: &Service, pod: &Pod) -> bool {
    !service.selector.is_empty()
        && pod.key.namespace == service.key.namespace
        && service.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
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
                let pods = conflict.pods.iter().map(Owner::Pod);
                let nodes =
                    conflict.nodes.iter().flat_map(|node| [Owner::RemoteNode(node), Owner::LocalHost]);
                pods.chain(nodes).any(|owner| self.peer_matches(peer, owner))
            }
            owner => self.peer_matches(peer, owner),
        })
    }

    fn peer_matches(&self, peer: &Peer, owner: Owner<'_>) -> bool {
        // A Service address is nobody's: what comes from there is no backend's.
        if self.snapshot.translated(&self.addr, owner) == Translated::Everything {
            return *peer == Peer::Entity(Entity::All);
        }
        match peer {
            Peer::Pods { namespaces, pods } => match owner {
                Owner::Pod(pod) => pod_matches(self.snapshot, namespaces, pods, pod),
                _ => false,
            },
            Peer::Labelled(identity) => self.labels_match(identity, owner),
            Peer::Nodes { labels, own } => match owner {
                Owner::RemoteNode(node) => labels.matches(&node.labels),
                Owner::LocalHost => {
                    *own && labels.matches(&self.snapshot.node_labels(judging_node(self.subject)))
                }
                _ => false,
            },
            Peer::Block { cidr, except, inside } => {
                (*inside || matches!(owner, Owner::Outside)) && self.is_in(cidr, except)
            }
            Peer::CidrGroups { groups, except } => {
                matches!(owner, Owner::Outside)
                    && !except.iter().any(|hole| hole.contains(&self.addr))
                    && self.is_in_groups(groups)
            }
            Peer::Services { namespace, services } => {
                let mut meant = meant(self.snapshot, namespace.as_deref(), services);
                meant.any(|service| self.is_behind(service, owner))
            }
            Peer::Entity(entity) => self.is(*entity, owner),
        }
    }

    fn is_in(&self, cidr: &Prefix, except: &[Prefix]) -> bool {
        cidr.contains(&self.addr) && !except.iter().any(|hole| hole.contains(&self.addr))
    }

    /// Whether the other end's address is in the ranges of the groups that are meant.
    fn is_in_groups(&self, groups: &ObjectMatch) -> bool {
        let holding = self.snapshot.cidr_groups().values();
        let holding: Vec<_> =
            holding.filter(|group| group.cidrs.iter().any(|cidr| cidr.contains(&self.addr))).collect();
        match groups {
            ObjectMatch::Named(name) => holding.iter().any(|group| group.name == *name),
            ObjectMatch::Matching(selector) => {
                let holds = |wanted: &Requirement, group: &CidrGroup| {
                    wanted.operator.holds(group.labels.get(&wanted.key).map(String::as_str))
                };
                !holding.is_empty()
                    && selector.requirements().iter().all(|wanted| match wanted.operator.demands() {
                        true => holding.iter().any(|group| holds(wanted, group)),
                        false => holding.iter().all(|group| holds(wanted, group)),
                    })
            }
        }
    }

    fn labels_match(&self, identity: &IdentitySelector, owner: Owner<'_>) -> bool {
        let judging = judging_node(self.subject);
        let labels = EndLabels::of(self.snapshot, &self.addr, owner, judging);
        labels.is_some_and(|labels| identity.matches(&labels))
    }

    /// Whether the other end is a backend of the service: a pod that it selects, or, if it selects none, an
    /// address outside that one of its slices lists.
    fn is_behind(&self, service: &Service, owner: Owner<'_>) -> bool {
        if !service.selector.is_empty() {
            return matches!(owner, Owner::Pod(pod) if is_selected(service, pod));
        }
        let slices = self.snapshot.slices().values();
        let mut own = slices
            .filter(|slice| slice.namespace == service.key.namespace && slice.service == service.key.name);
        matches!(owner, Owner::Outside)
            && own.any(|slice| slice.backends.iter().any(|backend| backend.addresses.contains(&self.addr)))
    }

    fn is(&self, entity: Entity, owner: Owner<'_>) -> bool {
        let outside = matches!(owner, Owner::Outside);
        match entity {
            Entity::All => true,
            Entity::World => outside,
            Entity::WorldIpv4 => outside && self.addr.is_v4(),
            Entity::WorldIpv6 => outside && !self.addr.is_v4(),
            Entity::Cluster => !outside || self.is_api_server(owner),
            Entity::Host => matches!(owner, Owner::LocalHost),
            Entity::RemoteNode => matches!(owner, Owner::RemoteNode(_)),
            Entity::KubeApiserver => self.is_api_server(owner),
            Entity::Health | Entity::Init | Entity::Unmanaged | Entity::Ingress => false,
        }
    }

    fn is_api_server(&self, owner: Owner<'_>) -> bool {
        match owner {
            Owner::LocalHost => self.snapshot.hosts_api_server(judging_node(self.subject)),
            Owner::RemoteNode(_) | Owner::Outside => self.snapshot.api_servers().contains(&self.addr),
            Owner::Pod(_) | Owner::Conflict(_) => false,
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
