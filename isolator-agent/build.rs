//! Builds the kernel programs and puts the object where `datapath::load` includes it. A build script,
//! because cargo has no stable artifact dependencies yet (rust-lang/cargo#9096). Needs bpf-linker and the
//! rust-src component: `cargo xtask` sees to both, and leaves bpf-linker in `target/tools/bin`.
#![expect(
    unsafe_code,
    reason = "setting environment variables is unsafe where there are threads; here is one"
)]

use anyhow::Context as _;
use std::env;
use std::path::Path;

/// The toolchain that builds everything else, too: see `rust-toolchain.toml`.
const TOOLCHAIN: &str = "1.95.0";

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=../isolator-common/src");
    // Not what it was when this was compiled: a folder of built things may have been moved.
    let package = env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let target = Path::new(&package).join("../target");
    let mut path = target.join("tools/bin").into_os_string();
    if let Some(inherited) = env::var_os("PATH") {
        path.push(":");
        path.push(inherited);
    }
    // SAFETY: the build script has one thread.
    unsafe {
        env::set_var("PATH", path);
        // Allows `-Z build-std` on a stable compiler, for the eBPF crate alone.
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // No path of this machine in what is loaded, and the same bytes wherever it is built (rust-lang/rfcs#3127).
        env::set_var("CARGO_UNSTABLE_TRIM_PATHS", "true");
        env::set_var("CARGO_PROFILE_RELEASE_TRIM_PATHS", "all");
        // One for all profiles and for clippy: else each compiles `core` again, about a minute.
        env::set_var("CARGO_BUILD_BUILD_DIR", target.join("ebpf"));
    }
    aya_build::build_ebpf(
        [aya_build::Package { name: "isolator-ebpf", root_dir: "../isolator-ebpf", ..Default::default() }],
        aya_build::Toolchain::Custom(TOOLCHAIN),
    )
}
