//! Rows: every program against every group, groups that no row tells apart taken together, and both
//! directions of an endpoint looked at as one, because replies decide what needs tracking. Not here: one
//! cell (`cells`).

use super::cells::{Match, Verdicts, cell, translated, without_rules};
use super::columns::{Columns, Distinct, DistinctRows};
use super::groups::Groups;
use super::intern::Interner;
use super::peers::Matchers;
use super::select::{Program, Selection};
use crate::datapath::compiled::{CellSpec, Effect, ReasonIndex, RowIndex, RowSpecs, VerdictSpec};
use crate::meaning::why::By;
use crate::model::{Action, Entity};
use isolator_common::policy::Direction;
use std::collections::{BTreeSet, HashMap};

/// What every program makes of every group. Grows with them; numbers stay.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By program, a cell number by group, as far as somebody asked.
    wide: HashMap<usize, Vec<u32>>,
    /// Distinct cells without tracking.
    cells: Interner<CellSpec>,
    /// By cell.
    passing: Vec<Passing>,
    reasons: Interner<By>,
    /// The programs in use.
    live: Vec<usize>,
    /// Groups that the programs in use tell apart, with their merged groups.
    distinct: Distinct,
    /// Merged group by group; `None` for those without members so far.
    merged: Vec<Option<u32>>,
    /// By merged group: a group that is or was in it.
    examples: Vec<u32>,
}

/// What a cell lets pass: for good, or to a second judgement.
#[derive(Clone, Copy, Debug)]
struct Passing {
    some: bool,
    all: bool,
}

impl Passing {
    fn of(cell: &CellSpec) -> Passing {
        let verdicts: &[(u32, VerdictSpec)] = match cell {
            CellSpec::All(verdict) => &[(0, *verdict)],
            CellSpec::ByPort(verdicts) => verdicts,
        };
        let passes =
            |(_, verdict): &(u32, VerdictSpec)| matches!(verdict.effect, Effect::Allow | Effect::Service);
        Passing { some: verdicts.iter().any(passes), all: verdicts.iter().all(passes) }
    }
}

/// What an update of [`Rows`] did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// New groups are like known ones, if there are new ones at all.
    Nothing,
    /// There are more merged groups; those known before are the same.
    More,
    /// By group: whether it is in another merged group than before.
    Moved(Vec<bool>),
}

impl Rows {
    /// Looks at new programs and new groups.
    pub(super) fn update(
        &mut self,
        selection: &Selection,
        groups: &Groups,
        matchers: &Matchers,
        live: Vec<usize>,
    ) -> Reach {
        let everything = matchers.entity(Entity::All);
        for number in &live {
            let Rows { wide, cells, reasons, .. } = self;
            let row = wide.entry(*number).or_default();
            let maker = RowMaker { selection, groups, program: selection.program(*number), everything };
            maker.extend(row, &mut |verdicts| cells.number(spec(verdicts, reasons)));
        }
        let new = &self.cells.values()[self.passing.len()..];
        self.passing.extend(new.iter().map(Passing::of));
        self.merged.resize(groups.groups.len(), None);
        let living = (0..).zip(&groups.counts).filter(|(_, count)| **count > 0).map(|(group, _)| group);
        if live != self.live {
            self.live = live;
            return Reach::Moved(self.merge(living.collect()));
        }
        let before = self.examples.len();
        let Rows { wide, live, distinct, merged, examples, .. } = self;
        let columns = Columns::new(live.iter().map(|program| wide[program].as_slice()));
        for group in living {
            if merged[group as usize].is_some() {
                continue;
            }
            let sum = columns.sum(group);
            let number = distinct.find(&columns, sum, group).unwrap_or_else(|| {
                let next = examples.len() as u32;
                distinct.add(sum, group, next);
                examples.push(group);
                next
            });
            merged[group as usize] = Some(number);
        }
        if self.examples.len() > before { Reach::More } else { Reach::Nothing }
    }

    /// Groups that all programs in use treat alike become one. It has a number that one of them had before, or
    /// the next that is free. Answers which groups have another number now.
    fn merge(&mut self, living: Vec<u32>) -> Vec<bool> {
        let Rows { wide, live, distinct, merged, examples, .. } = self;
        let columns = Columns::new(live.iter().map(|program| wide[program].as_slice()));
        let sums = columns.sums();
        let mut classes = Distinct::default();
        let mut count = 0;
        let class_of = |group: u32| {
            let sum = sums[group as usize];
            classes.find(&columns, sum, group).unwrap_or_else(|| {
                classes.add(sum, group, count);
                count += 1;
                count - 1
            })
        };
        let of: Vec<u32> = living.iter().copied().map(class_of).collect();
        let mut numbers: Vec<Option<u32>> = vec![None; count as usize];
        let mut taken = BTreeSet::new();
        for (group, class) in living.iter().zip(&of) {
            let number = &mut numbers[*class as usize];
            if let (None, Some(before)) = (&number, merged[*group as usize])
                && taken.insert(before)
            {
                *number = Some(before);
            }
        }
        let mut free = (0..).filter(|number| !taken.contains(number));
        for number in numbers.iter_mut().filter(|number| number.is_none()) {
            *number = free.next();
        }
        let before = std::mem::replace(merged, vec![None; merged.len()]);
        *distinct = Distinct::default();
        let mut written = vec![false; numbers.len()];
        for (group, class) in living.into_iter().zip(of) {
            let Some(number) = numbers[class as usize] else { continue };
            if !std::mem::replace(&mut written[class as usize], true) {
                distinct.add(sums[group as usize], group, number);
            }
            if examples.len() <= number as usize {
                examples.resize(number as usize + 1, group);
            }
            examples[number as usize] = group;
            merged[group as usize] = Some(number);
        }
        before.iter().zip(merged).map(|(before, now)| before != now).collect()
    }

    /// The merged group of a group with members.
    pub(super) fn merged(&self, group: u32) -> u32 {
        self.merged[group as usize].unwrap_or_default()
    }

    /// Number of merged groups.
    pub(super) fn groups(&self) -> u32 {
        self.examples.len() as u32
    }

    /// Starts to write rows down.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer { rows: self, known: HashMap::new(), distinct: DistinctRows::default() }
    }
}

/// Writes down the rows that endpoints have.
pub(super) struct Writer<'r> {
    rows: &'r Rows,
    known: HashMap<[usize; 2], [RowIndex; 2]>,
    /// Cell number × 2, and 1 where it is tracked.
    distinct: DistinctRows,
}

impl Writer<'_> {
    /// The rows of an endpoint with these programs.
    pub(super) fn pair(&mut self, programs: [usize; 2]) -> [RowIndex; 2] {
        let Writer { rows, known, distinct } = self;
        *known.entry(programs).or_insert_with(|| {
            let [egress, ingress] = programs.map(|program| &rows.wide[&program]);
            let mut row = |mine: &[u32], opposite: &[u32]| {
                let cells =
                    rows.examples.iter().map(|group| (mine[*group as usize], opposite[*group as usize]));
                let tracked = |(cell, reply)| cell * 2 + u32::from(rows.needs_entry(cell, reply));
                RowIndex(distinct.number(cells.map(tracked).collect()))
            };
            [row(egress, ingress), row(ingress, egress)]
        })
    }

    /// The rows that were asked for, and the reasons that their cells speak of, as numbers among all.
    pub(super) fn finished(self) -> (RowSpecs, Vec<u32>) {
        let all = self.rows.cells.values();
        let mut reasons = Renumbered { of: vec![None; self.rows.reasons.len()], used: Vec::new() };
        let mut cells: Vec<CellSpec> = Vec::new();
        let mut written: Vec<Option<u32>> = vec![None; all.len() * 2];
        let mut write = |code: u32| {
            *written[code as usize].get_or_insert_with(|| {
                cells.push(renumbered(&all[(code / 2) as usize], code % 2 == 1, &mut reasons));
                cells.len() as u32 - 1
            })
        };
        let mut rows = self.distinct.finished();
        rows.iter_mut().flatten().for_each(|code| *code = write(*code));
        (RowSpecs::new(cells, rows), reasons.used)
    }
}

impl Rows {
    /// A reason by its number among all.
    pub(super) fn reason(&self, number: u32) -> &By {
        &self.reasons.values()[number as usize]
    }

    /// Whether what a cell allows needs an entry: so that replies pass in the opposite cell, or because they would make
    /// one there, by which the connection would be the other end's (`docs/adr/0005-connections-without-an-entry.md`).
    fn needs_entry(&self, cell: u32, opposite: u32) -> bool {
        let (cell, opposite) = (self.passing[cell as usize], self.passing[opposite as usize]);
        cell.some && !(cell.all && opposite.all)
    }
}

/// Numbers in the order of their first use.
struct Renumbered {
    /// New by old.
    of: Vec<Option<u32>>,
    /// Old by new.
    used: Vec<u32>,
}

impl Renumbered {
    fn number(&mut self, old: u32) -> u32 {
        let Renumbered { of, used } = self;
        *of[old as usize].get_or_insert_with(|| {
            used.push(old);
            used.len() as u32 - 1
        })
    }
}

/// One program and what it meets.
struct RowMaker<'s> {
    selection: &'s Selection,
    groups: &'s Groups,
    program: &'s Program,
    /// The matcher of the entity `all`.
    everything: Option<u32>,
}

impl RowMaker<'_> {
    /// Adds the cell numbers of groups that the row does not have yet.
    fn extend(&self, row: &mut Vec<u32>, number: &mut impl FnMut(Verdicts) -> u32) {
        let first = row.len();
        if first == self.groups.groups.len() {
            return;
        }
        let rules = self.rules();
        let names = self.program.sections.iter().any(|index| self.selection.sections[*index].names);
        let egress = self.program.direction == Direction::Egress;
        let mut known: HashMap<(Vec<u32>, bool, bool, u32, u32), u32> = HashMap::new();
        let hits = self.hits(&rules, first);
        for (group, hits) in self.groups.groups[first..].iter().zip(hits) {
            if let Some((effect, by)) = without_rules(self.program, group) {
                let verdicts = vec![(0, effect, by)];
                // What is denied whoever is behind it stays denied.
                let left = egress && effect == Effect::Allow;
                row.push(number(if left { translated(verdicts, &group.translated) } else { verdicts }));
                continue;
            }
            let conflict = group.end.is_conflict();
            let ports = if names { group.ports_number } else { 0 };
            let left = if egress { group.translated_number } else { 0 };
            let key = (hits, group.end.is_local_host(), conflict, ports, left);
            let cell = match known.get(&key) {
                Some(cell) => *cell,
                None => {
                    let matches: Vec<Match<'_>> = key.0.iter().map(|rule| rules[*rule as usize]).collect();
                    let verdicts = cell(self.selection, self.program, group, &matches);
                    let new = number(if egress { translated(verdicts, &group.translated) } else { verdicts });
                    known.insert(key, new);
                    new
                }
            };
            row.push(cell);
        }
    }

    /// The program's rules in the order of evaluation.
    fn rules(&self) -> Vec<Match<'_>> {
        let sections = self.program.sections.iter().map(|index| &self.selection.sections[*index]);
        sections.flat_map(|section| section.rules.iter().map(move |rule| Match { section, rule })).collect()
    }

    /// By group, from the first that is asked for: the rules whose peers match, ascending.
    fn hits(&self, rules: &[Match<'_>], first: usize) -> Vec<Vec<u32>> {
        let groups = &self.groups.groups;
        let mut hits: Vec<Vec<u32>> = vec![Vec::new(); groups.len() - first];
        for (position, found) in (0..).zip(rules) {
            let Some(matchers) = &found.rule.matchers else {
                hits.iter_mut().for_each(|hits| hits.push(position));
                continue;
            };
            // An address that several claim: only what denies, or means everything, means it.
            let unclear = found.rule.action == Action::Deny
                || matchers.iter().any(|matcher| Some(*matcher) == self.everything);
            for matcher in matchers {
                let members = self.groups.members.get(*matcher as usize).map_or(&[][..], Vec::as_slice);
                let known = members.partition_point(|group| (*group as usize) < first);
                for group in &members[known..] {
                    let conflict = groups[*group as usize].end.is_conflict();
                    let hits = &mut hits[*group as usize - first];
                    if hits.last() != Some(&position) && (!conflict || unclear) {
                        hits.push(position);
                    }
                }
            }
        }
        hits
    }
}

/// A cell with numbers for reasons.
fn spec(verdicts: Verdicts, reasons: &mut Interner<By>) -> CellSpec {
    let mut numbered = Vec::with_capacity(verdicts.len());
    for (first, effect, by) in verdicts {
        numbered.push((first, VerdictSpec { effect, reason: ReasonIndex(reasons.number(by)) }));
    }
    match numbered.as_slice() {
        [(_, only)] => CellSpec::All(*only),
        _ => CellSpec::ByPort(numbered.into()),
    }
}

/// The cell with the numbers of its reasons in `reasons`, and with every allow tracked, if it is to be.
fn renumbered(cell: &CellSpec, tracked: bool, reasons: &mut Renumbered) -> CellSpec {
    let mut write = |verdict: &VerdictSpec| VerdictSpec {
        effect: match verdict.effect {
            Effect::Allow if tracked => Effect::AllowTracked,
            Effect::Service if tracked => Effect::ServiceTracked,
            other => other,
        },
        reason: ReasonIndex(reasons.number(verdict.reason.0)),
    };
    match cell {
        CellSpec::All(verdict) => CellSpec::All(write(verdict)),
        CellSpec::ByPort(verdicts) => {
            CellSpec::ByPort(verdicts.iter().map(|(first, verdict)| (*first, write(verdict))).collect())
        }
    }
}
