//! How often the log says that changes are enforced: thousands of pods may come and go at once. Not here: what it says.

use std::time::{Duration, Instant};

/// The log says it at most this often.
const PACE: Duration = Duration::from_secs(1);

/// What the log has said.
#[derive(Default)]
pub(super) struct Said {
    last: Option<Instant>,
    unsaid: u32,
}

impl Said {
    /// One more change. `Some`: it is time to say how many there were since the last time.
    pub(super) fn one_more(&mut self, now: Instant) -> Option<u32> {
        self.unsaid += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < PACE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_changes_is_one_line_a_second() {
        let (mut said, start) = (Said::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        let lines = [0, 10, 999, 1000, 1001, 3000].map(|ms| said.one_more(after(ms)));
        assert_eq!(lines, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
