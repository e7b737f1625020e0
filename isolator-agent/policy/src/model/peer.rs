//! The other ends that a rule speaks of. Not here: which addresses that means (`meaning`).

use super::{IdentitySelector, Selector};
use isolator_common::addr::Prefix;

/// The other ends that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// Everybody, inside and outside.
    Any,
    /// Those that one of these matches; an empty list matches nobody.
    OneOf(Vec<Peer>),
}

/// Which namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceMatch {
    /// This one.
    Named(String),
    /// Those whose labels match.
    Matching(Selector),
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
    /// Any end by the labels of its identity: pods, hosts, and what is outside.
    Labelled(IdentitySelector),
    /// Nodes by their labels.
    Nodes {
        /// Their labels.
        labels: Selector,
        /// Whether the endpoint's own node matches, too (ClusterNetworkPolicy: yes; Cilium's kinds: no).
        own: bool,
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
    /// Addresses outside the cluster in the ranges of CIDR groups.
    CidrGroups {
        /// The groups. A selector is asked of each address, which has the labels of all groups that hold it: what it
        /// demands, one of them must have; what it rules out, none may have.
        groups: ObjectMatch,
        /// Ranges that do not count, as in `Block`.
        except: Vec<Prefix>,
    },
    /// The pods behind services; behind a service without a selector, its backends outside the cluster.
    Services {
        /// Their namespace; `None`: all.
        namespace: Option<String>,
        /// The services.
        services: ObjectMatch,
    },
    /// A class of ends.
    Entity(Entity),
}

/// Which objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectMatch {
    /// The one of this name.
    Named(String),
    /// Those whose labels match.
    Matching(Selector),
}

/// Classes of ends that have no labels of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// Everything.
    All,
    /// Everything outside the cluster.
    World,
    /// Everything outside with an IPv4 address.
    WorldIpv4,
    /// Everything outside with an IPv6 address.
    WorldIpv6,
    /// Everything inside: pods, hosts, remote nodes; and the API server, wherever it is.
    Cluster,
    /// The endpoint's own node.
    Host,
    /// Other nodes.
    RemoteNode,
    /// The API server, wherever it is.
    KubeApiserver,
    /// Cilium's health endpoints, which do not exist here: nobody.
    Health,
    /// Endpoints whose labels are not known yet; what is unknown has no rights here: nobody.
    Init,
    /// Pods that are not endpoints; those are their node here: nobody.
    Unmanaged,
    /// Cilium's own ingress proxies, which do not exist here: nobody.
    Ingress,
}

impl Entity {
    /// Every entity.
    pub const ALL: [Entity; 12] = [
        Entity::All,
        Entity::World,
        Entity::WorldIpv4,
        Entity::WorldIpv6,
        Entity::Cluster,
        Entity::Host,
        Entity::RemoteNode,
        Entity::KubeApiserver,
        Entity::Health,
        Entity::Init,
        Entity::Unmanaged,
        Entity::Ingress,
    ];

    /// As Cilium's policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Entity::All => "all",
            Entity::World => "world",
            Entity::WorldIpv4 => "world-ipv4",
            Entity::WorldIpv6 => "world-ipv6",
            Entity::Cluster => "cluster",
            Entity::Host => "host",
            Entity::RemoteNode => "remote-node",
            Entity::KubeApiserver => "kube-apiserver",
            Entity::Health => "health",
            Entity::Init => "init",
            Entity::Unmanaged => "unmanaged",
            Entity::Ingress => "ingress",
        }
    }
}
