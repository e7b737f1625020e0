//! E3: the loaded programs and `judge` over the maps in memory do the same with the same packets: verdict,
//! counters, connections, while the maps change between packets. Random maps, random frames of every kind,
//! whole and broken. `ISOLATOR_PROPTEST_CASES` asks for more cases, `ISOLATOR_PROPTEST_SEED` for others.
//! Skipped, with the reason, when not root. Not here: expiry, whose clock is the kernel's own (`conntrack`).

mod maps;
mod packet;
mod sides;
mod usual;

use crate::maps::{Change, base, change, in_force_kept};
use crate::packet::{Ends, Packet, answer, packet, refused};
use crate::sides::{both, connections, connections_in, counters, counters_in, host_is_shown_bytes};
use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_agent::datapath::read::ReadOnly;
use isolator_common::reason::Reason;
use isolator_policy::datapath::memory::Memory;
use isolator_tests::image::writes;
use isolator_tests::netns::isolated;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;

/// Cases unless somebody asks for others: enough to meet every reason.
const CASES: u32 = 24;

#[derive(Clone, Copy, Debug)]
enum Step {
    Change(Change),
    Packet(Packet),
}

/// Changes, single packets, and packets with their answer and once more.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => change().prop_map(|change| vec![Step::Change(change)]),
        4 => packet().prop_map(|packet| vec![Step::Packet(packet)]),
        4 => (packet(), any::<u8>()).prop_map(|(packet, flags)| {
            let answer = Packet { flags, ..answer(packet) };
            vec![Step::Packet(packet), Step::Packet(answer), Step::Packet(packet)]
        }),
    ];
    vec(step, 30..120).prop_map(|steps| steps.concat())
}

/// Runs the steps on both sides and compares after each packet. Answers the reasons met.
fn compare(
    pins: &Path,
    start: &[Change],
    steps: &[Step],
    host: bool,
) -> Result<BTreeSet<Reason>, TestCaseError> {
    let mut image = base();
    for change in start {
        image.apply(&change.op(&image));
    }
    image.state.generation = 2;
    let mut loaded = Loaded::open(pins, &Capacities::small()).expect("load");
    let kernel = ReadOnly::open(pins).expect("open the maps");
    loaded.store.apply(&writes(&image)).expect("write");
    let mut memory = Memory::new(image);
    let mut met = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Change(change) => {
                let op = in_force_kept(change.op(&memory.image), &memory.image);
                memory.image.apply(&op);
                loaded.store.apply(&[op]).expect("write");
            }
            Step::Packet(packet) => {
                let frame = packet.bytes();
                if refused(&frame) {
                    continue;
                }
                let (outcome, passes) = both(&loaded, &memory, *packet, &frame, host);
                let what = || format!("step {number}: {packet:?} {frame:02x?}: {outcome:?} in memory");
                prop_assert_eq!(passes, outcome.reason.passes(), "{}", what());
                prop_assert_eq!(counters(&kernel), counters_in(&memory), "{}", what());
                let entries = connections(kernel.connections().expect("read connections"));
                prop_assert_eq!(entries, connections_in(&memory), "{}", what());
                met.insert(outcome.reason);
            }
        }
    }
    Ok(met)
}

/// The number in an environment variable.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn the_kernel_judges_as_memory_does() {
    let cases = asked("ISOLATOR_PROPTEST_CASES").map_or(CASES, |cases| cases as u32);
    let seed = RngSeed::Fixed(asked("ISOLATOR_PROPTEST_SEED").unwrap_or(4));
    let config =
        ProptestConfig { cases, rng_seed: seed, failure_persistence: None, ..ProptestConfig::default() };
    isolated(|dir| {
        let host = host_is_shown_bytes(dir);
        let (met, number) = (RefCell::new(BTreeSet::new()), Cell::new(0));
        let result = TestRunner::new(config).run(&(vec(change(), 80..160), steps()), |(start, steps)| {
            number.set(number.get() + 1);
            let pins = dir.join(number.get().to_string());
            let reasons = compare(&pins, &start, &steps, host);
            std::fs::remove_dir_all(&pins).expect("unpin");
            met.borrow_mut().extend(reasons?);
            Ok(())
        });
        let met = met.into_inner();
        if let Err(error) = result {
            panic!("{error}");
        }
        let possible = |reason: &&Reason| {
            !matches!(reason, Reason::UnknownEndpoint | Reason::NoState | Reason::TableFull)
        };
        let missed: Vec<_> =
            Reason::ALL.iter().filter(possible).filter(|reason| !met.contains(reason)).collect();
        assert!(cases < CASES || missed.is_empty(), "the generator never met {missed:?}");
    });
}

/// Each shape of packet at each place where packets are judged: here a difference is met whatever is generated.
#[test]
fn each_shape_is_judged_alike_at_each_place() {
    isolated(|dir| {
        let host = host_is_shown_bytes(dir);
        let pins = dir.join("shapes");
        let mut loaded = Loaded::open(&pins, &Capacities::small()).expect("load");
        let mut image = base();
        image.state.generation = 2;
        loaded.store.apply(&writes(&image)).expect("write");
        let kernel = ReadOnly::open(&pins).expect("open the maps");
        let memory = Memory::new(image);
        let (mut before, mut wrong) = (counters(&kernel), Vec::new());
        for number in 0..2 * 16 * 18 * 10 {
            let (six, number) = (number % 2 == 1, number / 2);
            let (what, around, place) = ((number % 16) as u8, (number / 16 % 18) as u8, number / (16 * 18));
            let packet = Packet {
                direction: place % 2 == 1,
                mark: if place < 8 { (place as u8 / 2) << 3 } else { 4 },
                ends: Ends::Right,
                six,
                peer: 0,
                what: what | 0xf0,
                ports: (1, 2),
                flags: 2,
                around,
                cut: u16::MAX,
                flip: (u16::MAX, 0),
            };
            let frame = packet.bytes();
            if refused(&frame) {
                continue;
            }
            let (outcome, passes) = both(&loaded, &memory, packet, &frame, host);
            let after = counters(&kernel);
            let said: Vec<_> = after
                .iter()
                .filter(|(key, count)| before.get(key) != Some(count))
                .map(|((_, _, reason), _)| *reason)
                .collect();
            if passes != outcome.reason.passes() || said.iter().any(|reason| *reason != outcome.reason) {
                wrong.push(format!("{packet:?}: {:?} in memory, {said:?} in the kernel", outcome.reason));
            }
            before = after;
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    });
}
