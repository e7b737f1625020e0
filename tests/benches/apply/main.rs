//! `cargo xtask bench apply`: how long until a changed manifest is in force, with the real daemon, real maps and
//! real interfaces, in namespaces of its own. Needs root. Not here: what packets cost (`datapath`), what
//! compiling costs by itself (`compile`).
//!
//! The daemon says when it switched and where the time went (`took` of its status); the benchmark says
//! when the edit began, by the same clock: just before a finished file is moved into its place.

mod agent;
#[path = "../shared/flags.rs"]
mod flags;
#[path = "../shared/machine.rs"]
mod machine;
mod manifests;
#[path = "../shared/percentile.rs"]
mod percentile;

use agent::Agent;
use anyhow::{Context, Result, bail};
use flags::Flags;
use isolator_agent::status::Phases;
use manifests::Manifests;
use percentile::percentile;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest time for the edits of one kind in one cluster.
const BUDGET: Duration = Duration::from_secs(3);
/// Most edits of one kind.
const EDITS: usize = 200;

/// What to measure.
struct Wanted {
    daemon: PathBuf,
    pods: Vec<u32>,
    policies: Vec<u32>,
    json: bool,
}

const USAGE: &str =
    "Usage: cargo xtask bench apply [--daemon PATH] [--pods N,…] [--policies N,…] [-o table|json]";

fn wanted() -> Result<Wanted> {
    let mut wanted = Wanted {
        daemon: "target/release/isolator".into(),
        pods: vec![10, 1_000, 100_000],
        policies: vec![10, 1_000, 10_000],
        json: false,
    };
    let mut flags = Flags::new(USAGE);
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "--daemon" => wanted.daemon = flags.value()?.into(),
            "--pods" => wanted.pods = flags.numbers()?,
            "--policies" => wanted.policies = flags.numbers()?,
            "-o" => wanted.json = flags.json()?,
            _ => return Err(flags.unknown()),
        }
    }
    Ok(wanted)
}

fn main() -> Result<()> {
    let wanted = wanted()?;
    machine::head(wanted.json, "ms from a changed file until it is in force")?;
    if !wanted.json {
        columns();
    }
    for &pods in &wanted.pods {
        for &policies in &wanted.policies {
            match isolator_tests::netns::isolated(|pins| one(&wanted, pins, pods, policies)) {
                Some(result) => result.with_context(|| format!("{pods} pods, {policies} policies"))?,
                None => bail!("not root; cure: run as root"),
            }
        }
    }
    Ok(())
}

fn columns() {
    println!(
        "p50 of each part, and the parts of the slowest edit: wait for more, read, convert, index, compile, layout,\n\
         diff, write; after that: settle, the grace period and the cleaning up\n"
    );
    let parts = in_columns(PARTS.map(|(name, _)| name.to_owned()));
    println!(
        "{:>7} {:>8}  {:<7} {:>5} {:>8} {:>8}  {parts}",
        "pods", "policies", "changed", "edits", "p50", "p99"
    );
}

/// One cluster: a daemon that reads it, and edits of both kinds.
fn one(wanted: &Wanted, pins: &std::path::Path, pods: u32, policies: u32) -> Result<()> {
    let manifests = Manifests::write(pods, policies)?;
    let mut agent = Agent::start(&wanted.daemon, pins, &manifests)?;
    let synced = agent.until_synced()?;
    if wanted.json {
        println!("{}", json!({"pods": pods, "policies": policies, "first_sync_ms": synced.as_millis()}));
    } else {
        println!("{pods:>7} {policies:>8}  first sync in {:.2} s", synced.as_secs_f64());
    }
    for kind in ["policy", "pod"] {
        let mut edits = Vec::new();
        let began = Instant::now();
        while edits.len() < EDITS && began.elapsed() < BUDGET {
            let changed = if kind == "policy" { manifests.edit_policy()? } else { manifests.edit_pod()? };
            edits.push(agent.until_done(changed)?);
        }
        report(wanted.json, pods, policies, kind, &edits);
    }
    Ok(())
}

/// A part of an edit: its name, and its microseconds.
type Part = (&'static str, fn(&Phases) -> u64);

/// The parts of an edit, in the order of the columns.
const PARTS: [Part; 9] = [
    ("wait", |took| took.wait_us),
    ("read", |took| took.read_us),
    ("convert", |took| took.convert_us),
    ("index", |took| took.index_us),
    ("compile", |took| took.compile_us),
    ("layout", |took| took.layout_us),
    ("diff", |took| took.diff_us),
    ("write", |took| took.write_us),
    ("settle", |took| took.settle_us),
];

fn report(json: bool, pods: u32, policies: u32, kind: &str, edits: &[(u64, Phases)]) {
    let ms = |micros: u64| micros as f64 / 1000.0;
    let total = |percent| percentile(edits.iter().map(|(total, _)| ms(*total)), percent);
    let (p50, p99) = (total(50), total(99));
    let usual = PARTS.map(|(_, of)| percentile(edits.iter().map(|(_, took)| ms(of(took))), 50));
    let slowest = edits.iter().max_by_key(|(total, _)| *total);
    let slowest = slowest.map(|(total, took)| (ms(*total), PARTS.map(|(_, of)| ms(of(took)))));
    if json {
        let named = |parts: &[f64]| -> serde_json::Map<_, _> {
            PARTS.iter().zip(parts).map(|((name, _), ms)| ((*name).to_owned(), json!(ms))).collect()
        };
        let line = json!({"pods": pods, "policies": policies, "changed": kind, "edits": edits.len(),
            "p50_ms": p50, "p99_ms": p99, "parts_p50_ms": named(&usual),
            "slowest_ms": slowest.map(|(total, _)| total), "slowest_parts_ms": slowest.map(|(_, parts)| named(&parts))});
        println!("{line}");
        return;
    }
    println!(
        "{:>7} {:>8}  {kind:<7} {:>5} {p50:>8.1} {p99:>8.1}  {}",
        "",
        "",
        edits.len(),
        in_columns(usual.map(tenths))
    );
    if let Some((total, parts)) = slowest {
        println!(
            "{:>7} {:>8}  {:<7} {:>5} {:>8} {total:>8.1}  {}",
            "",
            "",
            "",
            "",
            "slowest",
            in_columns(parts.map(tenths))
        );
    }
}

fn tenths(ms: f64) -> String {
    format!("{ms:.1}")
}

/// One text for each part, below its name.
fn in_columns(texts: [String; PARTS.len()]) -> String {
    let wide = PARTS
        .iter()
        .zip(&texts)
        .map(|((name, _), text)| format!("{text:>width$}", width = name.len().max(6)));
    wide.collect::<Vec<_>>().join(" ")
}
