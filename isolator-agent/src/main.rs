//! Starts the command line. Nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    isolator_agent::cli::main()
}
