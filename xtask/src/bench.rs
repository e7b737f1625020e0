//! `cargo xtask bench datapath`: checks what it needs, then hands over to `tests/benches/datapath`. Not here:
//! what is measured.

use crate::machine::Need;
use crate::process::run;
use crate::toolchain::Toolchain;
use anyhow::{Result, bail};

/// Builds and runs the benchmark with the arguments that follow its name.
pub(crate) fn datapath(arguments: &[String]) -> Result<()> {
    if let Some(missing) = Need::DATAPATH.iter().find_map(|need| need.missing()) {
        bail!("the benchmark loads programs: {missing}");
    }
    let toolchain = Toolchain::ensure()?;
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
        "datapath",
        "--",
    ]);
    run(bench.args(arguments))
}
