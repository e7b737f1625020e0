//! The agents of a lab: one process for each node, in the node's network and among the lab's mounts. One that ends
//! stays ended until somebody asks: that enforcement goes on without it is for people to see. Not here: what an
//! agent does.

use super::cgroups::Cgroups;
use super::netns::Netns;
use super::record::RunDir;
use crate::status::Status;
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Bits of the marks of packets to services, on every node.
pub(crate) const SERVICE_MARK: u32 = 0xff00_0000;
/// How long an agent may take to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often an agent's status is looked at.
const PACE: Duration = Duration::from_millis(5);

/// The agents that the supervisor has started.
pub(crate) struct Agents {
    dir: RunDir,
    manifests: PathBuf,
    cgroups: Option<Cgroups>,
    /// Those that were started and not stopped; they may have ended.
    running: BTreeMap<String, Child>,
    /// Nodes whose agent was stopped, and is not to be started without an order.
    stopped: BTreeSet<String>,
}

impl Agents {
    /// None yet.
    pub(crate) fn new(dir: &RunDir, manifests: &Path, cgroups: Option<Cgroups>) -> Self {
        Agents {
            dir: dir.clone(),
            manifests: manifests.to_path_buf(),
            cgroups,
            running: BTreeMap::new(),
            stopped: BTreeSet::new(),
        }
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
            .args(arguments(&self.dir, &self.manifests, self.cgroups.as_ref(), node))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start it")?;
        self.running.insert(node.to_string(), child);
        self.stopped.remove(node);
        Ok(())
    }

    /// Nodes whose agent was started once.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = String> {
        self.running.keys().chain(&self.stopped).cloned()
    }

    /// Whether the agent of the node was started, and not stopped since.
    pub(crate) fn runs(&self, node: &str) -> bool {
        self.running.contains_key(node)
    }

    /// Waits until each agent enforces for as many pods as `expected` says.
    pub(crate) async fn wait_until_ready(
        &mut self,
        expected: &BTreeMap<String, usize>,
        deadline: Instant,
    ) -> Result<()> {
        for (node, pods) in expected {
            loop {
                let child =
                    self.running.get_mut(node).with_context(|| format!("node {node} has no agent"))?;
                let log = self.dir.agent_log(node);
                if let Some(status) = child.try_wait().context("cannot wait for an agent")? {
                    bail!(
                        "the agent of node {node} ended ({status}); its log is {}: {}",
                        log.display(),
                        last_line(&log)
                    );
                }
                let status = Status::read(&self.dir.agent(node)).ok().flatten().unwrap_or_default();
                if Some(status.process.pid) == child.id()
                    && status.synced
                    && status.counts.endpoints >= *pods as u64
                {
                    break;
                }
                if Instant::now() >= deadline {
                    let found = status.counts.endpoints;
                    let log = log.display();
                    bail!("the agent of node {node} is not ready ({found} of {pods} pods); its log is {log}");
                }
                tokio::time::sleep(PACE).await;
            }
        }
        Ok(())
    }

    /// Takes note of agents that have ended.
    pub(crate) fn reap(&mut self) {
        let mut ended = Vec::new();
        for (node, child) in &mut self.running {
            if let Ok(Some(status)) = child.try_wait() {
                tracing::warn!(node, status = status.to_string(), "an agent has ended");
                ended.push(node.clone());
            }
        }
        for node in ended {
            self.running.remove(&node);
            self.stopped.insert(node);
        }
    }

    /// Ends the agent of a node, gently where `gently`.
    pub(crate) async fn stop(&mut self, node: &str, gently: bool) -> Result<()> {
        let Some(mut child) = self.running.remove(node) else { bail!("no agent runs on node {node}") };
        self.stopped.insert(node.to_string());
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

    /// Ends the agent of a node that is no more.
    pub(crate) async fn forget(&mut self, node: &str) -> Result<()> {
        if self.runs(node) {
            self.stop(node, true).await?;
        }
        self.stopped.remove(node);
        // Its status would be taken for that of a later node of this name.
        let _ = fs::remove_dir_all(self.dir.agent(node));
        Ok(())
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

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it is empty").to_string()
}

/// Where each agent serves metrics: in the network of its node, so none meets another.
const METRICS: &str = "127.0.0.1:9964";

/// What an agent of a lab is told. In one place, because `isolator run` defines it.
fn arguments(dir: &RunDir, manifests: &Path, cgroups: Option<&Cgroups>, node: &str) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["run".into(), "--source".into(), "manifests".into()];
    // Where there are none, the node's kube-proxy drops what the agent would have to judge there.
    let host = cgroups.map_or("dropped".into(), |cgroups| cgroups.node(node).into());
    let pairs: [(&str, OsString); 9] = [
        ("--host-backends", host),
        ("--service-mark", format!("{SERVICE_MARK:#010x}").into()),
        ("--manifests", manifests.into()),
        ("--placements", dir.placement().into()),
        ("--node", node.into()),
        ("--sandboxes", dir.sandboxes(node).into()),
        ("--pin-dir", dir.pins(node).into()),
        ("--run-dir", dir.agent(node).into()),
        ("--metrics", METRICS.into()),
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
