//! Rows: every program against every group, groups that no row tells apart taken together, and both
//! directions of an endpoint looked at as one, because replies decide what needs tracking. Not here: one
//! cell (`cells`).

use super::cells::{Match, Verdicts, cell, translated, without_rules};
use super::columns::{Columns, Reach, Update, Wide, sum};
use super::groups::{Group, Groups};
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
    wide: Wide,
    /// The same where no rule is asked, by [`Group::plain_number`], as far as somebody asked.
    plain: HashMap<usize, Vec<Option<Option<u32>>>>,
    /// Distinct cells without tracking.
    cells: Interner<CellSpec>,
    /// By cell.
    passing: Vec<Passing>,
    reasons: Interner<By>,
    /// Which groups the programs in use tell apart.
    columns: Columns,
    /// By pair of programs that endpoints have, egress and ingress: their rows, which are cell number × 2, and 1 where it
    /// is tracked, by merged group.
    pairs: HashMap<[usize; 2], [Vec<u32>; 2]>,
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

impl Rows {
    /// Looks at new programs and new groups.
    pub(super) fn update(
        &mut self,
        selection: &Selection,
        groups: &Groups,
        matchers: &Matchers,
        live: &[usize],
    ) -> Reach {
        let everything = matchers.entity(Entity::All);
        for number in live {
            let Rows { wide, plain, cells, reasons, .. } = self;
            let row = wide.entry(*number).or_default();
            let plain = plain.entry(*number).or_default();
            let maker = RowMaker { selection, groups, program: selection.program(*number), everything };
            maker.extend(row, plain, &mut |verdicts| cells.number(spec(verdicts, reasons)));
        }
        let new = &self.cells.values()[self.passing.len()..];
        self.passing.extend(new.iter().map(Passing::of));
        let Update { reach, fresh } = self.columns.update(&self.wide, live, &groups.counts);
        self.pair(selection.pairs(), &fresh);
        reach
    }

    /// Brings the rows of these pairs of programs up to date in merged groups that stand for others than before.
    fn pair(&mut self, wanted: BTreeSet<[usize; 2]>, fresh: &[u32]) {
        let Rows { wide, passing, columns, pairs, .. } = self;
        pairs.retain(|programs, _| wanted.contains(programs));
        let examples = columns.examples();
        for programs in wanted {
            let [egress, ingress] = programs.map(|program| wide[&program].as_slice());
            let write = |row: &mut Vec<u32>, mine: &[u32], opposite: &[u32]| {
                let code = |example: &u32| {
                    let (cell, reply) = (mine[*example as usize], opposite[*example as usize]);
                    cell * 2 + u32::from(needs_entry(passing[cell as usize], passing[reply as usize]))
                };
                for number in fresh.iter().map(|number| *number as usize) {
                    if let Some(there) = row.get_mut(number) {
                        *there = code(&examples[number]);
                    }
                }
                row.extend(examples[row.len()..].iter().map(code));
            };
            let [out, into] = pairs.entry(programs).or_default();
            write(out, egress, ingress);
            write(into, ingress, egress);
        }
    }

    /// The merged group of a group with members.
    pub(super) fn merged(&self, group: u32) -> u32 {
        self.columns.merged(group)
    }

    /// Number of merged groups.
    pub(super) fn groups(&self) -> u32 {
        self.columns.examples().len() as u32
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
    distinct: DistinctRows<'r>,
}

impl Writer<'_> {
    /// The rows of an endpoint with these programs.
    pub(super) fn pair(&mut self, programs: [usize; 2]) -> [RowIndex; 2] {
        let Writer { rows, known, distinct } = self;
        *known
            .entry(programs)
            .or_insert_with(|| rows.pairs[&programs].each_ref().map(|row| RowIndex(distinct.number(row))))
    }

    /// The rows that were asked for, and the reasons that their cells speak of, as numbers among all.
    pub(super) fn finished(self) -> (RowSpecs, Vec<u32>) {
        let all = self.rows.cells.values();
        let mut reasons = Renumbered { of: vec![None; self.rows.reasons.len()], used: Vec::new() };
        let mut cells: Vec<CellSpec> = Vec::new();
        // No cell has the greatest number. Small, so that it stays near while all rows are gone through.
        let mut written: Vec<u32> = vec![u32::MAX; all.len() * 2];
        let mut write = |code: u32| {
            let number = &mut written[code as usize];
            if *number == u32::MAX {
                *number = cells.len() as u32;
                cells.push(renumbered(&all[(code / 2) as usize], code % 2 == 1, &mut reasons));
            }
            *number
        };
        let rows = self.distinct.rows.iter().map(|row| row.iter().map(|code| write(*code)).collect());
        let rows = rows.collect();
        (RowSpecs::new(cells, rows), reasons.used)
    }
}

impl Rows {
    /// A reason by its number among all.
    pub(super) fn reason(&self, number: u32) -> &By {
        &self.reasons.values()[number as usize]
    }
}

/// Whether what a cell allows needs an entry: so that replies pass in the opposite cell, or because they would make one
/// there, by which the connection would be the other end's (`docs/adr/0005-connections-without-an-entry.md`).
fn needs_entry(cell: Passing, opposite: Passing) -> bool {
    cell.some && !(cell.all && opposite.all)
}

/// Rows of which no two are equal, in the order of their first use.
#[derive(Debug, Default)]
struct DistinctRows<'r> {
    rows: Vec<&'r [u32]>,
    by_sum: HashMap<u64, Vec<u32>>,
}

impl<'r> DistinctRows<'r> {
    /// The number of a row, a new one if it was not seen before.
    fn number(&mut self, row: &'r [u32]) -> u32 {
        let DistinctRows { rows, by_sum } = self;
        let known = by_sum.entry(sum(row)).or_default();
        let number = known.iter().find(|number| rows[**number as usize] == row).copied();
        number.unwrap_or_else(|| {
            rows.push(row);
            known.push(rows.len() as u32 - 1);
            rows.len() as u32 - 1
        })
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
    fn extend(
        &self,
        row: &mut Vec<u32>,
        plain: &mut Vec<Option<Option<u32>>>,
        number: &mut impl FnMut(Verdicts) -> u32,
    ) {
        let first = row.len();
        if first == self.groups.groups.len() {
            return;
        }
        let groups = &self.groups.groups[first..];
        let decided = self.decided(groups, plain, number);
        if decided.iter().all(Option::is_some) {
            row.extend(decided.into_iter().flatten());
            return;
        }
        let rules = self.rules();
        let names = self.program.sections.iter().any(|index| self.selection.sections[*index].names);
        let egress = self.program.direction == Direction::Egress;
        let mut known: HashMap<(Vec<u32>, bool, bool, u32, u32), u32> = HashMap::new();
        let hits = self.hits(&rules, first, &decided);
        for ((group, hits), decided) in groups.iter().zip(hits).zip(decided) {
            if let Some(cell) = decided {
                row.push(cell);
                continue;
            }
            let left = if egress { group.translated_number } else { 0 };
            let conflict = group.end.is_conflict();
            let ports = if names { group.ports_number } else { 0 };
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

    /// By group: the cell, where no rule is asked.
    fn decided(
        &self,
        groups: &[Group],
        known: &mut Vec<Option<Option<u32>>>,
        number: &mut impl FnMut(Verdicts) -> u32,
    ) -> Vec<Option<u32>> {
        let mut cell = |group: &Group| {
            let (effect, by) = without_rules(self.program, group)?;
            let verdicts = vec![(0, effect, by)];
            // What is denied whoever is behind it stays denied.
            let left = self.program.direction == Direction::Egress && effect == Effect::Allow;
            Some(number(if left { translated(verdicts, &group.translated) } else { verdicts }))
        };
        let decided = groups.iter().map(|group| {
            let plain = group.plain_number as usize;
            if known.len() <= plain {
                known.resize(plain + 1, None);
            }
            *known[plain].get_or_insert_with(|| cell(group))
        });
        decided.collect()
    }

    /// The program's rules in the order of evaluation.
    fn rules(&self) -> Vec<Match<'_>> {
        let sections = self.program.sections.iter().map(|index| &self.selection.sections[*index]);
        sections.flat_map(|section| section.rules.iter().map(move |rule| Match { section, rule })).collect()
    }

    /// By group, from the first that is asked for: the rules whose peers match, ascending. None for what is decided.
    fn hits(&self, rules: &[Match<'_>], first: usize, decided: &[Option<u32>]) -> Vec<Vec<u32>> {
        let groups = &self.groups.groups;
        let mut hits: Vec<Vec<u32>> = vec![Vec::new(); decided.len()];
        for (position, found) in (0..).zip(rules) {
            let Some(matchers) = &found.rule.matchers else {
                let open = hits.iter_mut().zip(decided).filter(|(_, decided)| decided.is_none());
                open.for_each(|(hits, _)| hits.push(position));
                continue;
            };
            // An address that several claim: only what denies, or means everything, means it.
            let unclear = found.rule.action == Action::Deny
                || matchers.iter().any(|matcher| Some(*matcher) == self.everything);
            for matcher in matchers {
                let members = self.groups.members.get(*matcher as usize).map_or(&[][..], Vec::as_slice);
                let known = members.partition_point(|group| (*group as usize) < first);
                let asked =
                    members[known..].iter().filter(|group| decided[**group as usize - first].is_none());
                for group in asked {
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
