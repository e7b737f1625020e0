//! Which process is meant, so that a number that the kernel has given to another process since is never taken for
//! it. Not here: what the process does.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// A process, named so that no other process of this machine ever has the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    started: u64,
    /// The kernel's name for this boot.
    boot: String,
    /// Device and inode of the program it runs.
    program: (u64, u64),
}

impl ProcessId {
    /// The process of this number, if it exists and has not ended.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses that may hold anything: count from its end.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        let started = fields.nth(18)?.parse().ok()?;
        let program = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
        Some(ProcessId { pid, started, boot, program: (program.dev(), program.ino()) })
    }

    /// The calling process.
    pub(crate) fn own() -> Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        ProcessId::of(pid).context("cannot read /proc/self; is /proc mounted?")
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        ProcessId::of(self.pid).as_ref() == Some(self)
    }

    /// A handle that stays with this process, if it still runs.
    fn handle(&self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Only now does the comparison say something about the process behind the handle.
        self.is_alive().then_some(handle)
    }

    /// Ends the process: asks, waits up to `patience`, then forces. Returns when it is gone.
    pub(crate) fn end(&self, patience: Duration) -> Result<()> {
        for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(10))] {
            let Some(handle) = self.handle() else { return Ok(()) };
            match pidfd_send_signal(&handle, signal) {
                Ok(()) => {}
                Err(rustix::io::Errno::SRCH) => return Ok(()),
                Err(error) => return Err(error).with_context(|| format!("cannot end process {}", self.pid)),
            }
            let mut handles = [PollFd::new(&handle, PollFlags::IN)];
            let limit =
                Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
            if poll(&mut handles, Some(&limit))? > 0 {
                return Ok(());
            }
        }
        bail!("process {} does not end", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_number_that_was_given_away_names_nobody() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        assert!(id.is_alive());
        let recycled = ProcessId { started: id.started + 1, ..id.clone() };
        assert!(!recycled.is_alive());
        recycled.end(Duration::from_secs(5)).unwrap();
        assert!(id.is_alive(), "a process with the same number was ended");
        id.end(Duration::from_secs(5)).unwrap();
        assert!(!id.is_alive(), "a process that nobody has waited for yet counts as gone");
        child.wait().unwrap();
    }
}
