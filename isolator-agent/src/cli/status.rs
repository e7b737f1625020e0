//! `isolator status`: what the daemon says of itself, checked against the machine. Not here: every difference
//! between kernel and wish (`verify`).

use super::Exit;
use super::args::{Format, Global};
use super::output::{Cell, Screen, Tone, count, grid};
use super::policy::problem_line;
use crate::datapath::attach::attachments;
use crate::datapath::hook::Hook;
use crate::datapath::read::ReadOnly;
use crate::flows::time::span;
use crate::status::{Drift, MapUse, Status, WatchStatus, is_full};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// A map as full as this is a problem.
const FULL_PERCENT: u64 = 90;

/// News as old as this are a problem, milliseconds: a watch that works says something every minute or so.
const STALE_MS: u64 = 300_000;

/// Health, as JSON.
#[derive(Debug, Serialize)]
struct View {
    healthy: bool,
    /// What was looked at.
    checks: Vec<Check>,
    /// Occupancy of the pinned maps, as the kernel has it.
    maps: Vec<MapUse>,
    /// What the daemon said last; absent when none has run.
    daemon: Option<Status>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// `daemon`, `synced`, `news`, `maps`, `generation`, `attached`, `room`, `problems`, or `disk` where that is full.
    name: &'static str,
    ok: bool,
    detail: String,
}

/// What the kernel has.
struct Kernel {
    generation: u32,
    endpoints: BTreeSet<u32>,
    maps: Vec<MapUse>,
}

/// Prints the status. [`Exit::Bad`] when something is wrong.
pub(super) fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    let status = Status::read(&global.run_dir)
        .with_context(|| format!("cannot read the daemon's status in {}", global.run_dir.display()))?;
    let kernel = kernel(global);
    let mut checks = Vec::new();
    let mut check = |name, ok, detail: String| checks.push(Check { name, ok, detail });

    match &status {
        None => check("daemon", false, format!("none has run with {}", global.run_dir.display())),
        Some(status) => {
            let Status { process, started_ms, synced, problems, .. } = status;
            let (alive, pid) = (process.is_alive(), process.pid);
            check(
                "daemon",
                alive,
                match alive {
                    true => format!("running, pid {pid}, for {}", since(*started_ms)),
                    false => format!("not running (was pid {pid}); what it enforced stays enforced"),
                },
            );
            let not_yet = "not everything was read and programmed yet";
            check(
                "synced",
                *synced,
                if *synced { "everything was read and programmed" } else { not_yet }.to_owned(),
            );
            if !status.watches.is_empty() {
                let (ok, detail) = freshness(&status.watches, now_ms());
                check("news", ok, detail);
            }
            let errors = problems.iter().filter(|problem| problem.is_error()).count();
            check("problems", errors == 0, {
                let warnings = problems.len() - errors;
                format!(
                    "{}, {}",
                    count(errors as u64, "error", "errors"),
                    count(warnings as u64, "warning", "warnings")
                )
            });
        }
    }
    if is_full(&global.run_dir) {
        let detail = "no space left: what the daemon says may be out of date, and it forgets last good manifests at a \
                      restart; free some";
        check("disk", false, format!("{}: {detail}", global.run_dir.display()));
    }
    match &kernel {
        Err(error) => check("maps", false, format!("{error:#}")),
        Ok(Kernel { generation, endpoints, maps }) => {
            check(
                "maps",
                *generation > 0,
                format!("pinned in {}, generation {generation} in force", global.pin_dir.display()),
            );
            if let Some(status) = &status {
                let same = status.generation == *generation;
                let said = status.generation;
                check(
                    "generation",
                    same,
                    match same {
                        true => format!("kernel and daemon agree on {generation}"),
                        false => format!("the kernel has {generation}, the daemon wanted {said}"),
                    },
                );
            }
            let (ok, detail) = attached(global, endpoints);
            check("attached", ok, detail);
            let full: Vec<_> =
                maps.iter().filter(|map| percent(map) >= FULL_PERCENT).map(|map| map.map.as_str()).collect();
            check(
                "room",
                full.is_empty(),
                match full.as_slice() {
                    [] => "no map is nearly full".to_owned(),
                    full => format!("nearly full: {}", full.join(", ")),
                },
            );
        }
    }
    let healthy = checks.iter().all(|check| check.ok);
    let maps = kernel.map(|kernel| kernel.maps).unwrap_or_default();
    let view = View { healthy, checks, maps, daemon: status };
    screen.one(&view, |screen| prose(&view, screen))?;
    Ok(if healthy { Exit::Good } else { Exit::Bad })
}

fn kernel(global: &Global) -> Result<Kernel> {
    let maps = ReadOnly::open(&global.pin_dir)?;
    let image = maps.read_image()?;
    // STATE has room for one. Those that the programs write make room for themselves.
    let counted = maps
        .summaries()?
        .into_iter()
        .filter(|map| map.capacity > 1 && map.about.contains("the agent writes"));
    let uses = counted.filter_map(|map| {
        Some(MapUse { map: map.name.to_owned(), entries: map.entries?, capacity: u64::from(map.capacity) })
    });
    Ok(Kernel {
        generation: image.state.generation,
        endpoints: image.endpoints.keys().copied().collect(),
        maps: uses.collect(),
    })
}

/// Whether the API server speaks of every kind.
fn freshness(watches: &[WatchStatus], now_ms: u64) -> (bool, String) {
    let waiting: Vec<&str> =
        watches.iter().filter(|watch| !watch.synced).map(|watch| watch.kind.as_str()).collect();
    if !waiting.is_empty() {
        return (false, format!("never read as a whole since the start: {}", waiting.join(", ")));
    }
    let age = |watch: &WatchStatus| span(now_ms.saturating_sub(watch.heard_ms) / 1000);
    let stale = watches.iter().filter(|watch| watch.away_ms > 0 || watch.heard_ms + STALE_MS < now_ms);
    let stale: Vec<String> = stale.map(|watch| format!("{} for {}", watch.kind, age(watch))).collect();
    if stale.is_empty() {
        return (true, format!("{} are watched", count(watches.len() as u64, "kind", "kinds")));
    }
    (false, format!("nothing heard of {}; what is enforced stays", stale.join(", ")))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether both programs run on every interface that has an entry.
fn attached(global: &Global, endpoints: &BTreeSet<u32>) -> (bool, String) {
    let there = match attachments(&global.pin_dir) {
        Ok(there) => there,
        Err(error) => return (false, error.to_string()),
    };
    let has = |ifindex: u32, hook| there.iter().any(|one| one.ifindex == ifindex && one.hook == hook);
    let whole =
        endpoints.iter().filter(|ifindex| Hook::POD.into_iter().all(|way| has(**ifindex, way))).count();
    let modes: BTreeSet<_> = there.iter().map(|one| one.mode.to_string()).collect();
    let how = if modes.is_empty() {
        String::new()
    } else {
        format!(" by {}", modes.into_iter().collect::<Vec<_>>().join(" and "))
    };
    (whole == endpoints.len(), format!("{whole} of {} interfaces{how}", endpoints.len()))
}

fn percent(map: &MapUse) -> u64 {
    map.entries * 100 / map.capacity.max(1)
}

fn since(ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    span(now.saturating_sub(ms / 1000))
}

fn milliseconds(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

fn prose(view: &View, screen: &Screen) -> String {
    let View { healthy, checks, maps, daemon } = view;
    let verdict =
        if *healthy { screen.paint(Tone::Good, "healthy") } else { screen.paint(Tone::Bad, "NOT healthy") };
    let mut text = match daemon {
        Some(Status { version, node, .. }) => format!("isolator {version} on node {node}: {verdict}\n\n"),
        None => format!("isolator: {verdict}\n\n"),
    };
    // Writing to a String cannot fail.
    for Check { name, ok, detail } in checks {
        let mark = if *ok { screen.paint(Tone::Good, "ok  ") } else { screen.paint(Tone::Bad, "FAIL") };
        let _ = writeln!(text, "{mark}  {name:<10}  {detail}");
    }
    if let Some(status) = daemon {
        text.push('\n');
        account(&mut text, status);
        for problem in &status.problems {
            text.push_str(&problem_line(problem, screen));
        }
    }
    let wide = screen.format == Format::Wide;
    let shown: Vec<_> = maps.iter().filter(|map| wide || percent(map) > 0).collect();
    if !shown.is_empty() {
        text.push('\n');
        let head = ["MAP", "ENTRIES", "CAPACITY", "USED"].map(str::to_owned).to_vec();
        let body = shown.iter().map(|map| {
            let MapUse { map: name, entries, capacity } = map;
            vec![
                Cell::of(name),
                Cell::of(entries),
                Cell::of(capacity),
                Cell::of(format!("{}%", percent(map))),
            ]
        });
        text.push_str(&grid(head, body.collect(), screen.color, screen.width));
    }
    text
}

/// What the daemon said, line by line.
fn account(text: &mut String, status: &Status) {
    let counts = &status.counts;
    let lines = [
        (
            "source",
            format!(
                "{}: {}, {}, {}, {}",
                match status.manifests.as_os_str().is_empty() {
                    true => status.source.clone(),
                    false => format!("{} in {}", status.source, status.manifests.display()),
                },
                count(counts.namespaces, "namespace", "namespaces"),
                count(counts.nodes, "node", "nodes"),
                count(counts.pods, "pod", "pods"),
                count(counts.policies, "policy", "policies")
            ),
        ),
        (
            "enforcing",
            format!(
                "{}, {} without a known pod, generation {}",
                count(counts.endpoints, "endpoint", "endpoints"),
                count(counts.unknown_interfaces, "interface", "interfaces"),
                status.generation
            ),
        ),
        (
            "changed",
            if status.last_change_ms == 0 {
                "never since the start".to_owned()
            } else {
                format!(
                    "{} ago: compiled in {}, {} map writes in {}",
                    since(status.last_change_ms),
                    milliseconds(status.compile_us),
                    status.writes,
                    milliseconds(status.apply_us)
                )
            },
        ),
        ("drift", drift(&status.drift)),
        (
            "kernel",
            format!("{}, attaching by {}; {}", status.kernel, status.attach_mode, status.features.join(", ")),
        ),
        (
            "lost",
            format!(
                "{} events over a tenant's rate, {} in a full ring",
                status.lost.over_rate, status.lost.ring_full
            ),
        ),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "      {name:<10}  {value}");
    }
}

/// What comparing kernel and plan has found.
fn drift(drift: &Drift) -> String {
    let Drift { rounds, round_us, found, repaired, open, found_ms, detect_us, repair_us } = drift;
    if *rounds == 0 && *found == 0 {
        return "not everything was compared yet".to_owned();
    }
    let round = format!("everything was compared in {}", milliseconds(*round_us));
    if *found == 0 {
        return format!("none found; {round}");
    }
    format!(
        "{} found, {repaired} repaired, {open} left alone; the last {} ago, after {} at most, repaired in {}; {round}",
        count(*found, "difference", "differences"),
        since(*found_ms),
        milliseconds(*detect_us),
        milliseconds(*repair_us),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_fresh_when_every_kind_was_read_and_is_heard_of() {
        let mk = |synced, heard_ms, away_ms| {
            [WatchStatus { kind: "Pod".to_owned(), synced, heard_ms, away_ms, ..WatchStatus::default() }]
        };
        let now = 1_000_000;
        assert!(freshness(&mk(true, now - 60_000, 0), now).0);
        assert!(!freshness(&mk(true, now - 60_000, now - 50_000), now).0);
        assert!(!freshness(&mk(true, now - STALE_MS - 1, 0), now).0);
        let (ok, detail) = freshness(&mk(false, now, 0), now);
        assert!(!ok && detail.contains("Pod"), "{detail}");
    }
}
