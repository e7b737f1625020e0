//! The agents of a lab: one process for each node, in the node's network and among the lab's mounts. One that ends
//! stays ended until somebody asks: that enforcement goes on without it is for people to see. Not here: what an
//! agent does.

use super::netns::Netns;
use super::record::RunDir;
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long an agent may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// The agents that the supervisor has started.
pub(crate) struct Agents {
    dir: RunDir,
    manifests: PathBuf,
    running: BTreeMap<String, Child>,
}

impl Agents {
    /// None yet.
    pub(crate) fn new(dir: &RunDir, manifests: &Path) -> Self {
        Agents { dir: dir.clone(), manifests: manifests.to_path_buf(), running: BTreeMap::new() }
    }

    /// Starts the agent of a node. Must be called on the thread that lives as long as the lab: the kernel ends an
    /// agent together with the thread that started it.
    pub(crate) fn start(&mut self, node: &str, netns: &Netns) -> Result<()> {
        let folder = self.dir.agent(node);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = self.dir.agent_log(node);
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let own = std::process::id().to_string();
        let child = Command::new("/proc/self/exe")
            .arg0("isolator")
            .args(["lab", "agent-process", &own, &netns.fd().to_string()])
            .args(arguments(&self.dir, &self.manifests, node))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start it")?;
        self.running.insert(node.to_string(), child);
        Ok(())
    }

    /// Ends the agent of a node, gently where `gently`.
    pub(crate) async fn stop(&mut self, node: &str, gently: bool) -> Result<()> {
        let Some(mut child) = self.running.remove(node) else { bail!("no agent was started on node {node}") };
        if gently && let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
            // It is our child and nobody has waited for it: the number is still its own.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            if let Ok(ended) = tokio::time::timeout(PATIENCE, child.wait()).await {
                ended.context("cannot wait for it")?;
                return Ok(());
            }
        }
        child.kill().await.context("cannot end it")
    }

    /// Ends all of them.
    pub(crate) async fn end(&mut self) {
        for node in self.running.keys().cloned().collect::<Vec<_>>() {
            if let Err(error) = self.stop(&node, true).await {
                tracing::warn!(node, error = format!("{error:#}"), "an agent does not end");
            }
        }
    }
}

/// What an agent of a lab is told. In one place, because `isolator run` defines it.
fn arguments(dir: &RunDir, manifests: &Path, node: &str) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["run".into(), "--source".into(), "manifests".into()];
    let pairs: [(&str, OsString); 6] = [
        ("--manifests", manifests.into()),
        ("--placement", dir.placement().into()),
        ("--node", node.into()),
        ("--sandboxes", dir.sandboxes(node).into()),
        ("--pin-dir", dir.pins(node).into()),
        ("--run-dir", dir.agent(node).into()),
    ];
    all.extend(pairs.into_iter().flat_map(|(flag, value)| [flag.into(), value]));
    all
}

/// Becomes an agent: in the network that is file `netns` of the supervisor, and never outliving it.
pub(crate) fn become_agent(supervisor: i32, netns: i32, arguments: &[OsString]) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie the agent to the lab")?;
    // The supervisor may have ended before that.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(supervisor) {
        bail!("the lab has ended");
    }
    Netns::open(Path::new(&format!("/proc/{supervisor}/fd/{netns}")))?.enter()?;
    let error = std::process::Command::new("/proc/self/exe").arg0("isolator").args(arguments).exec();
    Err(error).context("cannot become an agent")
}
