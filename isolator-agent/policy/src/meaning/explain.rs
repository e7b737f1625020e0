//! Everything that the direct reading looked at for one flow, as data: which policies select each end, what
//! each of their rules says, and what would have to change. Not here: tables and colours (`cli`).

use super::flow::{self, FlowError, FlowSpec, Found};
use super::oracle::{Side, read, seen, selecting};
use super::reading::Seen;
use super::why::By;
use crate::cluster::snapshot::{Owner, Snapshot};
use crate::model::{Action, Peers, PodKey, PolicyKey, PolicyKind, RuleField, Tier, ip};
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use isolator_common::policy::Direction;
use std::fmt;

/// How a flow was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The sender's side.
    pub egress: SideReading,
    /// The receiver's side.
    pub ingress: SideReading,
}

/// How one side was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideReading {
    /// The verdict.
    pub side: Side,
    /// The endpoint that judges; `None` if the end is not one.
    pub endpoint: Option<PodKey>,
    /// The address at the other end.
    pub peer: Addr,
    /// Who is there, as `Pod ns/name`, `the local host`, `Node name`, `outside the cluster`.
    pub peer_name: String,
    /// Tenants of the endpoint and of the other end.
    pub tenants: [Option<String>; 2],
    /// Every policy that selects the endpoint in this direction, in the order of evaluation. Listed also
    /// where tenancy decided before them.
    pub policies: Vec<PolicyReading>,
    /// If denied, what would allow it: each entry is a way by itself.
    pub needed: Vec<Needed>,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyReading {
    /// The policy.
    pub policy: PolicyKey,
    /// Its tier.
    pub tier: Tier,
    /// Its priority in the tier.
    pub priority: u32,
    /// Whether it isolates the endpoint in this direction.
    pub default_deny: bool,
    /// Its rules in order.
    pub rules: Vec<RuleReading>,
}

/// What one rule says. It speaks of the flow if peers and ports both match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleReading {
    /// Where it stands in the policy.
    pub at: RuleField,
    /// What it does.
    pub action: Action,
    /// Whether it means nobody at all: none of its peers is enforced, or it has an empty list of them.
    pub nobody: bool,
    /// Whether the other end is one of its peers.
    pub peers: bool,
    /// Whether protocol and port are among its ports.
    pub ports: bool,
}

/// A change that would allow a flow at one side, as far as that side goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needed {
    /// This namespace would have to accept this tenant.
    AcceptTenant {
        /// The receiver's namespace.
        namespace: String,
        /// The sender's tenant.
        tenant: String,
    },
    /// All but one of these would have to give up the address.
    UniqueAddress(Addr),
    /// This rule would have to let the flow pass, or stop to match it.
    ChangeRule {
        /// The policy.
        policy: PolicyKey,
        /// The rule.
        rule: RuleField,
    },
    /// This rule allows the port already: the other end would have to be one of its peers.
    AddPeer {
        /// The policy.
        policy: PolicyKey,
        /// The rule.
        rule: RuleField,
    },
    /// This rule allows the other end already: the port would have to be one of its ports.
    AddPort {
        /// The policy.
        policy: PolicyKey,
        /// The rule.
        rule: RuleField,
    },
    /// This rule allows the other end already, but its ports are of kinds of policy that cannot name ICMP.
    DropPorts {
        /// The policy.
        policy: PolicyKey,
        /// The rule.
        rule: RuleField,
    },
    /// One of these policies, or a new one for the endpoint, would need a rule that allows it.
    AddRule(Vec<PolicyKey>),
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Needed::AcceptTenant { namespace, tenant } => {
                write!(
                    f,
                    "namespace {namespace} accepts tenant {tenant} (annotation isolator.dev/accept-tenants)"
                )
            }
            Needed::UniqueAddress(addr) => write!(f, "only one pod has the address {}", ip(addr)),
            Needed::ChangeRule { policy, rule } => write!(f, "{rule} of {policy} no longer denies it"),
            Needed::AddPeer { policy, rule } => write!(f, "{rule} of {policy} names this peer, too"),
            Needed::AddPort { policy, rule } => write!(f, "{rule} of {policy} names this port, too"),
            Needed::DropPorts { policy, rule } => {
                write!(
                    f,
                    "{rule} of {policy} has no list of ports: in this kind of policy it never matches ICMP"
                )
            }
            Needed::AddRule(policies) => {
                f.write_str("a rule that allows it, in a new policy")?;
                policies.iter().try_for_each(|policy| write!(f, " or in {policy}"))
            }
        }
    }
}

/// Explains a flow.
///
/// # Errors
/// When the flow's ends are not known or not clear.
pub fn explain(snapshot: &Snapshot, flow: &FlowSpec) -> Result<Explanation, FlowError> {
    let (from, to) = flow::find(snapshot, flow)?;
    Ok(Explanation {
        egress: side(snapshot, flow, Direction::Egress, &from, &to),
        ingress: side(snapshot, flow, Direction::Ingress, &to, &from),
    })
}

fn side(
    snapshot: &Snapshot,
    flow: &FlowSpec,
    direction: Direction,
    end: &Found<'_>,
    other: &Found<'_>,
) -> SideReading {
    let owner = snapshot.owner(&other.addr, end.pod.map_or("", flow::judging_node));
    let tenant = |namespace: &str| snapshot.tenant_of(namespace).map(str::to_owned);
    let ours = end.pod.and_then(|pod| tenant(&pod.key.namespace));
    let theirs = match owner {
        Owner::Pod(pod) => tenant(&pod.key.namespace),
        _ => None,
    };
    let mut reading = SideReading {
        side: Side { allowed: true, by: By::NotEnforced },
        endpoint: end.pod.map(|pod| pod.key.clone()),
        peer: other.addr,
        peer_name: name(owner),
        tenants: [ours, theirs],
        policies: Vec::new(),
        needed: Vec::new(),
    };
    match seen(snapshot, flow, direction, end, other) {
        Err(side) => reading.side = side,
        Ok(seen) => {
            reading.side = read(&seen);
            reading.policies = policies(&seen);
            if !reading.side.allowed {
                reading.needed = needed(&seen, &reading.side.by, &reading.policies);
            }
        }
    }
    reading
}

fn name(owner: Owner<'_>) -> String {
    match owner {
        Owner::Pod(pod) => format!("Pod {}", pod.key),
        Owner::LocalHost => "the local host".to_owned(),
        Owner::RemoteNode(node) => format!("Node {}", node.name),
        Owner::Conflict(conflict) => {
            let pods = conflict.pods.iter().map(|pod| format!("Pod {}", pod.key));
            let nodes = conflict.nodes.iter().map(|node| format!("Node {}", node.name));
            format!("claimed by {}", pods.chain(nodes).collect::<Vec<_>>().join(" and "))
        }
        Owner::Outside => "outside the cluster".to_owned(),
    }
}

fn policies(seen: &Seen<'_>) -> Vec<PolicyReading> {
    selecting(seen.snapshot, seen.subject, seen.direction)
        .into_iter()
        .map(|(policy, rules)| PolicyReading {
            policy: policy.key.clone(),
            tier: policy.tier,
            priority: policy.priority,
            default_deny: rules.default_deny,
            rules: rules
                .rules
                .iter()
                .map(|rule| RuleReading {
                    at: rule.at,
                    action: rule.action,
                    nobody: rule.peers == Peers::OneOf(Vec::new()),
                    peers: seen.peers_match(rule),
                    ports: seen.ports_match(rule),
                })
                .collect(),
        })
        .collect()
}

fn needed(seen: &Seen<'_>, by: &By, policies: &[PolicyReading]) -> Vec<Needed> {
    match by {
        By::Tenancy { ours, theirs } => {
            let peer = match seen.owner {
                Owner::Pod(peer) => peer,
                _ => return Vec::new(),
            };
            let (receiver, tenant) = match seen.direction {
                Direction::Egress => (&**peer, ours),
                Direction::Ingress => (seen.subject, theirs),
            };
            vec![Needed::AcceptTenant { namespace: receiver.key.namespace.clone(), tenant: tenant.clone() }]
        }
        By::AddressConflict => vec![Needed::UniqueAddress(seen.addr)],
        By::Rule { policy, rule } => vec![Needed::ChangeRule { policy: policy.clone(), rule: *rule }],
        By::DefaultDeny { policies: isolating, .. } => {
            let mut ways = Vec::new();
            for reading in policies.iter().filter(|reading| reading.tier == Tier::Normal) {
                let names_icmp = matches!(
                    reading.policy.kind,
                    PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy
                );
                let is_icmp = matches!(seen.protocol, protocol::ICMP | protocol::ICMPV6);
                let allowing = |rule: &&RuleReading| rule.action == Action::Allow && !rule.nobody;
                for allowing in reading.rules.iter().filter(allowing) {
                    let (policy, rule) = (reading.policy.clone(), allowing.at);
                    match (allowing.peers, allowing.ports) {
                        (false, true) => ways.push(Needed::AddPeer { policy, rule }),
                        (true, false) if is_icmp && !names_icmp => {
                            ways.push(Needed::DropPorts { policy, rule });
                        }
                        (true, false) => ways.push(Needed::AddPort { policy, rule }),
                        _ => {}
                    }
                }
            }
            ways.push(Needed::AddRule(isolating.clone()));
            ways
        }
        By::NoPolicy { .. } | By::LocalHost | By::Loopback | By::NotEnforced | By::Startup | By::Service => {
            Vec::new()
        }
    }
}
