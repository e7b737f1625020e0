//! Rules that could be taken out without changing a verdict, by comparing texts, not pods: what is said holds for
//! every pod there may ever be. That nothing is said proves nothing.
//!
//! - In the Normal tier, what a rule allows may be allowed, or denied, by others; what it denies denied by others.
//! - In Admin and Baseline the first rule that matches ends the tier, so earlier rules may leave nothing to a later.
//! - What Admin decides never reaches Normal; where Normal isolates, nothing of egress reaches Baseline.
//!
//! Rules that are found are left out when others are compared, so that all of them together can be taken out.
//! Not here: rules that match nobody (`silent`).

mod inclusion;

use self::inclusion::{Need, ports_hold};
use super::facts::Facts;
use super::view::{PartView, View, namespace_of};
use super::{listed, warning};
use crate::cluster::snapshot::Snapshot;
use crate::model::{Action, Entity, Peer, Peers, Problem, Rule, Tier};
use isolator_common::policy::Direction;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A rule among those that are compared.
#[derive(Clone, Copy)]
struct Line<'a> {
    part: &'a PartView<'a>,
    /// Number of the part.
    number: usize,
    rule: &'a Rule,
}

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    let facts: Vec<Facts> = view.parts.iter().map(|part| Facts::of_subject(&part.part.subject)).collect();
    for direction in Direction::BOTH {
        let mut compare = Compare::new(view, &facts, direction);
        // The last comes first, so that of equal rules the first stays.
        for index in (0..compare.lines.len()).rev() {
            if let Some((code, message)) = compare.judge(index) {
                let Line { part, rule, .. } = compare.lines[index];
                problems.push(warning(code, &part.policy.key, rule.at.path(), message));
                compare.left_out[index] = true;
            }
        }
    }
}

/// All rules of one direction.
struct Compare<'a> {
    snapshot: &'a Snapshot,
    facts: &'a [Facts],
    direction: Direction,
    /// In the order of evaluation.
    lines: Vec<Line<'a>>,
    left_out: Vec<bool>,
    /// Lines by the namespace that their subject is in; by the empty name those of no single one.
    near: BTreeMap<&'a str, Vec<usize>>,
    /// Which subjects are within which, by their parts' numbers.
    within: HashMap<(usize, usize), bool>,
    /// Tiers with a rule that passes on.
    passing: BTreeSet<Tier>,
    /// Parts that isolate in the Normal tier.
    isolating: Vec<(usize, &'a PartView<'a>)>,
}

impl<'a> Compare<'a> {
    fn new(view: &'a View<'a>, facts: &'a [Facts], direction: Direction) -> Self {
        let mut lines = Vec::new();
        let mut isolating = Vec::new();
        for (number, part) in view.parts.iter().enumerate() {
            let Some(section) = part.part.section(direction) else { continue };
            if part.policy.tier == Tier::Normal && section.default_deny {
                isolating.push((number, part));
            }
            lines.extend(section.rules.iter().map(|rule| Line { part, number, rule }));
        }
        lines.sort_by_key(|line| (line.part.policy.tier, line.part.policy.priority, &line.part.policy.key));
        let mut near: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, line) in lines.iter().enumerate() {
            near.entry(namespace_of(&line.part.part.subject).unwrap_or_default()).or_default().push(index);
        }
        let passes = |line: &&Line<'_>| line.rule.action == Action::Pass;
        let passing = lines.iter().filter(passes).map(|line| line.part.policy.tier).collect();
        let left_out = vec![false; lines.len()];
        let snapshot = view.snapshot;
        Compare {
            snapshot,
            facts,
            direction,
            lines,
            left_out,
            near,
            within: HashMap::new(),
            passing,
            isolating,
        }
    }

    fn judge(&mut self, index: usize) -> Option<(&'static str, String)> {
        let Line { part, number, rule } = &self.lines[index];
        let (rule, tier, number) = (*rule, part.policy.tier, *number);
        if self.facts[number].are_impossible() || rule.peers == Peers::OneOf(Vec::new()) {
            return None;
        }
        let wider = self.wider(index, number);
        let of = |keep: &dyn Fn(usize, &Line<'_>) -> bool| -> Vec<usize> {
            wider.iter().copied().filter(|other| keep(*other, &self.lines[*other])).collect()
        };
        let tier_of = |line: &Line<'_>| line.part.policy.tier;
        let shadowed = |by: String| Some(("shadowed-rule", format!("it never decides anything: {by}")));
        if tier == Tier::Normal {
            // A Pass before what Admin decides would lead around it.
            let admin = of(&|_, line| tier_of(line) == Tier::Admin);
            if !self.passing.contains(&Tier::Admin)
                && let Some(by) = self.covered(rule, &admin)
            {
                return shadowed(format!("{by} decides all of it before"));
            }
            let deny = of(&|_, line| tier_of(line) == Tier::Normal && line.rule.action == Action::Deny);
            if rule.action == Action::Deny {
                return self
                    .covered(rule, &deny)
                    .map(|by| ("redundant-rule", format!("{by} denies all of it, too")));
            }
            if rule.action == Action::Pass {
                return None;
            }
            if let Some(by) = self.covered(rule, &deny) {
                return shadowed(format!("{by} denies all that it allows"));
            }
            let normal = of(&|_, line| tier_of(line) == Tier::Normal && line.rule.action != Action::Pass);
            return self
                .covered(rule, &normal)
                .map(|by| ("redundant-rule", format!("{by} decides all of it, too")));
        }
        let before = of(&|other, line| tier_of(line) == tier && other < index);
        if let Some(by) = self.covered(rule, &before) {
            return shadowed(format!("{by} comes before and matches all of it"));
        }
        if tier != Tier::Baseline || self.passing.contains(&Tier::Normal) || !self.never_the_host(rule) {
            return None;
        }
        self.isolated(number).and_then(|by| {
            shadowed(format!("{by} isolates all that it speaks of, so nothing is left to this tier"))
        })
    }

    /// Lines whose subjects hold all of this part's.
    fn wider(&mut self, index: usize, number: usize) -> Vec<usize> {
        let own = namespace_of(&self.lines[index].part.part.subject).unwrap_or_default();
        let mut near: Vec<usize> = self.near.get("").into_iter().flatten().copied().collect();
        if !own.is_empty() {
            near.extend(self.near.get(own).into_iter().flatten());
        }
        near.retain(|other| *other != index && !self.left_out[*other]);
        near.retain(|other| self.is_within(number, self.lines[*other].number));
        near.sort_unstable();
        near
    }

    fn is_within(&mut self, inner: usize, outer: usize) -> bool {
        let (facts, snapshot) = (self.facts, self.snapshot);
        inner == outer
            || *self
                .within
                .entry((inner, outer))
                .or_insert_with(|| facts[inner].are_within(&facts[outer], snapshot))
    }

    /// The policy that isolates every pod of a part.
    fn isolated(&mut self, number: usize) -> Option<String> {
        let isolating = self.isolating.clone();
        let mut all = isolating.into_iter();
        all.find(|(outer, _)| self.is_within(number, *outer)).map(|(_, part)| part.policy.key.to_string())
    }

    /// Whether the local host, which isolation does not keep out, is none of the rule's peers.
    fn never_the_host(&self, rule: &Rule) -> bool {
        self.direction == Direction::Egress
            || match &rule.peers {
                Peers::Any => false,
                Peers::OneOf(peers) => peers.iter().all(|peer| matches!(peer, Peer::Pods { .. })),
            }
    }

    /// Names of the lines that together match all that a rule matches.
    fn covered(&self, rule: &Rule, by: &[usize]) -> Option<String> {
        let everybody = [Peer::Entity(Entity::All)];
        let peers = match &rule.peers {
            Peers::Any => &everybody[..],
            Peers::OneOf(peers) => peers,
        };
        let mut used = Vec::new();
        for peer in peers {
            let mut need = Need::of(&rule.ports);
            let holds = |other: &usize| {
                let wide = self.lines[*other].rule;
                // An address that several ends claim is everybody to a deny, and nobody to all else but `all`.
                let everybody = Peer::Entity(Entity::All);
                let conflicts = rule.action == Action::Deny && wide.action != Action::Deny;
                let peer = if conflicts { &everybody } else { peer };
                inclusion::peers_hold(&wide.peers, peer, self.snapshot)
            };
            let mut candidates: Vec<usize> = by.iter().copied().filter(holds).collect();
            // One that covers all by itself is easier to read about than several.
            candidates.sort_by_key(|other| Reverse(ports_hold(&self.lines[*other].rule.ports, &rule.ports)));
            for other in candidates {
                if need.take(&self.lines[other].rule.ports) && !used.contains(&other) {
                    used.push(other);
                }
                if need.is_met() {
                    break;
                }
            }
            if !need.is_met() {
                return None;
            }
        }
        used.sort_unstable();
        let names: Vec<String> = used
            .iter()
            .map(|other| &self.lines[*other])
            .map(|line| format!("{} {}", line.part.policy.key, line.rule.at))
            .collect();
        (!names.is_empty()).then(|| listed(&names, 3))
    }
}
