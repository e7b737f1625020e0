//! `isolator policy …`: policies as understood, from files or from the folder that the daemon watches. Not
//! here: many flows in one call (`verdicts`).

mod explain;
mod get;
mod lint;
mod list;
mod matrix;
mod sarif;
mod standing;

pub(super) use lint::line as problem_line;

use super::args::{Global, PolicyCommand};
use super::output::Screen;
use super::{Exit, verdicts};
use anyhow::Result;

/// Runs the command.
pub(super) fn run(command: &PolicyCommand, global: &Global, screen: &Screen) -> Result<Exit> {
    match command {
        PolicyCommand::List(args) => list::run(args, global, screen),
        PolicyCommand::Get(args) => get::run(args, global, screen),
        PolicyCommand::Lint(args) => lint::run(args, global, screen),
        PolicyCommand::Explain(args) => explain::run(args, global, screen),
        PolicyCommand::Matrix(args) => matrix::run(args, global, screen),
        PolicyCommand::Verdicts(args) => verdicts::run(args, global, screen),
    }
}
