//! Runs a command inside a lab. Not here: what the lab is made of.

use super::flows::{End, sender};
use super::netns::{Netns, enter_mounts};
use super::record::Record;
use anyhow::{Context, Result, anyhow, bail};
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes `command`, in the network of `end` and among the mounts of the lab: its exit code and its signals are
/// the command's. The calling thread must be the only one that matters: all others end.
///
/// # Errors
/// There is no such place or no such command. Exit code 127 is the caller's to choose.
pub(crate) fn exec(lab: &Record, end: &End, command: &[OsString]) -> Result<Infallible> {
    let Some((program, arguments)) = command.split_first() else { bail!("say which command after --") };
    let (place, _) = sender(lab, end).map_err(|why| anyhow!(why))?;
    let netns = Netns::open(&lab.netns(place))?;
    enter_mounts(lab.supervisor.pid)?;
    netns.enter()?;
    let error = Command::new(program).args(arguments).env("ISOLATOR_LAB", &lab.name).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
