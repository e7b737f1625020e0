//! How fresh the news of each kind is. Not here: where it is shown (`status`, `metrics`).

use super::super::last_good::error;
use super::away::Away;
use super::kinds::Kind;
use isolator_policy::model::{Place, Problem, Severity};

/// Clocks may differ by this much, seconds.
const MAX_SKEW: i64 = 30;

/// What was heard of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The kind.
    pub kind: &'static str,
    /// Whether it was listed as a whole since the start.
    pub synced: bool,
    /// Objects in force.
    pub objects: u64,
    /// When something was last heard, milliseconds since 1970; 0: never.
    pub heard_ms: u64,
    /// Since when its watch fails, milliseconds since 1970; 0: it does not.
    pub away_ms: u64,
    /// Lists since the start: the first, and those after a gap.
    pub lists: u64,
    /// Failures since the start, after each of which the watch or the list began again.
    pub restarts: u64,
}

/// The state of one watch.
#[derive(Debug, Default)]
pub(super) struct Link {
    heard_ms: u64,
    away: Option<(Away, u64)>,
    lists: u64,
    restarts: u64,
}

impl Link {
    /// The API server said something.
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.away = None;
    }

    /// A list began.
    pub(super) fn listed(&mut self) {
        self.lists += 1;
    }

    /// It failed; the moment of the first failure in a row counts.
    pub(super) fn lost(&mut self, away: Away, now_ms: u64) {
        self.restarts += 1;
        let since = self.away.take().map_or(now_ms, |(_, since)| since);
        self.away = Some((away, since));
    }

    /// Why nothing is heard.
    pub(super) fn away(&self) -> Option<&Away> {
        self.away.as_ref().map(|(away, _)| away)
    }

    /// As others see it.
    pub(super) fn heard_of(&self, kind: Kind, synced: bool, objects: usize) -> Heard {
        Heard {
            kind: kind.kind,
            synced,
            objects: objects as u64,
            heard_ms: self.heard_ms,
            away_ms: self.away.as_ref().map_or(0, |(_, since)| *since),
            lists: self.lists,
            restarts: self.restarts,
        }
    }
}

/// That the clocks differ, where they do. Tokens and certificates fail then, sooner or later.
pub(super) fn skewed(seconds: i64) -> Option<Problem> {
    if seconds.abs() <= MAX_SKEW {
        return None;
    }
    // To the minute: a sentence that changes with each look would be logged with each look.
    let minutes = (seconds.abs() + 59) / 60;
    let way = if seconds > 0 { "behind" } else { "ahead of" };
    let message = format!(
        "this machine's clock is up to {minutes} min {way} the API server's; tokens and certificates will not be valid. \
         Set it (chrony, systemd-timesyncd)"
    );
    let problem = error("clock-skew", Place::Thing("API server".to_owned()), String::new(), message);
    Some(Problem { severity: Severity::Warning, ..problem })
}
