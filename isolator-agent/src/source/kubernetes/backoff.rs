//! How long to wait before the next try: longer each time, up to a limit, and never at the same moment as the other
//! nodes. Not here: waiting.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LAST: Duration = Duration::from_secs(15);

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    first: Duration,
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::between(FIRST, LAST)
    }
}

impl Backoff {
    /// Waits of at most `first` after one failure, and of at most `last` after many.
    pub(crate) fn between(first: Duration, last: Duration) -> Self {
        Backoff { failures: 0, first, last }
    }

    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Something failed: the wait before the next try. `random` is below 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(factor).min(self.last);
        self.failures = self.failures.saturating_add(1).min(30);
        longest.mul_f64(0.5 + random / 2.0)
    }
}

/// A number of at least 0 and below 1, of which nobody knows the next.
pub(crate) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        let longest: Vec<Duration> = (0..40).map(|_| backoff.next(0.999_999)).collect();
        assert!(longest.windows(2).all(|pair| pair[0] <= pair[1]), "{longest:?}");
        assert!(longest[39] <= LAST && longest[39] > LAST.mul_f64(0.99));
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST / 2);
        let randoms: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(randoms.iter().all(|random| (0.0..1.0).contains(random)));
        assert!(randoms.iter().any(|one| (one - randoms[0]).abs() > 0.1), "{randoms:?}");
    }
}
