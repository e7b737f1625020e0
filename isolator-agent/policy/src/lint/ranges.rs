//! CIDRs of Cilium's kinds that cover pods or nodes. There a CIDR only matches addresses outside the cluster, unlike an
//! ipBlock of a NetworkPolicy. Not here: addresses that nobody has.

use super::view::View;
use super::{listed, warning};
use crate::cluster::snapshot::Snapshot;
use crate::model::{Action, ObjectMatch, Peer, Peers, Problem, Rule, cidr, ip};
use isolator_common::addr::{Addr, Prefix, V4_MAPPED_BITS};
use std::collections::BTreeSet;

/// A range that belongs to the cluster.
struct Inside {
    range: Prefix,
    /// `Pod a/b`, `pod CIDR of Node n1`.
    name: String,
}

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    let inside = inside(view);
    for part in &view.parts {
        for (_, rule) in part.rules() {
            for (range, except) in outside_ranges(view.snapshot, rule) {
                // `0.0.0.0/0` that allows means the world to most people, and is the world.
                if rule.action != Action::Deny && is_everything(&range) {
                    continue;
                }
                let covered: BTreeSet<&str> = inside
                    .iter()
                    .filter(|known| {
                        range.covers(&known.range) && !except.iter().any(|hole| hole.covers(&known.range))
                    })
                    .map(|known| known.name.as_str())
                    .collect();
                let covered: Vec<&str> = covered.into_iter().collect();
                if !covered.is_empty() {
                    let message = format!(
                        "{} covers {}, but a CIDR of this kind of policy never matches pods and nodes; select them by \
                         labels or entities",
                        cidr(&range),
                        listed(&covered, 2)
                    );
                    problems.push(warning("cidr-covers-cluster", &part.policy.key, rule.at.path(), message));
                }
            }
        }
    }
}

/// The ranges of a rule that mean only addresses outside, with their exceptions.
fn outside_ranges(snapshot: &Snapshot, rule: &Rule) -> Vec<(Prefix, Vec<Prefix>)> {
    let Peers::OneOf(peers) = &rule.peers else { return Vec::new() };
    let mut ranges = Vec::new();
    for peer in peers {
        match peer {
            Peer::Block { cidr, except, inside: false } => ranges.push((*cidr, except.clone())),
            Peer::CidrGroups { groups, except } => {
                let meant = snapshot.cidr_groups().values().filter(|group| match groups {
                    ObjectMatch::Named(name) => group.name == *name,
                    ObjectMatch::Matching(labels) => labels.matches(&group.labels),
                });
                ranges.extend(meant.flat_map(|group| &group.cidrs).map(|cidr| (*cidr, except.clone())));
            }
            Peer::Pods { .. }
            | Peer::Labelled(_)
            | Peer::Nodes { .. }
            | Peer::Block { inside: true, .. }
            | Peer::Services { .. }
            | Peer::Entity(_) => {}
        }
    }
    ranges
}

fn is_everything(range: &Prefix) -> bool {
    *range == Prefix::ALL_V4 || *range == Prefix::ALL_V6
}

/// Everything that is in the cluster: ranges of pods first, then single addresses.
fn inside(view: &View<'_>) -> Vec<Inside> {
    let single = |addr: &Addr| Prefix::new(*addr, V4_MAPPED_BITS + 32);
    let mut all = Vec::new();
    for node in view.snapshot.nodes().values() {
        let ranges = node.pod_cidrs.iter();
        all.extend(ranges.map(|range| Inside {
            range: *range,
            name: format!("the pod CIDR {} of Node {}", cidr(range), node.name),
        }));
        let own = node.addresses.iter();
        all.extend(
            own.map(|addr| Inside {
                range: single(addr),
                name: format!("Node {} ({})", node.name, ip(addr)),
            }),
        );
    }
    for pod in &view.endpoints {
        let own = pod.addrs().into_iter().flatten();
        all.extend(
            own.map(|addr| Inside { range: single(&addr), name: format!("Pod {} ({})", pod.key, ip(&addr)) }),
        );
    }
    all
}
