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
    /// It is no cgroup of the unified hierarchy, or nothing.
    #[error(
        "{0} is no folder of a cgroup2 file system: mount one (mount -t cgroup2 none {0}), or say with --host-backends \
         which folder holds all processes of the node; on a node with both hierarchies it is /sys/fs/cgroup/unified"
    )]
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

fn file(path: &Path) -> impl FnOnce(io::Error) -> HostError {
    let path = path.to_owned();
    |error| HostError::File { path, error }
}

/// Opens a cgroup.
fn open(cgroup: &Path) -> Result<File, HostError> {
    let folder = match File::open(cgroup) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HostError::NotCgroup2(cgroup.to_owned()));
        }
        opened => opened.map_err(file(cgroup))?,
    };
    let kind = rustix::fs::fstatfs(&folder).map_err(|error| file(cgroup)(error.into()))?;
    if kind.f_type != libc::CGROUP2_SUPER_MAGIC {
        return Err(HostError::NotCgroup2(cgroup.to_owned()));
    }
    Ok(folder)
}

/// Attaches the program to `cgroup`, in place of an earlier agent's: every packet meets one of them.
///
/// # Errors
/// See [`HostError`]; an earlier agent's program then stays.
pub fn attach(pin_dir: &Path, programs: &Programs, cgroup: &Path) -> Result<(), HostError> {
    let folder = open(cgroup)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cgroup_hierarchy_is_said_in_one_line_with_the_cure() {
        let nowhere = std::env::temp_dir().join(format!("isolator-no-cgroup-{}", std::process::id()));
        // A folder of another file system, as the one of version 1 is, and none.
        for folder in [Path::new("/proc"), &nowhere] {
            let said = open(folder).unwrap_err().to_string();
            for part in [folder.to_str().unwrap(), "--host-backends", "mount -t cgroup2"] {
                assert!(said.contains(part), "{part} is not in: {said}");
            }
            assert!(!said.contains('\n'), "{said}");
        }
    }
}
