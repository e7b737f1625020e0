//! The process that is a lab: hears what is wanted, makes itself a world of its own, and says when the lab is
//! ready. Not here: what it does until it ends (`live`), how it is started and waited for (`launch`).

use super::cgroups::Cgroups;
use super::live::live;
use super::netns::separate;
use super::plan::Network;
use super::proxy::Proxy;
use super::record::RunDir;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What `lab up` wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The folder of all run directories.
    pub(crate) root: PathBuf,
    /// The name of the lab.
    pub(crate) name: String,
    /// The folder of manifests, absolute.
    pub(crate) manifests: PathBuf,
    /// Nodes at least.
    pub(crate) nodes: usize,
    /// Addresses of the host outside.
    pub(crate) external: Vec<IpAddr>,
    /// How pods are connected.
    pub(crate) network: Network,
    /// Who translates service addresses on the nodes.
    pub(crate) proxy: Proxy,
    /// Whether nodes have agents.
    pub(crate) agents: bool,
    /// How long it may take until the lab can be used.
    pub(crate) limit: Duration,
}

/// What the supervisor says on its standard output, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The lab can be used.
    Ready {
        /// How many nodes it has.
        nodes: usize,
        /// How many pods it has.
        pods: usize,
        /// How long it took, in milliseconds.
        ms: u64,
        /// What is missing from it, and why.
        problems: Vec<String>,
    },
    /// There is no lab. The text says why.
    Failed(String),
}

/// Is the lab that standard input asks for, until a signal ends it. `Ok(false)`: something else ended it, which its log
/// and, where `lab up` still waits, its report say; not to be said a third time.
pub(crate) fn supervise() -> Result<bool> {
    let begun = Instant::now();
    // Its own session: an interrupt typed at the terminal is meant for others. Fails only where it has one.
    let _ = rustix::process::setsid();
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("cannot read what is wanted")?;
    let wanted: Wanted =
        serde_json::from_str(&text).context("this command is for `isolator lab up` alone")?;
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false);
    let _ = log.log_internal_errors(false).try_init();
    let result = prepare(&wanted).and_then(|(dir, cgroups)| {
        // The main thread runs the loop and starts the agents: they end when it does.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(live(wanted.clone(), dir, cgroups, begun))
    });
    if let Err(error) = &result {
        tracing::error!(error = format!("{error:#}"), "the lab ends");
        say(&Report::Failed(format!("{error:#}")));
    }
    Ok(result.is_ok())
}

/// Makes the process a world of its own. With agents, cgroups for the nodes as well, or why there are none.
fn prepare(wanted: &Wanted) -> Result<(RunDir, Result<Cgroups, String>)> {
    let dir = RunDir::new(&wanted.root, &wanted.name)?;
    dir.occupy()?;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most)
        .context("cannot raise the limit of open files")?;
    separate()?;
    let mounted = rustix::mount::mount(
        "bpf",
        RunDir::bpffs(dir.path()),
        "bpf",
        rustix::mount::MountFlags::empty(),
        None,
    );
    if wanted.agents {
        mounted.context("cannot mount a bpffs; the kernel needs CONFIG_BPF_SYSCALL")?;
    }
    let cgroups = if wanted.agents { cgroups(&dir) } else { Err(anyhow!("nobody judges anything here")) };
    Ok((dir, cgroups.map_err(|error| format!("{error:#}"))))
}

/// Makes the cgroup of the lab, for which the process must have no thread yet.
fn cgroups(dir: &RunDir) -> Result<Cgroups> {
    let cgroups = Cgroups::plan(dir.name())?;
    dir.separate(&cgroups)?;
    let created = cgroups.create();
    if created.is_err() {
        cgroups.remove()?;
    }
    created.map(|()| cgroups)
}

/// Tells the process that waits, and lets go of it. Whether it still waited.
pub(crate) fn say(report: &Report) -> bool {
    let mut out = io::stdout();
    let heard = serde_json::to_writer(&out, report).is_ok() && writeln!(out).is_ok() && out.flush().is_ok();
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    heard
}
