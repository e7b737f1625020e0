//! What all programs in use make of a group: its column. Columns, and rows as well, are compared cell by cell, but only
//! where their sums are equal, because there are many groups and many programs. Not here: what the cells mean.

use std::collections::HashMap;

/// Odd, so that no cell is lost in a sum. Equal sums of different columns cost time, nothing else.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The programs in use, each with a cell number by group.
pub(super) struct Columns<'r>(Vec<&'r [u32]>);

impl<'r> Columns<'r> {
    pub(super) fn new(programs: impl Iterator<Item = &'r [u32]>) -> Self {
        Columns(programs.collect())
    }

    /// The sum of one column.
    pub(super) fn sum(&self, group: u32) -> u64 {
        self.0.iter().fold(0, |sum, row| add(sum, row[group as usize]))
    }

    /// The sums of all columns, row by row as they lie in memory.
    pub(super) fn sums(&self) -> Vec<u64> {
        let mut sums = vec![0; self.0.first().map_or(0, |row| row.len())];
        for row in &self.0 {
            for (sum, cell) in sums.iter_mut().zip(*row) {
                *sum = add(*sum, *cell);
            }
        }
        sums
    }

    /// Whether two groups are treated alike.
    fn alike(&self, a: u32, b: u32) -> bool {
        self.0.iter().all(|row| row[a as usize] == row[b as usize])
    }
}

fn add(sum: u64, cell: u32) -> u64 {
    (sum ^ u64::from(cell)).wrapping_mul(FACTOR).rotate_left(29)
}

/// Groups of which no two are alike, by their sums, each with what it stands for.
#[derive(Debug, Default)]
pub(super) struct Distinct(HashMap<u64, Vec<(u32, u32)>>);

impl Distinct {
    /// What the known group that is like this one stands for.
    pub(super) fn find(&self, columns: &Columns<'_>, sum: u64, group: u32) -> Option<u32> {
        let known = self.0.get(&sum)?;
        known.iter().find(|(other, _)| columns.alike(*other, group)).map(|(_, number)| *number)
    }

    /// Adds a group that is like none before.
    pub(super) fn add(&mut self, sum: u64, group: u32, number: u32) {
        self.0.entry(sum).or_default().push((group, number));
    }
}

/// Rows of which no two are equal, in the order of their first use.
#[derive(Debug, Default)]
pub(super) struct DistinctRows {
    rows: Vec<Vec<u32>>,
    by_sum: HashMap<u64, Vec<u32>>,
}

impl DistinctRows {
    /// The number of a row, a new one if it was not seen before.
    pub(super) fn number(&mut self, row: Vec<u32>) -> u32 {
        let DistinctRows { rows, by_sum } = self;
        let known = by_sum.entry(row.iter().fold(0, |sum, cell| add(sum, *cell))).or_default();
        let number = known.iter().find(|number| rows[**number as usize] == row).copied();
        number.unwrap_or_else(|| {
            let next = rows.len() as u32;
            known.push(next);
            rows.push(row);
            next
        })
    }

    /// The rows by number.
    pub(super) fn finished(self) -> Vec<Vec<u32>> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_their_cells() {
        let mut distinct = DistinctRows::default();
        let numbers = [vec![1, 2], vec![2, 1], vec![1, 2], vec![]].map(|row| distinct.number(row));
        assert_eq!(numbers, [0, 1, 0, 2]);
        // As if it had the sum of the first.
        distinct.by_sum.insert(add(0, 7), vec![0]);
        assert_eq!(distinct.number(vec![7]), 3);
        assert_eq!(distinct.finished(), [vec![1, 2], vec![2, 1], vec![], vec![7]]);
    }

    #[test]
    fn columns_of_one_sum_are_told_apart_by_their_cells() {
        let rows: [&[u32]; 2] = [&[1, 1, 2, 1], &[5, 6, 5, 5]];
        let columns = Columns::new(rows.into_iter());
        assert_eq!(columns.sums(), (0..4).map(|group| columns.sum(group)).collect::<Vec<_>>());
        let mut distinct = Distinct::default();
        distinct.add(0, 0, 10);
        distinct.add(0, 1, 11);
        let found: Vec<_> = (0..4).map(|group| distinct.find(&columns, 0, group)).collect();
        assert_eq!(found, [Some(10), Some(11), None, Some(10)]);
    }
}
