//! `isolator completion`: scripts for shells, from the same definition as the flags.

use super::args::{Cli, CompletionArgs};
use super::{Exit, output};
use anyhow::Result;
use clap::CommandFactory;

/// Prints the script.
///
/// # Errors
/// When standard output takes no more.
pub(super) fn run(args: CompletionArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "isolator", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Good)
}
