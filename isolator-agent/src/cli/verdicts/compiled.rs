//! The engine `compiled`: the kernel program's own code over the maps' contents, in memory.

use super::sides::{Engine, Machine, Ruling};
use anyhow::Result;
use isolator_common::policy::Direction;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::memory::{Memory, judge_frame};

/// Judges flows in memory.
pub(super) fn engine(snapshot: &Snapshot) -> Engine<'_, Memory> {
    Engine::new(snapshot)
}

impl Machine for Memory {
    fn load(image: Image) -> Result<Self> {
        Ok(Memory::new(image))
    }

    fn judge(&mut self, ifindex: u32, frame: &[u8], direction: Direction) -> Result<Ruling> {
        let outcome = judge_frame(self, ifindex, frame, direction);
        // An entry of this flow would make its opposite a reply.
        self.forget_all();
        Ok(Ruling { reason: outcome.reason, rule: outcome.rule })
    }
}
