//! What this node tells the API server, for `kubectl`: an Event on each policy that is not enforced as written, and an
//! object of the node's own that says how enforcement fares ([ADR 9](../../../docs/adr/0009-what-the-api-server-is-told.md)).
//!
//! ```text
//!  Published ─┬─► account ──► pace ──┐
//!             └─► complaint ─► turns ┴─► agenda ─► write ─► api ─► API server
//!                  nodes ──► speakers ──┘
//! ```
//!
//! Everything but `api` and the loop here is pure. Nothing that is enforced depends on it. Not here: what is watched
//! (`source::kubernetes`).

mod account;
mod agenda;
mod api;
mod complaint;
mod pace;
mod speakers;
mod turns;

use crate::known::Known;
use crate::metrics::{Measured, Published, Written};
use crate::source::kubernetes::Api;
use crate::source::kubernetes::backoff::random;
use account::Account;
use agenda::{Agenda, Outcome, Write};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// The loop looks at most this often, whatever changes.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the API server of `node` until the runtime ends.
pub(crate) fn start(api: Api, node: &str, published: watch::Receiver<Published>, known: Known) {
    let agenda = Agenda::new(random);
    tokio::spawn(Publisher { api, node: node.to_owned(), known, agenda, said: [None, None] }.run(published));
}

struct Publisher {
    api: Api,
    node: String,
    known: Known,
    agenda: Agenda,
    /// Why events and accounts are not taken, as it was logged.
    said: [Option<String>; 2],
}

impl Publisher {
    async fn run(mut self, mut published: watch::Receiver<Published>) {
        let began = Instant::now();
        loop {
            let measured = self.look(&published.borrow_and_update(), began.elapsed());
            while let Some(write) = self.next(began.elapsed()) {
                let outcome = api::write(&self.api, &self.node, &write).await;
                self.note(&write, &outcome, &measured);
                self.agenda.done(write, &outcome, began.elapsed());
            }
            tokio::time::sleep(LOOK).await;
            let due = self.agenda.due().map(|due| due.saturating_sub(began.elapsed()));
            tokio::select! {
                changed = published.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => {}
            }
        }
    }

    fn look(&mut self, published: &Published, now: Duration) -> Measured {
        // Nothing is known before the first step.
        if published.stepped.is_some() {
            self.agenda.see(Account::of(published, Instant::now()), &published.status.problems, now);
        }
        published.measured.clone()
    }

    fn next(&mut self, now: Duration) -> Option<Write> {
        let snapshot = self.known.snapshot();
        self.agenda.next(now, &|policy| speakers::rank(policy, &self.node, snapshot.nodes().values()))
    }

    /// Counts a write, and logs what is new about it.
    fn note(&mut self, write: &Write, outcome: &Outcome, measured: &Measured) {
        let (what, said) = match write {
            Write::Event(_) => ("Event", &mut self.said[0]),
            Write::Account(_) => ("IsolatorNode", &mut self.said[1]),
        };
        measured.writes.get_or_create(&Written { kind: what, outcome: outcome.name() }).inc();
        match outcome {
            Outcome::Refused(why) | Outcome::Odd(why) if said.as_ref() != Some(why) => {
                warn!(kind = what, why, "the API server does not take what this node tells it");
                *said = Some(why.clone());
            }
            Outcome::Done | Outcome::There if said.take().is_some() => {
                info!(kind = what, "the API server takes what this node tells it again");
            }
            // That the API server is away is said by those who watch it.
            _ => {}
        }
    }
}

#[cfg(test)]
pub(crate) use api::WRITES;

#[cfg(test)]
mod tests;
