//! Account and sums as OpenMetrics text. Names follow Prometheus' rules: a prefix, a unit, `_total` for what only
//! grows. Not here: who asks.

use super::measured::Measured;
use super::totals::Totals;
use crate::status::{Counts, Lost, MapUse, Status, WatchStatus};
use isolator_common::reason::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

type Decimal = Gauge<f64, AtomicU64>;

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The kind of a watch. There are about a dozen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Map {
    map: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Wrong {
    severity: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    direction: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

/// The text.
#[must_use]
pub fn text(status: &Status, measured: &Measured, totals: &Totals) -> String {
    let mut all = Registry::with_prefix("isolator");
    describe(&mut all, status);
    objects(&mut all, &status.counts);
    watches(&mut all, &status.watches);
    problems(&mut all, status);
    maps(&mut all, &status.maps);
    lost(&mut all, status.lost);
    packets(&mut all, totals);
    measured.register(&mut all);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &all);
    text
}

fn describe(all: &mut Registry, status: &Status) {
    let about = Info::new(vec![
        ("version", status.version.clone()),
        ("kernel", status.kernel.clone()),
        ("attach_mode", status.attach_mode.clone()),
    ]);
    all.register("build", "The program and what it runs on", about);
    let plain = |value: u64| {
        let gauge: Gauge<u64, AtomicU64> = Gauge::default();
        gauge.set(value);
        gauge
    };
    all.register(
        "synced",
        "1 when everything was read and programmed since the start",
        plain(status.synced.into()),
    );
    all.register("generation", "The generation of policy in force", plain(status.generation.into()));
    let seconds = |value: f64| {
        let gauge = Decimal::default();
        gauge.set(value);
        gauge
    };
    for (name, help, value) in [
        ("start_time", "When the daemon started, since 1970", status.started_ms as f64 / 1e3),
        (
            "last_change_time",
            "When the kernel's maps last changed, since 1970",
            status.last_change_ms as f64 / 1e3,
        ),
        ("last_compile_duration", "How long compiling the last change took", status.compile_us as f64 / 1e6),
        ("last_apply_duration", "How long writing the last change took", status.apply_us as f64 / 1e6),
    ] {
        all.register_with_unit(name, help, Unit::Seconds, seconds(value));
    }
    all.register("last_apply_writes", "Map writes of the last change", plain(status.writes));
    all.register(
        "drift_open",
        "Differences between kernel and plan that are left alone, because they are somebody else's",
        plain(status.drift.open),
    );
}

fn objects(all: &mut Registry, counts: &Counts) {
    let family: Family<Kind, Gauge> = Family::default();
    let Counts { namespaces, nodes, pods, policies, endpoints, unknown_interfaces } = counts;
    for (kind, number) in [
        ("namespace", namespaces),
        ("node", nodes),
        ("pod", pods),
        ("policy", policies),
        ("endpoint", endpoints),
        ("unknown_interface", unknown_interfaces),
    ] {
        family.get_or_create(&Kind { kind }).set(i64::try_from(*number).unwrap_or(i64::MAX));
    }
    all.register("objects", "What is known of the cluster, and enforced on this node", family);
}

fn watches(all: &mut Registry, watches: &[WatchStatus]) {
    if watches.is_empty() {
        return;
    }
    let (synced, away, objects): (Family<Watched, Gauge>, Family<Watched, Gauge>, Family<Watched, Gauge>) =
        Default::default();
    let heard: Family<Watched, Decimal> = Family::default();
    let (lists, restarts): (Family<Watched, Counter>, Family<Watched, Counter>) = Default::default();
    for WatchStatus {
        kind,
        synced: whole,
        objects: number,
        heard_ms,
        away_ms,
        lists: read,
        restarts: failed,
    } in watches
    {
        let label = Watched { kind: kind.clone() };
        synced.get_or_create(&label).set((*whole).into());
        away.get_or_create(&label).set((*away_ms > 0).into());
        objects.get_or_create(&label).set(i64::try_from(*number).unwrap_or(i64::MAX));
        heard.get_or_create(&label).set(*heard_ms as f64 / 1e3);
        lists.get_or_create(&label).inc_by(*read);
        restarts.get_or_create(&label).inc_by(*failed);
    }
    all.register("watch_synced", "1 when all objects of the kind were read since the start", synced);
    all.register("watch_away", "1 while the watch of the kind fails", away);
    all.register("watch_objects", "Objects of the kind that count", objects);
    all.register_with_unit(
        "watch_last_heard_time",
        "When the API server last said something of the kind, since 1970",
        Unit::Seconds,
        heard,
    );
    all.register("watch_lists", "How often all objects of the kind were read", lists);
    all.register("watch_restarts", "How often the watch of the kind failed and began again", restarts);
}

fn problems(all: &mut Registry, status: &Status) {
    let family: Family<Wrong, Gauge> = Family::default();
    for problem in &status.problems {
        let label = Wrong { severity: problem.severity.clone(), code: problem.code.clone() };
        family.get_or_create(&label).inc();
    }
    all.register("problems", "What is not as written or not as wanted; `isolator status` names each", family);
}

fn maps(all: &mut Registry, maps: &[MapUse]) {
    let (entries, capacity): (Family<Map, Gauge>, Family<Map, Gauge>) = Default::default();
    for MapUse { map, entries: used, capacity: room } in maps {
        let label = Map { map: map.clone() };
        entries.get_or_create(&label).set(i64::try_from(*used).unwrap_or(i64::MAX));
        capacity.get_or_create(&label).set(i64::try_from(*room).unwrap_or(i64::MAX));
    }
    all.register("map_entries", "Entries in use", entries);
    all.register("map_capacity", "Entries that there is room for", capacity);
}

fn lost(all: &mut Registry, lost: Lost) {
    let family: Family<Cause, Counter> = Family::default();
    for (cause, number) in [("over_rate", lost.over_rate), ("ring_full", lost.ring_full)] {
        family.get_or_create(&Cause { cause }).inc_by(number);
    }
    all.register("events_lost", "Events that nobody will ever see", family);
}

fn packets(all: &mut Registry, totals: &Totals) {
    let (packets, bytes): (Family<Verdict, Counter>, Family<Verdict, Counter>) = Default::default();
    for ((direction, reason), sum) in totals.sums() {
        let verdict = if Reason::passes(*reason) { "passed" } else { "dropped" };
        let label = Verdict { direction: direction.name(), verdict, reason: reason.name() };
        packets.get_or_create(&label).inc_by(sum.packets);
        bytes.get_or_create(&label).inc_by(sum.bytes);
    }
    all.register("packets", "Packets judged at the interfaces of this node's pods", packets);
    all.register_with_unit("packets", "Their length from the Ethernet header on", Unit::Bytes, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::read;
    use crate::status::ProblemEntry;
    use isolator_common::policy::Direction;
    use isolator_common::tables::name;
    use std::collections::BTreeMap;

    fn problem(code: &str, message: &str) -> ProblemEntry {
        ProblemEntry {
            severity: "error".to_owned(),
            code: code.to_owned(),
            place: String::new(),
            position: None,
            object: "NetworkPolicy a/b".to_owned(),
            field: String::new(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_not_enforced_is_counted_by_kind_and_never_named() {
        let problems = vec![
            problem("unenforced-field", "rules are not enforced"),
            problem("unenforced-field", "toFQDNs is not enforced"),
            problem("invalid-field", "free text"),
        ];
        let text = text(&Status { problems, ..Status::default() }, &Measured::default(), &Totals::default());
        assert!(
            text.contains("isolator_problems{severity=\"error\",code=\"unenforced-field\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("isolator_problems{severity=\"error\",code=\"invalid-field\"} 1\n"), "{text}");
        assert!(!text.contains("free text") && !text.contains("a/b"), "{text}");
    }

    /// Every kind of metric, with something in it.
    fn everything() -> String {
        let watch = WatchStatus { kind: "Pod".to_owned(), ..WatchStatus::default() };
        let map = MapUse { map: name::CELLS.to_owned(), entries: 1, capacity: 2 };
        let status = Status {
            watches: vec![watch],
            maps: vec![map],
            problems: vec![problem("unenforced-field", "")],
            ..Status::default()
        };
        let measured = Measured::default();
        for family in [&measured.found, &measured.mended] {
            family.get_or_create(&super::super::Kind { kind: "entry" }).inc();
        }
        let written = super::super::Written { kind: "Event", outcome: "done" };
        measured.writes.get_or_create(&written).inc();
        for histogram in
            [&measured.programming, &measured.compile, &measured.apply, &measured.detection, &measured.repair]
        {
            histogram.observe(1.0);
        }
        let mut totals = Totals::default();
        let counter =
            read::Counter { direction: Direction::Egress, reason: Reason::Reply, packets: 1, bytes: 1 };
        totals.take([(1, vec![counter])]);
        text(&status, &measured, &totals)
    }

    #[test]
    fn every_metric_has_its_row_in_the_documents_and_no_other_does() {
        let text = everything();
        let help: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP "))
            .filter_map(|line| line.split_once(' '))
            .collect();
        let mut wanted = String::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let sample = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
            let labels = labels.split_once('}').map_or("", |(labels, _)| labels).split(',');
            let labels: Vec<String> = labels
                .filter_map(|label| Some(format!("`{}`", label.split_once('=')?.0)))
                .filter(|label| label != "`le`")
                .collect();
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let about = help[name.trim_end_matches("_total")].trim_end_matches('.');
            wanted.push_str(&format!("| `{name}` | {kind} | {} | {about} |\n", labels.join(", ")));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let document = std::fs::read_to_string(path).unwrap();
        let rows: String =
            document.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
        assert_eq!(rows, wanted, "the table of docs/metrics.md should be:\n{wanted}");
    }

    #[test]
    fn the_freshness_of_each_kind_is_shown() {
        let watch = WatchStatus {
            kind: "Pod".to_owned(),
            synced: true,
            objects: 7,
            heard_ms: 5500,
            away_ms: 6000,
            lists: 2,
            restarts: 3,
        };
        let text = text(
            &Status { watches: vec![watch], ..Status::default() },
            &Measured::default(),
            &Totals::default(),
        );
        for line in [
            "isolator_watch_synced{kind=\"Pod\"} 1\n",
            "isolator_watch_away{kind=\"Pod\"} 1\n",
            "isolator_watch_objects{kind=\"Pod\"} 7\n",
            "isolator_watch_last_heard_time_seconds{kind=\"Pod\"} 5.5\n",
            "isolator_watch_lists_total{kind=\"Pod\"} 2\n",
            "isolator_watch_restarts_total{kind=\"Pod\"} 3\n",
        ] {
            assert!(text.contains(line), "no {line}in {text}");
        }
    }

    #[test]
    fn packets_are_counted_by_direction_verdict_and_reason() {
        let mut totals = Totals::default();
        let counter = |reason, packets| read::Counter {
            direction: Direction::Ingress,
            reason,
            packets,
            bytes: packets * 100,
        };
        totals.take([(1, vec![counter(Reason::DefaultDeny, 3), counter(Reason::Reply, 4)])]);
        let text = text(&Status::default(), &Measured::default(), &totals);
        for line in [
            "isolator_packets_total{direction=\"ingress\",verdict=\"dropped\",reason=\"default-deny\"} 3\n",
            "isolator_packets_total{direction=\"ingress\",verdict=\"passed\",reason=\"reply\"} 4\n",
            "isolator_packets_bytes_total{direction=\"ingress\",verdict=\"dropped\",reason=\"default-deny\"} 300\n",
        ] {
            assert!(text.contains(line), "no {line}in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
