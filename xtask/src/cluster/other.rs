//! Another build of ours as an image, for upgrades and downgrades: of the dev profile, which says so in its version, with
//! the C library that it loads. Not here: the check that goes to and fro (`checks/upgrade.sh`).

use super::images::{libraries, read};
use crate::image::{Image, NAME, Tar};
use crate::process::{command, output, run, target_dir};
use crate::toolchain::Toolchain;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Builds it, and writes its archive to `path`.
pub(super) fn write(path: &Path) -> Result<()> {
    let toolchain = Toolchain::ensure()?;
    toolchain.need_bpf()?;
    let mut build = toolchain.tool("cargo");
    build.args(["build", "--locked", "--workspace", "--exclude", "isolator-ebpf", "--bin", "isolator"]);
    run(&mut build)?;
    let program = target_dir().join("debug/isolator");
    let mut layer = Tar::default();
    layer.folder("usr", 0o755);
    layer.folder("usr/bin", 0o755);
    layer.file("usr/bin/isolator", 0o755, &read(&program)?);
    for library in libraries(&output(command("ldd").arg(&program))?) {
        layer.file(library.trim_start_matches('/'), 0o755, &read(Path::new(library))?);
    }
    let name = format!("{NAME}-dev");
    let image = Image {
        names: &[&name],
        entrypoint: &["/usr/bin/isolator"],
        arguments: &["run"],
        user: "",
        layer: layer.finish(),
    };
    fs::write(path, image.archive().0).with_context(|| format!("cannot write {}", path.display()))
}
