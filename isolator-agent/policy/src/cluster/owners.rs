//! Who has which address. Pods with a network of their own have theirs; a node has those that it declares
//! and those of the running hostNetwork pods on it. Two pods, or a pod and a node, with one address are a
//! conflict. An address of several nodes belongs to the first of them, but as a remote node to all: the
//! local host's rights need an address that is only its own. Not here: what follows from it.

use super::index::Objects;
use super::snapshot::{Conflict, Owner};
use crate::model::{Node, Pod, PodKey};
use isolator_common::addr::Addr;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Claims on addresses.
#[derive(Debug, Default)]
pub(super) struct Owners {
    claims: HashMap<Addr, Claim>,
    nodes: BTreeMap<String, Arc<Node>>,
}

/// Who claims an address. Most have one claimant, so that takes no list.
#[derive(Debug)]
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
        Owners { claims, nodes }
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

    pub(super) fn node_address(&self, node: &str, v4: bool) -> Option<Addr> {
        self.nodes.get(node)?.addresses.iter().copied().find(|addr| addr.is_v4() == v4)
    }

    /// Addresses with more than one claimant, sorted.
    pub(super) fn shared(&self) -> Vec<(Addr, &Conflict)> {
        let mut shared: Vec<_> = self
            .claims
            .iter()
            .filter_map(|(addr, claim)| match claim {
                Claim::Many(conflict) => Some((*addr, &**conflict)),
                _ => None,
            })
            .collect();
        shared.sort_by_key(|(addr, _)| *addr);
        shared
    }
}

/// The nodes with the addresses of their hostNetwork pods, and nodes that only such pods speak of.
fn with_host_pods(pods: &Objects<PodKey, Pod>, nodes: &Objects<String, Node>) -> BTreeMap<String, Arc<Node>> {
    let mut all = nodes.as_ref().clone();
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
    let Some(old) = claims.remove(&addr) else {
        claims.insert(addr, new);
        return;
    };
    let mut conflict = Conflict::default();
    for claimant in [old, new] {
        match claimant {
            Claim::Pod(pod) => conflict.pods.push(pod),
            Claim::Node(node) => conflict.nodes.push(node),
            Claim::Many(many) => {
                conflict.pods.extend(many.pods);
                conflict.nodes.extend(many.nodes);
            }
        }
    }
    // A node that lists one address twice is still one claimant.
    conflict.nodes.dedup_by(|a, b| a.name == b.name);
    let only = match (conflict.pods.as_slice(), conflict.nodes.as_slice()) {
        ([], [node]) => Claim::Node(Arc::clone(node)),
        _ => Claim::Many(Box::new(conflict)),
    };
    claims.insert(addr, only);
}
