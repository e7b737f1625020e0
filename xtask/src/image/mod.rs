//! `cargo xtask image`: a static binary, alone in a container image, written without a container engine. Two builds
//! of one commit give the same bytes, in whatever folder. Not here: pushing it anywhere.

mod archive;
mod tar;

pub(crate) use archive::Image;
pub(crate) use tar::Tar;

use crate::process::{root, run, target_dir};
use crate::progress::seconds;
use crate::toolchain::Toolchain;
use anyhow::{Context as _, Result, bail};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// What the binary is built for: it carries its own libc, so that the image needs nothing else.
const TARGET: &str = "x86_64-unknown-linux-musl";
/// What the binary calls the root of the repository.
const OURS: &str = "/isolator";
/// How `deploy/` names the image.
pub(crate) const NAME: &str = "isolator.dev/isolator:0.1.0";

/// Builds the image and says where it is.
pub(crate) fn write() -> Result<PathBuf> {
    let start = Instant::now();
    let binary = binary()?;
    let binary = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if let Some(path) = local(&binary, &sources(&Toolchain::ensure()?)?) {
        bail!(
            "the binary names {path}, so that another folder would give other bytes; whatever compiled it is to be told `--remap-path-prefix`"
        );
    }
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
    let flags = sources(&toolchain)?.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    let mut build = toolchain.tool("cargo");
    build
        .args(["build", "--release", "--locked", "--target", TARGET])
        .args(["--package", "isolator-agent", "--bin", "isolator"])
        // The few lines of C and assembly among the dependencies call no libc; fortified headers would.
        .env("CC_x86_64_unknown_linux_musl", "cc")
        .env("CFLAGS_x86_64_unknown_linux_musl", "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0")
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "cc")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    run(&mut build)?;
    Ok(program())
}

/// Where sources lie on this machine, ours, of the crates and of the standard library, and what the binary calls it.
fn sources(toolchain: &Toolchain) -> Result<[(PathBuf, &'static str); 3]> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let crates = cargo.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    Ok([
        (root().to_path_buf(), OURS),
        (crates, "/crates"),
        (toolchain.sysroot().join("lib/rustlib/src/rust"), "/rust"),
    ])
}

/// A path of this machine that the binary names.
fn local(binary: &[u8], sources: &[(PathBuf, &'static str)]) -> Option<String> {
    // The root alone may be as short as `/src`, so that others have it in theirs: with what our crates begin with.
    let folder = |(from, to): &(PathBuf, &str)| {
        format!("{}/{}", from.display(), if *to == OURS { "isolator-" } else { "" })
    };
    let mut folders = sources.iter().map(folder);
    folders.find(|folder| binary.windows(folder.len()).any(|bytes| bytes == folder.as_bytes()))
}

/// The static binary, once it is built.
pub(crate) fn program() -> PathBuf {
    target_dir().join(TARGET).join("release/isolator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_machine_in_a_binary_is_found() {
        let sources = [("/src", OURS), ("/cargo/registry/src", "/crates")];
        let sources = sources.map(|(from, to)| (PathBuf::from(from), to));
        let named = |text: &str| local(text.as_bytes(), &sources);
        assert_eq!(named("/isolator/isolator-common/src/lib.rs /crates/aya/src/lib.rs"), None);
        assert_eq!(named("at /src/isolator-common/src/lib.rs").as_deref(), Some("/src/isolator-"));
        assert_eq!(named("/cargo/registry/src/x").as_deref(), Some("/cargo/registry/src/"));
    }
}
