//! Holds pods back after a boot, until this node enforces. What the container runtime reads as its first network
//! configuration is a link into the run folder, which is memory: after a boot it leads nowhere, and no pod with a network
//! of its own starts; once the node enforces it leads to the CNI's own configuration again (ADR 10). Files of others are
//! never touched. Not here: when it is open (`enforce::hold`).

use isolator_policy::model::{Place, Problem, Severity};
use rustix::fs::statfs;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where container runtimes look for network configurations unless told otherwise.
pub const FOLDER: &str = "/etc/cni/net.d";
/// Sorts before whatever others call theirs, and says whom to ask.
const NAME: &str = "0-isolator-holds-pods-at-boot";
/// What a runtime reads; each is read in a way of its own, so ours has the extension of the one that it leads to.
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];
/// Folder in the run folder, and the link in it.
const OPEN: &str = "boot";
const NETWORK: &str = "network";
/// Somebody who takes the link away this often will go on doing so.
const ENOUGH: u32 = 3;
/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of `include/uapi/linux/magic.h`: what a boot empties.
const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The link, and where it leads.
#[derive(Debug)]
pub struct Gate {
    folder: PathBuf,
    run_dir: PathBuf,
    /// The runtime was told by this process that the link leads somewhere.
    told: bool,
    /// How often it was gone.
    gone: u32,
}

/// Why pods are not held at the next boot.
#[derive(Debug, thiserror::Error)]
pub enum NotHeld {
    /// The run folder outlives a boot.
    #[error("{} is no memory: the link there would outlive a boot; cure: --run-dir in a tmpfs", .0.display())]
    Outlives(PathBuf),
    /// The runtime reads another folder, or has no network yet.
    #[error(
        "there is no network configuration in {}; cure: name the folder that the container runtime reads (until a CNI \
         has written its first one there, no pod starts anyway)",
        .0.display()
    )]
    NoNetwork(PathBuf),
    /// Another program wants to be the only one there.
    #[error(
        "somebody takes {} away again and again; cure: tell the CNI to leave configurations of others alone (Cilium: \
         cni.exclusive=false), or leave out --hold-at-boot",
        .0.display()
    )]
    TakenAway(PathBuf),
    /// The system does not permit it.
    #[error("cannot {what} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl NotHeld {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NotHeld {
        move |error| NotHeld::Io { what, path: path.to_owned(), error }
    }

    /// The same for the status.
    #[must_use]
    pub fn problem(&self, node: &str) -> Problem {
        Problem {
            severity: Severity::Warning,
            code: "not-held-at-boot",
            place: Place::Thing(format!("node {node}")),
            object: String::new(),
            field: String::new(),
            message: format!("after the next boot pods may start before this node enforces: {self}"),
        }
    }
}

impl Gate {
    /// For the runtime that reads `folder`. Nothing is changed.
    #[must_use]
    pub fn new(folder: &Path, run_dir: &Path) -> Gate {
        Gate { folder: folder.to_owned(), run_dir: run_dir.to_owned(), told: false, gone: 0 }
    }

    /// Lets pods start now, and holds them after the next boot. Writes nothing where all is as it should be.
    ///
    /// # Errors
    /// [`NotHeld`]. Pods that start now are not kept from it by that, unless the link cannot be written.
    pub fn open(&mut self) -> Result<(), NotHeld> {
        if !is_memory(&self.run_dir)? {
            return Err(NotHeld::Outlives(self.run_dir.clone()));
        }
        let Some(network) = first(&self.folder)? else { return Err(NotHeld::NoNetwork(self.folder.clone())) };
        let extension = network.extension().unwrap_or_default();
        let open = self.run_dir.join(OPEN).join(NETWORK).with_extension(extension);
        let gate = self.folder.join(NAME).with_extension(extension);
        if !leads(&open, &network) {
            fs::create_dir_all(self.run_dir.join(OPEN)).map_err(NotHeld::io("make the folder of", &open))?;
            link(&network, &open)?;
            self.told = false;
        }
        let there = leads(&gate, &open);
        if there && self.told {
            return Ok(());
        }
        if self.told {
            self.gone += 1;
        }
        if self.gone > ENOUGH {
            return Err(NotHeld::TakenAway(gate));
        }
        // Also where it is there: runtimes read again when a name in the folder changes, and not when what a link leads
        // to appears.
        link(&open, &gate)?;
        remove_but(&self.folder, Some(extension))?;
        self.told = true;
        Ok(())
    }
}

/// Removes the link, so that no boot waits for an agent any more. Answers whether there was one.
///
/// # Errors
/// [`NotHeld::Io`].
pub fn remove(folder: &Path) -> Result<bool, NotHeld> {
    remove_but(folder, None)
}

fn remove_but(folder: &Path, spared: Option<&OsStr>) -> Result<bool, NotHeld> {
    let mut removed = false;
    for extension in EXTENSIONS.into_iter().filter(|one| spared != Some(OsStr::new(one))) {
        let gate = folder.join(NAME).with_extension(extension);
        match fs::remove_file(&gate) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(NotHeld::io("remove", &gate)(error)),
        }
    }
    Ok(removed)
}

/// The configuration that the runtime would take without us: the first one by name.
fn first(folder: &Path) -> Result<Option<PathBuf>, NotHeld> {
    let failed = |error| NotHeld::io("list", folder)(error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut first = None;
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let ours = path.file_stem() == Some(OsStr::new(NAME));
        let read = path.extension().is_some_and(|one| EXTENSIONS.iter().any(|known| one == *known));
        if read && !ours && first.as_ref().is_none_or(|first| path < *first) && !path.is_dir() {
            first = Some(path);
        }
    }
    Ok(first)
}

fn leads(link: &Path, to: &Path) -> bool {
    fs::read_link(link).is_ok_and(|found| found == to)
}

/// Makes or replaces a link at once. The name that it has for a moment in the same folder is none that a runtime reads;
/// that it goes is what containerd notices.
fn link(to: &Path, at: &Path) -> Result<(), NotHeld> {
    let fresh = at.with_file_name(".isolator-new");
    // A process that was killed may have left it.
    let _absent = fs::remove_file(&fresh);
    symlink(to, &fresh).map_err(NotHeld::io("make the link", &fresh))?;
    fs::rename(&fresh, at).map_err(NotHeld::io("make the link", at))
}

fn is_memory(folder: &Path) -> Result<bool, NotHeld> {
    let found = statfs(folder).map_err(|error| NotHeld::io("look at", folder)(error.into()))?;
    Ok(MEMORY.iter().any(|kind| u64::try_from(found.f_type).is_ok_and(|found| found == *kind)))
}

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;
