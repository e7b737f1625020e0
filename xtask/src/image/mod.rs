//! `cargo xtask image`: a static binary, alone in a container image, written without a container engine. Two builds
//! of one commit in one folder give the same bytes. Not here: pushing it anywhere.

mod archive;
mod tar;

pub(crate) use archive::Image;
pub(crate) use tar::Tar;

use crate::process::{run, target_dir};
use crate::progress::seconds;
use crate::toolchain::Toolchain;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// What the binary is built for: it carries its own libc, so that the image needs nothing else.
const TARGET: &str = "x86_64-unknown-linux-musl";
/// How `deploy/` names the image.
pub(crate) const NAME: &str = "isolator.dev/isolator:0.1.0";

/// Builds the image and says where it is.
pub(crate) fn write() -> Result<PathBuf> {
    let start = Instant::now();
    let binary = binary()?;
    let binary = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let mut layer = Tar::default();
    layer.folder("usr", 0o755);
    layer.folder("usr/bin", 0o755);
    layer.file("usr/bin/isolator", 0o755, &binary);
    let image = Image {
        names: &[NAME],
        entrypoint: &["/usr/bin/isolator"],
        arguments: &["run"],
        user: "",
        layer: layer.finish(),
    };
    let (archive, digest) = image.archive();
    let path = target_dir().join("image/isolator.tar");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&path, &archive).with_context(|| format!("cannot write {}", path.display()))?;
    println!(
        "{}: {NAME}, sha256:{digest}, {} KiB, in {}",
        path.display(),
        archive.len() / 1024,
        seconds(start.elapsed())
    );
    Ok(path)
}

/// Builds the static binary.
fn binary() -> Result<PathBuf> {
    let toolchain = Toolchain::ensure()?;
    toolchain.need_bpf()?;
    toolchain.need_target(TARGET)?;
    let mut build = toolchain.tool("cargo");
    build
        .args(["build", "--release", "--locked", "--target", TARGET])
        .args(["--package", "isolator-agent", "--bin", "isolator"])
        // The few lines of C and assembly among the dependencies call no libc; fortified headers would.
        .env("CC_x86_64_unknown_linux_musl", "cc")
        .env("CFLAGS_x86_64_unknown_linux_musl", "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0")
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "cc");
    run(&mut build)?;
    Ok(program())
}

/// The static binary, once it is built.
pub(crate) fn program() -> PathBuf {
    target_dir().join(TARGET).join("release/isolator")
}
