//! The first process of a machine that is booted for tests: mounts what tests expect, loads the modules that
//! came along, runs each test program, switches the machine off. Not here: judging what they print.

use super::DONE;
use super::boot::{MODULES, TESTS};
use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

/// Generated cases per property test: an emulated machine is slow, and the full number runs outside of it.
const CASES: &str = "16";
/// Cases of those tests that load the programs anew for each: the verifier alone takes seconds there.
const LOADING_CASES: &str = "4";
/// Of the clusters that upstream has judged, one in so many is replayed there; all are, outside of it.
const EVERY_CLUSTER: &str = "25";

/// Runs as process 1, and never on a machine that anybody uses.
pub(crate) fn run() -> Result<bool> {
    if std::process::id() != 1 {
        bail!("this is the first process of a test machine, not a command");
    }
    // Nobody reads the exit code of process 1: what went wrong is printed, and the end is never reached.
    if let Err(error) = all() {
        println!("vm: {error:#}");
    }
    reboot(RebootCommand::PowerOff)?;
    Ok(false)
}

fn all() -> Result<()> {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        mount(kind, at, kind, MountFlags::empty(), None).with_context(|| format!("cannot mount {at}"))?;
    }
    println!("\nvm: Linux {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    for module in sorted(MODULES)? {
        let file = File::open(&module)?;
        if let Err(error) = finit_module(&file, c"", 0) {
            println!("vm: {} is not loaded: {error}", module.display());
        }
    }
    for test in sorted(TESTS)? {
        println!("vm: {}", test.display());
        let mut test = Command::new(&test);
        test.env("TMPDIR", "/tmp").env("PATH", "/bin").env("PROPTEST_CASES", CASES);
        test.env("ISOLATOR_PROPTEST_CASES", LOADING_CASES);
        test.env("ISOLATOR_EVERY_CLUSTER", EVERY_CLUSTER);
        test.status().context("cannot start it")?;
    }
    println!("\n{DONE}");
    Ok(())
}

fn sorted(folder: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {folder}"))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}
