//! Who has which address. Pods with a network of their own have theirs; a node has those that it declares
//! and those of the running hostNetwork pods on it. Two pods, or a pod and a node, with one address are a
//! conflict. An address of several nodes belongs to the first of them, but as a remote node to all: the
//! local host's rights need an address that is only its own. Not here: what follows from it.

use super::index::Objects;
use super::snapshot::{Conflict, Owner};
use crate::model::{Node, Pod, PodKey};
use crate::shared::SharedMap;
use isolator_common::addr::Addr;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Claims on addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    claims: SharedMap<Addr, Claim>,
    nodes: Arc<BTreeMap<String, Arc<Node>>>,
}

/// Who claims an address. Most have one claimant, so that takes no list.
#[derive(Clone, Debug)]
enum Claim {
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    Many(Box<Conflict>),
}

impl Owners {
    pub(super) fn new(pods: &Objects<PodKey, Pod>, nodes: &Objects<String, Node>) -> Self {
        let nodes = with_host_pods(pods, nodes);
        let mut claims = HashMap::with_capacity(pods.len() + nodes.len());
        for pod in pods.values().filter(|pod| pod.is_endpoint()) {
            for addr in pod.addrs().into_iter().flatten() {
                claim(&mut claims, addr, Claim::Pod(Arc::clone(pod)));
            }
        }
        for node in nodes.values() {
            for addr in &node.addresses {
                claim(&mut claims, *addr, Claim::Node(Arc::clone(node)));
            }
        }
        Owners { claims: claims.into_iter().collect(), nodes: Arc::new(nodes) }
    }

    /// The owners after a change of one pod, where the nodes' addresses do not depend on it.
    pub(super) fn with(&self, before: Option<&Arc<Pod>>, after: Option<&Arc<Pod>>) -> Self {
        let mut next = self.clone();
        let endpoint = |pod: &&Arc<Pod>| pod.is_endpoint();
        if let Some(pod) = before.filter(endpoint) {
            for addr in pod.addrs().into_iter().flatten() {
                next.release(addr, &pod.key);
            }
        }
        if let Some(pod) = after.filter(endpoint) {
            for addr in pod.addrs().into_iter().flatten() {
                let claim = Claim::Pod(Arc::clone(pod));
                let joined = match next.claims.remove(&addr) {
                    Some(other) => together(other, claim),
                    None => claim,
                };
                next.claims.insert(addr, joined);
            }
        }
        next
    }

    fn release(&mut self, addr: Addr, pod: &PodKey) {
        let Some(claim) = self.claims.remove(&addr) else { return };
        let left = match claim {
            Claim::Pod(_) => return,
            Claim::Node(node) => Claim::Node(node),
            Claim::Many(mut conflict) => {
                conflict.pods.retain(|other| other.key != *pod);
                Claim::of(*conflict)
            }
        };
        self.claims.insert(addr, left);
    }

    pub(super) fn of(&self, addr: &Addr, judging: &str) -> Owner<'_> {
        match self.claims.get(addr) {
            None => Owner::Outside,
            Some(Claim::Pod(pod)) => Owner::Pod(pod),
            Some(Claim::Node(node)) if node.name == judging => Owner::LocalHost,
            Some(Claim::Node(node)) => Owner::RemoteNode(node),
            Some(Claim::Many(conflict)) => match (conflict.pods.is_empty(), conflict.nodes.first()) {
                (true, Some(node)) => Owner::RemoteNode(node),
                _ => Owner::Conflict(conflict),
            },
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = Addr> + '_ {
        self.claims.keys().copied()
    }

    /// Addresses whose claimants may differ, sorted. `None` where those of nodes do.
    pub(super) fn changed(&self, before: &Owners) -> Option<Vec<Addr>> {
        let same = |a: Option<&Claim>, b: Option<&Claim>| match (a, b) {
            (Some(Claim::Pod(a)), Some(Claim::Pod(b))) => Arc::ptr_eq(a, b),
            (Some(Claim::Node(a)), Some(Claim::Node(b))) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let pairs = before.claims.pairs(&self.claims).filter(|(_, a, b)| !same(*a, *b));
        Arc::ptr_eq(&self.nodes, &before.nodes).then(|| pairs.map(|(addr, ..)| *addr).collect())
    }

    pub(super) fn node_address(&self, node: &str, v4: bool) -> Option<Addr> {
        self.node_addresses(node).iter().copied().find(|addr| addr.is_v4() == v4)
    }

    pub(super) fn node_addresses(&self, node: &str) -> &[Addr] {
        self.nodes.get(node).map_or(&[], |node| &node.addresses)
    }

    /// The claimants of an address that has more than one.
    pub(super) fn conflict(&self, addr: &Addr) -> Option<&Conflict> {
        match self.claims.get(addr) {
            Some(Claim::Many(conflict)) => Some(conflict),
            Some(Claim::Pod(_) | Claim::Node(_)) | None => None,
        }
    }

    /// Addresses with more than one claimant, sorted.
    pub(super) fn shared(&self) -> impl Iterator<Item = (Addr, &Conflict)> {
        self.claims.iter().filter_map(|(addr, claim)| match claim {
            Claim::Many(conflict) => Some((*addr, &**conflict)),
            Claim::Pod(_) | Claim::Node(_) => None,
        })
    }
}

/// The nodes with the addresses of their hostNetwork pods, and nodes that only such pods speak of.
fn with_host_pods(pods: &Objects<PodKey, Pod>, nodes: &Objects<String, Node>) -> BTreeMap<String, Arc<Node>> {
    let mut all: BTreeMap<String, Arc<Node>> =
        nodes.iter().map(|(name, node)| (name.clone(), Arc::clone(node))).collect();
    for pod in pods.values().filter(|pod| pod.host_network && !pod.finished) {
        let Some(name) = &pod.node else { continue };
        let node = all.entry(name.clone()).or_insert_with(|| {
            Arc::new(Node {
                name: name.clone(),
                labels: Default::default(),
                addresses: Vec::new(),
                pod_cidrs: Vec::new(),
            })
        });
        for addr in pod.addrs().into_iter().flatten() {
            if !node.addresses.contains(&addr) {
                Arc::make_mut(node).addresses.push(addr);
            }
        }
    }
    all
}

fn claim(claims: &mut HashMap<Addr, Claim>, addr: Addr, new: Claim) {
    let joined = match claims.remove(&addr) {
        Some(old) => together(old, new),
        None => new,
    };
    claims.insert(addr, joined);
}

fn together(one: Claim, other: Claim) -> Claim {
    let mut conflict = Conflict::default();
    for claimant in [one, other] {
        match claimant {
            Claim::Pod(pod) => conflict.pods.push(pod),
            Claim::Node(node) => conflict.nodes.push(node),
            Claim::Many(many) => {
                conflict.pods.extend(many.pods);
                conflict.nodes.extend(many.nodes);
            }
        }
    }
    conflict.pods.sort_by(|a, b| a.key.cmp(&b.key));
    // A node that lists one address twice is still one claimant.
    conflict.nodes.dedup_by(|a, b| a.name == b.name);
    Claim::of(conflict)
}

impl Claim {
    /// The claim of at least one claimant.
    fn of(conflict: Conflict) -> Claim {
        match (conflict.pods.as_slice(), conflict.nodes.as_slice()) {
            ([pod], []) => Claim::Pod(Arc::clone(pod)),
            ([], [node]) => Claim::Node(Arc::clone(node)),
            _ => Claim::Many(Box::new(conflict)),
        }
    }
}
