//! One program against one group: verdicts by port, before the opposite direction is known. Rules are laid
//! down in the order of precedence, each on the ports that none before it has decided. Not here: which rules
//! match the group (`rows`).

use super::groups::{End, Group};
use super::ports::{KeyRange, KeySet, ranges};
use super::select::{CompiledRule, Program, Section, Selection};
use crate::datapath::compiled::Effect;
use crate::meaning::why::By;
use crate::model::{Action, Tier};
use isolator_common::policy::Direction;
use std::collections::BTreeSet;

/// Verdicts by port: first key, effect and reason; sorted, from 0, neighbours different. Allow is
/// [`Effect::Allow`], whether tracked or not.
pub(super) type Verdicts = Vec<(u32, Effect, By)>;

/// A rule that matches the group.
#[derive(Clone, Copy)]
pub(super) struct Match<'s> {
    pub(super) section: &'s Section,
    pub(super) rule: &'s CompiledRule,
}

/// The verdict for a group that no rule is asked about.
pub(super) fn without_rules(program: &Program, group: &Group) -> Option<(Effect, By)> {
    if program.startup {
        return Some(match group.end {
            End::LocalHost { .. } => (Effect::Allow, By::LocalHost),
            _ => (Effect::DefaultDeny, By::Startup),
        });
    }
    if group.end == End::Service && program.direction == Direction::Egress {
        return Some((Effect::Service, By::Service));
    }
    let ours = program.tenant.as_deref()?;
    if group.end.is_conflict() {
        return Some((Effect::Tenancy, By::AddressConflict));
    }
    let theirs = group.tenant.as_deref()?;
    let accepted = match program.direction {
        Direction::Egress => group.accepts.iter().any(|accepted| accepted == ours),
        Direction::Ingress => program.accepts.as_ref().is_some_and(|accepts| accepts.contains(theirs)),
    };
    (ours != theirs && !accepted)
        .then(|| (Effect::Tenancy, By::Tenancy { ours: ours.to_owned(), theirs: theirs.to_owned() }))
}

/// The verdicts with what is translated left to the second judgement. `ports` are single port keys, sorted.
pub(super) fn translated(verdicts: Verdicts, ports: &[u32]) -> Verdicts {
    let at = |key: u32| {
        verdicts.iter().rfind(|(first, ..)| *first <= key).map(|(_, effect, by)| (*effect, by.clone()))
    };
    let starts = verdicts.iter().map(|(first, ..)| *first);
    let cuts: BTreeSet<u32> = starts.chain(ports.iter().flat_map(|port| [*port, port + 1])).collect();
    let mut all: Verdicts = Vec::with_capacity(cuts.len());
    for cut in cuts {
        let found = match ports.binary_search(&cut) {
            Ok(_) => Some((Effect::Service, By::Service)),
            Err(_) => at(cut),
        };
        let Some((effect, by)) = found else { continue };
        if all.last().is_none_or(|(_, last, why)| (*last, why) != (effect, &by)) {
            all.push((cut, effect, by));
        }
    }
    all
}

/// The verdicts by port of the rules that match the group, which come in the order of evaluation.
pub(super) fn cell(
    selection: &Selection,
    program: &Program,
    group: &Group,
    matches: &[Match<'_>],
) -> Verdicts {
    let local_host = program.direction == Direction::Ingress && group.end.is_local_host();
    let mut cell = Cell { selection, program, group, open: KeySet::all(), decided: Vec::new() };
    let of = |tier: Tier| matches.iter().filter(move |found| found.section.policy.tier == tier);

    let passed = cell.first_match(of(Tier::Admin));
    cell.open_again(passed);

    for action in [Action::Deny, Action::Allow] {
        for found in of(Tier::Normal).filter(|found| found.rule.action == action) {
            cell.decide(found);
        }
    }
    let mut passed = Vec::new();
    for found in of(Tier::Normal).filter(|found| found.rule.action == Action::Pass) {
        passed.extend(cell.take(found));
    }
    let mut isolating: Vec<_> =
        selection.isolating(program).map(|section| section.policy.key.clone()).collect();
    isolating.dedup();
    if !isolating.is_empty() && !local_host {
        let by = By::DefaultDeny { direction: program.direction, policies: isolating };
        cell.decide_rest(Effect::DefaultDeny, by);
    }
    cell.open_again(passed);

    let passed = cell.first_match(of(Tier::Baseline));
    cell.open_again(passed);
    let by = if local_host { By::LocalHost } else { By::NoPolicy { direction: program.direction } };
    cell.decide_rest(Effect::Allow, by);
    cell.finished()
}

struct Cell<'s> {
    selection: &'s Selection,
    program: &'s Program,
    group: &'s Group,
    /// What is not decided yet.
    open: KeySet,
    decided: Vec<(KeyRange, Effect, By)>,
}

impl Cell<'_> {
    /// Admin and Baseline: the first match decides or passes on. Returns what was passed on.
    fn first_match<'m, 's: 'm>(&mut self, matches: impl Iterator<Item = &'m Match<'s>>) -> Vec<KeyRange> {
        let mut passed = Vec::new();
        for found in matches {
            match found.rule.action {
                Action::Pass => passed.extend(self.take(found)),
                Action::Allow | Action::Deny => self.decide(found),
            }
        }
        passed
    }

    /// Lets the rule decide what is open of its ports.
    fn decide(&mut self, found: &Match<'_>) {
        let effect = if found.rule.action == Action::Deny { Effect::Deny } else { Effect::Allow };
        let by = By::Rule { policy: found.section.policy.key.clone(), rule: found.rule.at };
        for range in self.take(found) {
            self.decided.push((range, effect, by.clone()));
        }
    }

    fn decide_rest(&mut self, effect: Effect, by: By) {
        for range in self.open.take_all() {
            self.decided.push((range, effect, by.clone()));
        }
    }

    /// Removes the rule's ports from what is open, and returns what was open of them.
    fn take(&mut self, found: &Match<'_>) -> Vec<KeyRange> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let (selection, program, group) = (self.selection, self.program, self.group);
        let ranges = ranges(&found.rule.ports, |protocol, name| match program.direction {
            Direction::Ingress => program
                .ports
                .iter()
                .filter(|port| port.protocol == protocol && port.name == name)
                .map(|port| port.port)
                .collect(),
            Direction::Egress => {
                // Names of claimants of one address only deny.
                let unclear = group.end.is_conflict() && found.rule.action != Action::Deny;
                let wanted = selection.names.find(&(protocol, name.to_owned())).filter(|_| !unclear);
                let numbers = group.ports.iter().filter(|(number, _)| Some(*number) == wanted);
                numbers.map(|(_, port)| *port).collect()
            }
        });
        ranges.into_iter().flat_map(|range| self.open.take(range)).collect()
    }

    fn open_again(&mut self, ranges: Vec<KeyRange>) {
        for range in ranges {
            self.open.put(range);
        }
    }

    fn finished(mut self) -> Verdicts {
        self.decided.sort_by_key(|((first, _), ..)| *first);
        let mut verdicts: Verdicts = Vec::with_capacity(self.decided.len());
        for ((first, _), effect, by) in self.decided {
            match verdicts.last() {
                Some((_, last_effect, last_by)) if *last_effect == effect && *last_by == by => {}
                _ => verdicts.push((first, effect, by)),
            }
        }
        verdicts
    }
}
