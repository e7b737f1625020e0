//! `cargo xtask bench apply`: how long a changed manifest takes until the last map write, with the real daemon, real
//! maps and real interfaces, in namespaces of its own. Needs root. Not here: what packets cost (`datapath`), what
//! compiling costs by itself (`compile`).
//!
//! The daemon says when its last write was done and where the time went (`took` of its status); the benchmark says
//! when the edit began, by the same clock: just before a finished file is moved into its place.

mod agent;
mod manifests;

use agent::Agent;
use anyhow::{Context, Result, bail};
use isolator_agent::status::Phases;
use manifests::Manifests;
use serde_json::json;
use std::fs;
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

fn numbers(text: &str) -> Result<Vec<u32>> {
    text.split(',').map(|n| n.parse().with_context(|| format!("'{n}' is no number\n{USAGE}"))).collect()
}

fn wanted() -> Result<Option<Wanted>> {
    let mut wanted = Wanted {
        daemon: "target/release/isolator".into(),
        pods: vec![10, 1_000, 100_000],
        policies: vec![10, 1_000, 10_000],
        json: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{flag} needs a value\n{USAGE}"));
        match flag.as_str() {
            // Cargo adds it.
            "--bench" => {}
            "-h" | "--help" => return Ok(None),
            "--daemon" => wanted.daemon = value()?.into(),
            "--pods" => wanted.pods = numbers(&value()?)?,
            "--policies" => wanted.policies = numbers(&value()?)?,
            "-o" => match value()?.as_str() {
                "table" => wanted.json = false,
                "json" => wanted.json = true,
                other => bail!("there is no output '{other}'\n{USAGE}"),
            },
            other => bail!("there is no flag '{other}'\n{USAGE}"),
        }
    }
    Ok(Some(wanted))
}

fn main() -> Result<()> {
    let Some(wanted) = wanted()? else {
        println!("{USAGE}");
        return Ok(());
    };
    head(wanted.json)?;
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

fn head(json: bool) -> Result<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = model.map_or("unknown CPU", |(_, name)| name.trim());
    let cpus = std::thread::available_parallelism()?;
    if json {
        println!("{}", json!({"kernel": kernel, "cpu": cpu, "cpus": cpus.get()}));
        return Ok(());
    }
    println!("Linux {kernel}, {cpu}, {cpus} CPUs; ms from a changed file to the last map write");
    println!(
        "p50 of each part: wait for more, read, convert, index, compile, layout, diff, write with its grace period\n"
    );
    println!(
        "{:>7} {:>8}  {:<7} {:>5} {:>8} {:>8}  {:>6} {:>6} {:>7} {:>6} {:>7} {:>7} {:>6} {:>6}",
        "pods",
        "policies",
        "changed",
        "edits",
        "p50",
        "p99",
        "wait",
        "read",
        "convert",
        "index",
        "compile",
        "layout",
        "diff",
        "write"
    );
    Ok(())
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

/// The value that `percent` of all do not exceed.
fn percentile(values: &mut [u64], percent: usize) -> f64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get(last * percent / 100).map_or(f64::NAN, |micros| *micros as f64 / 1000.0)
}

fn report(json: bool, pods: u32, policies: u32, kind: &str, edits: &[(u64, Phases)]) {
    let mut total: Vec<u64> = edits.iter().map(|(total, _)| *total).collect();
    let (p50, p99) = (percentile(&mut total, 50), percentile(&mut total, 99));
    let part = |of: fn(&Phases) -> u64| {
        percentile(&mut edits.iter().map(|(_, took)| of(took)).collect::<Vec<_>>(), 50)
    };
    let parts: [(&str, f64); 8] = [
        ("wait", part(|took| took.wait_us)),
        ("read", part(|took| took.read_us)),
        ("convert", part(|took| took.convert_us)),
        ("index", part(|took| took.index_us)),
        ("compile", part(|took| took.compile_us)),
        ("layout", part(|took| took.layout_us)),
        ("diff", part(|took| took.diff_us)),
        ("write", part(|took| took.write_us)),
    ];
    if json {
        let parts: serde_json::Map<_, _> =
            parts.iter().map(|(name, ms)| ((*name).to_owned(), json!(ms))).collect();
        let line = json!({"pods": pods, "policies": policies, "changed": kind, "edits": edits.len(),
            "p50_ms": p50, "p99_ms": p99, "parts_p50_ms": parts});
        println!("{line}");
        return;
    }
    let [wait, read, convert, index, compile, layout, diff, write] = parts.map(|(_, ms)| ms);
    println!(
        "{:>7} {:>8}  {kind:<7} {:>5} {p50:>8.1} {p99:>8.1}  {wait:>6.1} {read:>6.1} {convert:>7.1} {index:>6.1} \
         {compile:>7.1} {layout:>7.1} {diff:>6.1} {write:>6.1}",
        "",
        "",
        edits.len()
    );
}
