//! Metrics for Prometheus: the daemon's account and the kernel's counters as one text. No label comes from free
//! text, and none has an unbounded number of values. Also what probes ask. Not here: what is measured (`status`, the programs).

use crate::status::Status;
use std::time::Instant;

pub(crate) mod health;
mod measured;
mod serve;
mod text;
mod totals;

pub use measured::{Kind, Measured, Written};
pub use serve::serve;
pub use text::text;
pub use totals::{Packets, Totals};

/// What the daemon's loop hands over after each step.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Its account of itself.
    pub status: Status,
    /// What it has measured; goes on growing.
    pub measured: Measured,
    /// Number and counter slot of each endpoint.
    pub endpoints: Vec<(u32, u32)>,
    /// When the step was done; `None`: none was yet.
    pub stepped: Option<Instant>,
}
