//! `isolator uninstall`: nothing of isolator is left on the node. Not here: how it is removed (`datapath::audit`).

use super::Exit;
use super::args::{Global, UninstallArgs};
use super::output::Screen;
use crate::datapath::audit::{self, Removed};
use crate::{boot, flows, status};
use anyhow::{Result, bail};
use serde::Serialize;
use std::io::{BufRead, IsTerminal, Write};

/// What was removed, as JSON.
#[derive(Debug, Serialize)]
struct View {
    /// Interfaces that programs were taken off, by index.
    interfaces: Vec<u32>,
    maps: Vec<&'static str>,
    /// Pods were held at a boot.
    held_at_boot: bool,
}

/// Removes everything, after asking.
pub(super) fn run(args: &UninstallArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    if !args.yes && !confirmed(global)? {
        eprintln!("nothing was removed");
        return Ok(Exit::Bad);
    }
    // First: a node that enforces nothing must not wait for it.
    let waits = boot::remove(&args.held_at)?;
    let Removed { interfaces, maps } = audit::uninstall(&global.pin_dir)?;
    for file in [status::FILE, flows::SOCKET, flows::RING_LOCK] {
        // What is not there need not be removed, and what may not be removed harms nobody.
        let _absent = std::fs::remove_file(global.run_dir.join(file));
    }
    let view = View { interfaces: interfaces.into_iter().collect(), maps, held_at_boot: waits };
    screen.one(&view, |_| match (view.interfaces.len(), view.maps.len()) {
        (0, 0) if waits => "pods are not held at a boot any more; there was nothing else to remove\n".to_owned(),
        (0, 0) => "there was nothing to remove\n".to_owned(),
        (interfaces, maps) => {
            format!("removed programs from {interfaces} interfaces, and {maps} maps; pods are not isolated any more\n")
        }
    })?;
    Ok(Exit::Good)
}

fn confirmed(global: &Global) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("this ends all isolation on the node: say --yes");
    }
    eprint!(
        "Remove every program and map of isolator in {}? Pods are not isolated then. [y/N] ",
        global.pin_dir.display()
    );
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
