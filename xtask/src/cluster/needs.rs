//! What a cluster needs of the machine; each missing thing in one line with its cure. Not here: what it builds itself.

use crate::machine::Need;
use crate::process::exists;
use anyhow::{Result, bail};
use std::fs;

/// Programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 17] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("openssl", "openssl"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("sysctl", "procps"),
    ("busybox", "busybox-static"),
    ("bash", "bash"),
    ("awk", "mawk"),
    ("curl", "curl"),
    ("jq", "jq"),
    ("perl", "perl-base"),
];
/// The plugins that connect pods.
const CNI: &str = "/usr/lib/cni/ptp";

/// Fails with the first thing that is missing.
pub(crate) fn check() -> Result<()> {
    for need in Need::DATAPATH {
        if let Some(missing) = need.missing() {
            bail!("a cluster cannot run: {missing}");
        }
    }
    if !exists("go") {
        bail!(
            "a cluster cannot be built: Go is not installed, and Kubernetes is built from source; cure: see https://go.dev/doc/install"
        );
    }
    let packages = absent(exists, fs::exists(CNI).unwrap_or(false));
    if packages.is_empty() {
        return Ok(());
    }
    bail!(
        "a cluster cannot run: programs are missing; cure: apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// The packages of what is not there.
fn absent(there: impl Fn(&str) -> bool, cni: bool) -> Vec<&'static str> {
    let programs = PROGRAMS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package);
    let mut packages: Vec<&str> = programs.chain((!cni).then_some("containernetworking-plugins")).collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_by_their_packages_once() {
        assert!(absent(|_| true, true).is_empty());
        let missing = |program: &str| !matches!(program, "ctr" | "containerd" | "busybox");
        assert_eq!(absent(missing, false), ["containerd", "busybox-static", "containernetworking-plugins"]);
    }
}
