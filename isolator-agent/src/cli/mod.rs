//! What a person types and reads. `args` is what may be typed, `output` how results are printed; every other
//! file is a command. Not here: what policies mean, system calls.

pub mod args;
mod completion;
mod endpoint;
mod identity;
mod map;
mod observe;
mod offline;
pub mod output;
mod pinned;
mod policy;
mod status;
mod translated;
mod uninstall;
mod verdicts;
mod verify;
mod words;

use crate::config::Config;
use crate::{lab, telemetry};
use anyhow::{Result, bail};
use args::{Cli, Command, Format, PolicyCommand};
use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended. An error is [`Exit::Failure`], too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; healthy; allowed.
    Good = 0,
    /// Unhealthy; denied; problems found.
    Bad = 1,
    /// Wrong usage, or the command could not do its work.
    Failure = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Runs the command that was typed. Errors become one line on standard error.
#[must_use]
pub fn main() -> ExitCode {
    dispatch(Cli::parse()).unwrap_or_else(|error| {
        if reader_left(&error) {
            return Exit::Good.into();
        }
        // The exit code says it, too, where standard error takes nothing more.
        let _unheard = match output_is_full(&error) {
            true => writeln!(io::stderr(), "error: standard output takes nothing more: {error:#}"),
            false => writeln!(io::stderr(), "error: {error:#}"),
        };
        Exit::Failure.into()
    })
}

/// Whether the error only says that nobody reads standard output any more, as in `isolator … | head`.
fn reader_left(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether standard output was full. What is written elsewhere says where.
fn output_is_full(error: &anyhow::Error) -> bool {
    error.chain().len() == 1
        && error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let Cli { global, command } = cli;
    check_format(&command, global.output)?;
    let screen = output::Screen::new(&global);
    let exit = match command {
        // Has exit codes of its own: those of the commands that it runs.
        Command::Lab(command) => return lab::run(command, lab_output(global.output)?),
        Command::Run(args) => {
            let config = Config::new(&global, &args)?;
            telemetry::start()?;
            return crate::run::run(config);
        }
        Command::Status => status::run(&global, &screen),
        Command::Observe(args) => observe::run(&args, &global, &screen),
        Command::Uninstall(args) => uninstall::run(&args, &global, &screen),
        Command::Identity(command) => identity::run(&command, &global, &screen),
        Command::Endpoint(command) => endpoint::run(&command, &global, &screen),
        Command::Map(command) => map::run(&command, &global, &screen),
        Command::Completion(args) => completion::run(args),
        Command::Policy(command) => policy::run(&command, &global, &screen),
        Command::Verify => verify::run(&global, &screen),
    };
    Ok(exit?.into())
}

/// Refuses formats that only another command prints.
fn check_format(command: &Command, format: Format) -> Result<()> {
    match (format, command) {
        (Format::Table | Format::Wide | Format::Json | Format::Yaml, _)
        | (Format::Sarif, Command::Policy(PolicyCommand::Lint(_)))
        | (Format::Html, Command::Policy(PolicyCommand::Matrix(_))) => Ok(()),
        (Format::Sarif, _) => bail!("only `isolator policy lint` prints SARIF; use -o json"),
        (Format::Html, _) => bail!("only `isolator policy matrix` prints HTML; use -o json"),
    }
}

/// How the lab prints: its listings are all there is to its tables.
fn lab_output(format: Format) -> Result<lab::Output> {
    match format {
        Format::Table | Format::Wide => Ok(lab::Output::Table),
        Format::Json => Ok(lab::Output::Json),
        Format::Yaml | Format::Sarif | Format::Html => bail!("the lab prints no YAML; use -o json"),
    }
}
