//! Sets up the log: to standard error, filtered by `ISOLATOR_LOG` (default `info`), as text for a terminal and
//! as JSON lines elsewhere. Not here: what is logged.

use anyhow::{Context, Result, anyhow};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Variable that filters the log, in the syntax of `tracing_subscriber::EnvFilter`.
pub const VARIABLE: &str = "ISOLATOR_LOG";

/// Starts logging. To be called once, by the commands that keep running.
///
/// # Errors
/// When the filter cannot be read, or logging was started before.
pub fn start() -> Result<()> {
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| "info".to_owned());
    let filter =
        EnvFilter::try_new(&wanted).with_context(|| format!("{VARIABLE}={wanted} is no filter for logs"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        log.with_target(false).try_init()
    } else {
        log.json().try_init()
    };
    started.map_err(|error| anyhow!("logging cannot start: {error}"))
}
