//! The daemon under test: a process of its own in the namespaces of this thread, with a sandbox for each pod of the
//! node. Not here: what it reads.

use crate::manifests::{LOCAL, Manifests, NODE, local};
use anyhow::{Context, Result, bail};
use isolator_agent::status::{Phases, Status};
use isolator_tests::link::Sandbox;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the status is looked at. The figures do not depend on it.
const POLL: Duration = Duration::from_micros(500);
/// Longest wait for the first sync, and for one edit.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running daemon, killed with this value.
pub(crate) struct Agent {
    child: Child,
    began: Instant,
    run_dir: PathBuf,
    /// The pods' network namespaces live as long as these.
    _sandboxes: Vec<Sandbox>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
    }
}

impl Agent {
    /// Starts the daemon at `binary` on `manifests`, with its maps below `pins`.
    pub(crate) fn start(binary: &Path, pins: &Path, manifests: &Manifests) -> Result<Agent> {
        let (run_dir, folder) = (manifests.beside("run")?, manifests.beside("sandboxes")?);
        let mut sandboxes = Vec::new();
        for number in 0..LOCAL {
            let sandbox = Sandbox::new();
            let _ifindex = sandbox.connect(&format!("pod{number}"), &[(local(number).parse()?, 32)]);
            std::os::unix::fs::symlink(sandbox.path(), folder.join(format!("local-{number}")))?;
            sandboxes.push(sandbox);
        }
        let log = File::create(run_dir.join("log"))?;
        let child = Command::new(binary)
            .args(["run", "--source", "manifests", "--node", NODE, "--manifests"])
            .arg(manifests.folder())
            .arg("--sandboxes")
            .arg(&folder)
            .arg("--pin-dir")
            .arg(pins.join("isolator"))
            .arg("--run-dir")
            .arg(&run_dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}; `cargo xtask build` makes it", binary.display()))?;
        Ok(Agent { child, began: Instant::now(), run_dir, _sandboxes: sandboxes })
    }

    /// Waits until everything is enforced. Answers how long that took from the start of the process.
    pub(crate) fn until_synced(&mut self) -> Result<Duration> {
        let status = self.until(|status| status.synced)?;
        let taken = self.began.elapsed();
        if status.counts.endpoints != u64::from(LOCAL) {
            bail!("{} endpoints instead of {LOCAL}: {:?}", status.counts.endpoints, status.problems);
        }
        Ok(taken)
    }

    /// Waits until an edit that began at `changed` (microseconds since 1970) is in force and settled. Answers how long
    /// it took to be in force, in microseconds, and where the time went.
    pub(crate) fn until_done(&mut self, changed: u64) -> Result<(u64, Phases)> {
        let status = self.until(|status| status.took.done_us > changed)?;
        Ok((status.took.in_force_us.saturating_sub(changed), status.took))
    }

    fn until(&mut self, holds: impl Fn(&Status) -> bool) -> Result<Status> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = Status::read(&self.run_dir)?.filter(&holds) {
                return Ok(status);
            }
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.run_dir.join("log"))?;
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "the daemon ended or does not answer; the end of its log, newest first:\n{}",
                    last.join("\n")
                );
            }
            sleep(POLL);
        }
    }
}
