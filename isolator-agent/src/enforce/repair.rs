//! The audit as part of the loop: a look every second, and what to do about what it finds. A map entry is mended by
//! reading the maps and planning from what they really hold, so that the writes keep the order that no packet
//! notices; a program by attaching it again. What belongs to somebody else is said and left alone. Not here: the
//! comparison (`datapath::audit`).

use super::{Enforcer, micros, now_ms};
use crate::datapath::audit::{Difference, Found, Wanted};
use crate::metrics::Kind;
use isolator_policy::model::{Problem, Severity};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Differences of one look that are logged one by one.
const LOGGED: usize = 10;

impl Enforcer {
    /// Looks at the next piece of the kernel, and mends what differs from what was written. Nothing is compared
    /// while a step is due: the kernel is not what it should be then, and everybody knows.
    pub fn audit(&mut self) {
        if !self.status.synced || self.must_retry() {
            return;
        }
        let began = (Instant::now(), cpu_time());
        let image = self.controller.image();
        let enforced = self.controller.enforced();
        let pods: BTreeSet<u32> = enforced.iter().map(|found| found.ifindex).collect();
        // Those that could not be attached are problems already.
        let pods = pods.intersection(&self.attached).copied().collect();
        let wanted = Wanted { image: &image, pods: &pods, ways: self.ways.programs() };
        let found = self.patrol.look(&self.loaded, &self.attacher, &self.config.pin_dir, &wanted);
        self.measured.audit.inc_by(cpu_time().saturating_sub(began.1).as_secs_f64());
        let (rounds, took) = self.patrol.rounds();
        let before = std::mem::replace(&mut self.status.drift.rounds, rounds);
        self.measured.rounds.inc_by(rounds - before);
        self.status.drift.round_us = micros(took);
        match found {
            Ok(found) => self.differs(found, began.0),
            Err(unreadable) => warn!(error = %unreadable, "cannot compare the kernel with the plan"),
        }
    }

    fn differs(&mut self, found: Vec<Found>, at: Instant) {
        let (ours, theirs): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|found| found.difference.is_ours());
        let new = self.left_alone(theirs);
        if ours.is_empty() {
            if new {
                self.say();
                self.report();
            }
            return;
        }
        for found in &ours {
            self.count(found);
        }
        for Found { difference, age } in ours.iter().take(LOGGED) {
            error!(%difference, seconds = age.as_secs_f64(), "the kernel is not as it should be");
        }
        if ours.len() > LOGGED {
            error!(more = ours.len() - LOGGED, "the kernel is not as it should be");
        }
        let prepared = self.mend(&ours);
        self.step();
        if !prepared || self.must_retry() {
            // The next look finds it again, or the step that follows says why it cannot be mended.
            return;
        }
        let took = at.elapsed();
        for Found { difference, .. } in &ours {
            self.measured.mended.get_or_create(&Kind { kind: difference.kind() }).inc();
            self.measured.repair.observe(took.as_secs_f64());
        }
        self.status.drift.repaired += ours.len() as u64;
        self.status.drift.repair_us = micros(took);
        info!(differences = ours.len(), "repaired");
        self.report();
    }

    fn count(&mut self, found: &Found) {
        let Found { difference, age } = found;
        self.measured.found.get_or_create(&Kind { kind: difference.kind() }).inc();
        self.measured.detection.observe(age.as_secs_f64());
        let drift = &mut self.status.drift;
        drift.found += 1;
        drift.found_ms = now_ms();
        drift.detect_us = micros(*age);
    }

    /// Prepares the step that mends. A step alone would find nothing to do: it believes what it wrote. Answers
    /// whether that went well.
    fn mend(&mut self, ours: &[Found]) -> bool {
        let (mut entries, mut prepared) = (false, true);
        for Found { difference, .. } in ours {
            match difference {
                Difference::Entry { .. } => entries = true,
                Difference::NotAttached { ifindex, .. } => self.attach_again(*ifindex),
                Difference::Twice(attachment) | Difference::OtherMaps { attachment, .. } => {
                    self.attach_again(attachment.ifindex);
                }
                Difference::NotWanted(_) => self.kept.clear(),
                Difference::NotPinned { map, .. } => {
                    if let Err(refused) = self.loaded.pin(&self.config.pin_dir, map) {
                        warn!(map, error = %refused, "cannot pin a map again");
                        prepared = false;
                    }
                }
                Difference::NotFirst(_) => {}
            }
        }
        if !entries {
            return prepared;
        }
        match self.loaded.store.read_image() {
            Ok(image) => {
                self.controller.found(image);
                self.patrol.restart();
                prepared
            }
            Err(unreadable) => {
                warn!(error = %unreadable, "cannot read the maps to repair them");
                false
            }
        }
    }

    fn attach_again(&mut self, ifindex: u32) {
        self.attached.remove(&ifindex);
        self.ways.forget(ifindex);
    }

    /// Keeps what is not ours to mend as a problem, until a whole turn has not seen it any more. Answers whether
    /// that has changed.
    fn left_alone(&mut self, theirs: Vec<Found>) -> bool {
        let turn = self.patrol.turn();
        let before = self.foreign.len();
        let mut new = false;
        for found in theirs {
            let known = self.foreign.iter_mut().find(|(there, _)| *there == found.difference);
            match known {
                Some((_, seen)) => *seen = turn,
                None => {
                    new = true;
                    self.count(&found);
                    self.foreign.push((found.difference, turn));
                }
            }
        }
        self.foreign.retain(|(_, seen)| seen + 2 > turn);
        self.status.drift.open = self.foreign.len() as u64;
        new || self.foreign.len() != before
    }

    /// What is left alone, as problems.
    pub(super) fn foreign_problems(&self) -> Vec<Problem> {
        let problem = |(difference, _): &(Difference, u64)| Problem {
            severity: Severity::Warning,
            message: format!(
                "{difference}. It is not isolator's and stays: whoever put it there must take it away"
            ),
            ..self.problem("foreign")
        };
        self.foreign.iter().map(problem).collect()
    }
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
