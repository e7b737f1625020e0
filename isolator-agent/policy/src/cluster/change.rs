//! What a source tells the index.

use crate::model::{
    CidrGroup, EndpointSlice, Namespace, Node, Pod, PodKey, Policy, PolicyKey, Service, ServiceKey,
    ServiceRange,
};

/// An object in our types.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A policy of any kind.
    Policy(Policy),
    /// A service.
    Service(Service),
    /// Backends of a service.
    EndpointSlice(EndpointSlice),
    /// Ranges of addresses under a name.
    CidrGroup(CidrGroup),
    /// Ranges of service addresses.
    ServiceRange(ServiceRange),
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// A namespace by name.
    Namespace(String),
    /// A node by name.
    Node(String),
    /// A pod.
    Pod(PodKey),
    /// A policy.
    Policy(PolicyKey),
    /// A service.
    Service(ServiceKey),
    /// A slice, by its namespace and its own name.
    EndpointSlice(ServiceKey),
    /// A group of ranges, by name.
    CidrGroup(String),
    /// Ranges of service addresses, by name.
    ServiceRange(String),
}

impl Object {
    /// The object's name.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Object::Namespace(namespace) => ObjectKey::Namespace(namespace.name.clone()),
            Object::Node(node) => ObjectKey::Node(node.name.clone()),
            Object::Pod(pod) => ObjectKey::Pod(pod.key.clone()),
            Object::Policy(policy) => ObjectKey::Policy(policy.key.clone()),
            Object::Service(service) => ObjectKey::Service(service.key.clone()),
            Object::EndpointSlice(slice) => ObjectKey::EndpointSlice(slice.key()),
            Object::CidrGroup(group) => ObjectKey::CidrGroup(group.name.clone()),
            Object::ServiceRange(range) => ObjectKey::ServiceRange(range.name.clone()),
        }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ObjectKey::Namespace(name) => write!(f, "Namespace {name}"),
            ObjectKey::Node(name) => write!(f, "Node {name}"),
            ObjectKey::Pod(key) => write!(f, "Pod {key}"),
            ObjectKey::Policy(key) => write!(f, "{key}"),
            ObjectKey::Service(key) => write!(f, "Service {key}"),
            ObjectKey::EndpointSlice(key) => write!(f, "EndpointSlice {key}"),
            ObjectKey::CidrGroup(name) => write!(f, "CiliumCIDRGroup {name}"),
            ObjectKey::ServiceRange(name) => write!(f, "ServiceCIDR {name}"),
        }
    }
}

/// One change, or a whole new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Added or replaced.
    Apply(Object),
    /// Gone. By name: the body may be unreadable.
    Delete(ObjectKey),
    /// Everything there is: what is not listed is gone. One batch, however long.
    Reset(Vec<Object>),
}
