//! Which policies take most of the room in a map, so that a person knows where to begin when there is none left.
//! Not here: how much room there is (`datapath::layout`).

use super::why::By;
use crate::cluster::snapshot::Snapshot;
use crate::datapath::compiled::Compiled;
use crate::model::{ObjectMatch, Peer, Peers, Policy, PolicyKey, Ports, Rule};
use isolator_common::policy::Direction;
use isolator_common::tables::name;
use std::collections::BTreeSet;
use std::fmt;

/// What one policy asks of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The policy.
    pub policy: PolicyKey,
    /// How many.
    pub count: usize,
    /// Of what: `prefixes`, `port ranges`, `peers`.
    pub of: &'static str,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { policy, count, of } = self;
        write!(f, "{policy} ({count} {of})")
    }
}

/// The policies of local endpoints that cost most of a map, the costliest first, three at most.
#[must_use]
pub fn costliest(snapshot: &Snapshot, compiled: &Compiled, map: &str) -> Vec<Cost> {
    let active: BTreeSet<&PolicyKey> = compiled
        .reasons
        .iter()
        .flat_map(|by| match by {
            By::Rule { policy, .. } => std::slice::from_ref(policy),
            By::DefaultDeny { policies, .. } => policies.as_slice(),
            _ => &[],
        })
        .collect();
    let policies = active.into_iter().filter_map(|key| snapshot.policies().get(key));
    let mut costs: Vec<Cost> = policies.map(|policy| cost(snapshot, policy, map)).collect();
    costs.retain(|cost| cost.count > 0);
    costs.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.policy.cmp(&b.policy)));
    costs.truncate(3);
    costs
}

fn cost(snapshot: &Snapshot, policy: &Policy, map: &str) -> Cost {
    let sections =
        policy.parts.iter().flat_map(|part| Direction::BOTH.map(|direction| part.section(direction)));
    let rules = sections.flatten().flat_map(|section| &section.rules);
    let (count, of) = if map == name::PREFIXES {
        (rules.flat_map(peers).map(|peer| prefixes(snapshot, peer)).sum(), "prefixes")
    } else if map.starts_with(name::INTERVALS) {
        (rules.map(ranges).sum(), "port ranges")
    } else {
        (rules.flat_map(peers).count(), "peers")
    };
    Cost { policy: policy.key.clone(), count, of }
}

fn peers(rule: &Rule) -> &[Peer] {
    match &rule.peers {
        Peers::Any => &[],
        Peers::OneOf(peers) => peers,
    }
}

fn ranges(rule: &Rule) -> usize {
    match &rule.ports {
        Ports::Any => 0,
        Ports::OneOf(ports) => ports.len(),
    }
}

/// Ranges and exceptions. Of groups, those of all that may be meant.
fn prefixes(snapshot: &Snapshot, peer: &Peer) -> usize {
    match peer {
        Peer::Block { except, .. } => 1 + except.len(),
        Peer::CidrGroups { groups, except } => {
            let groups = snapshot.cidr_groups().values().filter(|group| match groups {
                ObjectMatch::Named(name) => group.name == *name,
                ObjectMatch::Matching(_) => true,
            });
            except.len() + groups.map(|group| group.cidrs.len()).sum::<usize>()
        }
        _ => 0,
    }
}
