//! Why a verdict was given. The text of a [`By`] is what the NAMES map, events, `explain` and `verdicts`
//! show, so it is written once, here.

use crate::model::{PolicyKey, RuleField};
use isolator_common::policy::Direction;
use std::fmt;

/// What decided one direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// A rule of a policy.
    Rule {
        /// The policy.
        policy: PolicyKey,
        /// Where the rule stands in it.
        rule: RuleField,
    },
    /// These policies select the endpoint in this direction and none of their rules allows the flow.
    DefaultDeny {
        /// The direction.
        direction: Direction,
        /// The policies, sorted.
        policies: Vec<PolicyKey>,
    },
    /// No policy isolates the endpoint in this direction, and no rule matched.
    NoPolicy {
        /// The direction.
        direction: Direction,
    },
    /// Two different tenants.
    Tenancy {
        /// Tenant of the endpoint that judges.
        ours: String,
        /// Tenant of the other end.
        theirs: String,
    },
    /// The node may always reach its own pods.
    LocalHost,
    /// The endpoint talks to itself.
    Loopback,
    /// The end is not an endpoint on a node of ours: nothing judges there.
    NotEnforced,
    /// Two running pods claim the other end's address; neither's rights count.
    AddressConflict,
    /// The pod behind the interface is not known yet; only the local host may talk to it.
    Startup,
    /// Sent to a Service address: its backend decides.
    Service,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Rule { policy, rule } => write!(f, "{policy} {rule}"),
            By::DefaultDeny { direction, policies } => {
                write!(f, "default deny of {} by ", direction.name())?;
                for (i, policy) in policies.iter().take(3).enumerate() {
                    write!(f, "{}{policy}", if i == 0 { "" } else { ", " })?;
                }
                match policies.len() {
                    0..=3 => Ok(()),
                    n => write!(f, " and {} more", n - 3),
                }
            }
            By::NoPolicy { direction } => {
                write!(f, "no policy isolates the endpoint for {}", direction.name())
            }
            By::Tenancy { ours, theirs } => write!(f, "tenancy: {ours} and {theirs} are different tenants"),
            By::LocalHost => f.write_str("the node may always reach its own pods"),
            By::Loopback => f.write_str("the endpoint talks to itself"),
            By::NotEnforced => f.write_str("not an endpoint of this cluster"),
            By::AddressConflict => f.write_str("two running pods claim this address"),
            By::Startup => f.write_str("the pod behind the interface is not known yet"),
            By::Service => f.write_str("a Service address: its backend decides"),
        }
    }
}
