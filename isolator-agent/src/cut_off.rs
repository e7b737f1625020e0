//! Interfaces that an earlier run of the daemon enforced, and behind which nobody finds a pod now. Programs stay on
//! them without an entry, so every packet is dropped; a person must know. Not here: who stays attached (`enforce`).

use crate::flows::time;
use isolator_policy::model::{Place, Problem, Severity};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One of them, as in the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CutOff {
    /// Index of the interface.
    pub ifindex: u32,
    /// Its name.
    pub interface: String,
    /// Since when every packet is dropped: milliseconds since 1970, UTC.
    pub since_ms: u64,
}

impl CutOff {
    /// What is said of it, with the cure. `sandboxes` is the folder in which it should be found.
    pub(crate) fn problem(&self, sandboxes: &Path) -> Problem {
        let CutOff { ifindex: _, interface, since_ms } = self;
        let since = time::rfc3339(since_ms.saturating_mul(1_000_000));
        let since = since.split_once('.').map_or(since.as_str(), |(seconds, _)| seconds);
        Problem {
            severity: Severity::Error,
            code: "cut-off",
            place: Place::Thing(format!("interface {interface}")),
            object: String::new(),
            field: String::new(),
            message: format!(
                "EVERY packet on {interface} is dropped since {since}Z: it was enforced before the daemon started, and no \
                 sandbox in {} leads to it now. If a pod is behind it, start the pod anew, or bring its sandbox back; \
                 if none is, remove the interface",
                sandboxes.display()
            ),
        }
    }
}

/// Those of `found` (index and name), since when: as known before, or from `now_ms` on.
pub(crate) fn update(
    before: &[CutOff],
    found: impl IntoIterator<Item = (u32, String)>,
    now_ms: u64,
) -> Vec<CutOff> {
    let since = |ifindex: u32, name: &str| {
        let known = before.iter().find(|one| one.ifindex == ifindex && one.interface == name);
        known.map_or(now_ms, |one| one.since_ms)
    };
    let mut all: Vec<CutOff> = found
        .into_iter()
        .map(|(ifindex, interface)| {
            let since_ms = since(ifindex, &interface);
            CutOff { ifindex, interface, since_ms }
        })
        .collect();
    all.sort_by_key(|one| one.ifindex);
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_stays_as_long_as_the_interface_is_the_same() {
        let one =
            |ifindex, interface: &str, since_ms| CutOff { ifindex, interface: interface.into(), since_ms };
        let before = [one(4, "a", 10), one(5, "b", 10)];
        // Both programs are listed for each interface.
        let found = [(5, "c"), (4, "a"), (4, "a")].map(|(ifindex, name)| (ifindex, name.to_owned()));
        assert_eq!(update(&before, found, 20), [one(4, "a", 10), one(5, "c", 20)]);
    }

    #[test]
    fn the_message_says_which_since_when_and_what_to_do() {
        let one = CutOff { ifindex: 4, interface: "veth4".into(), since_ms: 1_700_000_000_123 };
        let message = one.problem(Path::new("/run/netns")).message;
        for part in ["veth4", "2023-11-14T22:13:20Z", "/run/netns", "start the pod anew"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
