//! Domain types: only what enforcement needs to know of Kubernetes objects, defaulted and validated at
//! the door (`source::convert` in the agent). Not here: where objects come from, what they mean together.

mod access;
mod cluster;
mod identity;
mod labels;
mod peer;
mod policy;
mod problem;
mod service;
mod text;

pub use access::{Access, Account, Binding, Permission, Role};
pub use cluster::{ContainerPort, Namespace, Node, Pod, PodKey};
pub use identity::{IdentityLabels, IdentityRequirement, IdentitySelector, LabelSource};
pub use labels::{Labels, Operator, Requirement, Selector};
pub use peer::{Entity, NamespaceMatch, ObjectMatch, Peer, Peers};
pub use policy::{
    Action, Part, Policy, PolicyKey, PolicyKind, PortMatch, Ports, Rule, RuleField, RuleList, Rules, Subject,
    Tier,
};
pub use problem::{FilePlace, Place, Problem, Severity};
pub use service::{
    Backend, BackendPort, CidrGroup, EndpointSlice, Service, ServiceKey, ServicePort, ServiceRange,
    TargetPort,
};
pub use text::{cidr, ip, protocol_name, protocol_number};
