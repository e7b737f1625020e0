//! `cargo xtask bench`: checks what a benchmark needs, then hands over to `tests/benches`. Not here: what is
//! measured.

use crate::build;
use crate::machine::Need;
use crate::process::{run, target_dir};
use crate::toolchain::Toolchain;
use anyhow::{Result, bail};

/// What a change costs before the first map is written.
pub(crate) fn compile(arguments: &[String]) -> Result<()> {
    bench("compile", arguments)
}

/// What a change costs until the last map write.
pub(crate) fn apply(arguments: &[String]) -> Result<()> {
    if let Some(missing) = Need::DATAPATH.iter().find_map(|need| need.missing()) {
        bail!("the benchmark loads programs: {missing}");
    }
    // The daemon is measured as it is shipped.
    build::release()?;
    let daemon = target_dir().join("release/isolator").to_string_lossy().into_owned();
    let arguments = [&["--daemon".to_owned(), daemon], arguments].concat();
    bench("apply", &arguments)
}

/// What a packet costs.
pub(crate) fn datapath(arguments: &[String]) -> Result<()> {
    if let Some(missing) = Need::DATAPATH.iter().find_map(|need| need.missing()) {
        bail!("the benchmark loads programs: {missing}");
    }
    bench("datapath", arguments)
}

/// Builds and runs a benchmark with the arguments that follow its name.
fn bench(name: &str, arguments: &[String]) -> Result<()> {
    let toolchain = Toolchain::ensure()?;
    // All benchmarks lie in one crate, which needs the kernel programs.
    toolchain.need_bpf()?;
    let mut bench = toolchain.tool("cargo");
    // The kernel programs are optimised in every profile; with this one the rest is there from the tests.
    bench.args([
        "bench",
        "--quiet",
        "--profile",
        "dev",
        "--package",
        "isolator-tests",
        "--bench",
        name,
        "--",
    ]);
    run(bench.args(arguments))
}
