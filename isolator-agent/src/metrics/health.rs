//! What probes ask: is the daemon alive, is what it enforces up to date? Each answer has a reason in words. Pure.
//! Not here: the whole account (`status`), who asks (`serve`, `publish`).

use super::Published;
use std::time::{Duration, Instant};

/// A step is due at least every half minute; a daemon that did none for so long hangs.
const SILENT: Duration = Duration::from_secs(120);

/// Whether the daemon's loop turns. Nothing outside of it counts: a restart cures no API server.
///
/// # Errors
/// Why it does not.
pub(crate) fn alive(published: &Published, now: Instant) -> Result<(), String> {
    let Some(stepped) = published.stepped else {
        return Err("the first step is not done".to_owned());
    };
    let silent = now.saturating_duration_since(stepped);
    if silent > SILENT {
        return Err(format!("the last step was {} s ago: it hangs", silent.as_secs()));
    }
    Ok(())
}

/// Whether everything was read and is enforced, and news still come.
///
/// # Errors
/// Why not.
pub(crate) fn ready(published: &Published, now: Instant) -> Result<(), String> {
    alive(published, now)?;
    if !published.status.synced {
        return Err("not everything was read and enforced yet".to_owned());
    }
    let mut away = published.status.watches.iter().filter(|watch| watch.away_ms != 0);
    if let Some(watch) = away.next() {
        return Err(format!("the watch of {} fails; what was enforced stays", watch.kind));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Status, WatchStatus};

    #[test]
    fn a_daemon_is_alive_from_its_first_step_on_until_it_hangs() {
        let now = Instant::now() + SILENT * 2;
        let stepped = |ago| Published { stepped: Some(now - ago), ..Published::default() };
        assert!(alive(&Published::default(), now).is_err(), "before the first step");
        assert!(alive(&stepped(SILENT), now).is_ok());
        assert!(alive(&stepped(SILENT + Duration::from_secs(1)), now).is_err(), "it hangs");
    }

    #[test]
    fn it_is_ready_when_all_was_read_and_until_a_watch_fails() {
        let now = Instant::now();
        let with = |synced, away_ms| {
            let watches = vec![WatchStatus { kind: "Pod".to_owned(), away_ms, ..WatchStatus::default() }];
            let status = Status { synced, watches, ..Status::default() };
            ready(&Published { status, stepped: Some(now), ..Published::default() }, now)
        };
        assert_eq!(with(true, 0), Ok(()));
        assert!(with(false, 0).is_err(), "not synced");
        assert!(with(true, 7).is_err_and(|why| why.contains("Pod")), "stale");
    }
}
