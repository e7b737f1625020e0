//! `cargo xtask build`: an optimised binary at `target/release/isolator`, kernel programs included.

use crate::process::{run, target_dir};
use crate::progress::seconds;
use crate::toolchain::Toolchain;
use anyhow::Result;
use std::time::Instant;

/// Builds the optimised binary and says where it is.
pub(crate) fn release() -> Result<()> {
    let start = Instant::now();
    let toolchain = Toolchain::ensure()?;
    toolchain.need_bpf()?;
    let mut build = toolchain.tool("cargo");
    build.args(["build", "--release", "--package", "isolator-agent", "--bin", "isolator"]);
    run(&mut build)?;
    println!("{} built in {}", target_dir().join("release/isolator").display(), seconds(start.elapsed()));
    Ok(())
}
