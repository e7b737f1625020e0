//! Waits until every program run that may have seen an older state of the maps has ended: an RCU grace
//! period. Two ways, tried once at start. Not here: when a wait is needed (`diff` says so).

use super::bpf;
use rustix::thread::{MembarrierCommand, membarrier};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How to wait.
#[derive(Debug)]
pub(crate) enum Grace {
    /// `membarrier(MEMBARRIER_CMD_GLOBAL)`, which is a grace period. Refused on kernels with `nohz_full` and by
    /// some seccomp profiles.
    Membarrier,
    /// A write to an array of maps, after which the kernel waits by itself.
    MapInMap(OwnedFd, OwnedFd),
}

impl Grace {
    /// The first way that works.
    pub(crate) fn choose() -> io::Result<Grace> {
        if Grace::Membarrier.wait().is_ok() { Ok(Grace::Membarrier) } else { Grace::map_in_map() }
    }

    /// The second way.
    pub(crate) fn map_in_map() -> io::Result<Grace> {
        let inner = bpf::small_array(None)?;
        let grace = Grace::MapInMap(bpf::small_array(Some(inner.as_fd()))?, inner);
        grace.wait()?;
        Ok(grace)
    }

    /// Waits, some milliseconds.
    pub(crate) fn wait(&self) -> io::Result<()> {
        match self {
            Grace::Membarrier => Ok(membarrier(MembarrierCommand::Global)?),
            Grace::MapInMap(outer, inner) => bpf::write_inner(outer, inner),
        }
    }
}
