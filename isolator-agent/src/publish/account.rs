//! How enforcement fares on this node, in the few words that `kubectl get isolatornodes` has room for. Pure. Not here:
//! when it is written (`pace`), the whole account (`status`).

use crate::metrics::{Published, health};
use serde::Serialize;
use std::time::Instant;

/// Bytes of the reason.
const WHY: usize = 256;

/// The status of the node's object. The names are those of `deploy/crd.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    /// In a word.
    pub(super) health: Health,
    /// Why not better.
    pub(super) why: String,
    /// Pods of this node that are enforced.
    pub(super) endpoints: u64,
    /// Policies of the cluster.
    pub(super) policies: u64,
    /// What is not enforced as written, here or anywhere.
    pub(super) problems: u64,
    /// What may not be as meant.
    pub(super) warnings: u64,
    /// Between kernel and plan.
    pub(super) drift: Drift,
    /// Of isolator.
    pub(super) version: String,
    /// Release of the node's kernel.
    pub(super) kernel: String,
}

/// Differences between kernel and plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Drift {
    /// There now, and somebody else's.
    pub(super) open: u64,
    /// Found since the agent started.
    pub(super) found: u64,
    /// Mended since then.
    pub(super) repaired: u64,
}

/// In a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Health {
    /// Not everything was read and enforced yet.
    Starting,
    /// As it should be. A policy that is refused is the policy's trouble, not the node's.
    Enforcing,
    /// Enforced, but not everything that this node should.
    Degraded,
    /// Enforced, but news of some kind do not come.
    Stale,
    /// The agent hangs; what it enforced stays.
    Stuck,
}

impl Account {
    /// What the daemon's account amounts to.
    pub(super) fn of(published: &Published, now: Instant) -> Account {
        let status = &published.status;
        let errors = || status.problems.iter().filter(|problem| problem.is_error());
        // Problems of this node are about no object.
        let own = errors().find(|problem| problem.object.is_empty());
        let (health, why) = match (health::alive(published, now), health::ready(published, now), own) {
            (Err(why), ..) => (Health::Stuck, why),
            (_, Err(why), _) if !status.synced => (Health::Starting, why),
            (_, Err(why), _) => (Health::Stale, why),
            (_, _, Some(problem)) => (Health::Degraded, problem.message.clone()),
            _ => (Health::Enforcing, String::new()),
        };
        let problems = errors().count() as u64;
        Account {
            health,
            why: cut(why, WHY),
            endpoints: status.counts.endpoints,
            policies: status.counts.policies,
            problems,
            warnings: status.problems.len() as u64 - problems,
            drift: Drift {
                open: status.drift.open,
                found: status.drift.found,
                repaired: status.drift.repaired,
            },
            version: status.version.clone(),
            kernel: status.kernel.clone(),
        }
    }
}

/// Cuts a text to so many bytes, between characters.
pub(super) fn cut(mut text: String, bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes - ELLIPSIS.len()));
        text.push_str(ELLIPSIS);
    }
    text
}
