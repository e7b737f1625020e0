//! One model for every kind of policy: tiers, priorities, allow, deny, pass. Not here: their texts
//! (`source::convert` in the agent), the other ends that a rule speaks of (`peer`).

use super::{IdentitySelector, NamespaceMatch, Peers, Selector};
use isolator_common::policy::Direction;
use std::fmt;

/// Which API kind a policy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// cilium.io/v2, in a namespace
    CiliumNetworkPolicy,
    /// cilium.io/v2, of the whole cluster
    CiliumClusterwideNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha2
    ClusterNetworkPolicy,
}

impl PolicyKind {
    /// Every kind.
    pub const ALL: [PolicyKind; 4] = [
        PolicyKind::NetworkPolicy,
        PolicyKind::CiliumNetworkPolicy,
        PolicyKind::CiliumClusterwideNetworkPolicy,
        PolicyKind::ClusterNetworkPolicy,
    ];
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PolicyKind::NetworkPolicy => "NetworkPolicy",
            PolicyKind::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            PolicyKind::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            PolicyKind::ClusterNetworkPolicy => "ClusterNetworkPolicy",
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Its name.
    pub key: PolicyKey,
    /// Its tier.
    pub tier: Tier,
    /// Within Admin and Baseline: lower comes first, the rules of one policy in their order. In Normal 0.
    pub priority: u32,
    /// What it says, of one set of pods each.
    pub parts: Vec<Part>,
}

/// What a policy says of one set of pods. Cilium's kinds have a part for `spec` and one for each entry of
/// `specs`; all others have one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The pods it speaks of.
    pub subject: Subject,
    /// What it says of ingress; `None`: nothing.
    pub ingress: Option<Rules>,
    /// What it says of egress; `None`: nothing.
    pub egress: Option<Rules>,
}

impl Part {
    /// What it says of a direction.
    #[must_use]
    pub fn section(&self, direction: Direction) -> Option<&Rules> {
        match direction {
            Direction::Egress => self.egress.as_ref(),
            Direction::Ingress => self.ingress.as_ref(),
        }
    }
}

/// The pods that a part of a policy selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// By namespace and by their own labels.
    Pods {
        /// Their namespaces.
        namespaces: NamespaceMatch,
        /// Their labels.
        pods: Selector,
    },
    /// By the labels of their identities.
    Labelled {
        /// Only in this namespace; `None`: in all.
        namespace: Option<String>,
        /// Labels of their identities.
        identity: IdentitySelector,
    },
}

/// One direction of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether selecting a pod isolates it in this direction: what no rule allows is denied.
    pub default_deny: bool,
    /// The rules, in the order of the text; a rule is named by its index.
    pub rules: Vec<Rule>,
}

/// One rule: peers ∧ ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Where its text stands.
    pub at: RuleField,
    /// What happens to what matches.
    pub action: Action,
    /// The other end.
    pub peers: Peers,
    /// Destination protocols and ports.
    pub ports: Ports,
}

/// Where a rule stands in its policy, as people find it: `ingress[0]`, `specs[1].egressDeny[2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleField {
    /// Index in `specs`; `None`: in `spec`.
    pub spec: Option<u32>,
    /// The list it is in.
    pub list: RuleList,
    /// Index in that list, from 0.
    pub index: u32,
}

impl RuleField {
    /// The rule at `index` of the plain list of one direction, in `spec`.
    #[must_use]
    pub const fn of(direction: Direction, index: u32) -> Self {
        let list = match direction {
            Direction::Ingress => RuleList::Ingress,
            Direction::Egress => RuleList::Egress,
        };
        RuleField { spec: None, list, index }
    }

    /// Its path in the document: `spec.ingress[0]`, `specs[1].egressDeny[2]`.
    #[must_use]
    pub fn path(&self) -> String {
        if self.spec.is_some() { self.to_string() } else { format!("spec.{self}") }
    }
}

impl fmt::Display for RuleField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(spec) = self.spec {
            write!(f, "specs[{spec}].")?;
        }
        write!(f, "{}[{}]", self.list.name(), self.index)
    }
}

/// The lists of rules that a policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleList {
    /// What may come in; in ClusterNetworkPolicy any rule about it.
    Ingress,
    /// What may not come in, in Cilium's kinds.
    IngressDeny,
    /// What may go out; in ClusterNetworkPolicy any rule about it.
    Egress,
    /// What may not go out, in Cilium's kinds.
    EgressDeny,
}

impl RuleList {
    /// The field's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RuleList::Ingress => "ingress",
            RuleList::IngressDeny => "ingressDeny",
            RuleList::Egress => "egress",
            RuleList::EgressDeny => "egressDeny",
        }
    }

    /// The direction it speaks of.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            RuleList::Ingress | RuleList::IngressDeny => Direction::Ingress,
            RuleList::Egress | RuleList::EgressDeny => Direction::Egress,
        }
    }
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

/// The protocols and ports that a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
