//! What a cluster needs of the machine; each missing thing in one line with its cure. Not here: what it builds itself.

use crate::machine::Need;
use crate::process::{command, exists, output};
use anyhow::{Result, bail};
use std::env;
use std::fs;

/// Something that must be there, and the Debian package that has it.
type Part = (&'static str, &'static str);

/// Programs of a cluster of namespaces.
const PROGRAMS: [Part; 17] = [
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
const CNI: Part = ("/usr/lib/cni/ptp", "containernetworking-plugins");

/// What any kind cluster takes.
const KIND: [Part; 3] = [("bash", "bash"), ("awk", "mawk"), ("jq", "jq")];
/// What its tests take beside it.
const KIND_TESTS: [Part; 2] = [("busybox", "busybox-static"), ("curl", "curl")];
/// What a Docker daemon of our own takes, and a node image that is made here.
const KIND_MADE: [Part; 10] = [
    ("dockerd", "docker.io"),
    ("debootstrap", "debootstrap"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("sysctl", "procps"),
    ("busybox", "busybox-static"),
    CNI,
];
const DOCKER: &str = "apt-get install -y --no-install-recommends docker.io";

/// Which Docker daemon a kind cluster can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Daemon {
    /// The one that answers.
    Running,
    /// One of our own, in namespaces of its own.
    Private,
}

/// Fails with the first thing that a cluster of namespaces misses.
pub(crate) fn check() -> Result<()> {
    for need in Need::DATAPATH {
        if let Some(missing) = need.missing() {
            bail!("a cluster cannot run: {missing}");
        }
    }
    go()?;
    all(PROGRAMS.iter().chain([&CNI]))
}

/// Fails where nothing can be built from source.
pub(crate) fn go() -> Result<()> {
    if exists("go") {
        return Ok(());
    }
    bail!(
        "a cluster cannot be built: Go is not installed, and Kubernetes is built from source; cure: see https://go.dev/doc/install"
    )
}

/// The Docker daemon that there is, or can be.
pub(crate) fn docker() -> Result<Daemon> {
    let answer = if exists("docker") {
        output(command("docker").arg("version")).map(|_| ()).map_err(|error| format!("{error:#}"))
    } else {
        Err(String::new())
    };
    let private = env::var_os("DOCKER_HOST").is_none() && exists("dockerd") && Need::Root.missing().is_none();
    let daemon = choose(exists("docker"), answer, private)?;
    all(&KIND)?;
    Ok(daemon)
}

fn choose(installed: bool, answer: Result<(), String>, private: bool) -> Result<Daemon> {
    match answer {
        _ if !installed => bail!("a kind cluster cannot run: Docker is not installed; cure: {DOCKER}"),
        Ok(()) => Ok(Daemon::Running),
        Err(_) if private => Ok(Daemon::Private),
        Err(said) => bail!(
            "a kind cluster cannot run: no Docker daemon answers ({}); cure: start it, set DOCKER_HOST, or as root \
             install one for this alone: {DOCKER}",
            said.lines().last().unwrap_or_default().trim()
        ),
    }
}

/// Fails with what a node image takes that is made here.
pub(crate) fn node_image() -> Result<()> {
    if let Some(missing) = Need::Root.missing() {
        bail!("kind's node image cannot be fetched, and none can be made: {missing}");
    }
    go()?;
    all(&KIND_MADE)
}

/// Fails with what the tests of a kind cluster miss.
pub(crate) fn kind_tests() -> Result<()> {
    go()?;
    all(&KIND_TESTS)
}

fn all<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Result<()> {
    let there =
        |part: &str| if part.starts_with('/') { fs::exists(part).unwrap_or(false) } else { exists(part) };
    let packages = absent(parts, there);
    if packages.is_empty() {
        return Ok(());
    }
    bail!(
        "a cluster cannot run: programs are missing; cure: apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// The packages of what is not there.
fn absent<'a>(parts: impl IntoIterator<Item = &'a Part>, there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let missing = parts.into_iter().filter(|(part, _)| !there(part));
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_by_their_packages_once() {
        let parts = || PROGRAMS.iter().chain([&CNI]);
        assert!(absent(parts(), |_| true).is_empty());
        let there = |part: &str| !matches!(part, "ctr" | "containerd" | "busybox" | "/usr/lib/cni/ptp");
        assert_eq!(absent(parts(), there), ["containerd", "busybox-static", "containernetworking-plugins"]);
    }

    #[test]
    fn a_daemon_that_answers_is_used_and_one_of_our_own_only_where_none_does() {
        assert_eq!(choose(true, Ok(()), true).unwrap(), Daemon::Running);
        assert_eq!(choose(true, Err("no".to_owned()), true).unwrap(), Daemon::Private);
        let said = |installed, private| {
            choose(installed, Err("docker version failed:\n cannot connect\n".to_owned()), private)
                .unwrap_err()
                .to_string()
        };
        assert!(said(true, false).contains("(cannot connect); cure: start it"), "{}", said(true, false));
        for private in [false, true] {
            assert!(said(false, private).contains("Docker is not installed; cure: apt-get"));
            assert_eq!(said(false, private).lines().count(), 1);
        }
    }
}
