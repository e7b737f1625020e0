//! Tests of what the API server is told. Not here: reading from it.

mod account;
mod complaint;
mod pace;
mod server;
mod turns;

use super::account::Account;
use crate::metrics::Published;
use crate::status::{Counts, ProblemEntry, Status};
use std::time::{Duration, Instant};

/// An error about a policy.
fn mk_problem(object: &str, code: &str, field: &str, message: &str) -> ProblemEntry {
    ProblemEntry {
        severity: "error".to_owned(),
        code: code.to_owned(),
        place: String::new(),
        position: None,
        object: object.to_owned(),
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

/// What a healthy agent with so many endpoints says.
fn mk_published(endpoints: u64, problems: Vec<ProblemEntry>) -> Published {
    let counts = Counts { endpoints, policies: 7, ..Counts::default() };
    let status = Status { synced: true, counts, problems, ..Status::default() };
    Published { status, stepped: Some(Instant::now()), ..Published::default() }
}

fn mk_account(endpoints: u64) -> Account {
    Account::of(&mk_published(endpoints, Vec::new()), Instant::now())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
