//! Runs a command inside a lab. Not here: what the lab is made of.

use super::cgroups::Cgroups;
use super::flows::{End, sender};
use super::netns::{Netns, enter_mounts};
use super::record::{Record, RunDir};
use anyhow::{Context, Result, anyhow, bail};
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes `command`, in the network of `end` and among the mounts of the lab: its exit code and its signals are
/// the command's. The calling thread must be the only one that matters: all others end.
///
/// # Errors
/// There is no such place or no such command. Exit code 127 is the caller's to choose.
pub(crate) fn exec(folder: &Path, lab: &Record, end: &End, command: &[OsString]) -> Result<Infallible> {
    let Some((program, arguments)) = command.split_first() else { bail!("say which command after --") };
    let (place, _) = sender(lab, end).map_err(|why| anyhow!(why))?;
    let node = lab.node_of(end);
    let netns = Netns::open(&lab.netns(place))?;
    // What a node's own network receives is judged in its cgroup.
    let own = lab.nodes.iter().find(|(_, other)| other.netns == place.netns).map(|(name, _)| name);
    if let (Some(node), Ok(cgroups)) = (own, &lab.cgroups) {
        Cgroups::at(cgroups.clone()).enter(node)?;
    }
    enter_mounts(lab.supervisor.pid)?;
    netns.enter()?;
    let mut command = Command::new(program);
    command.args(arguments).env("ISOLATOR_LAB", &lab.name);
    if let Some(node) = node {
        // So that `isolator status` and the others ask the agent of this node.
        let (pins, run) = (RunDir::bpffs(folder).join(node), RunDir::agents(folder).join(node));
        command.env("ISOLATOR_NODE", node).env("ISOLATOR_PIN_DIR", pins).env("ISOLATOR_RUN_DIR", run);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
