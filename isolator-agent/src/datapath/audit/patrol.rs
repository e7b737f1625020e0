//! The agent's own audit, a little at a time: each look compares a piece, and costs the same however large the
//! maps are. The switch, every endpoint and every program are in each look where the kernel answers cheaply; the rest
//! comes round. Connections are not compared: the programs own them. Not here: the comparison of entries (`compare`),
//! repairing (`enforce`).

use super::compare::{Extent, Round};
use super::{AuditError, Difference, programs};
use crate::datapath::attach::{Attacher, attachments_at};
use crate::datapath::discover;
use crate::datapath::hook::Hook;
use crate::datapath::load::Loaded;
use crate::datapath::read::ReadError;
use isolator_common::tables::{self, name};
use isolator_policy::datapath::image::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Interfaces whose pins and filters are read in one look; there are about ten calls for each.
const INTERFACES: usize = 4;
/// Pins of maps that are opened in one look.
const PINS: usize = 1;
/// In every look.
const ALWAYS: [&str; 3] = [name::STATE, name::MARKING, name::ENDPOINTS];

/// What the agent wants there to be.
pub struct Wanted<'a> {
    /// Contents of the maps.
    pub image: &'a Image,
    /// Interfaces with both programs for pods.
    pub pods: &'a BTreeSet<u32>,
    /// Programs on other interfaces.
    pub ways: &'a BTreeMap<u32, Hook>,
}

/// A difference, and for how long at most it can have been there.
#[derive(Clone, Debug)]
pub struct Found {
    /// What differs.
    pub difference: Difference,
    /// Since what differs was last seen as it should be.
    pub age: Duration,
}

/// Where the audit is.
#[derive(Debug)]
pub struct Patrol {
    round: Round,
    /// When this round began, and the one before.
    began: [Instant; 2],
    looked: Instant,
    /// The interface looked at last, and when this turn through them and the one before began.
    interface: u32,
    turns: [Instant; 2],
    /// Turns that are over.
    turn: u64,
    pin: usize,
    /// Rounds that are over.
    rounds: u64,
    /// How long the last of them took.
    took: Duration,
}

impl Default for Patrol {
    fn default() -> Self {
        let now = Instant::now();
        Patrol {
            round: Round::new(Extent::InUse),
            began: [now; 2],
            looked: now,
            interface: 0,
            turns: [now; 2],
            turn: 0,
            pin: 0,
            rounds: 0,
            took: Duration::ZERO,
        }
    }
}

impl Patrol {
    /// How often everything was compared, and how long that took last.
    #[must_use]
    pub fn rounds(&self) -> (u64, Duration) {
        (self.rounds, self.took)
    }

    /// How often every interface and every pin was looked at.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Begins anew, after everything was read and written.
    pub fn restart(&mut self) {
        self.round = Round::new(Extent::InUse);
    }

    /// Compares the next piece with what this process has written.
    ///
    /// # Errors
    /// When the kernel cannot be read; that is no difference.
    pub fn look(
        &mut self,
        loaded: &Loaded,
        attacher: &Attacher,
        pin_dir: &Path,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Found>, AuditError> {
        let now = Instant::now();
        let since_look = now - self.looked;
        let mut all: Vec<Found> = Vec::new();

        let mut entries = Vec::new();
        let over =
            self.round.look(loaded.store.maps(), wanted.image, &mut entries).map_err(ReadError::from)?;
        let since_round = now - self.began[0];
        all.extend(entries.into_iter().map(|difference| {
            let always = matches!(&difference, Difference::Entry { map, .. } if ALWAYS.contains(map));
            Found { difference, age: if always { since_look } else { since_round } }
        }));
        if over {
            self.rounds += 1;
            self.took = now - self.began[1];
            self.began = [self.began[1], now];
            self.round = Round::new(Extent::InUse);
        }

        let pods = wanted.pods.iter().flat_map(|ifindex| Hook::POD.map(|hook| (*ifindex, hook)));
        for (ifindex, hook) in pods.chain(wanted.ways.iter().map(|(ifindex, hook)| (*ifindex, *hook))) {
            if attacher.runs(&loaded.programs, ifindex, hook) == Some(false) {
                let difference = Difference::NotAttached { ifindex, hook };
                all.push(Found { difference, age: since_look });
            }
        }
        let since_turn = now - self.turns[0];
        let mut some = self.next_interfaces(wanted.pods, now);
        // One that is gone has lost its programs rightly; the next look at the sandboxes will not find it.
        some.retain(|ifindex| discover::name_of(*ifindex).is_some());
        let attached = attachments_at(pin_dir, &some)?;
        // A program of this agent uses the maps of this agent, so that nobody need ask the kernel.
        let other_maps = |hook: Hook, program| (loaded.programs.id(hook) != program).then_some(name::STATE);
        for difference in programs(&attached, &some, &other_maps) {
            if all.iter().all(|found| found.difference != difference) {
                all.push(Found { difference, age: since_turn });
            }
        }

        for _ in 0..PINS {
            let (map, ..) = tables::ALL[self.pin % tables::ALL.len()];
            self.pin += 1;
            if let Some(other) = loaded.misses_pin(pin_dir, map)? {
                let age = since_look * u32::try_from(tables::ALL.len().div_ceil(PINS)).unwrap_or(1);
                all.push(Found { difference: Difference::NotPinned { map, other }, age });
            }
        }
        self.looked = now;
        Ok(all)
    }

    fn next_interfaces(&mut self, pods: &BTreeSet<u32>, now: Instant) -> BTreeSet<u32> {
        let some: BTreeSet<u32> =
            pods.range(self.interface.saturating_add(1)..).take(INTERFACES).copied().collect();
        self.interface = some.last().copied().unwrap_or_default();
        if some.len() < INTERFACES {
            self.interface = 0;
            self.turns = [self.turns[1], now];
            self.turn += 1;
        }
        some
    }
}
