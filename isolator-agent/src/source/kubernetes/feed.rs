//! Runs the watches of every kind that is wanted, and turns what they say into updates. Not here: what is wanted and
//! what changes (`state`).

use super::super::update::Update;
use super::clock;
use super::heard::Heard;
use super::kinds::Kind;
use super::state::{Event, State};
use super::watch::Watch;
use kube::Client;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// Events that may wait. Pages of lists are large, so few.
const EVENTS: usize = 32;

/// Watches until nobody takes updates any more.
pub(super) async fn run(client: Client, updates: mpsc::Sender<Update>, heard: watch::Sender<Vec<Heard>>) {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut state = State::new();
    let clock = tokio::spawn(clock::run(client.clone(), sender.clone())).abort_handle();
    let mut watches = Watches { client, sender, running: BTreeMap::new(), clock };
    watches.keep(&state);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = updates.closed() => None,
        };
        let Some((kind, event)) = event else { return };
        let began = Instant::now();
        take(&mut state, kind, event);
        // What has arrived meanwhile belongs to the same update.
        while let Ok((kind, event)) = events.try_recv() {
            take(&mut state, kind, event);
        }
        watches.keep(&state);
        let update = state.update();
        heard.send_replace(state.heard());
        if let Some(mut update) = update {
            update.took.convert = began.elapsed();
            if updates.send(update).await.is_err() {
                return;
            }
        }
    }
}

fn take(state: &mut State, kind: Kind, event: Event) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    state.take(kind, event, u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
}

/// The watches that run.
struct Watches {
    client: Client,
    sender: mpsc::Sender<(Kind, Event)>,
    running: BTreeMap<Kind, AbortHandle>,
    /// Asks for the server's time beside them.
    clock: AbortHandle,
}

impl Watches {
    /// Starts those that are wanted, stops the others.
    fn keep(&mut self, state: &State) {
        let wanted = state.wanted();
        self.running.retain(|kind, watch| {
            let keep = wanted.contains(kind);
            if !keep {
                watch.abort();
            }
            keep
        });
        for kind in wanted {
            self.running.entry(kind).or_insert_with(|| {
                let watch = Watch::new(self.client.clone(), kind, self.sender.clone());
                tokio::spawn(watch.run()).abort_handle()
            });
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.running.values().chain([&self.clock]).for_each(AbortHandle::abort);
    }
}
