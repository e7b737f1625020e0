//! Starts the command line. Nothing else.

use clap::Parser;
use isolator_agent::lab::{LabCommand, run};
use std::process::ExitCode;

/// Isolates the tenants of a Kubernetes cluster in the kernel, and says which rule decided.
#[derive(Parser)]
#[command(name = "isolator", version)]
enum Command {
    /// Nodes and pods out of network namespaces, from a folder of manifests.
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    let Command::Lab(command) = Command::parse();
    run(command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
