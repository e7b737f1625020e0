//! Pods, namespaces and nodes, reduced to what enforcement needs. Not here: anything that changes
//! without a change in enforcement (resource versions, conditions, images).

use super::Labels;
use isolator_common::addr::{Addr, Prefix};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Names a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A port that a container declares. Only named ports matter to policy; the lab listens on all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPort {
    /// The name, empty where there is none.
    pub name: String,
    /// IP protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// Its labels. Most pods have the same as others, which may share them.
    pub labels: Arc<Labels>,
    /// The node it was scheduled to.
    pub node: Option<String>,
    /// Its addresses: `status.podIPs`, or `podIP`. At most one of each family counts, as in the API.
    pub addresses: Vec<Addr>,
    /// It uses its node's network: its addresses are the node's, and it is the host to every policy.
    pub host_network: bool,
    /// Phase Succeeded or Failed: its addresses may belong to another pod already.
    pub finished: bool,
    /// Ports of all its containers, in order.
    pub ports: Vec<ContainerPort>,
    /// Its service account.
    pub service_account: String,
}

impl Pod {
    /// Whether the pod has a network of its own that is in use: only such pods are endpoints and peers.
    #[must_use]
    pub fn is_endpoint(&self) -> bool {
        !self.host_network && !self.finished && !self.addresses.is_empty()
    }

    /// The addresses that count: the first IPv4 and the first IPv6 address.
    #[must_use]
    pub fn addrs(&self) -> [Option<Addr>; 2] {
        let first = |v4: bool| self.addresses.iter().copied().find(|addr| addr.is_v4() == v4);
        [first(true), first(false)]
    }
}

/// A namespace. One that no manifest declares has no labels but `kubernetes.io/metadata.name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, `kubernetes.io/metadata.name` included, as the API server adds it.
    pub labels: Labels,
    /// Tenants that it admits beside its own: annotation `isolator.dev/accept-tenants`.
    pub accept_tenants: BTreeSet<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its own addresses, of every type that is an address.
    pub addresses: Vec<Addr>,
    /// Ranges that its pods get addresses from.
    pub pod_cidrs: Vec<Prefix>,
}
