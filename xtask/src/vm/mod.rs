//! The kernel tests on kernels that this machine does not run: each is booted in an emulator, with nothing
//! but the test programs in memory. Emulated and not virtualised, so that it works inside of any machine.
//! Not here: which tests.

mod archive;
mod boot;
mod init;
mod kernels;

pub(crate) use boot::boot;
pub(crate) use init::run as init;
pub(crate) use kernels::{KERNELS, apt};

use crate::process::{exists, target_dir};
use std::path::PathBuf;

/// The argument that makes xtask the first process of such a machine.
pub(crate) const INIT: &str = "vm-init";
/// What the first process prints when all test programs have run.
const DONE: &str = "vm: all test programs have run";

/// What is missing to boot anything, with the cure.
pub(crate) fn missing() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("kernels are at hand for x86_64 only; cure: run it there".to_owned());
    }
    let absent: Vec<&str> =
        [QEMU, "apt-get", "dpkg-deb", "ldd"].into_iter().filter(|program| !exists(program)).collect();
    (!absent.is_empty()).then(|| {
        format!(
            "{} not found; cure, on Debian: apt-get install -y --no-install-recommends qemu-system-x86",
            absent.join(", ")
        )
    })
}

const QEMU: &str = "qemu-system-x86_64";

/// Where kernels and archives are kept.
fn folder() -> PathBuf {
    target_dir().join("vm")
}
