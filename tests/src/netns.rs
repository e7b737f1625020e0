//! A thread with a network namespace, a mount namespace and a BPF file system of its own. All of it vanishes
//! with the thread, so tests run side by side and leave nothing. Not here: what is inside (`link`).
#![expect(
    unsafe_code,
    reason = "unshare(2) may split what threads of a process share; the thread here is new"
)]

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs `test` in namespaces of its own, with the path of an empty BPF file system. `None`, and the reason on
/// standard error, where this process may not do so.
///
/// # Panics
/// When `test` does.
pub fn isolated<R: Send>(test: impl FnOnce(&Path) -> R + Send) -> Option<R> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mounted = Mounted(enter());
            test(&mounted.0)
        });
        match thread.join() {
            Ok(result) => Some(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A path that no other test of this or another process uses.
#[must_use]
pub fn unique_dir(what: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("isolator-{what}-{}-{number}", std::process::id()))
}

fn enter() -> PathBuf {
    // SAFETY: this thread was just made and shares nothing that others rely on: no file descriptor table is
    // split off, only its view of mounts and network.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) }.expect("unshare");
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
    let dir = unique_dir("bpffs");
    std::fs::create_dir_all(&dir).expect("directory");
    mount("bpf", &dir, "bpf", MountFlags::empty(), None).expect("mount a BPF file system");
    dir
}

/// The BPF file system; goes with its directory, also when a test fails.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // The mount is only in this thread's namespace, which goes with it; the empty directory is everybody's.
        let _goes_with_the_thread = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        let _best_effort = std::fs::remove_dir(&self.0);
    }
}
