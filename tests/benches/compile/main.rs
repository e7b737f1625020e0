//! `cargo xtask bench compile`: what a change costs before the first map is written: compile, lay out, find the
//! difference; from nothing, and after one small change; and the most memory that it takes. Each cluster is
//! measured by a process of its own. Needs no privileges. Not here: map writes.

mod cluster;
#[path = "../shared/flags.rs"]
mod flags;
#[path = "../shared/machine.rs"]
mod machine;
mod measure;
#[path = "../shared/percentile.rs"]
mod percentile;
mod report;

use anyhow::{Context, Result, bail};
use cluster::{Cluster, Shape};
use flags::Flags;
use measure::{Measured, measure};
use report::Report;
use std::process::Command;

/// What to measure.
struct Wanted {
    pods: Vec<u32>,
    policies: Vec<u32>,
    shapes: Vec<Shape>,
    rounds: u32,
    /// Milliseconds for each kind of change.
    budget: f64,
    json: bool,
    /// This process measures one cluster and prints what it found for the one that started it.
    one: bool,
}

const USAGE: &str = "Usage: cargo xtask bench compile [--pods N,…] [--policies N,…] [--shapes NAME,…] [--rounds N] \
                     [--budget MS] [-o table|json]\n\
                     Shapes: mixed in all sizes; prefixes, ranges, denials, identities in one.";
/// Tells a process that it measures one cluster.
const ONE: &str = "--one";
/// Pods and policies of the shapes that have one size.
const ONE_SIZE: (u32, u32) = (10_000, 1_000);

fn shapes(text: &str) -> Result<Vec<Shape>> {
    let find = |name| Shape::ALL.into_iter().find(|shape| shape.name() == name);
    text.split(',')
        .map(|name| find(name).with_context(|| format!("there is no shape '{name}'\n{USAGE}")))
        .collect()
}

fn wanted() -> Result<Wanted> {
    let mut wanted = Wanted {
        pods: vec![10, 1_000, 100_000],
        policies: vec![10, 1_000, 10_000],
        shapes: Shape::ALL.to_vec(),
        rounds: 100,
        budget: 300.0,
        json: false,
        one: false,
    };
    let mut flags = Flags::new(USAGE);
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "--pods" => wanted.pods = flags.numbers()?,
            "--policies" => wanted.policies = flags.numbers()?,
            "--shapes" => wanted.shapes = shapes(&flags.value()?)?,
            "--rounds" => wanted.rounds = flags.numbers()?[0],
            "--budget" => wanted.budget = f64::from(flags.numbers()?[0]),
            "-o" => wanted.json = flags.json()?,
            ONE => wanted.one = true,
            _ => return Err(flags.unknown()),
        }
    }
    Ok(wanted)
}

fn clusters(wanted: &Wanted) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for &shape in &wanted.shapes {
        if shape != Shape::Mixed && !wanted.one {
            clusters.push(Cluster { shape, pods: ONE_SIZE.0, policies: ONE_SIZE.1 });
            continue;
        }
        for &policies in &wanted.policies {
            clusters.extend(wanted.pods.iter().map(|&pods| Cluster { shape, pods, policies }));
        }
    }
    clusters
}

/// Measures a cluster in a process of its own, so that its memory is its own, too.
fn apart(cluster: Cluster, wanted: &Wanted) -> Result<Measured> {
    let Cluster { shape, pods, policies } = cluster;
    let mut child = Command::new(std::env::current_exe()?);
    child.args([ONE, "--shapes", shape.name()]);
    for (flag, value) in [
        ("--pods", pods.to_string()),
        ("--policies", policies.to_string()),
        ("--rounds", wanted.rounds.to_string()),
        ("--budget", (wanted.budget as u32).to_string()),
    ] {
        child.args([flag, &value]);
    }
    let output =
        child.stderr(std::process::Stdio::inherit()).output().context("start a process for a cluster")?;
    if !output.status.success() {
        bail!("the process for {} pods and {} policies failed: {}", pods, policies, output.status);
    }
    serde_json::from_slice(&output.stdout).context("read what a process measured")
}

fn main() -> Result<()> {
    let wanted = wanted()?;
    if wanted.one {
        for cluster in clusters(&wanted) {
            println!("{}", serde_json::to_string(&measure(cluster, wanted.rounds, wanted.budget)?)?);
        }
        return Ok(());
    }
    machine::head(wanted.json, "ms of one thread's processor time, p50 / p99")?;
    let report = Report::new(wanted.json);
    for cluster in clusters(&wanted) {
        report.add(cluster, &apart(cluster, &wanted)?);
    }
    Ok(())
}
