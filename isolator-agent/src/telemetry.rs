//! Sets up the log: to standard error, filtered by `ISOLATOR_LOG` (default `info`), as text for a terminal and
//! as JSON lines elsewhere. Not here: what is logged.

use anyhow::{Context, Result, anyhow};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Variable that filters the log, in the syntax of `tracing_subscriber::EnvFilter`.
pub const VARIABLE: &str = "ISOLATOR_LOG";

/// What is logged otherwise. Each try to reach an API server would be a line; an outage is said once, as a problem.
const USUAL: &str = "info,kube_client=off";

/// Starts logging. To be called once, by the commands that keep running.
///
/// # Errors
/// When the filter cannot be read, or logging was started before.
pub fn start() -> Result<()> {
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| USUAL.to_owned());
    let filter =
        EnvFilter::try_new(&wanted).with_context(|| format!("{VARIABLE}={wanted} is no filter for logs"))?;
    // A log that cannot be written, as on a full disk, must not end the daemon: the complaint about it would go to
    // standard error, too, and panic there.
    let log = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        log.with_target(false).try_init()
    } else {
        log.json().try_init()
    };
    started.map_err(|error| anyhow!("logging cannot start: {error}"))
}
