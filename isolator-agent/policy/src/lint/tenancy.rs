//! Where policies and tenants do not fit together. Not here: who may change a tenant (`access`).

use super::view::{PartView, View};
use super::warning;
use crate::cluster::snapshot::Snapshot;
use crate::meaning::reading::means_pod;
use crate::model::{Action, Peer, Peers, Problem, Rule};
use isolator_common::policy::Direction;
use std::collections::BTreeSet;

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    let used: BTreeSet<&str> = view.endpoints.iter().map(|pod| pod.key.namespace.as_str()).collect();
    let (with, without): (Vec<_>, Vec<_>) =
        used.into_iter().partition(|name| view.snapshot.tenant_of(name).is_some());
    if with.is_empty() {
        return;
    }
    for name in without {
        let message = format!(
            "it has no tenant while other namespaces have: tenancy does not restrict its pods; label it with {} \
             unless it serves every tenant",
            view.snapshot.tenant_label()
        );
        problems.push(warning("no-tenant", format!("Namespace {name}"), "metadata.labels", message));
    }
    for part in &view.parts {
        for (direction, rule) in part.rules().filter(|(_, rule)| rule.action == Action::Allow) {
            if let Some((ours, theirs)) = denied(view, part, direction, rule) {
                let message = format!(
                    "all that it allows is between tenants ({ours} and {theirs}, for one), which tenancy denies \
                     whatever policies say; the receiver's namespace must accept the tenant \
                     (annotation isolator.dev/accept-tenants)"
                );
                problems.push(warning("rule-against-tenancy", &part.policy.key, rule.at.path(), message));
            }
        }
    }
}

/// Tenants of one pair of pods that the rule means, if tenancy denies every pair and the rule means pods alone.
fn denied<'a>(
    view: &View<'a>,
    part: &PartView<'_>,
    direction: Direction,
    rule: &Rule,
) -> Option<(&'a str, &'a str)> {
    let Peers::OneOf(peers) = &rule.peers else { return None };
    if !peers.iter().all(|peer| matches!(peer, Peer::Pods { .. })) {
        return None;
    }
    let meant = |namespace: &&str| {
        let pods = view.endpoints.iter().filter(|pod| pod.key.namespace == *namespace);
        pods.into_iter().any(|pod| peers.iter().any(|peer| means_pod(view.snapshot, peer, pod)))
    };
    let all: BTreeSet<&str> = view.endpoints.iter().map(|pod| pod.key.namespace.as_str()).collect();
    let theirs: Vec<&str> = all.into_iter().filter(meant).collect();
    let ours: BTreeSet<&str> = part.pods.iter().map(|pod| pod.key.namespace.as_str()).collect();
    let mut found = None;
    for (own, other) in ours.iter().flat_map(|own| theirs.iter().map(move |other| (*own, *other))) {
        found = found.or(Some(tenants(view.snapshot, direction, own, other)?));
    }
    found
}

/// The tenants of two namespaces, if tenancy denies what flows between them in this direction.
fn tenants<'a>(
    snapshot: &'a Snapshot,
    direction: Direction,
    own: &str,
    other: &str,
) -> Option<(&'a str, &'a str)> {
    let (ours, theirs) = (snapshot.tenant_of(own)?, snapshot.tenant_of(other)?);
    let accepted = match direction {
        Direction::Egress => snapshot.accepts(other, ours),
        Direction::Ingress => snapshot.accepts(own, theirs),
    };
    (ours != theirs && !accepted).then_some((ours, theirs))
}
