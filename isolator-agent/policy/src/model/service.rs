//! Services, what is behind them, and named ranges of addresses. Not here: who programs their addresses.

use super::{Labels, PodKey};
use isolator_common::addr::{Addr, Prefix};
use std::fmt;

/// Names a service, or a slice of backends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its name.
    pub key: ServiceKey,
    /// Its labels.
    pub labels: Labels,
    /// Labels of the pods behind it; empty: its backends come from elsewhere.
    pub selector: Labels,
    /// Addresses that mean it: cluster IPs, external IPs, those of load balancers. Sorted; a headless service
    /// has none.
    pub addresses: Vec<Addr>,
    /// Its ports, in order.
    pub ports: Vec<ServicePort>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// The name, empty where there is none.
    pub name: String,
    /// IP protocol number.
    pub protocol: u8,
    /// The port at the service's addresses.
    pub port: u16,
    /// The port at the pods behind it.
    pub target: TargetPort,
    /// The port at every node's addresses, if it has one.
    pub node_port: Option<u16>,
}

/// The port of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// This number.
    Number(u16),
    /// The container port of this name.
    Named(String),
}

/// Backends of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointSlice {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name of its service; empty where it belongs to none.
    pub service: String,
    /// The backends.
    pub backends: Vec<Backend>,
    /// Their ports.
    pub ports: Vec<BackendPort>,
}

impl EndpointSlice {
    /// Its own name, not its service's.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        ServiceKey { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its addresses, all of one family. They mean the same backend; the first is used.
    pub addresses: Vec<Addr>,
    /// Whether it takes new connections.
    pub ready: bool,
    /// The pod, where it is one.
    pub pod: Option<PodKey>,
}

/// A port of the backends of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendPort {
    /// The name of the service's port.
    pub name: String,
    /// IP protocol number.
    pub protocol: u8,
    /// The port; `None`: every port.
    pub port: Option<u16>,
}

/// Ranges that addresses of services come from (ServiceCIDR).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceRange {
    /// Its name.
    pub name: String,
    /// The ranges.
    pub cidrs: Vec<Prefix>,
}

/// Ranges of addresses outside the cluster under one name (CiliumCIDRGroup).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CidrGroup {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// The ranges.
    pub cidrs: Vec<Prefix>,
}
