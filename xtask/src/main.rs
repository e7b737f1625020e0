//! `cargo xtask`: everything that a person or a CI job does with this repository.
//!
//! ```text
//!  build ─► toolchain ─► rustup, rust-src, bpf-linker     test ─► tiers ─► tidy, fmt, clippy, docs, cargo test
//! ```
//!
//! Few dependencies on purpose: this is what a fresh machine compiles first. Not here: anything that the
//! product does.

mod arguments;
mod bench;
mod build;
mod cluster;
mod demo;
mod documents;
mod firewall;
mod image;
mod machine;
mod process;
mod progress;
mod test;
mod tidy;
mod toolchain;
mod vm;

use arguments::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match arguments::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", arguments::USAGE);
            Ok(true)
        }
        Ok(Command::BenchApply(arguments)) => bench::apply(&arguments).map(|()| true),
        Ok(Command::BenchCompile(arguments)) => bench::compile(&arguments).map(|()| true),
        Ok(Command::BenchDatapath(arguments)) => bench::datapath(&arguments).map(|()| true),
        Ok(Command::Cluster(place, action)) => cluster::act(place, &action),
        Ok(Command::Image) => image::write().map(|_| true),
        Ok(Command::Build) => build::release().map(|()| true),
        Ok(Command::Demo) => demo::demo().map(|()| true),
        Ok(Command::Test(wanted)) => test::run(&wanted),
        Ok(Command::Docs) => documents::write().map(|()| true),
        Ok(Command::Tidy) => tidy::run(),
        Ok(Command::VmInit) => vm::init(),
        Ok(Command::RecordAbi) => tidy::record_abi().map(|()| true),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
