//! Reads the ring without a daemon. Not here: who may (`reader` holds the lock).

use super::enrich::enrich;
use super::filter::Filter;
use super::format::{LostEvents, Record};
use super::reader::{self, Reader};
use super::serve::Lookup;
use crate::status::Lost;
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::Path;
use std::time::{Duration, Instant};

/// Below its fill mark the ring wakes nobody, so it is looked at this often.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The ring and the names for its numbers.
pub struct Direct<L> {
    reader: Reader,
    names: L,
    filter: Filter,
    lost: Lost,
    /// Events before this time (nanoseconds of `CLOCK_MONOTONIC`) are history.
    since: u64,
}

impl<L: Lookup> Direct<L> {
    /// Opens the pinned ring; `None` when somebody else reads it. Events before `since` (as
    /// [`reader::monotonic`] counts) are left out, unless the filter asks for history.
    ///
    /// # Errors
    /// When the ring is not pinned, or may not be opened.
    pub fn open(
        pin_dir: &Path,
        run_dir: &Path,
        names: L,
        filter: Filter,
        since: u64,
    ) -> Result<Option<Self>> {
        let Some(reader) = Reader::open(pin_dir, run_dir)? else { return Ok(None) };
        let since = if filter.history { 0 } else { since };
        let lost = names.lost();
        Ok(Some(Direct { reader, names, filter, lost, since }))
    }

    /// The next record; `None` when none comes within `wait`.
    pub fn next(&mut self, wait: Duration) -> Option<Record> {
        let deadline = Instant::now() + wait;
        loop {
            let boot = reader::boot();
            while let Some(event) = self.reader.event() {
                let flow = enrich(&event, &self.names, boot);
                if event.time >= self.since && self.filter.matches(&flow) {
                    return Some(Record::Flow(flow));
                }
            }
            if let Some(lost) = self.lost() {
                return Some(Record::Lost(lost));
            }
            if Instant::now() >= deadline {
                return None;
            }
            // Woken or not, the ring is looked at.
            let _ready = poll(&mut [PollFd::new(&self.reader, PollFlags::IN)], Some(&TICK));
        }
    }

    /// What was lost since the last call.
    fn lost(&mut self) -> Option<LostEvents> {
        let now = self.names.lost();
        let (rate, ring) = (
            now.over_rate - self.lost.over_rate.min(now.over_rate),
            now.ring_full - self.lost.ring_full.min(now.ring_full),
        );
        if rate > 0 {
            self.lost.over_rate = now.over_rate;
            return Some(LostEvents { source: "rate".to_owned(), count: rate });
        }
        self.lost = now;
        (ring > 0).then(|| LostEvents { source: "ring".to_owned(), count: ring })
    }
}
