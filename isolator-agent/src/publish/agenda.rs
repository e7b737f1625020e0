//! What to write next: the node's account, or an Event. Pure: times are since the start. Not here: how it is written
//! (`api`).

use super::account::Account;
use super::complaint::Complaint;
use super::pace::Pace;
use super::turns::{Rank, Turns};
use crate::status::ProblemEntry;
use std::time::Duration;

/// Something to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// How the node fares.
    Account(Account),
    /// What is wrong with a policy.
    Event(Complaint),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was written.
    Done,
    /// It was there already, or what it is about is gone.
    There,
    /// The API server takes nothing of this kind: why, and the cure.
    Refused(String),
    /// It does not take this one: why.
    Odd(String),
    /// There is no answer.
    Away,
}

impl Outcome {
    /// A short stable name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::There => "there",
            Outcome::Refused(_) | Outcome::Odd(_) => "refused",
            Outcome::Away => "away",
        }
    }
}

/// All that is to be written.
#[derive(Debug)]
pub(super) struct Agenda {
    pace: Pace,
    turns: Turns,
    random: fn() -> f64,
}

impl Agenda {
    /// Nothing is. `random` gives numbers of at least 0 and below 1.
    pub(super) fn new(random: fn() -> f64) -> Agenda {
        Agenda { pace: Pace::new(random()), turns: Turns::new(), random }
    }

    /// This is how things are now.
    pub(super) fn see(&mut self, account: Account, problems: &[ProblemEntry], now: Duration) {
        self.pace.want(account, now);
        self.turns.see(Complaint::all(problems), now);
    }

    /// When there may be something to write.
    pub(super) fn due(&self) -> Option<Duration> {
        [self.pace.due(), self.turns.due()].into_iter().flatten().min()
    }

    /// What to write now, if anything.
    pub(super) fn next(&mut self, now: Duration, rank: &Rank<'_>) -> Option<Write> {
        let account = self.pace.next(now).map(Write::Account);
        account.or_else(|| self.turns.next(now, rank).map(Write::Event))
    }

    /// It was tried.
    pub(super) fn done(&mut self, write: Write, outcome: &Outcome, now: Duration) {
        let random = (self.random)();
        // What is odd once is odd again: it waits as if it were written.
        let written = !matches!(outcome, Outcome::Refused(_) | Outcome::Away);
        match write {
            Write::Account(account) if written => self.pace.done(account, now, random),
            Write::Account(_) => self.pace.failed(now, random),
            Write::Event(complaint) if written => self.turns.done(&complaint.policy, now, random),
            Write::Event(_) => self.turns.failed(now, random),
        }
    }
}
