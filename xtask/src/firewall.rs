//! nft and iptables for the lab's services, which a fresh machine lacks: unpacked from Debian's packages below
//! `target/tools`, once, and installed nowhere. Not here: what they are told.

use crate::process::{command, exists, output, target_dir};
use crate::vm::apt;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What the lab runs.
const PROGRAMS: [&str; 3] = ["nft", "iptables-restore", "ip6tables-restore"];
/// What they are in.
const PACKAGES: [&str; 2] = ["nftables", "iptables"];
/// Libraries that every machine has, and that must be its own.
const OWN: [&str; 4] = ["libc6", "libgcc-s1", "libcrypt1", "libzstd1"];

/// Makes the programs available in `target/tools/bin`, unless the machine has them.
pub(crate) fn ensure() -> Result<()> {
    let bin = target_dir().join("tools/bin");
    if PROGRAMS.iter().all(|program| exists(program) || bin.join(program).is_file()) {
        return Ok(());
    }
    println!("fetching nft and iptables");
    let home = target_dir().join("tools/firewall");
    let unpacked = home.join("unpacked");
    if !unpacked.is_dir() {
        fetch(&home)?;
    }
    fs::create_dir_all(&bin)?;
    for program in PROGRAMS {
        let path = bin.join(program);
        fs::write(&path, script(&unpacked, program))
            .with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn fetch(home: &Path) -> Result<()> {
    for part in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(home.join(part))?;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = codename(&release).context("this is no Debian: install nftables and iptables by hand")?;
    fs::write(home.join("sources.list"), format!("deb http://deb.debian.org/debian {name} main\n"))?;
    output(apt(home, "apt-get").arg("update"))?;
    let mut depends = apt(home, "apt-cache");
    depends.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"]);
    depends.args(["--no-breaks", "--no-replaces", "--no-enhances"]).args(PACKAGES);
    let needed = output(&mut depends)?;
    let mut download = apt(home, "apt-get");
    download.arg("download").args(PACKAGES).args(libraries(&needed));
    output(&mut download)?;
    // Whole or not at all: the folder's name is what says that it is complete.
    let partial = home.join("partial");
    for entry in fs::read_dir(home)? {
        let archive = entry?.path();
        if archive.extension().is_some_and(|end| end == "deb") {
            output(command("dpkg-deb").arg("-x").arg(&archive).arg(&partial))?;
            fs::remove_file(&archive)?;
        }
    }
    fs::rename(&partial, home.join("unpacked"))?;
    Ok(())
}

/// The libraries in the answer of `apt-cache depends --recurse`, but those that every machine has.
fn libraries(depends: &str) -> impl Iterator<Item = &str> {
    let names = depends.lines().filter(|line| !line.starts_with([' ', '<', '|']));
    names.filter(|name| name.starts_with("lib") && !OWN.contains(name))
}

/// The name of a Debian release.
fn codename(release: &str) -> Option<&str> {
    let debian = release.lines().any(|line| line == "ID=debian");
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.filter(|_| debian)
}

/// Runs an unpacked program with its own libraries.
fn script(unpacked: &Path, program: &str) -> String {
    let root = unpacked.display();
    let arch = std::env::consts::ARCH;
    let run = if program == "nft" { "nft".to_owned() } else { format!("xtables-nft-multi {program}") };
    format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH={root}/usr/lib/{arch}-linux-gnu:{root}/lib/{arch}-linux-gnu\n\
         export XTABLES_LIBDIR={root}/usr/lib/{arch}-linux-gnu/xtables\nexec {root}/usr/sbin/{run} \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_other_packages_and_from_the_machines_own() {
        let depends = "nftables\n  Depends: libc6\n  Depends: libnftables1\nlibc6\nlibnftables1\n<virtual>\nbase-files\n";
        assert_eq!(libraries(depends).collect::<Vec<_>>(), ["libnftables1"]);
    }

    #[test]
    fn only_debian_is_asked_for_its_packages() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("ID=fedora\nVERSION_CODENAME=x\n"), None);
    }
}
