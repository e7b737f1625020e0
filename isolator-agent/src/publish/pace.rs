//! When the node's account is written: a worse or better health soon, other numbers now and then, and the same again
//! rarely, so that whoever reads it sees that somebody is there. The rate is bounded whatever changes, and no two nodes
//! keep step. Pure: times are since the start. Not here: the account.

use super::account::Account;
use crate::source::kubernetes::backoff::Backoff;
use std::time::Duration;

/// The first comes when the agent had time to read everything.
const FIRST: Duration = Duration::from_secs(10);
/// Another health is written so long after the last write at the earliest, …
const HEALTH: Duration = Duration::from_secs(10);
/// … and after it was seen at the latest: all nodes see some changes at once.
const HEALTH_SPREAD: Duration = Duration::from_secs(3);
/// Other numbers are written so long after the last write at the earliest, …
const NUMBERS: Duration = Duration::from_secs(60);
/// … and after they were seen at the latest.
const NUMBERS_SPREAD: Duration = Duration::from_secs(20);
/// The same is written again so long after the last write, more or less.
const SAME: Duration = Duration::from_secs(600);
/// Waits after failures in a row.
const TROUBLE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(300));

/// When something that fails is tried again.
#[derive(Debug)]
pub(super) struct Trouble {
    backoff: Backoff,
    until: Duration,
}

impl Trouble {
    pub(super) fn none() -> Trouble {
        Trouble { backoff: Backoff::between(TROUBLE.0, TROUBLE.1), until: Duration::ZERO }
    }

    pub(super) fn over(&mut self) {
        self.backoff.reset();
    }

    pub(super) fn more(&mut self, now: Duration, random: f64) {
        self.until = now + self.backoff.next(random);
    }

    /// Not before.
    pub(super) fn until(&self) -> Duration {
        self.until
    }
}

/// What is to be written, and what was.
#[derive(Debug)]
pub(super) struct Pace {
    wanted: Option<Account>,
    written: Option<(Account, Duration)>,
    /// Since when health differs from what was written.
    ill: Option<Duration>,
    /// Since when anything does.
    differs: Option<Duration>,
    /// Where this node lies among others that see the same; below 1.
    spread: f64,
    trouble: Trouble,
}

impl Pace {
    /// Nothing was written.
    pub(super) fn new(random: f64) -> Pace {
        Pace {
            wanted: None,
            written: None,
            ill: None,
            differs: None,
            spread: random,
            trouble: Trouble::none(),
        }
    }

    /// This is how things are now.
    pub(super) fn want(&mut self, account: Account, now: Duration) {
        let before = self.written.as_ref().map(|(before, _)| before);
        let ill = before.is_none_or(|before| before.health != account.health);
        let differs = before.is_none_or(|before| *before != account);
        self.ill = ill.then(|| self.ill.unwrap_or(now));
        self.differs = differs.then(|| self.differs.unwrap_or(now));
        self.wanted = Some(account);
    }

    /// When to write.
    pub(super) fn due(&self) -> Option<Duration> {
        self.wanted.as_ref()?;
        let spread = |longest: Duration| longest.mul_f64(self.spread);
        let due = match (&self.written, self.ill, self.differs) {
            (None, ..) => FIRST + spread(FIRST),
            (Some((_, at)), Some(since), _) => (*at + HEALTH).max(since + spread(HEALTH_SPREAD)),
            (Some((_, at)), None, Some(since)) => (*at + NUMBERS).max(since + spread(NUMBERS_SPREAD)),
            (Some((_, at)), None, None) => *at + SAME.mul_f64(0.9) + spread(SAME.mul_f64(0.2)),
        };
        Some(due.max(self.trouble.until()))
    }

    /// What to write, if that is due.
    pub(super) fn next(&self, now: Duration) -> Option<Account> {
        self.due().filter(|due| *due <= now).and_then(|_| self.wanted.clone())
    }

    /// It was written.
    pub(super) fn done(&mut self, account: Account, now: Duration, random: f64) {
        self.written = Some((account, now));
        (self.ill, self.differs) = (None, None);
        if let Some(wanted) = self.wanted.take() {
            self.want(wanted, now);
        }
        self.spread = random;
        self.trouble.over();
    }

    /// It was not.
    pub(super) fn failed(&mut self, now: Duration, random: f64) {
        self.trouble.more(now, random);
    }
}
