//! The usual packet is judged in a short way of its own: what it lets pass, the long way would have let pass for
//! the same reason, without a trace. Not here: the kernel; both ways run in memory.

use crate::maps::{Change, IFINDEX, base, change, in_force_kept, peer};
use crate::packet::{Ends, Packet, answer};
use crate::sides::{connections_in, counters_in};
use crate::{Step, steps};
use isolator_common::judge::{Arrival, Outcome, Scratch, judge, usual};
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_policy::datapath::memory::{Memory, judge_frame};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use std::collections::BTreeMap;

/// Bytes of an Ethernet header.
const ETHERNET: usize = isolator_common::packet::ETHERNET as usize;

/// Both ways for one packet, each over maps of its own.
fn both(memory: &Memory, frame: &[u8], direction: Direction) -> Option<(Outcome, Outcome)> {
    let arrival = Arrival { ifindex: IFINDEX, length: frame.len() as u32, direction };
    let (short, long) = (memory.clone(), memory.clone());
    let quick = usual(&short, frame, arrival)?;
    let slow = judge(&long, frame, &mut { Scratch::EMPTY }, arrival);
    assert_eq!(counters_in(&short), counters_in(&long), "{frame:02x?}");
    assert_eq!(connections_in(&short), connections_in(&long), "{frame:02x?}");
    assert_eq!(short.take_events().len(), long.take_events().len(), "{frame:02x?}");
    Some((quick, slow))
}

/// A plain packet of the same flow, in the middle of it.
fn later(packet: Packet) -> Packet {
    let what = if packet.what % 16 < 6 { 0 } else { 6 };
    Packet {
        mark: 4,
        ends: Ends::Right,
        what,
        flags: 2,
        around: 31,
        cut: u16::MAX,
        flip: (u16::MAX, 0),
        ..packet
    }
}

/// Frames that are nearly `packet`'s: with a TCP header that is too short, with an IPv4 address in an IPv6 header.
fn lookalikes(packet: Packet) -> [(Direction, Vec<u8>); 2] {
    let [mut short, mut mapped] = [packet.bytes(), packet.bytes()];
    short[ETHERNET + if packet.six { 40 } else { 20 } + 12] = 0x40;
    if packet.six {
        let at = ETHERNET + if packet.direction() == Direction::Ingress { 8 } else { 24 };
        mapped[at..at + 16].copy_from_slice(&peer(packet.peer, false).0);
    }
    [short, mapped].map(|frame| (packet.direction(), frame))
}

#[test]
fn the_usual_way_is_the_long_way() {
    let config = ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let met = std::cell::RefCell::new(BTreeMap::new());
    let run = |start: &[Change], steps: &[Step]| {
        let mut image = base();
        for change in start {
            image.apply(&change.op(&image));
        }
        image.state.generation = 2;
        let mut memory = Memory::new(image);
        for step in steps {
            match step {
                Step::Change(change) => {
                    let op = in_force_kept(change.op(&memory.image), &memory.image);
                    memory.image.apply(&op);
                }
                Step::Packet(packet) => {
                    let later = later(*packet);
                    let stranger = Packet { ends: Ends::Strange, ..later };
                    let broken =
                        Packet { flip: packet.flip, cut: packet.cut, around: packet.around, ..later };
                    let packets = [*packet, later, answer(later), stranger, broken, answer(broken)];
                    let frames = packets.map(|packet| (packet.direction(), packet.bytes())).into_iter();
                    for (direction, frame) in frames.chain(lookalikes(later)).chain(lookalikes(answer(later)))
                    {
                        if let Some((quick, slow)) = both(&memory, &frame, direction) {
                            prop_assert_eq!(quick, slow, "{:?} {:02x?}", direction, frame);
                            *met.borrow_mut().entry(quick.reason).or_insert(0) += 1;
                        }
                    }
                    let generation = std::mem::take(&mut memory.image.state.generation);
                    prop_assert_eq!(both(&memory, &later.bytes(), later.direction()), None);
                    memory.image.state.generation = generation;
                    judge_frame(&memory, IFINDEX, &packet.bytes(), packet.direction());
                    memory.take_events();
                }
            }
        }
        Ok(())
    };
    let result =
        TestRunner::new(config).run(&(vec(change(), 80..160), steps()), |(start, steps)| run(&start, &steps));
    if let Err(error) = result {
        panic!("{error}");
    }
    let met = met.into_inner();
    for reason in [Reason::Allowed, Reason::Established, Reason::Reply] {
        assert!(met.get(&reason).is_some_and(|times| *times > 20), "{reason:?} was hardly met: {met:?}");
    }
}
