//! The ring buffer as events. The only file outside `datapath` that knows aya: a ring is consumed in place,
//! which no other map is. Not here: names, and who is told.

use crate::datapath::read::ReadOnly;
use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use isolator_common::event::Event;
use rustix::fs::FlockOperation;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use zerocopy::FromBytes;

/// The one consumer of the ring. A second one would corrupt the position of the first, so a file is locked.
pub struct Reader {
    ring: RingBuf<MapData>,
    /// `None` for a ring that only this process knows.
    _lock: Option<File>,
}

impl Reader {
    /// Opens the pinned ring. `None` when somebody else consumes it.
    ///
    /// # Errors
    /// When the ring is not pinned, or may not be opened.
    pub fn open(pin_dir: &Path, run_dir: &Path) -> Result<Option<Reader>> {
        let path = run_dir.join(super::RING_LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        let ring = ReadOnly::open(pin_dir)?.into_events()?;
        Ok(Some(Reader { ring, _lock: Some(lock) }))
    }

    /// Takes a ring that only this process knows.
    #[must_use]
    pub fn new(ring: RingBuf<MapData>) -> Reader {
        Reader { ring, _lock: None }
    }

    /// The next event that waits. Records of another size are from another version, and skipped.
    pub fn event(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            if let Ok(event) = Event::read_from_bytes(&item) {
                return Some(event);
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// Wall-clock time, nanoseconds since 1970, at which the clock of the events stood at 0. It moves when
/// somebody sets the wall clock, so it is asked for again and again.
#[must_use]
pub fn boot() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)).saturating_sub(monotonic())
}

/// The clock of the events, nanoseconds.
#[must_use]
pub fn monotonic() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
