//! Puts `to_host` where the node itself receives: at the ingress of a cgroup, for every socket of its processes and
//! of those below. By a pinned link. Not here: which cgroup.

use super::bpf;
use super::load::{Programs, TO_HOST};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Why the program does not run there.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It is no cgroup of the unified hierarchy.
    #[error("{0} is no directory of a cgroup2 file system: say which one holds all processes of the node")]
    NotCgroup2(PathBuf),
    /// The directory cannot be opened, or the pin not used.
    #[error("{path}: {error}")]
    File {
        /// The directory or the pin.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel refused.
    #[error("program {TO_HOST} at cgroup {cgroup}: {error}")]
    Refused {
        /// The cgroup.
        cgroup: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

fn pin(pin_dir: &Path) -> PathBuf {
    super::attach::links_dir(pin_dir).join(TO_HOST)
}

/// Attaches the program to `cgroup`, in place of an earlier agent's: every packet meets one of them.
///
/// # Errors
/// See [`HostError`]; an earlier agent's program then stays.
pub fn attach(pin_dir: &Path, programs: &Programs, cgroup: &Path) -> Result<(), HostError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        |error: io::Error| HostError::File { path, error }
    };
    let folder = File::open(cgroup).map_err(file(cgroup))?;
    let kind = rustix::fs::fstatfs(&folder).map_err(|error| file(cgroup)(error.into()))?;
    if kind.f_type != libc::CGROUP2_SUPER_MAGIC {
        return Err(HostError::NotCgroup2(cgroup.to_owned()));
    }
    let link = bpf::cgroup_link(programs.host_fd(), folder.as_fd())
        .map_err(|error| HostError::Refused { cgroup: cgroup.to_owned(), error })?;
    let pin = pin(pin_dir);
    let links = super::attach::links_dir(pin_dir);
    std::fs::create_dir_all(&links).map_err(file(&links))?;
    detach(pin_dir)?;
    bpf::pin(link.as_fd(), &pin).map_err(file(&pin))
}

/// Removes the program, if it is there.
///
/// # Errors
/// When the kernel refuses.
pub fn detach(pin_dir: &Path) -> Result<bool, HostError> {
    let pin = pin(pin_dir);
    let failed = |error| HostError::File { path: pin.clone(), error };
    match bpf::pinned(&pin) {
        // A cgroup that is gone took the program with it.
        Ok(link) => drop(bpf::detach_link(link.as_fd())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    std::fs::remove_file(&pin).map_err(failed)?;
    Ok(true)
}
