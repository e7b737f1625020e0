//! Rows: every program against every group, groups that no row tells apart taken together, and both
//! directions of an endpoint looked at as one, because replies decide what needs tracking. Not here: one
//! cell (`cells`).

use super::cells::{Match, Verdicts, cell, without_rules};
use super::groups::{End, Groups};
use super::intern::Interner;
use super::peers::Matchers;
use super::select::{Program, Selection};
use crate::datapath::compiled::{CellSpec, Effect, GroupIndex, ReasonIndex, RowIndex, VerdictSpec};
use crate::meaning::why::By;
use crate::model::{Action, Entity};
use std::collections::HashMap;

/// All rows of a node.
pub(super) struct Rows {
    /// By program: a cell number per merged group.
    base: Vec<Vec<u32>>,
    /// Distinct cells without tracking.
    cells: Vec<CellSpec>,
    /// By cell: every port is allowed, so replies pass by themselves.
    open: Vec<bool>,
    reasons: Vec<By>,
    /// Merged group by group.
    merged: Vec<GroupIndex>,
    /// Number of merged groups.
    count: u32,
    /// Distinct rows, as (cell number, tracked).
    rows: Interner<Vec<(u32, bool)>>,
}

impl Rows {
    pub(super) fn new(selection: &Selection<'_>, groups: &Groups<'_>, matchers: &Matchers<'_>) -> Self {
        let mut cells = Interner::default();
        let mut reasons = Interner::default();
        let everything = matchers.entity(Entity::All);
        let wide: Vec<Vec<u32>> = selection
            .programs
            .iter()
            .map(|program| {
                let maker = RowMaker { selection, groups, program, everything };
                maker.row(&mut |verdicts| cells.number(spec(verdicts, &mut reasons)))
            })
            .collect();
        let (base, merged, count) = merge(&wide, groups.groups.len());
        let cells = cells.into_values();
        Rows {
            base,
            open: cells.iter().map(is_open).collect(),
            cells,
            reasons: reasons.into_values(),
            merged,
            count,
            rows: Interner::default(),
        }
    }

    /// The rows of an endpoint with these programs.
    pub(super) fn pair(&mut self, programs: [usize; 2]) -> [RowIndex; 2] {
        let tracked = |mine: usize, opposite: usize| -> Vec<(u32, bool)> {
            let cells = self.base[programs[mine]].iter().zip(&self.base[programs[opposite]]);
            cells.map(|(cell, reply)| (*cell, self.needs_entry(*cell, *reply))).collect()
        };
        [tracked(0, 1), tracked(1, 0)].map(|row| RowIndex(self.rows.number(row)))
    }

    /// Whether what a cell allows needs an entry, so that replies pass in the opposite cell.
    fn needs_entry(&self, cell: u32, opposite: u32) -> bool {
        self.allows(cell) && !self.open[opposite as usize]
    }

    fn allows(&self, cell: u32) -> bool {
        match &self.cells[cell as usize] {
            CellSpec::All(verdict) => verdict.effect == Effect::Allow,
            CellSpec::ByPort(verdicts) => verdicts.iter().any(|(_, verdict)| verdict.effect == Effect::Allow),
        }
    }

    /// Merged group by group.
    pub(super) fn merged(&self) -> Vec<GroupIndex> {
        self.merged.clone()
    }

    /// Number of merged groups.
    pub(super) fn groups(&self) -> u32 {
        self.count
    }

    /// The reasons that cells speak of.
    pub(super) fn reasons(&self) -> Vec<By> {
        self.reasons.clone()
    }

    /// The distinct rows that were asked for.
    pub(super) fn finished(self) -> Vec<Vec<CellSpec>> {
        let Rows { rows, cells, .. } = self;
        let tracking: Vec<CellSpec> = cells.iter().map(tracked).collect();
        let finish = |row: Vec<(u32, bool)>| {
            row.into_iter()
                .map(|(cell, track)| {
                    if track { &tracking[cell as usize] } else { &cells[cell as usize] }.clone()
                })
                .collect()
        };
        rows.into_values().into_iter().map(finish).collect()
    }
}

/// One program and what it meets.
struct RowMaker<'s, 'a> {
    selection: &'s Selection<'a>,
    groups: &'s Groups<'a>,
    program: &'s Program<'a>,
    /// The matcher of the entity `all`.
    everything: Option<u32>,
}

impl RowMaker<'_, '_> {
    /// The cell numbers of the program, by group.
    fn row(&self, number: &mut impl FnMut(Verdicts) -> u32) -> Vec<u32> {
        let rules = self.rules();
        let names = self.program.sections.iter().any(|index| self.selection.sections[*index].names);
        let mut known: HashMap<(Vec<u32>, bool, bool, u32), u32> = HashMap::new();
        let hits = self.hits(&rules);
        let mut row = Vec::with_capacity(self.groups.groups.len());
        for (group, hits) in self.groups.groups.iter().zip(hits) {
            if let Some((effect, by)) = without_rules(self.program, group) {
                row.push(number(vec![(0, effect, by)]));
                continue;
            }
            let conflict = matches!(group.end, End::Conflict { .. });
            let ports = if names { group.ports_number } else { 0 };
            let key = (hits, group.end == End::LocalHost, conflict, ports);
            let cell = match known.get(&key) {
                Some(cell) => *cell,
                None => {
                    let matches: Vec<Match<'_, '_>> =
                        key.0.iter().map(|rule| rules[*rule as usize]).collect();
                    let new = number(cell(self.selection, self.program, group, &matches));
                    known.insert(key, new);
                    new
                }
            };
            row.push(cell);
        }
        row
    }

    /// The program's rules in the order of evaluation.
    fn rules(&self) -> Vec<Match<'_, '_>> {
        let sections = self.program.sections.iter().map(|index| &self.selection.sections[*index]);
        sections
            .flat_map(|section| {
                (0..).zip(&section.rules).map(move |(index, rule)| Match { section, index, rule })
            })
            .collect()
    }

    /// By group: the rules whose peers match, ascending.
    fn hits(&self, rules: &[Match<'_, '_>]) -> Vec<Vec<u32>> {
        let groups = &self.groups.groups;
        let mut hits: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
        for (position, found) in (0..).zip(rules) {
            let Some(matchers) = &found.rule.matchers else {
                hits.iter_mut().for_each(|hits| hits.push(position));
                continue;
            };
            // An address that several claim: only what denies, or means everything, means it.
            let unclear = found.rule.action == Action::Deny
                || matchers.iter().any(|matcher| Some(*matcher) == self.everything);
            for matcher in matchers {
                for group in &self.groups.members[*matcher as usize] {
                    let conflict = matches!(groups[*group as usize].end, End::Conflict { .. });
                    let hits = &mut hits[*group as usize];
                    if hits.last() != Some(&position) && (!conflict || unclear) {
                        hits.push(position);
                    }
                }
            }
        }
        hits
    }
}

/// Groups that all rows treat alike become one. Numbers go by first appearance.
fn merge(wide: &[Vec<u32>], groups: usize) -> (Vec<Vec<u32>>, Vec<GroupIndex>, u32) {
    let mut columns: Interner<Vec<u32>> = Interner::default();
    let merged = (0..groups)
        .map(|group| GroupIndex(columns.number(wide.iter().map(|row| row[group]).collect())))
        .collect();
    let columns = columns.into_values();
    let base = (0..wide.len()).map(|row| columns.iter().map(|column| column[row]).collect()).collect();
    (base, merged, columns.len() as u32)
}

/// A cell with numbers for reasons.
fn spec(verdicts: Verdicts, reasons: &mut Interner<By>) -> CellSpec {
    let mut numbered = Vec::with_capacity(verdicts.len());
    for (first, effect, by) in verdicts {
        numbered.push((first, VerdictSpec { effect, reason: ReasonIndex(reasons.number(by)) }));
    }
    match numbered.as_slice() {
        [(_, only)] => CellSpec::All(*only),
        _ => CellSpec::ByPort(numbered),
    }
}

fn is_open(cell: &CellSpec) -> bool {
    match cell {
        CellSpec::All(verdict) => verdict.effect == Effect::Allow,
        CellSpec::ByPort(verdicts) => verdicts.iter().all(|(_, verdict)| verdict.effect == Effect::Allow),
    }
}

/// The cell with every allow tracked.
fn tracked(cell: &CellSpec) -> CellSpec {
    let track = |verdict: &VerdictSpec| VerdictSpec {
        effect: if verdict.effect == Effect::Allow { Effect::AllowTracked } else { verdict.effect },
        ..*verdict
    };
    match cell {
        CellSpec::All(verdict) => CellSpec::All(track(verdict)),
        CellSpec::ByPort(verdicts) => {
            CellSpec::ByPort(verdicts.iter().map(|(first, verdict)| (*first, track(verdict))).collect())
        }
    }
}
