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
use flags::Flags;
use measure::Bench;
use report::Report;
use shape::Shape;

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
/// The shapes, each small and large.
const SHAPES: [Shape; 9] = [
    Shape::Prefixes(64),
    Shape::Prefixes(10_000),
    // With the gaps between them 3 and 15 intervals, which are searched, and 17 and 4,095, which have an index.
    Shape::Ranges(SHORT),
    Shape::Ranges(8),
    Shape::Ranges(9),
    Shape::Ranges(LONG),
    Shape::Denies(2),
    Shape::Denies(1_000),
    Shape::Services(512),
];
/// Ranges of the shortest port set, and of the longest that a list may have.
const SHORT: u32 = 2;
const LONG: u32 = 2_048;

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

fn main() -> Result<()> {
    let wanted = wanted()?;
    machine::head(wanted.json, "ns per packet above the empty program")?;
    let mut report = Report::new(wanted.json);
    let sizes = wanted.policies.iter().flat_map(|policies| {
        wanted.addresses.iter().map(|addresses| (*addresses, *policies, Shape::Selectors))
    });
    let shapes = SHAPES.into_iter().filter(|_| wanted.shapes).map(|shape| (SHAPED.0, SHAPED.1, shape));
    for (addresses, policies, shape) in sizes.chain(shapes) {
        let lines = isolator_tests::netns::isolated(|pins| {
            Bench::new(pins, addresses, policies, shape)?.run(wanted.rounds, wanted.packets)
        });
        match lines {
            Some(lines) => report.add(addresses, policies, shape, lines?)?,
            None => bail!("not root; cure: run as root"),
        }
    }
    report.end()
}
