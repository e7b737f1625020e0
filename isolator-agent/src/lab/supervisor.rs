//! The process that is a lab: makes it, keeps it like the manifests, and takes it away by ending. Not here: how it
//! is started and waited for (`launch`).

use super::agents::Agents;
use super::build::Lab;
use super::netns::separate;
use super::plan::{Network, Plan, Request, plan};
use super::process::ProcessId;
use super::record::{Record, RunDir};
use super::serve::{Server, TCP, UDP};
use crate::source::{Loaded, load_folder};
use anyhow::{Context, Result};
use isolator_policy::cluster::change::Object;
use isolator_policy::model::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

/// Ports that the host outside listens on beside those that some pod declares.
const OUTSIDE_PORTS: [(u8, u16); 5] = [(TCP, 53), (TCP, 80), (TCP, 443), (TCP, 8080), (UDP, 53)];

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
    /// Whether nodes have agents.
    pub(crate) agents: bool,
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

/// Is the lab that standard input asks for, until a signal ends it.
pub(crate) fn supervise() -> Result<()> {
    let begun = Instant::now();
    // Its own session: an interrupt typed at the terminal is meant for others. Fails only where it has one.
    let _ = rustix::process::setsid();
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("cannot read what is wanted")?;
    let wanted: Wanted =
        serde_json::from_str(&text).context("this command is for `isolator lab up` alone")?;
    let _ = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).try_init();
    let result = prepare(&wanted).and_then(|dir| {
        // The main thread runs the loop and starts the agents: they end when it does.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(live(&wanted, dir, begun))
    });
    if let Err(error) = &result {
        tracing::error!(error = format!("{error:#}"), "the lab ends");
        say(&Report::Failed(format!("{error:#}")));
    }
    result
}

/// Makes the process a world of its own.
fn prepare(wanted: &Wanted) -> Result<RunDir> {
    let dir = RunDir::new(&wanted.root, &wanted.name)?;
    dir.occupy()?;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most)
        .context("cannot raise the limit of open files")?;
    separate()?;
    let mounted = rustix::mount::mount("bpf", dir.bpffs(), "bpf", rustix::mount::MountFlags::empty(), None);
    if wanted.agents {
        mounted.context("cannot mount a bpffs; the kernel needs CONFIG_BPF_SYSCALL")?;
    }
    Ok(dir)
}

async fn live(wanted: &Wanted, dir: RunDir, begun: Instant) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let making = make(wanted, dir, begun);
    let (lab, mut agents) = tokio::select! {
        made = making => made?,
        _ = terminate.recv() => anyhow::bail!("ended while it was being made"),
    };
    terminate.recv().await;
    tracing::info!("asked to end");
    agents.end().await;
    drop(lab);
    Ok(())
}

/// Makes everything and says so.
async fn make(wanted: &Wanted, dir: RunDir, begun: Instant) -> Result<(Lab, Agents)> {
    let folder = wanted.manifests.display();
    let Loaded { objects, mut problems } =
        load_folder(&wanted.manifests).with_context(|| format!("cannot read the manifests in {folder}"))?;
    let request = Request { nodes: wanted.nodes, external: wanted.external.clone(), network: wanted.network };
    let (plan, missing) = plan(&objects, &request, &Plan::default());
    problems.extend(missing);
    let server = Server::new();
    let mut lab =
        Lab::create(dir.clone(), wanted.network, server.clone(), &plan, &outside_ports(&objects)).await?;
    lab.become_like(&plan).await?;
    dir.place(&plan)?;
    let mut agents = Agents::new(&dir, &wanted.manifests);
    if wanted.agents {
        for name in plan.nodes.keys() {
            let netns = lab.node(name).with_context(|| format!("there is no node {name}"))?;
            agents.start(name, netns).with_context(|| format!("the agent of node {name}"))?;
        }
    }
    dir.publish(&Record {
        name: wanted.name.clone(),
        supervisor: ProcessId::own()?,
        manifests: wanted.manifests.clone(),
        network: wanted.network,
        nodes: lab.nodes(),
        pods: lab.pods(),
        outside: lab.outside(),
    })?;
    let mut texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    texts.extend(server.problems());
    for text in &texts {
        tracing::warn!(problem = text, "something is missing");
    }
    let ms = begun.elapsed().as_millis() as u64;
    tracing::info!(nodes = plan.nodes.len(), pods = plan.pods.len(), ms, "ready");
    let (nodes, pods) = (plan.nodes.len(), plan.pods.len());
    if !say(&Report::Ready { nodes, pods, ms, problems: texts }) {
        anyhow::bail!("nobody waits for this lab any more");
    }
    Ok((lab, agents))
}

fn outside_ports(objects: &[Object]) -> Vec<(u8, u16)> {
    let mut ports: BTreeSet<(u8, u16)> = OUTSIDE_PORTS.into();
    for object in objects {
        if let Object::Pod(pod) = object {
            ports.extend(pod.ports.iter().map(|port| (port.protocol, port.port)));
        }
    }
    ports.into_iter().collect()
}

/// Tells the process that waits, and lets go of it. Whether it still waited.
fn say(report: &Report) -> bool {
    let mut out = io::stdout();
    let heard = serde_json::to_writer(&out, report).is_ok() && writeln!(out).is_ok() && out.flush().is_ok();
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    heard
}
