//! The cargo calls behind the tiers. Not here: their order, and what came of them in total.

use super::libtest::Reader;
use super::summary::Count;
use super::{Outcome, Tier, targets};
use crate::arguments::Wanted;
use crate::documents;
use crate::firewall;
use crate::process::{output, root, run, shown, target_dir};
use crate::toolchain::{Component, Toolchain};
use crate::vm;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The same selection in every call: another one would unify features differently and build again.
const HOST: [&str; 3] = ["--workspace", "--exclude", "isolator-ebpf"];
/// Seed of the property tests unless more cases are asked for: a failure must not depend on luck.
const SEED: &str = "20260101";

/// Everything that the tiers share.
pub(crate) struct Suite {
    toolchain: Toolchain,
    filter: Option<String>,
    /// Cases per property test, and the seed they grow from.
    cases: Option<(u32, u64)>,
}

impl Suite {
    /// Installs what building takes.
    pub(crate) fn new(wanted: &Wanted) -> Result<Suite> {
        let toolchain = Toolchain::ensure()?;
        toolchain.need(&[Component::Source, Component::Rustfmt, Component::Clippy])?;
        toolchain.need_bpf()?;
        let cases = wanted.cases.map(|cases| (cases, fresh_seed()));
        if let Some((cases, seed)) = cases {
            println!(
                "property tests: {cases} cases each; repeat with PROPTEST_CASES={cases} PROPTEST_RNG_SEED={seed}"
            );
        }
        Ok(Suite { toolchain, filter: wanted.filter.clone(), cases })
    }

    /// Formatting, of every member.
    pub(crate) fn fmt(&self) -> Result<Outcome> {
        let mut fmt = self.toolchain.tool("cargo");
        fmt.args(["fmt", "--all", "--check"]);
        Ok(Outcome::Ran(as_one_test(&mut [fmt], "cargo fmt --all")))
    }

    /// Lints: the host's members with all their targets, and the kernel programs for BPF.
    pub(crate) fn clippy(&self) -> Result<Outcome> {
        let mut host = self.toolchain.tool("cargo");
        host.arg("clippy").args(HOST).args(["--all-targets", "--", "-D", "warnings"]);
        let mut bpf = self.toolchain.tool("cargo");
        bpf.args(["clippy", "--package", "isolator-ebpf", "--release", "--target", "bpfel-unknown-none"])
            .args(["-Z", "build-std=core", "--", "-D", "warnings"])
            .env("CARGO_TARGET_DIR", target_dir().join("ebpf"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH));
        Ok(Outcome::Ran(as_one_test(&mut [host, bpf], "change the code as clippy says")))
    }

    /// Tests of libraries and of xtask, and the integration tests that need nothing.
    pub(crate) fn unit(&self) -> Result<Outcome> {
        let mut cargo = self.cargo_test();
        cargo.args(["--lib", "--bin", "xtask"]);
        for target in targets::of(Tier::Unit, root())? {
            cargo.args(["--test", &target]);
        }
        self.count(cargo)
    }

    /// The documents that come from the code, and the examples in documentation.
    pub(crate) fn docs(&self) -> Result<Outcome> {
        let mut cargo = self.cargo_test();
        cargo.arg("--doc");
        let mut outcome = self.count(cargo)?;
        if self.filter.is_none()
            && let Outcome::Ran(count) = &mut outcome
        {
            *count += Count::one(documents::check());
        }
        Ok(outcome)
    }

    /// The integration tests that carry a tier's name.
    pub(crate) fn named(&self, tier: Tier) -> Result<Outcome> {
        let found = targets::of(tier, root())?;
        if found.is_empty() {
            return Ok(Outcome::Skipped("no test of this tier is written yet".to_owned()));
        }
        if tier == Tier::Lab
            && let Err(error) = firewall::ensure()
        {
            println!("services are not tried: {error:#}");
        }
        let mut cargo = self.cargo_test();
        for target in found {
            cargo.args(["--test", &target]);
        }
        self.count(cargo)
    }

    /// The kernel tier's test programs on each kernel of the list.
    pub(crate) fn vm(&self) -> Result<Outcome> {
        if let Some(why) = vm::missing() {
            return Ok(Outcome::Skipped(why));
        }
        let mut cargo = self.cargo_test();
        cargo.args(["--no-run", "--message-format=json"]);
        // Those of other packages carry the tier in their name; they start the agent's binary, which the machines
        // do not have.
        let own = |target: &String| !target.starts_with(Tier::Kernel.name());
        for target in targets::of(Tier::Kernel, root())?.into_iter().filter(own) {
            cargo.args(["--test", &target]);
        }
        let programs = executables(&output(&mut cargo)?);
        let mut sum = Count::default();
        for kernel in vm::KERNELS {
            println!("\nLinux {}", kernel.version);
            let mut reader = Reader::default();
            let done = vm::boot(&kernel, &programs, |line| {
                println!("{line}");
                reader.line(line);
            });
            match done {
                Ok(done) => sum += reader.finish(done),
                Err(error) => {
                    println!("SKIPPED vm: Linux {}: {error:#}", kernel.version);
                    sum.skipped += 1;
                }
            }
        }
        Ok(Outcome::Ran(sum))
    }

    fn cargo_test(&self) -> Command {
        let mut cargo = self.toolchain.tool("cargo");
        cargo.arg("test").args(HOST).arg("--no-fail-fast");
        match self.cases {
            Some((cases, seed)) => {
                cargo.env("PROPTEST_CASES", cases.to_string()).env("PROPTEST_RNG_SEED", seed.to_string())
            }
            None => cargo.env("PROPTEST_RNG_SEED", SEED),
        };
        cargo
    }

    /// Runs cargo test, shows what it prints and counts.
    fn count(&self, mut cargo: Command) -> Result<Outcome> {
        cargo.args(self.filter.as_deref());
        let mut child =
            cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let mut reader = Reader::default();
        if let Some(stdout) = child.stdout.take() {
            // Bytes, because a test may print what is not UTF-8.
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line.context("cannot read what the tests print")?;
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                reader.line(&line);
            }
        }
        let status = child.wait().context("cannot wait for cargo")?;
        Ok(Outcome::Ran(reader.finish(status.success())))
    }
}

/// Another number every time.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs() << 20
}

/// Runs all commands; passed when each succeeds.
fn as_one_test(commands: &mut [Command], cure: &str) -> Count {
    let mut failed = false;
    for command in commands {
        println!("{}", shown(command));
        if let Err(error) = run(command) {
            println!("FAILED: {error:#}; cure: {cure}");
            failed = true;
        }
    }
    Count::one(!failed)
}

/// The test programs in cargo's messages. Only these have `executable` set to more than null, but for
/// binaries that a test starts, which carry another kind.
fn executables(messages: &str) -> Vec<PathBuf> {
    let tests = messages.lines().filter(|line| line.contains("\"kind\":[\"test\"]"));
    let paths = tests.filter_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    paths.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_read_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"a"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"b"},"executable":"/t/b-12","fresh":true}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"c"},"executable":"/t/c","fresh":true}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), [PathBuf::from("/t/b-12")]);
    }
}
