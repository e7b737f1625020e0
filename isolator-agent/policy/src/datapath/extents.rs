//! Free room in a flat array. The smallest gap that fits is taken, so that long rows find long gaps. Not
//! here: what lies in the array.

use std::collections::BTreeSet;

/// The gaps of an array, as (length, start).
#[derive(Debug)]
pub(crate) struct Extents {
    gaps: BTreeSet<(u32, u32)>,
}

impl Extents {
    /// An array of `capacity` elements of which `used` extents, given as (start, length), are taken. They may
    /// overlap.
    pub(crate) fn new(mut used: Vec<(u32, u32)>, capacity: u32) -> Self {
        used.sort_unstable();
        let mut gaps = BTreeSet::new();
        let mut end = 0;
        for (start, len) in used {
            if start > end {
                gaps.insert((start.min(capacity) - end, end));
            }
            end = end.max(start.saturating_add(len)).min(capacity);
        }
        if end < capacity {
            gaps.insert((capacity - end, end));
        }
        Extents { gaps }
    }

    /// Takes `len` elements and answers where they start; `None` when no gap is that long.
    pub(crate) fn take(&mut self, len: u32) -> Option<u32> {
        let (gap, start) = *self.gaps.range((len, 0)..).next()?;
        self.gaps.remove(&(gap, start));
        if gap > len {
            self.gaps.insert((gap - len, start + len));
        }
        Some(start)
    }

    /// Elements that are free, in whatever gaps.
    pub(crate) fn free(&self) -> u32 {
        self.gaps.iter().map(|(len, _)| len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_never_overlaps_and_gaps_are_used_up() {
        let mut extents = Extents::new(vec![(10, 10), (15, 10), (40, 10)], 60);
        assert_eq!(extents.free(), 10 + 15 + 10);
        assert_eq!(extents.take(15), Some(25));
        assert_eq!(extents.take(4), Some(0));
        assert_eq!(extents.take(10), Some(50));
        assert_eq!(extents.take(7), None);
        assert_eq!(extents.take(6), Some(4));
        assert_eq!(extents.free(), 0);
    }

    #[test]
    fn used_beyond_the_end_is_ignored() {
        assert_eq!(Extents::new(vec![(u32::MAX, 5), (100, 5)], 60).free(), 60);
        assert_eq!(Extents::new(vec![(50, u32::MAX)], 60).free(), 50);
    }
}
