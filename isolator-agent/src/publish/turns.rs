//! When what is wrong with a policy is said: once it has stayed so for a moment, again only when the words differ, and
//! repeated so rarely that it is there as long as the API server keeps an Event. A budget bounds all of it together.
//! Pure: times are since the start. Not here: which node speaks (`speakers`), the words (`complaint`).

use super::complaint::{Complaint, Policy};
use super::pace::Trouble;
use std::collections::BTreeMap;
use std::time::Duration;

/// An edit is followed by the next within this, or it is meant.
const SETTLE: Duration = Duration::from_secs(5);
/// How long each node in the ranks gives the one before it.
const STEP: Duration = Duration::from_secs(60);
/// Nodes that speak of one policy at all: that none of them runs an agent is unlikely.
pub(super) const SPEAKERS: usize = 5;
/// Other words of one policy are said so long after the last at the earliest.
const AGAIN: Duration = Duration::from_secs(60);
/// The same words are said again so long after the last time. API servers forget an Event after an hour, most of them.
const REPEAT: Duration = Duration::from_secs(1800);
/// Events that one node may write at once, …
const BURST: f64 = 20.0;
/// … and how long each of them takes to be earned again.
const EARN: Duration = Duration::from_secs(3);

/// What is wrong with one policy.
#[derive(Debug)]
struct Turn {
    complaint: Complaint,
    due: Duration,
    /// When this node has said something of it last.
    said: Option<Duration>,
    /// Where it is not among the speakers, it looks again when due.
    listens: bool,
}

/// Whether a node is among the speakers of a policy, and where.
pub(super) type Rank<'r> = dyn Fn(&Policy) -> Option<usize> + 'r;

/// What is wrong with all of them.
#[derive(Debug)]
pub(super) struct Turns {
    turns: BTreeMap<Policy, Turn>,
    /// What is wrong, and nobody has ranked yet.
    new: BTreeMap<Policy, (Complaint, Duration)>,
    budget: f64,
    earned: Duration,
    trouble: Trouble,
}

impl Turns {
    pub(super) fn new() -> Turns {
        Turns {
            turns: BTreeMap::new(),
            new: BTreeMap::new(),
            budget: BURST,
            earned: Duration::ZERO,
            trouble: Trouble::none(),
        }
    }

    /// This is what is wrong now.
    pub(super) fn see(&mut self, complaints: Vec<Complaint>, now: Duration) {
        let mut new = BTreeMap::new();
        let mut turns = BTreeMap::new();
        for complaint in complaints {
            let policy = complaint.policy.clone();
            let turn = self.turns.remove(&policy);
            if turn.as_ref().is_none_or(|turn| turn.complaint != complaint) {
                let since = match self.new.remove(&policy) {
                    Some((before, since)) if before == complaint => since,
                    _ => now,
                };
                new.insert(policy.clone(), (complaint, since));
            }
            turns.extend(turn.map(|turn| (policy, turn)));
        }
        (self.turns, self.new) = (turns, new);
    }

    /// When there may be something to say.
    pub(super) fn due(&self) -> Option<Duration> {
        let settled = self.new.values().map(|(_, since)| *since + SETTLE);
        let said = self.turns.iter().filter(|(policy, _)| !self.new.contains_key(*policy));
        let due = settled.chain(said.map(|(_, turn)| turn.due)).min()?;
        let poor =
            if self.budget < 1.0 { self.earned + EARN.mul_f64(1.0 - self.budget) } else { Duration::ZERO };
        Some(due.max(self.trouble.until()).max(poor))
    }

    /// What to say, if anything is due. It is said again until it is [`Turns::done`].
    pub(super) fn next(&mut self, now: Duration, rank: &Rank<'_>) -> Option<Complaint> {
        self.settle(now, rank);
        self.budget = (self.budget + (now - self.earned).div_duration_f64(EARN)).min(BURST);
        self.earned = now;
        if now < self.trouble.until() {
            return None;
        }
        for (policy, turn) in &mut self.turns {
            if turn.due > now || self.new.contains_key(policy) {
                continue;
            }
            // Nodes come and go: who was not among the speakers may be by now.
            if turn.listens && !is_speaker(rank(policy)) {
                turn.due = now + REPEAT;
                continue;
            }
            if self.budget < 1.0 {
                return None;
            }
            self.budget -= 1.0;
            return Some(turn.complaint.clone());
        }
        None
    }

    /// Ranks what has stayed as it is for a moment.
    fn settle(&mut self, now: Duration, rank: &Rank<'_>) {
        let settled = self.new.extract_if(.., |_, (_, since)| *since + SETTLE <= now);
        for (policy, (complaint, since)) in settled {
            let said = self.turns.get(&policy).and_then(|turn| turn.said);
            let place = rank(&policy).filter(|place| is_speaker(Some(*place)));
            let due = match place {
                Some(place) => {
                    let steps = u32::try_from(place).unwrap_or(u32::MAX);
                    (since + SETTLE + STEP * steps).max(said.map_or(Duration::ZERO, |said| said + AGAIN))
                }
                None => now + REPEAT,
            };
            self.turns.insert(policy, Turn { complaint, due, said, listens: place.is_none() });
        }
    }

    /// It was said, by this node or another.
    pub(super) fn done(&mut self, policy: &Policy, now: Duration, random: f64) {
        self.trouble.over();
        if let Some(turn) = self.turns.get_mut(policy) {
            turn.said = Some(now);
            turn.due = now + REPEAT.mul_f64(0.9 + random / 5.0);
            turn.listens = true;
        }
    }

    /// It was not.
    pub(super) fn failed(&mut self, now: Duration, random: f64) {
        self.trouble.more(now, random);
    }
}

fn is_speaker(place: Option<usize>) -> bool {
    place.is_some_and(|place| place < SPEAKERS)
}
