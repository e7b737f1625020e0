//! One model for every kind of policy: NetworkPolicy today; Cilium's kinds and ClusterNetworkPolicy fit
//! without a new shape (tiers, priorities, deny, pass, entities). Not here: their texts (`source::convert`).

use super::Selector;
use isolator_common::addr::Prefix;
use std::fmt;

/// Which API kind a policy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// networking.k8s.io/v1
    NetworkPolicy,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PolicyKind::NetworkPolicy => "NetworkPolicy",
        })
    }
}

/// Names a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Tiers are evaluated in this order; the first that decides wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Of the cluster's administrator; ordered by priority.
    Admin,
    /// NetworkPolicy and the Cilium kinds together: deny beats allow, then default deny.
    Normal,
    /// Holds where nothing above decided.
    Baseline,
}

/// A policy. Its parts mean what they say without its kind: defaults are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub key: PolicyKey,
    /// Its tier.
    pub tier: Tier,
    /// Within Admin and Baseline: lower comes first, the rules of one policy in their order. In Normal 0.
    pub priority: u32,
    /// The pods it speaks of.
    pub subject: Subject,
    /// What it says of ingress; `None`: nothing.
    pub ingress: Option<Rules>,
    /// What it says of egress; `None`: nothing.
    pub egress: Option<Rules>,
}

/// The pods that a policy selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Their namespaces.
    pub namespaces: NamespaceMatch,
    /// Their labels.
    pub pods: Selector,
}

/// Which namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceMatch {
    /// This one.
    Named(String),
    /// Those whose labels match.
    Matching(Selector),
}

/// One direction of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether selecting a pod isolates it in this direction: what no rule allows is denied.
    pub default_deny: bool,
    /// The rules, in the order of the text; a rule is named by its index.
    pub rules: Vec<Rule>,
}

/// One rule: peers ∧ ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens to what matches.
    pub action: Action,
    /// The other end.
    pub peers: Peers,
    /// Destination protocols and ports.
    pub ports: Ports,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let it pass, unless something of the same tier denies it.
    Allow,
    /// Drop it.
    Deny,
    /// Leave it to the next tier.
    Pass,
}

/// The other ends that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Everybody, inside and outside.
    Any,
    /// Those that one of these matches; an empty list matches nobody.
    OneOf(Vec<Peer>),
}

/// A kind of peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Pods by namespace and labels. Never hosts, never hostNetwork pods.
    Pods {
        /// Their namespaces.
        namespaces: NamespaceMatch,
        /// Their labels.
        pods: Selector,
    },
    /// Addresses by prefix.
    Block {
        /// The range.
        cidr: Prefix,
        /// Ranges inside it that do not count. Not a deny: another rule may still allow them.
        except: Vec<Prefix>,
        /// Whether addresses of pods and nodes match, too (NetworkPolicy's ipBlock: yes; Cilium's CIDR: no).
        inside: bool,
    },
    /// A class of ends.
    Entity(Entity),
}

/// Classes of ends that have no labels of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// Everything.
    All,
    /// Everything outside the cluster.
    World,
    /// Everything inside: pods, hosts, remote nodes.
    Cluster,
    /// The endpoint's own node.
    Host,
    /// Other nodes.
    RemoteNode,
}

/// The protocols and ports that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every protocol and port, ICMP included.
    Any,
    /// Those that one of these matches; an empty list matches nothing.
    OneOf(Vec<PortMatch>),
}

/// One entry of a port list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// An inclusive range of ports of one protocol; all of it is 0..=65535. For ICMP: types.
    Range {
        /// IP protocol number.
        protocol: u8,
        /// First port.
        first: u16,
        /// Last port, at least `first`.
        last: u16,
    },
    /// The container ports of this name and protocol at the receiving end: the subject for ingress, the
    /// peer for egress. Matches nothing where there is none.
    Named {
        /// IP protocol number.
        protocol: u8,
        /// The container port's name.
        name: String,
    },
}
