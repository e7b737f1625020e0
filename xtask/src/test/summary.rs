//! The summary: a line per tier, and the sums in the last line, whose form other programs read.

use crate::progress::seconds;
use std::ops::AddAssign;
use std::time::Duration;

/// How many tests did what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Tests that were left out, and tiers that could not run.
    pub(crate) skipped: u32,
}

impl Count {
    /// A check that counts as one test.
    pub(crate) fn one(passed: bool) -> Count {
        Count { passed: u32::from(passed), failed: u32::from(!passed), skipped: 0 }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        let Count { passed, failed, skipped } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

/// What one tier came to.
pub(crate) struct Line {
    pub(crate) tier: &'static str,
    pub(crate) count: Count,
    pub(crate) time: Duration,
}

/// The whole summary.
pub(crate) fn text(lines: &[Line]) -> String {
    let mut text = format!("{:<8}{:>8}{:>8}{:>9}  time\n", "tier", "passed", "failed", "skipped");
    let mut sum = Count::default();
    for Line { tier, count, time } in lines {
        let Count { passed, failed, skipped } = count;
        text.push_str(&format!("{tier:<8}{passed:>8}{failed:>8}{skipped:>9}  {}\n", seconds(*time)));
        sum += *count;
    }
    let Count { passed, failed, skipped } = sum;
    text.push_str(&format!("{passed} passed, {failed} failed, {skipped} skipped\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_sums_in_a_fixed_form() {
        let line = |tier, passed, failed, skipped| Line {
            tier,
            count: Count { passed, failed, skipped },
            time: Duration::from_secs(12),
        };
        let text = text(&[line("unit", 41, 1, 0), line("kernel", 0, 0, 1), line("lab", 3, 1, 1)]);
        assert_eq!(text.lines().count(), 5);
        assert_eq!(text.lines().last(), Some("44 passed, 2 failed, 2 skipped"));
        assert!(text.ends_with("skipped\n"));
    }
}
