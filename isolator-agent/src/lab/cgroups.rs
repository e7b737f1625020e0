//! Cgroups of a lab: one for its own processes, and one below it for the sockets of each node's network, where an
//! agent judges what the node itself receives. They lie in the cgroup of whoever makes the lab, and nothing else of
//! the hierarchy is touched. Not here: the program (`datapath::host`).

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long processes that were killed may take to leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often that is looked at.
const PACE: Duration = Duration::from_millis(5);

/// Lists the processes in a cgroup, and takes them in.
const PROCESSES: &str = "cgroup.procs";
/// The same of single threads.
const THREADS: &str = "cgroup.threads";

/// The cgroups of one lab.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    top: PathBuf,
}

impl Cgroups {
    /// Those of a lab that the calling process is, to be `name`. Nothing is made yet.
    ///
    /// # Errors
    /// Why this machine has no place for them.
    pub(crate) fn plan(name: &str) -> Result<Cgroups> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let root = mounted(&read("/proc/self/mountinfo")?)
            .context("no cgroup2 file system is mounted here that can be written to")?;
        let cgroups = read("/proc/self/cgroup")?;
        let own = own(&cgroups).context("/proc/self/cgroup names no cgroup of version 2")?;
        let name = format!("isolator-lab-{name}-{}", std::process::id());
        Ok(Cgroups { top: root.join(own).join(name) })
    }

    /// Those that an earlier process has made at [`Cgroups::top`].
    pub(crate) fn at(top: PathBuf) -> Cgroups {
        Cgroups { top }
    }

    /// The one that all others are in.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// That of a node.
    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.top.join(format!("node-{name}"))
    }

    /// Makes the cgroup of the lab, moves the calling process into it, and tries whether nodes can have theirs.
    pub(crate) fn create(&self) -> Result<()> {
        const TRIED: &str = "";
        fs::create_dir(&self.top).with_context(|| format!("cannot make {}", self.top.display()))?;
        write(&self.top.join(PROCESSES), "0")?;
        self.add(TRIED)?;
        self.remove_node(TRIED)
    }

    /// Makes that of a node. Single threads may be in it, as those that open a node's sockets.
    pub(crate) fn add(&self, node: &str) -> Result<()> {
        let cgroup = self.node(node);
        fs::create_dir(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        write(&cgroup.join("cgroup.type"), "threaded")
    }

    /// Moves the calling process, which is none of the lab's, into that of a node.
    pub(crate) fn enter(&self, node: &str) -> Result<()> {
        // Threads move only among cgroups of one lab.
        write(&self.top.join(PROCESSES), "0")?;
        write(&self.node(node).join(PROCESSES), "0")
    }

    /// Removes that of a node. Processes that people have started in it move up.
    pub(crate) fn remove_node(&self, node: &str) -> Result<()> {
        remove(&self.node(node), &self.top, THREADS)
    }

    /// Removes all of them, if they are there. Processes that people have started in the lab go on outside of it.
    pub(crate) fn remove(&self) -> Result<()> {
        let Some(parent) = self.top.parent().filter(|_| self.top.exists()) else { return Ok(()) };
        let entries =
            fs::read_dir(&self.top).with_context(|| format!("cannot list {}", self.top.display()))?;
        for node in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            remove(&node, &self.top, THREADS)?;
        }
        remove(&self.top, parent, PROCESSES)
    }
}

/// Moves the calling thread of the lab into the cgroup of a node.
pub(crate) fn enter_thread(cgroup: &Path) -> Result<()> {
    write(&cgroup.join(THREADS), "0")
}

/// Removes a cgroup once nobody is in it. Those in it, by the file that lists them, move to `outside`.
fn remove(cgroup: &Path, outside: &Path, file: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for one in fs::read_to_string(cgroup.join(file)).unwrap_or_default().lines() {
            let _it_may_have_ended = fs::write(outside.join(file), one);
        }
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("cannot remove {}", cgroup.display()));
            }
            Err(_) => std::thread::sleep(PACE),
            Ok(()) => return Ok(()),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

/// Where the hierarchy is mounted. A mount of our own would not do: it resets what the machine's says of delegation.
fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at, options) = (fields.next()?, fields.next()?, fields.next()?);
        let writable = options.split(',').any(|option| option == "rw");
        // Anything but a plain path is written with a backslash.
        let usable = kind.starts_with("cgroup2 ") && root == "/" && writable && !at.contains('\\');
        usable.then(|| PathBuf::from(at))
    })
}

/// The calling process's own cgroup, below the root of the hierarchy.
fn own(cgroups: &str) -> Option<&str> {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.split('/').any(|part| part == "..")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_where_it_can_be_written() {
        let line = |root: &str, at: &str, options: &str, kind: &str| {
            format!("20 41 0:38 {root} {at} {options} shared:9 - {kind} cgroup2 rw\n")
        };
        let right = line("/", "/sys/fs/cgroup/unified", "rw,relatime", "cgroup2");
        for wrong in [
            line("/", "/sys/fs/cgroup/cpu", "rw", "cgroup"),
            line("/a", "/sys/fs/cgroup", "rw", "cgroup2"),
            line("/", "/sys/fs/cgroup", "ro,relatime", "cgroup2"),
            line("/", "/a\\040b", "rw", "cgroup2"),
        ] {
            assert_eq!(mounted(&wrong), None, "{wrong}");
            assert_eq!(mounted(&(wrong + &right)), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        }
    }

    #[test]
    fn the_own_cgroup_is_that_of_version_2() {
        assert_eq!(own("4:memory:/x\n0::/\n"), Some(""));
        assert_eq!(own("0::/user.slice/a.scope\n"), Some("user.slice/a.scope"));
        assert_eq!(own("0::/../b\n"), None);
        assert_eq!(own("4:memory:/x\n"), None);
    }
}
