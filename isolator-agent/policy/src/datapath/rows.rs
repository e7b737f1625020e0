//! Rows as extents of CELLS. What the generation in force looks at is never written: a row that changes moves to
//! fresh cells; only cells of groups that no address in force has are set in place. Not here: which endpoint has
//! which row, what a port set looks like (`port_sets`).

use super::compiled::{CellSpec, Compiled, Effect, RowIndex, VerdictSpec};
use super::extents::Extents;
use super::image::Image;
use super::layout::{Capacities, Capacity};
use super::port_sets::PortSets;
use crate::shared::SharedMap;
use isolator_common::endpoint::{Endpoint, Row};
use isolator_common::policy::{Direction, Interval, Kind, Word};
use isolator_common::tables::name;
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};

/// Start and length of a run of cells.
pub(crate) type Extent = (u32, u32);

/// Contents of CELLS and INTERVALS, and where each row lies.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) extents: BTreeMap<RowIndex, Extent>,
    pub(crate) cells: SharedMap<u32, Word>,
    pub(crate) intervals: SharedMap<u32, u64>,
}

/// Everything that the layout of rows depends on.
pub(crate) struct Input<'a> {
    pub(crate) previous: &'a Image,
    pub(crate) compiled: &'a Compiled,
    /// Rows in use, each with the rows that its endpoints have in force.
    pub(crate) users: BTreeMap<RowIndex, Vec<Row>>,
    /// By group index; 0 for groups without members.
    pub(crate) groups: &'a [u32],
    /// Sorted.
    pub(crate) groups_in_force: &'a [u32],
    /// By reason index.
    pub(crate) rules: &'a [u32],
    pub(crate) capacities: &'a Capacities,
}

/// Lays out all rows in use.
pub(crate) fn lay(input: &Input<'_>) -> Result<Rows, Capacity> {
    let in_force = extents_in_force(input.previous);
    let (groups, room) = (input.groups_in_force, input.capacities.intervals);
    let mut sets = PortSets::in_force(input.previous, &in_force, groups, room);
    let mut cells = Extents::new(in_force, input.capacities.cells);
    let count = input.groups.iter().max().map_or(1, |max| max + 1);
    // A group that is not in `groups` any more may be in force: its cell stays until the clean-up, see `diff`.
    let shared = |group: &u32| *group != 0 && input.groups_in_force.binary_search(group).is_ok();
    let looked_at: Vec<u32> = input.groups.iter().copied().filter(shared).collect();
    let mut claimed: Vec<Extent> = Vec::new();
    let mut by_words: HashMap<Vec<u32>, Extent> = HashMap::new();
    let mut extents = BTreeMap::new();
    let mut table = vec![None; input.compiled.rows.cells().len()];
    for (index, now) in &input.users {
        let words = words(input, *index, count as usize, &mut table, &mut sets)?;
        let extent = match by_words.entry(words) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let words = place.key();
                let reused = now.iter().map(|row| (row.base, row.len)).find(|extent| {
                    claimed.iter().all(|other| !overlap(*other, *extent))
                        && fits(input, *extent, words, &looked_at)
                });
                let extent = match reused {
                    Some(extent) => extent,
                    None => fresh(&mut cells, count, input.capacities.cells)?,
                };
                claimed.push(extent);
                *place.insert(extent)
            }
        };
        extents.insert(*index, extent);
    }
    let mut by_base: Vec<(u32, Vec<u32>)> =
        by_words.into_iter().map(|(words, (base, _))| (base, words)).collect();
    by_base.sort_unstable();
    let written =
        by_base.iter().flat_map(|(base, words)| (*base..).zip(words).filter(|(_, word)| **word != 0));
    let (mut cells, mut intervals) = (input.previous.cells.clone(), input.previous.intervals.clone());
    cells.become_of(written.map(|(index, word)| (index, Word(*word))));
    intervals.become_of(sets.contents());
    Ok(Rows { extents, cells, intervals })
}

/// Cells of rows in force, each extent once.
fn extents_in_force(previous: &Image) -> Vec<Extent> {
    let generation = previous.state.generation;
    let rows = |endpoint: &Endpoint| Direction::BOTH.map(|direction| endpoint.row(generation, direction));
    let mut extents: Vec<Extent> = previous
        .endpoints
        .values()
        .flat_map(rows)
        .map(|row| (row.base, row.len))
        .filter(|e| e.1 != 0)
        .collect();
    extents.sort_unstable();
    extents.dedup();
    extents
}

fn overlap(a: Extent, b: Extent) -> bool {
    a.0 < b.0.saturating_add(b.1) && b.0 < a.0.saturating_add(a.1)
}

/// Whether the row can be had from cells in force without writing one of the groups that are looked at.
fn fits(input: &Input<'_>, (base, len): Extent, words: &[u32], looked_at: &[u32]) -> bool {
    let inside = base.checked_add(len).is_some_and(|end| end <= input.capacities.cells);
    if !inside || (len as usize) < words.len() {
        return false;
    }
    let mut there = vec![0; words.len()];
    for (index, word) in input.previous.cells.range(base..base + words.len() as u32) {
        there[(index - base) as usize] = word.0;
    }
    looked_at.iter().all(|group| there[*group as usize] == words[*group as usize])
}

/// Cells for `count` groups, and some for groups to come.
fn fresh(cells: &mut Extents, count: u32, capacity: u32) -> Result<Extent, Capacity> {
    let roomy = (count + count / 8).next_multiple_of(64);
    for len in [roomy, count] {
        if let Some(base) = cells.take(len) {
            return Ok((base, len));
        }
    }
    Err(Capacity {
        map: name::CELLS,
        needed: u64::from(capacity - cells.free()) + u64::from(count),
        available: capacity,
    })
}

/// The words of a row, by group number. `table` has those of distinct cells, as far as somebody has asked.
fn words(
    input: &Input<'_>,
    row: RowIndex,
    count: usize,
    table: &mut [Option<Word>],
    sets: &mut PortSets,
) -> Result<Vec<u32>, Capacity> {
    let specs = &input.compiled.rows;
    let mut words = vec![0; count];
    for (number, cell) in input.groups.iter().zip(&specs.rows()[row.0 as usize]).filter(|(n, _)| **n != 0) {
        let cell = *cell as usize;
        let word = match table[cell] {
            Some(word) => word,
            None => *table[cell].insert(cell_word(input, &specs.cells()[cell], sets)?),
        };
        words[*number as usize] = word.0;
    }
    Ok(words)
}

fn cell_word(input: &Input<'_>, cell: &CellSpec, sets: &mut PortSets) -> Result<Word, Capacity> {
    Ok(match cell {
        CellSpec::All(verdict) => verdict_word(input, verdict),
        CellSpec::ByPort(by_port) => match &by_port[..] {
            [] => Word::default(),
            [(_, verdict)] => verdict_word(input, verdict),
            _ => sets.word(
                by_port
                    .iter()
                    .map(|(start, verdict)| Interval { start: *start, word: verdict_word(input, verdict) }),
            )?,
        },
    })
}

fn verdict_word(input: &Input<'_>, verdict: &VerdictSpec) -> Word {
    let kind = match verdict.effect {
        Effect::Deny => Kind::Deny,
        Effect::DefaultDeny => Kind::DefaultDeny,
        Effect::Tenancy => Kind::Tenancy,
        Effect::Allow => Kind::Allow,
        Effect::AllowTracked => Kind::AllowTracked,
        Effect::Service => Kind::Service,
        Effect::ServiceTracked => Kind::ServiceTracked,
    };
    Word::new(kind, input.rules[verdict.reason.0 as usize])
}
