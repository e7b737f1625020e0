//! The direct reading of policies: what each text says about one flow, in the order of precedence. Slow,
//! and meant to be compared with the documents line by line. `explain` shows the same reading to people.
//!
//! The order, for each side of a new flow:
//! 1. an endpoint may talk to itself; what it sends to a Service address is its backend's matter;
//! 2. different tenants never talk, unless the receiver's namespace accepts the sender's tenant. Both sides
//!    judge this. An address that several ends claim is a tenant of its own that nobody accepts;
//! 3. Admin rules by priority, then name, then index: the first that matches decides, or passes on;
//! 4. Normal rules: any that denies, then any that allows, then one that passes on, then default deny,
//!    which never holds for the local host;
//! 5. Baseline rules as Admin rules;
//! 6. what nothing decided is allowed.
//!
//! Not here: replies. They pass wherever the flow that they answer did.

use super::flow::{self, FlowError, FlowSpec, Found};
use super::reading::{Seen, selects};
use super::why::By;
use crate::cluster::snapshot::{Owner, Snapshot};
use crate::model::{Action, Pod, Policy, Rule, Rules, Tier};
use isolator_common::policy::Direction;

/// What both sides say of a flow. It passes if both allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowVerdict {
    /// The sender's side, judged on its node.
    pub egress: Side,
    /// The receiver's side, judged on its node.
    pub ingress: Side,
}

impl FlowVerdict {
    /// Whether the flow passes.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.egress.allowed && self.ingress.allowed
    }
}

/// What one side says, and what decided: for an allow the first rule in order that allows, for a deny the
/// first that denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Whether the flow may pass here.
    pub allowed: bool,
    /// What decided.
    pub by: By,
}

/// Judges a flow. A side whose end is not an endpoint is allowed: nothing judges there.
///
/// # Errors
/// When the flow's ends are not known or not clear.
pub fn judge(snapshot: &Snapshot, flow: &FlowSpec) -> Result<FlowVerdict, FlowError> {
    let (from, to) = flow::find(snapshot, flow)?;
    Ok(FlowVerdict {
        egress: judge_side(snapshot, flow, Direction::Egress, &from, &to),
        ingress: judge_side(snapshot, flow, Direction::Ingress, &to, &from),
    })
}

/// Judges a flow at one of its ends; `other` is the end it talks to.
fn judge_side(
    snapshot: &Snapshot,
    flow: &FlowSpec,
    direction: Direction,
    end: &Found<'_>,
    other: &Found<'_>,
) -> Side {
    match seen(snapshot, flow, direction, end, other) {
        Err(side) => side,
        Ok(seen) => read(&seen),
    }
}

/// The side as policies see it; or its verdict, if they are not asked.
pub(super) fn seen<'a>(
    snapshot: &'a Snapshot,
    flow: &FlowSpec,
    direction: Direction,
    end: &Found<'a>,
    other: &Found<'a>,
) -> Result<Seen<'a>, Side> {
    let Some(subject) = end.pod else {
        return Err(Side { allowed: true, by: By::NotEnforced });
    };
    if other.pod.is_some_and(|pod| pod.key == subject.key) {
        return Err(Side { allowed: true, by: By::Loopback });
    }
    let owner = snapshot.owner(&other.addr, flow::judging_node(subject));
    Ok(Seen {
        snapshot,
        subject,
        direction,
        addr: other.addr,
        owner,
        protocol: flow.protocol,
        port: flow.port,
    })
}

/// The order of precedence.
pub(super) fn read(seen: &Seen<'_>) -> Side {
    let translated = is_translated(seen);
    if translated && matches!(seen.owner, Owner::Outside) {
        return Side { allowed: true, by: By::Service };
    }
    if let Some(by) = tenancy(seen) {
        return Side { allowed: false, by };
    }
    if translated {
        return Side { allowed: true, by: By::Service };
    }
    let policies = selecting(seen.snapshot, seen.subject, seen.direction);
    if let Some(side) = first_match(seen, &policies, Tier::Admin) {
        return side;
    }
    if let Some(side) = normal(seen, &policies) {
        return side;
    }
    if let Some(side) = first_match(seen, &policies, Tier::Baseline) {
        return side;
    }
    let by = if is_local_host(seen) { By::LocalHost } else { By::NoPolicy { direction: seen.direction } };
    Side { allowed: true, by }
}

/// The tenancy guard: why it denies, if it does.
fn tenancy(seen: &Seen<'_>) -> Option<By> {
    let Seen { snapshot, subject, .. } = seen;
    let ours = snapshot.tenant_of(&subject.key.namespace)?;
    let peer = match seen.owner {
        Owner::Pod(peer) => peer,
        Owner::Conflict(_) => return Some(By::AddressConflict),
        Owner::LocalHost | Owner::RemoteNode(_) | Owner::Outside => return None,
    };
    let theirs = snapshot.tenant_of(&peer.key.namespace)?;
    let accepted = match seen.direction {
        Direction::Egress => snapshot.accepts(&peer.key.namespace, ours),
        Direction::Ingress => snapshot.accepts(&subject.key.namespace, theirs),
    };
    (ours != theirs && !accepted).then(|| By::Tenancy { ours: ours.to_owned(), theirs: theirs.to_owned() })
}

/// The parts of policies that speak of a pod in a direction: by tier, priority, name, place in the text.
pub(super) fn selecting<'a>(
    snapshot: &'a Snapshot,
    subject: &Pod,
    direction: Direction,
) -> Vec<(&'a Policy, &'a Rules)> {
    let policies = snapshot.policies().values().map(AsRef::as_ref);
    let parts = policies.flat_map(|policy: &Policy| policy.parts.iter().map(move |part| (policy, part)));
    let mut all: Vec<_> = parts
        .filter_map(|(policy, part)| Some((policy, part, part.section(direction)?)))
        .filter(|(_, part, _)| selects(snapshot, &part.subject, subject))
        .map(|(policy, _, rules)| (policy, rules))
        .collect();
    all.sort_by_key(|(policy, _)| (policy.tier, policy.priority, &policy.key));
    all
}

/// Admin and Baseline: the first rule that matches decides. `None`: none did, or one passed on.
fn first_match(seen: &Seen<'_>, policies: &[(&Policy, &Rules)], tier: Tier) -> Option<Side> {
    match matching(seen, policies, tier).next()? {
        (_, Rule { action: Action::Pass, .. }) => None,
        (policy, rule) => Some(by_rule(rule.action == Action::Allow, policy, rule)),
    }
}

/// Normal: deny beats allow, both beat default deny.
fn normal(seen: &Seen<'_>, policies: &[(&Policy, &Rules)]) -> Option<Side> {
    let matching: Vec<_> = matching(seen, policies, Tier::Normal).collect();
    let first = |wanted: Action| matching.iter().find(|(_, rule)| rule.action == wanted);
    if let Some((policy, rule)) = first(Action::Deny) {
        return Some(by_rule(false, policy, rule));
    }
    if let Some((policy, rule)) = first(Action::Allow) {
        return Some(by_rule(true, policy, rule));
    }
    if first(Action::Pass).is_some() || is_local_host(seen) {
        return None;
    }
    let mut isolating: Vec<_> = policies
        .iter()
        .filter(|(policy, rules)| policy.tier == Tier::Normal && rules.default_deny)
        .map(|(policy, _)| policy.key.clone())
        .collect();
    isolating.dedup();
    (!isolating.is_empty()).then_some(Side {
        allowed: false,
        by: By::DefaultDeny { direction: seen.direction, policies: isolating },
    })
}

/// The rules of a tier that match, in order.
fn matching<'a>(
    seen: &Seen<'_>,
    policies: &[(&'a Policy, &'a Rules)],
    tier: Tier,
) -> impl Iterator<Item = (&'a Policy, &'a Rule)> {
    policies
        .iter()
        .filter(move |(policy, _)| policy.tier == tier)
        .flat_map(|(policy, rules)| rules.rules.iter().map(move |rule| (*policy, rule)))
        .filter(|(_, rule)| seen.peers_match(rule) && seen.ports_match(rule))
}

fn by_rule(allowed: bool, policy: &Policy, rule: &Rule) -> Side {
    Side { allowed, by: By::Rule { policy: policy.key.clone(), rule: rule.at } }
}

/// Whether the flow goes to a Service, which comes before policy: that speaks of the backend.
fn is_translated(seen: &Seen<'_>) -> bool {
    seen.direction == Direction::Egress
        && seen.snapshot.translated(&seen.addr, seen.owner).has(seen.protocol, seen.port)
}

/// Whether this is the node reaching its own pod. The pod reaching its node has no such right.
fn is_local_host(seen: &Seen<'_>) -> bool {
    seen.direction == Direction::Ingress && matches!(seen.owner, Owner::LocalHost)
}
