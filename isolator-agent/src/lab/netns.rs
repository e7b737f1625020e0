//! Network namespaces, held by an open file and entered by threads that end afterwards. Not here: links and
//! addresses (`netlink`).
#![expect(unsafe_code, reason = "unshare is unsafe because of one of its flags, which is not used")]

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

/// The calling thread's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace. It lives as long as a thread is in it or somebody holds it open.
#[derive(Debug)]
pub(crate) struct Netns {
    file: File,
}

impl Netns {
    /// Makes a new one. Its loopback interface is down.
    pub(crate) fn create() -> Result<Self> {
        on_a_thread(|| {
            leave(UnshareFlags::NEWNET).context("cannot make a network namespace; run as root")?;
            Netns::current()
        })
    }

    /// That of the calling thread.
    pub(crate) fn current() -> Result<Self> {
        Netns::open(Path::new(OWN))
    }

    /// Opens one by a path that leads to it, such as `/proc/PID/fd/N`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .with_context(|| format!("cannot open the network namespace {}", path.display()))?;
        Ok(Netns { file })
    }

    /// The number of the open file in this process.
    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Moves the calling thread into it, for good.
    pub(crate) fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter a network namespace; run as root")
    }

    /// Runs `work` inside, on a thread that ends afterwards. Sockets that it makes stay inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            self.enter()?;
            work()
        })
    }

    /// Sets a kernel parameter below `/proc/sys/net`, which shows each thread its own namespace.
    pub(crate) fn set_parameters(&self, parameters: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in parameters {
                let path = Path::new("/proc/sys/net").join(name);
                std::fs::write(&path, value)
                    .with_context(|| format!("cannot write {value} to {}", path.display()))?;
            }
            Ok(())
        })
    }
}

/// Puts the calling thread, and what it starts later, into a network namespace and a mount namespace of its own.
/// No mount made afterwards is seen outside, and none made outside is seen inside.
pub(crate) fn separate() -> Result<()> {
    leave(UnshareFlags::NEWNS | UnshareFlags::NEWNET).context("cannot make namespaces; run as root")?;
    let flags = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).context("cannot make the mounts private")
}

/// Moves the calling thread into the mount namespace of a process. The working directory stays, by name.
pub(crate) fn enter_mounts(pid: i32) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let here = std::env::current_dir();
    leave(UnshareFlags::FS).context("cannot part from the other threads' root")?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount))
        .context("cannot enter the mount namespace of the lab; run as root")?;
    if let Ok(here) = here {
        std::env::set_current_dir(&here).with_context(|| format!("cannot return to {}", here.display()))?;
    }
    Ok(())
}

fn leave(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: only `UnshareFlags::FILES` can invalidate what other threads hold, and no caller passes it.
    unsafe { unshare_unsafe(flags) }
}

/// A thread of its own, because nothing can undo a change of namespace in every case.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
