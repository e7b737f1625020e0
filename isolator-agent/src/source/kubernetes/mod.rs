//! A cluster as a source: lists and watches of its API server become changes.
//!
//! ```text
//!  API server ─► watch (one for each kind) ─► reduce ─► Event ─► state ─┬─► objects (one kind, last good versions)
//!                   ▲        away, backoff                       │      ├─► order (between kinds)
//!                   └──────────── feed ◄── wanted kinds ─────────┘      └─► Update, Heard
//!                                           (crds)
//! ```
//!
//! Everything but `client`, `clock`, `watch` and `feed` is pure. Not here: what objects mean (`convert`).

mod away;
pub(crate) mod backoff;
mod client;
mod clock;
mod closed;
mod crds;
mod feed;
mod heard;
pub(crate) mod kinds;
mod objects;
mod order;
mod reduce;
mod shared;
mod state;
mod watch;

pub use client::Api;
pub use heard::Heard;

use super::update::Update;
use anyhow::Result;
use std::path::Path;
use tokio::sync::{mpsc, watch as latest};

/// Updates that may wait for their reader.
const BACKLOG: usize = 16;

/// A cluster that is being watched. Dropping the receiver of updates ends the watches.
pub struct KubernetesSource {
    /// The first that has changes begins with a reset, when every kind was listed once. Before that there may be
    /// updates that only say what is wrong.
    pub updates: mpsc::Receiver<Update>,
    /// How fresh the news of each kind is.
    pub heard: latest::Receiver<Vec<Heard>>,
    /// The connection, for those who write.
    pub api: Api,
}

impl KubernetesSource {
    /// Starts to watch the cluster that `kubeconfig` names, or the one that this is a pod of.
    ///
    /// # Errors
    /// When there is no usable kubeconfig or service account. An API server that does not answer is no error: it is
    /// tried again, and said in an update.
    pub async fn start(kubeconfig: Option<&Path>) -> Result<KubernetesSource> {
        let client = client::connect(kubeconfig).await?;
        let (updates, outbox) = mpsc::channel(BACKLOG);
        let (sender, heard) = latest::channel(Vec::new());
        tokio::spawn(feed::run(client.clone(), updates, sender));
        Ok(KubernetesSource { updates: outbox, heard, api: Api(client) })
    }
}

#[cfg(test)]
pub(crate) mod tests;
