//! Boots a kernel in the emulator with test programs as its whole file system, and hands on what they
//! print. Not here: the inside of that machine.

use super::archive::Archive;
use super::kernels::Kernel;
use super::{DONE, INIT, QEMU, folder};
use crate::process::{command, output, root};
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Where the test programs lie in the machine.
pub(crate) const TESTS: &str = "/tests";
/// Where the modules lie that are loaded before.
pub(crate) const MODULES: &str = "/modules";
/// Modules that tests need where the kernel has them apart, in an order that can be loaded.
const WANTED: [&str; 13] = [
    "llc.ko",
    "stp.ko",
    "bridge.ko",
    "veth.ko",
    "dummy.ko",
    "sch_ingress.ko",
    "cls_bpf.ko",
    "libcrc32c.ko",
    "nf_defrag_ipv4.ko",
    "nf_defrag_ipv6.ko",
    "nf_conntrack.ko",
    "ip_vs.ko",
    "ip_vs_rr.ko",
];
/// Of the kernel. Nobody attacks it, and what protects it from speculation (retpolines) is what emulation is slow at.
const ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 mitigations=off";
/// The plainest processor: instructions for vectors, which libraries choose where there are some, are emulated one by one.
const PROCESSOR: &str = "qemu64";
/// Memory of the machine; test programs lie in it, too.
const MEMORY: &str = "3G";
/// How long a machine may take; emulated, it is some ten times slower than this one.
const DEADLINE: Duration = Duration::from_secs(1500);

/// Runs the test programs on `kernel`; each line that is printed goes to `see`. False: the machine did not
/// come to its end.
pub(crate) fn boot(kernel: &Kernel, tests: &[PathBuf], mut see: impl FnMut(&str)) -> Result<bool> {
    let unpacked = kernel.fetch()?;
    let archive = folder().join(kernel.version).join("initramfs");
    fs::write(&archive, content(&unpacked.modules, tests)?)
        .with_context(|| format!("cannot write {}", archive.display()))?;
    let mut qemu = command(QEMU);
    qemu.args(["-accel", "tcg", "-cpu", PROCESSOR, "-smp", "2", "-m", MEMORY, "-nographic", "-no-reboot"])
        .args(["-nic", "none", "-append", &format!("{ARGUMENTS} rdinit=/init -- {INIT}")])
        .arg("-kernel")
        .arg(&unpacked.image)
        .arg("-initrd")
        .arg(&archive);
    let child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut child = child.with_context(|| format!("cannot start {QEMU}"))?;
    let done = follow(&mut child, &mut see);
    // Switched off by itself, or late: either way nothing of it is left.
    let _already_gone = child.kill();
    child.wait().with_context(|| format!("cannot wait for {QEMU}"))?;
    Ok(done)
}

/// Reads until the machine is done, silent for good, or late.
fn follow(child: &mut Child, see: &mut impl FnMut(&str)) -> bool {
    let Some(stdout) = child.stdout.take() else { return false };
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + DEADLINE;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if line == DONE {
            return true;
        }
        // The firmware clears the screen; that is no business of the terminal that reads this.
        if !line.contains('\x1b') {
            see(&line);
        }
    }
    false
}

/// The file system: xtask as the first process, tests, modules, and the libraries that they are linked to.
fn content(modules: &Path, tests: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for at in ["proc", "sys", "dev", "tmp", "run", TESTS, MODULES] {
        archive.folder(at);
    }
    let own = std::env::current_exe().context("cannot find xtask itself")?;
    let mut libraries = BTreeSet::new();
    for program in tests.iter().chain([&own]) {
        libraries.extend(linked(&output(command("ldd").arg(program))?).map(str::to_owned));
    }
    archive.file("init", &read(&own)?);
    for library in &libraries {
        archive.file(library, &read(Path::new(library))?);
    }
    for (i, test) in tests.iter().enumerate() {
        let name = test.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("{TESTS}/{i}-{name}"), &read(test)?);
    }
    // Tests name their data by where it lies on the machine that built them.
    for path in find(&root().join("tests"), |name| !name.ends_with(".rs"))? {
        archive.file(&path.to_string_lossy(), &read(&path)?);
    }
    let found = find(modules, |name| WANTED.contains(&name))?;
    for (i, name) in WANTED.iter().enumerate() {
        if let Some(path) = found.iter().find(|path| path.ends_with(name)) {
            archive.file(&format!("{MODULES}/{i:02}-{name}"), &read(path)?);
        }
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Files below a folder with such a name.
fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_str().is_some_and(&wanted) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// The absolute paths in the answer of `ldd`: libraries and the loader.
fn linked(ldd: &str) -> impl Iterator<Item = &str> {
    ldd.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_read_from_ldd() {
        let answer = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found: Vec<&str> = linked(answer).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
