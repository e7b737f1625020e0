//! The pinned compiler, its components, and bpf-linker: everything that a build needs and a fresh
//! machine lacks. Each is fetched or built once. Not here: building isolator itself.

use crate::process::{command, exists, output, target_dir};
use crate::progress::step;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The linker that turns LLVM bitcode into a BPF object.
const BPF_LINKER: &str = "0.13.0";
/// `rust-toolchain.toml`, the only place that names the compiler's version.
const PIN: &str = include_str!("../../rust-toolchain.toml");

/// A part of the toolchain that the minimal profile lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Component {
    /// Source of `core`, which is compiled for BPF.
    Source,
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo clippy`.
    Clippy,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Component::Source => "rust-src",
            Component::Rustfmt => "rustfmt",
            Component::Clippy => "clippy",
        }
    }

    /// A file below the sysroot that is there when the component is.
    fn witness(self) -> &'static str {
        match self {
            Component::Source => "lib/rustlib/src/rust/library/core/Cargo.toml",
            Component::Rustfmt => "bin/rustfmt",
            Component::Clippy => "bin/cargo-clippy",
        }
    }
}

/// The pinned toolchain, installed.
pub(crate) struct Toolchain {
    channel: String,
    sysroot: PathBuf,
    /// What `rustc -vV` says.
    version: String,
}

impl Toolchain {
    /// Finds the pinned toolchain, or installs it.
    pub(crate) fn ensure() -> Result<Toolchain> {
        let channel = channel(PIN).context("rust-toolchain.toml names no channel")?.to_owned();
        if !exists("cc") {
            bail!(
                "rustc needs the C linker `cc`, which is not installed; cure: apt-get install -y gcc libc6-dev"
            );
        }
        if !exists("rustup") {
            bail!(
                "rustup is not installed, and it fetches the pinned Rust {channel}; cure: see https://rustup.rs"
            );
        }
        fs::create_dir_all(tools())?;
        let mut found = Toolchain { channel, sysroot: PathBuf::new(), version: String::new() };
        if output(found.tool("rustc").arg("-vV").env("RUSTUP_AUTO_INSTALL", "0")).is_err() {
            let mut install = command("rustup");
            install.args([
                "toolchain",
                "install",
                &found.channel,
                "--profile",
                "minimal",
                "--no-self-update",
            ]);
            step(&format!("installing Rust {}", found.channel), &mut install, &tools().join("rustup.log"))?;
        }
        found.version = output(found.tool("rustc").arg("-vV"))?;
        found.sysroot = PathBuf::from(output(found.tool("rustc").args(["--print", "sysroot"]))?);
        Ok(found)
    }

    /// Where it is installed.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// A program of this toolchain, such as `cargo`.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = command(program);
        command.env("RUSTUP_TOOLCHAIN", &self.channel);
        command
    }

    /// Adds what is missing of `components`.
    pub(crate) fn need(&self, components: &[Component]) -> Result<()> {
        let missing = components.iter().filter(|part| !self.sysroot.join(part.witness()).exists());
        let missing: Vec<&str> = missing.map(|part| part.name()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut add = command("rustup");
        add.args(["component", "add", "--toolchain", &self.channel]).args(&missing);
        step(&format!("adding {}", missing.join(", ")), &mut add, &tools().join("rustup.log"))
    }

    /// The standard library for another target.
    pub(crate) fn need_target(&self, target: &str) -> Result<()> {
        if self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir() {
            return Ok(());
        }
        let mut add = command("rustup");
        add.args(["target", "add", "--toolchain", &self.channel, target]);
        step(&format!("adding {target}"), &mut add, &tools().join("rustup.log"))
    }

    /// What the kernel programs are built with: the source of `core`, and bpf-linker in `target/tools/bin`.
    pub(crate) fn need_bpf(&self) -> Result<()> {
        self.need(&[Component::Source])?;
        let stamp = tools().join("bpf-linker.stamp");
        let wanted = format!("bpf-linker {BPF_LINKER}\n{}\n", self.version);
        let built = tools().join("bin/bpf-linker").is_file();
        if built && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        self.build_bpf_linker()?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Builds bpf-linker against the LLVM that rustc itself uses, so that no other LLVM is needed and both
    /// speak the same bitcode.
    fn build_bpf_linker(&self) -> Result<()> {
        let lib = self.sysroot.join("lib");
        let files = fs::read_dir(&lib).with_context(|| format!("cannot list {}", lib.display()))?;
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok()).collect();
        let Some(llvm) = shared_llvm(names) else {
            bail!(
                "{} holds no libLLVM*.so, against which bpf-linker is linked; cure: rustup toolchain uninstall \
                 {channel} && rustup toolchain install {channel} (a rustc from rustup has the file, one from a \
                 distribution may not)",
                lib.display(),
                channel = self.channel
            );
        };
        let major = llvm_major(&self.version).context("rustc -vV does not name its LLVM version")?;
        let (work, log) = (tools().join("work"), tools().join("bpf-linker.log"));
        let flags = [
            format!("-Clink-arg={}", lib.join(llvm).display()),
            format!("-Clink-arg=-Wl,-rpath,{}", lib.display()),
        ];
        let mut install = self.tool("cargo");
        install
            .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force"])
            // Half the time to build; what it does is done by LLVM, which comes optimised.
            .arg("--debug")
            .args(["--no-default-features", "--features", &format!("llvm-{major},no-llvm-linking")])
            .arg("--root")
            .arg(tools())
            .arg("--target-dir")
            .arg(&work)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        let what = format!("building bpf-linker {BPF_LINKER} (once, about a minute)");
        step(&what, &mut install, &log)?;
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
    }
}

/// Where programs for the build are kept; `isolator-agent/build.rs` looks there.
fn tools() -> PathBuf {
    target_dir().join(Path::new("tools"))
}

/// The value of `channel` in a `rust-toolchain.toml`.
fn channel(toml: &str) -> Option<&str> {
    let line = toml.lines().find(|line| line.trim_start().starts_with("channel"))?;
    line.split('"').nth(1)
}

/// The major version of LLVM in the answer of `rustc -vV`.
fn llvm_major(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.split('.').next()
}

/// The LLVM library among the files of the sysroot. The one with a version after `.so` is the library
/// itself; where both are there, the other is a linker script.
fn shared_llvm(mut names: Vec<String>) -> Option<String> {
    names.retain(|name| name.starts_with("libLLVM") && name.contains(".so"));
    names.sort_by_key(|name| (!name.starts_with("libLLVM.so."), name.clone()));
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_read() {
        let channel = channel(PIN).unwrap();
        assert!(channel.split('.').count() == 3 && channel.starts_with("1."), "{channel}");
        assert_eq!(super::channel("[toolchain]\nprofile = \"minimal\"\n"), None);
    }

    #[test]
    fn the_build_script_names_the_same_toolchain() {
        let script = fs::read_to_string(crate::process::root().join("isolator-agent/build.rs")).unwrap();
        let pinned = channel(PIN).unwrap();
        assert!(script.contains(&format!("\"{pinned}\"")), "isolator-agent/build.rs does not name {pinned}");
    }

    #[test]
    fn the_library_is_preferred_to_the_linker_script() {
        let names = [
            "libLLVM-22-rust-1.95.0-stable.so",
            "librustc_driver-61.so",
            "libLLVM.so.22.1-rust-1.95.0-stable",
        ];
        let found = shared_llvm(names.map(str::to_owned).to_vec());
        assert_eq!(found.as_deref(), Some("libLLVM.so.22.1-rust-1.95.0-stable"));
        assert_eq!(shared_llvm(vec!["librustc_driver-61.so".into()]), None);
    }

    #[test]
    fn the_llvm_feature_follows_the_compiler() {
        assert_eq!(llvm_major("rustc 1.95.0\nLLVM version: 22.1.2"), Some("22"));
        assert_eq!(llvm_major("rustc 1.95.0"), None);
    }
}
