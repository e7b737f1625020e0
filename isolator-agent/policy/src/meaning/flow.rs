//! A flow that somebody asks about, and the ends that it names. A flow that cannot be judged is an error,
//! never a guess. Not here: the verdict.

use crate::cluster::snapshot::{Owner, Snapshot};
use crate::model::{Pod, PodKey, ip};
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use std::fmt;

/// One new flow: its first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// Who sends.
    pub from: End,
    /// Who receives.
    pub to: End,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port, or the type for ICMP and ICMPv6. 0 for protocols with neither.
    pub port: u16,
}

/// One end of a flow, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A pod. It speaks from its own interface, whoever else claims its address.
    Pod(PodKey),
    /// Whoever has this address.
    Address(Addr),
    /// A node's own network.
    Node(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Pod(key) => write!(f, "{key}"),
            End::Address(addr) => write!(f, "{}", ip(addr)),
            End::Node(name) => write!(f, "node:{name}"),
        }
    }
}

/// Why a flow cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowError {
    /// No pod has this name.
    UnknownPod(PodKey),
    /// The pod has finished; its address may be another's by now.
    FinishedPod(PodKey),
    /// No node has this name.
    UnknownNode(String),
    /// The end has no address, or none of the family that the flow needs.
    NoAddress(End),
    /// The ends have no address family in common.
    DifferentFamilies(End, End),
    /// Several pods claim this address: one of them must be named.
    Ambiguous(Addr),
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowError::UnknownPod(key) => write!(f, "no pod {key}"),
            FlowError::FinishedPod(key) => write!(f, "pod {key} has finished; name a running pod"),
            FlowError::UnknownNode(name) => write!(f, "no node {name}"),
            FlowError::NoAddress(end) => write!(f, "{end} has no address that this flow could use"),
            FlowError::DifferentFamilies(from, to) => {
                write!(f, "{from} and {to} have no address family in common")
            }
            FlowError::Ambiguous(addr) => {
                write!(f, "several pods claim {}; name the pod that is meant", ip(addr))
            }
        }
    }
}

impl std::error::Error for FlowError {}

/// An end of a flow that can be judged.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The address that it uses.
    pub addr: Addr,
    /// The endpoint, if it is one.
    pub pod: Option<&'a Pod>,
}

/// The node that judges for a pod. A pod without a node is judged by itself, as if on a node without a name.
#[must_use]
pub fn judging_node(pod: &Pod) -> &str {
    pod.node.as_deref().unwrap_or("")
}

/// Finds both ends. Where both families are possible, ICMP is IPv4, ICMPv6 is IPv6, and all else IPv4.
///
/// # Errors
/// When an end is not known, or not clear, or has no address that fits.
pub fn find<'a>(snapshot: &'a Snapshot, flow: &FlowSpec) -> Result<(Found<'a>, Found<'a>), FlowError> {
    let from = Candidates::new(snapshot, &flow.from)?;
    let to = Candidates::new(snapshot, &flow.to)?;
    for (candidates, end) in [(&from, &flow.from), (&to, &flow.to)] {
        let usable = match flow.protocol {
            protocol::ICMP => candidates.addrs[0],
            protocol::ICMPV6 => candidates.addrs[1],
            _ => candidates.addrs[0].or(candidates.addrs[1]),
        };
        if usable.is_none() {
            return Err(FlowError::NoAddress(end.clone()));
        }
    }
    let families = if flow.protocol == protocol::ICMPV6 { [1, 0] } else { [0, 1] };
    for family in families {
        if let (Some(source), Some(destination)) = (from.addrs[family], to.addrs[family]) {
            return Ok((Found { addr: source, pod: from.pod }, Found { addr: destination, pod: to.pod }));
        }
    }
    Err(FlowError::DifferentFamilies(flow.from.clone(), flow.to.clone()))
}

/// An end with its addresses: IPv4, IPv6.
struct Candidates<'a> {
    addrs: [Option<Addr>; 2],
    pod: Option<&'a Pod>,
}

impl<'a> Candidates<'a> {
    fn new(snapshot: &'a Snapshot, end: &End) -> Result<Self, FlowError> {
        match end {
            End::Pod(key) => {
                let pod = snapshot.pods().get(key).ok_or_else(|| FlowError::UnknownPod(key.clone()))?;
                if pod.finished {
                    return Err(FlowError::FinishedPod(key.clone()));
                }
                Ok(Candidates { addrs: pod.addrs(), pod: pod.is_endpoint().then_some(pod) })
            }
            End::Address(addr) => {
                let addrs = if addr.is_v4() { [Some(*addr), None] } else { [None, Some(*addr)] };
                match snapshot.owner(addr, "") {
                    Owner::Pod(pod) => Ok(Candidates { addrs, pod: Some(pod) }),
                    Owner::Conflict(_) => Err(FlowError::Ambiguous(*addr)),
                    Owner::LocalHost | Owner::RemoteNode(_) | Owner::Outside => {
                        Ok(Candidates { addrs, pod: None })
                    }
                }
            }
            End::Node(name) => {
                let addrs = [snapshot.node_address(name, true), snapshot.node_address(name, false)];
                if addrs == [None, None] && !snapshot.nodes().contains_key(name) {
                    return Err(FlowError::UnknownNode(name.clone()));
                }
                Ok(Candidates { addrs, pod: None })
            }
        }
    }
}
