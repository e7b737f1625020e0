//! Groups that all programs in use treat alike become one, a *merged group*: what the programs make of a group is its
//! column, and columns are compared cell by cell, but only where their sums are equal, because there are many groups and
//! many programs. A program that comes or goes changes the sums by its own cells; groups that were one so far can differ
//! only in programs that came. Not here: what the cells mean.

use std::collections::{BTreeSet, HashMap};

/// A cell number by group, for every program that was ever in use.
pub(super) type Wide = HashMap<usize, Vec<u32>>;

/// Which groups are one.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The programs in use, ascending.
    live: Vec<usize>,
    /// By group: the sum of its column.
    sums: Vec<u64>,
    /// By group: its merged group; `None` for those without members so far.
    merged: Vec<Option<u32>>,
    /// By merged group: a group that is or was in it.
    examples: Vec<u32>,
    /// Groups of which no two are alike, by their sums, each with its merged group.
    distinct: Distinct,
}

/// What an update did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Update {
    /// Which groups are in other merged groups.
    pub(super) reach: Reach,
    /// The merged groups that stand for other groups than before, or for some at last. To programs that were in use
    /// and still are, all others look as they did.
    pub(super) fresh: Vec<u32>,
}

/// How far an update reaches.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// New groups are like known ones, if there are new ones at all.
    Nothing,
    /// There are more merged groups; those known before are the same.
    More,
    /// By group: whether it is in another merged group than before.
    Moved(Vec<bool>),
}

impl Columns {
    /// Takes in which programs are in use and how many members each group has. `wide` has every group for the
    /// programs in use.
    pub(super) fn update(&mut self, wide: &Wide, live: &[usize], members: &[u32]) -> Update {
        let all: Vec<&[u32]> = live.iter().map(|program| wide[program].as_slice()).collect();
        let came = self.sum_up(wide, live, &all, members.len());
        self.merged.resize(members.len(), None);
        let living = (0..).zip(members).filter(|(_, count)| **count > 0).map(|(group, _)| group);
        if self.live != live {
            self.live = live.to_vec();
            return self.merge(&all, &came, living.collect());
        }
        let Columns { sums, merged, examples, distinct, .. } = self;
        let mut fresh = Vec::new();
        for group in living {
            if merged[group as usize].is_some() {
                continue;
            }
            let sum = sums[group as usize];
            let number = distinct.find(sum, |other| alike(&all, other, group)).unwrap_or_else(|| {
                let next = examples.len() as u32;
                distinct.add(sum, group, next);
                examples.push(group);
                fresh.push(next);
                next
            });
            merged[group as usize] = Some(number);
        }
        Update { reach: if fresh.is_empty() { Reach::Nothing } else { Reach::More }, fresh }
    }

    /// Brings the sums up to date. `all`: what the programs in use make of each group. Answers the same of those that
    /// were not in use before.
    fn sum_up<'w>(
        &mut self,
        wide: &Wide,
        live: &[usize],
        all: &[&'w [u32]],
        groups: usize,
    ) -> Vec<&'w [u32]> {
        let Columns { live: before, sums, .. } = self;
        for program in before.iter().filter(|program| live.binary_search(program).is_err()) {
            let cells = sums.iter_mut().zip(&wide[program]);
            cells.for_each(|(sum, cell)| *sum = sum.wrapping_sub(term(*program, *cell)));
        }
        let known = sums.len();
        sums.resize(groups, 0);
        let mut came = Vec::new();
        for (program, row) in live.iter().zip(all) {
            let is_known = before.binary_search(program).is_ok();
            let first = if is_known { known } else { 0 };
            let cells = sums[first..].iter_mut().zip(&row[first..]);
            cells.for_each(|(sum, cell)| *sum = sum.wrapping_add(term(*program, *cell)));
            came.extend((!is_known).then_some(*row));
        }
        came
    }

    /// Finds all merged groups again. One has a number that one of its groups had before, or the next that is free.
    fn merge(&mut self, all: &[&[u32]], came: &[&[u32]], living: Vec<u32>) -> Update {
        let Columns { sums, merged, examples, distinct, .. } = self;
        let mut classes = Distinct::default();
        let mut count = 0;
        let class_of = |group: u32| {
            let before = merged[group as usize];
            let is_like = |other: u32| {
                let were_one = before.is_some() && merged[other as usize] == before;
                alike(if were_one { came } else { all }, other, group)
            };
            classes.find(sums[group as usize], is_like).unwrap_or_else(|| {
                classes.add(sums[group as usize], group, count);
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
        let mut fresh = Vec::new();
        let mut free = (0..).filter(|number| !taken.contains(number));
        for number in numbers.iter_mut().filter(|number| number.is_none()) {
            *number = free.next();
            fresh.extend(*number);
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
        Update {
            reach: Reach::Moved(before.iter().zip(merged).map(|(before, now)| before != now).collect()),
            fresh,
        }
    }

    /// The merged group of a group with members.
    pub(super) fn merged(&self, group: u32) -> u32 {
        self.merged[group as usize].unwrap_or_default()
    }

    /// By merged group: a group that is or was in it.
    pub(super) fn examples(&self) -> &[u32] {
        &self.examples
    }
}

/// Whether these programs treat two groups alike.
fn alike(programs: &[&[u32]], a: u32, b: u32) -> bool {
    programs.iter().all(|row| row[a as usize] == row[b as usize])
}

/// The sum of a row of cells: what its groups, in the place of programs, add to it.
pub(super) fn sum(row: &[u32]) -> u64 {
    row.iter().enumerate().map(|(group, cell)| term(group, *cell)).fold(0, u64::wrapping_add)
}

/// What a cell adds to a sum. Equal sums of different columns cost time, nothing else.
fn term(program: usize, cell: u32) -> u64 {
    // Multiplied twice, as a sum of first products would not tell apart who has which cell.
    let mixed = ((program as u64) << 32 ^ u64::from(cell)).wrapping_mul(FACTOR);
    (mixed ^ mixed >> 32).wrapping_mul(FACTOR)
}

/// Odd, so that nothing is lost.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Groups of which no two are alike, by their sums, each with what it stands for.
#[derive(Debug, Default)]
struct Distinct(HashMap<u64, Vec<(u32, u32)>>);

impl Distinct {
    /// What the known group that is like this one stands for.
    fn find(&self, sum: u64, is_like: impl Fn(u32) -> bool) -> Option<u32> {
        let known = self.0.get(&sum)?;
        known.iter().find(|(other, _)| is_like(*other)).map(|(_, number)| *number)
    }

    /// Adds a group that is like none before.
    fn add(&mut self, sum: u64, group: u32, number: u32) {
        self.0.entry(sum).or_default().push((group, number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Merged group by living group.
    fn merged(columns: &Columns, members: &[u32]) -> BTreeMap<u32, u32> {
        let living = (0..).zip(members).filter(|(_, count)| **count > 0);
        living.map(|(group, _)| (group, columns.merged(group))).collect()
    }

    proptest! {
        #[test]
        fn groups_are_one_where_all_programs_in_use_treat_them_alike(
            cells in proptest::collection::vec(proptest::collection::vec(0u32..3, 12), 6),
            steps in proptest::collection::vec(
                (0u32..64, 0usize..3, proptest::collection::vec(0u32..2, 12)),
                1..12,
            ),
        ) {
            let (mut columns, mut wide, mut groups) = (Columns::default(), Wide::new(), 0);
            let mut before = (Vec::new(), BTreeMap::new(), Vec::new());
            for (in_use, more, members) in steps {
                groups = (groups + more).min(12);
                let live: Vec<usize> = (0..6).filter(|program| in_use & 1 << program != 0).collect();
                for program in &live {
                    wide.insert(*program, cells[*program][..groups].to_vec());
                }
                let members = &members[..groups];
                let Update { reach, fresh } = columns.update(&wide, &live, members);
                let now = merged(&columns, members);
                for (a, of_a) in &now {
                    for (b, of_b) in &now {
                        let alike = live.iter().all(|program| wide[program][*a as usize] == wide[program][*b as usize]);
                        prop_assert_eq!(of_a == of_b, alike, "{} {}", a, b);
                    }
                }
                let (was_live, was, examples): &(Vec<usize>, BTreeMap<u32, u32>, Vec<u32>) = &before;
                for (group, number) in &now {
                    let moved = was.get(group).is_some_and(|before| before != number);
                    let told = match &reach {
                        Reach::Moved(elsewhere) => elsewhere[*group as usize],
                        Reach::Nothing | Reach::More => false,
                    };
                    prop_assert!(told || !moved, "{} moved from {:?} to {}", group, was.get(group), number);
                    if fresh.contains(number) {
                        continue;
                    }
                    for program in live.iter().filter(|program| was_live.contains(program)) {
                        let cell = |group: u32| wide[program][group as usize];
                        prop_assert_eq!(cell(examples[*number as usize]), cell(*group));
                    }
                }
                before = (live, now, columns.examples().to_vec());
            }
        }
    }

    #[test]
    fn columns_of_one_sum_are_told_apart_by_their_cells() {
        let rows: [&[u32]; 2] = [&[1, 1, 2, 1], &[5, 6, 5, 5]];
        let mut columns = Columns { sums: vec![0; 4], merged: vec![None; 4], ..Columns::default() };
        let Update { fresh, .. } = columns.merge(&rows, &[], vec![0, 1, 2, 3]);
        assert_eq!((0..4).map(|group| columns.merged(group)).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert_eq!(fresh, [0, 1, 2]);
    }

    #[test]
    fn a_sum_tells_who_has_which_cell() {
        assert_ne!(sum(&[1, 2]), sum(&[2, 1]));
        assert_ne!(sum(&[1, 4, 2]), sum(&[2, 3, 2]));
        assert_eq!(sum(&[1, 2]), term(0, 1).wrapping_add(term(1, 2)));
    }
}
