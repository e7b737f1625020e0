//! `cargo xtask bench datapath`: what a packet costs in the kernel programs, beside programs that do the least
//! that its part of the work can cost. Needs root. Not here: real interfaces; the programs run on packets in
//! memory (BPF_PROG_TEST_RUN), and the cost of an empty program is taken off.
//!
//! How peers take turns: the kernel runs one packet many times. So a small program (`turn` in
//! `isolator-ebpf/src/floor.rs`) writes the next peer's address into it and goes on with the program under
//! test; what it costs before the empty program is taken off, too.

mod cluster;
#[path = "../shared/flags.rs"]
mod flags;
mod floor;
#[path = "../shared/machine.rs"]
mod machine;
mod measure;
mod report;
mod shape;

use anyhow::{Result, bail};
use cluster::Cluster;
use flags::Flags;
use measure::{Bench, Line};
use report::Report;
use shape::Shape;
use std::path::PathBuf;

/// What to measure.
struct Wanted {
    addresses: Vec<u32>,
    policies: Vec<u32>,
    rounds: u32,
    packets: u32,
    shapes: bool,
    json: bool,
}

const USAGE: &str = "Usage: cargo xtask bench datapath [--addresses N,…] [--policies N,…] [--no-shapes] \
                     [--rounds N] [--packets N] [-o table|json]";

/// Addresses and policies of the clusters in which shapes of policies are compared.
const SHAPED: (u32, u32) = (1_000, 10);
/// The shapes, from small to large.
const SHAPES: [&[Shape]; 4] = [
    &[Shape::Prefixes(64), Shape::Prefixes(10_000)],
    // With the gaps between them 3 and 15 intervals, which are searched, and 17 and 4,095, which have an index; a list has no more.
    &[Shape::Ranges(2), Shape::Ranges(8), Shape::Ranges(9), Shape::Ranges(2_048)],
    &[Shape::Denies(2), Shape::Denies(1_000)],
    &[Shape::Services(512)],
];

fn wanted() -> Result<Wanted> {
    let mut wanted = Wanted {
        addresses: vec![10, 1_000, 100_000],
        policies: vec![10, 1_000, 10_000],
        rounds: 5,
        packets: 200_000,
        shapes: true,
        json: false,
    };
    let mut flags = Flags::new(USAGE);
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "--addresses" => wanted.addresses = flags.numbers()?,
            "--policies" => wanted.policies = flags.numbers()?,
            "--no-shapes" => wanted.shapes = false,
            "--rounds" => wanted.rounds = flags.numbers()?[0],
            "--packets" => wanted.packets = flags.numbers()?[0],
            "-o" => wanted.json = flags.json()?,
            _ => return Err(flags.unknown()),
        }
    }
    Ok(wanted)
}

/// Clusters that are measured in turns, the smallest first, the largest last: what differs between them is not that the
/// machine was slower for one of them.
fn series(wanted: &Wanted) -> Vec<Vec<Cluster>> {
    let Wanted { addresses, policies, .. } = wanted;
    let selectors = |addresses, policies| Cluster { addresses, policies, shape: Shape::Selectors };
    let mut series = Vec::new();
    for policies in policies {
        series.push(addresses.iter().map(|addresses| selectors(*addresses, *policies)).collect());
    }
    if let ([few, .., many], [short, .., long]) = (addresses.as_slice(), policies.as_slice()) {
        series.push(vec![selectors(*few, *short), selectors(*many, *long)]);
    }
    let (addresses, policies) = SHAPED;
    let shaped = SHAPES.iter().filter(|_| wanted.shapes);
    series.extend(
        shaped.map(|shapes| {
            shapes.iter().map(|shape| Cluster { addresses, policies, shape: *shape }).collect()
        }),
    );
    series
}

fn main() -> Result<()> {
    let wanted = wanted()?;
    machine::head(wanted.json, "ns per packet above the empty program")?;
    let mut report = Report::new(wanted.json);
    for clusters in series(&wanted) {
        let measured = isolator_tests::netns::isolated(|pins| -> Result<Vec<Vec<Line>>> {
            let folders: Vec<PathBuf> =
                (0..clusters.len()).map(|number| pins.join(number.to_string())).collect();
            let mut benches = Vec::new();
            for (cluster, folder) in clusters.iter().zip(&folders) {
                benches.push(Bench::new(folder, *cluster)?);
            }
            // A small one lacks some.
            let cases = benches.iter().map(Bench::cases).max_by_key(Vec::len).unwrap_or_default();
            for round in 0..wanted.rounds {
                for case in &cases {
                    for bench in &mut benches {
                        bench.again(*case, round, wanted.packets)?;
                    }
                }
            }
            Ok(benches.into_iter().map(|bench| bench.lines).collect())
        });
        match measured {
            Some(lines) => report.add(&clusters, &lines?),
            None => bail!("not root; cure: run as root"),
        }
    }
    report.end();
    Ok(())
}
