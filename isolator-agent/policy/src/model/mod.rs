//! Domain types: only what enforcement needs to know of Kubernetes objects, defaulted and validated at
//! the door (`source::convert` in the agent). Not here: where objects come from, what they mean together.

mod cluster;
mod labels;
mod policy;
mod problem;
mod text;

pub use cluster::{ContainerPort, Namespace, Node, Pod, PodKey};
pub use labels::{Labels, Operator, Requirement, Selector};
pub use policy::{
    Action, Entity, NamespaceMatch, Peer, Peers, Policy, PolicyKey, PolicyKind, PortMatch, Ports, Rule,
    Rules, Subject, Tier,
};
pub use problem::{Problem, Severity};
pub use text::{cidr, ip};
