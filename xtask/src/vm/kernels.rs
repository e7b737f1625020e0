//! Fetches kernels as Debian packages, without installing them and without touching the machine's own
//! package lists. Not here: booting them.

use super::folder;
use crate::process::{command, output};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel to test on: the newest of a Debian release.
pub(crate) struct Kernel {
    /// Major and minor version, as in `docs/kernel-support.md`.
    pub(crate) version: &'static str,
    suite: &'static str,
}

/// The oldest supported kernel, and one between it and today's.
pub(crate) const KERNELS: [Kernel; 2] = [
    Kernel { version: "5.10", suite: "bullseye-security" },
    Kernel { version: "6.1", suite: "bookworm-security" },
];

/// Depends on the newest kernel of a release.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A kernel on disk.
pub(crate) struct Unpacked {
    /// The image that is booted.
    pub(crate) image: PathBuf,
    /// The folder below which the kernel's modules are.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// Downloads and unpacks the kernel, once.
    pub(crate) fn fetch(&self) -> Result<Unpacked> {
        let home = folder().join(self.version);
        let unpacked = home.join("unpacked");
        if !unpacked.is_dir() {
            self.download(&home).with_context(|| format!("cannot fetch Linux {}", self.version))?;
        }
        let boot = unpacked.join("boot");
        let images = fs::read_dir(&boot).with_context(|| format!("cannot list {}", boot.display()))?;
        let mut images = images.filter_map(|entry| Some(entry.ok()?.path()));
        let is_image = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        };
        let image = images.find(is_image).with_context(|| format!("{} holds no kernel", boot.display()))?;
        Ok(Unpacked { image, modules: unpacked.join("lib/modules") })
    }

    fn download(&self, home: &Path) -> Result<()> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(home.join(part))?;
        }
        let list = home.join("sources.list");
        fs::write(&list, format!("deb http://deb.debian.org/debian-security {} main\n", self.suite))?;
        output(apt(home, "apt-get").arg("update"))?;
        let depends = output(apt(home, "apt-cache").args(["depends", NEWEST]))?;
        let Some(package) = package(&depends, self.version) else {
            bail!("{NEWEST} of {} depends on no kernel {}", self.suite, self.version);
        };
        output(apt(home, "apt-get").args(["download", package]))?;
        let archive = fs::read_dir(home)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .context("apt-get downloaded nothing")?;
        // Whole or not at all: the folder's name is what says that it is complete.
        let partial = home.join("partial");
        output(command("dpkg-deb").arg("-x").arg(&archive).arg(&partial))?;
        fs::rename(&partial, home.join("unpacked"))?;
        fs::remove_file(&archive)?;
        Ok(())
    }
}

/// A program of apt that reads and writes below `home` alone.
pub(crate) fn apt(home: &Path, program: &str) -> Command {
    let mut apt = command(program);
    apt.current_dir(home).arg("-q");
    let options = [
        format!("Dir::Etc::SourceList={}", home.join("sources.list").display()),
        "Dir::Etc::SourceParts=-".to_owned(),
        format!("Dir::State={}", home.join("state").display()),
        format!("Dir::Cache={}", home.join("cache").display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    for option in options {
        apt.arg("-o").arg(option);
    }
    apt
}

/// The kernel's package in the answer of `apt-cache depends`.
fn package<'a>(depends: &'a str, version: &str) -> Option<&'a str> {
    let wanted = format!("linux-image-{version}.");
    depends.split_whitespace().find(|word| word.starts_with(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_found_among_the_dependencies() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-5.10.0-46-cloud-amd64\n";
        assert_eq!(package(depends, "5.10"), Some("linux-image-5.10.0-46-cloud-amd64"));
        assert_eq!(package(depends, "6.1"), None);
    }

    #[test]
    fn the_document_and_the_list_of_kernels_are_the_same() {
        let text = fs::read_to_string(crate::process::root().join("docs/kernel-support.md")).unwrap();
        for kernel in KERNELS {
            assert!(
                text.contains(&format!("\n| {} (", kernel.version)),
                "{} is not documented",
                kernel.version
            );
        }
    }
}
