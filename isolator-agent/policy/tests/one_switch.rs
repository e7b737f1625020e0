//! E2: after every prefix of an update's operations each flow has the old verdict or the new one, never one that
//! neither has; also across updates that are cut off at any operation and taken up from what was left. Flows
//! between two endpoints of the node count as one. Not here: the kernel (the lab flips policies under probes).

mod world;

use isolator_common::addr::Addr;
use isolator_common::policy::{Direction, decide, port_key};
use isolator_common::tables::locate;
use isolator_policy::datapath::diff::{diff, take_up};
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::layout::{Capacities, Layout, Params, layout};
use isolator_policy::datapath::memory::{Memory, judge_frame};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::{BTreeMap, BTreeSet};
use world::{INTERFACES, Knobs, PORTS, World, knobs, mixed, outside, pool};

/// Fixed cases unless somebody asks for others with PROPTEST_CASES or PROPTEST_RNG_SEED.
fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(2);
    }
    config
}

fn params() -> Params {
    Params { ticks_per_second: 100, events_per_second: 100, capacities: Capacities::default() }
}

/// One end of a flow: its address, and its interface if it is on the node.
type End = (Option<u32>, Addr);

#[derive(Clone, Debug)]
struct Flow {
    from: End,
    to: End,
    port: (u8, u16),
}

impl Flow {
    fn frame(&self) -> Vec<u8> {
        Frame::flow(self.from.1, self.to.1, self.port.0, self.port.1).bytes()
    }

    fn allowed(&self, world: &World) -> bool {
        let egress = self
            .from
            .0
            .is_none_or(|i| world.allows(i, &self.from.1, &self.to.1, Direction::Egress, self.port));
        egress
            && self
                .to
                .0
                .is_none_or(|i| world.allows(i, &self.to.1, &self.from.1, Direction::Ingress, self.port))
    }

    fn passes(&self, memory: &Memory) -> bool {
        let frame = self.frame();
        memory.forget_all();
        let at = |ifindex: u32, direction| judge_frame(memory, ifindex, &frame, direction).reason.passes();
        self.from.0.is_none_or(|i| at(i, Direction::Egress))
            && self.to.0.is_none_or(|i| at(i, Direction::Ingress))
    }
}

/// Flows that touch an interface of the node, with addresses of every world.
fn flows(worlds: &[World], pick: usize) -> Vec<Flow> {
    let mut local: BTreeSet<(u32, Addr)> = BTreeSet::new();
    for world in worlds {
        for ifindex in INTERFACES {
            local.extend(world.owned(ifindex).into_iter().map(|addr| (ifindex, addr)));
        }
    }
    let remotes: Vec<Addr> = pool().into_iter().step_by(3).chain(outside()).collect();
    let mut flows = Vec::new();
    for (ifindex, addr) in &local {
        let here = (Some(*ifindex), *addr);
        let there = local.iter().map(|(i, a)| (Some(*i), *a)).chain(remotes.iter().map(|a| (None, *a)));
        // A pod that talks to its own address is not judged by policy at all, whoever else has the address.
        for there in there.filter(|(i, a)| a.is_v4() == addr.is_v4() && *i != here.0 && a != addr) {
            for port in PORTS {
                flows.push(Flow { from: here, to: there, port });
                if there.0.is_none() {
                    flows.push(Flow { from: there, to: here, port });
                }
            }
        }
    }
    flows.into_iter().skip(pick % 7).step_by(7).collect()
}

/// What a packet of one generation can read: the group of each address, and for each endpoint what its rows say
/// of these groups.
#[derive(Debug, PartialEq)]
struct Sight {
    groups: BTreeMap<Addr, Option<u32>>,
    rows: BTreeMap<u32, Vec<u32>>,
}

fn sight(memory: &Memory, generation: u32) -> Sight {
    let addrs = pool().into_iter().chain(outside());
    let groups: BTreeMap<Addr, Option<u32>> =
        addrs.map(|addr| (addr, locate(memory, &addr, generation).map(|found| found.1))).collect();
    let seen: BTreeSet<u32> = groups.values().flatten().copied().collect();
    let words = |endpoint: &isolator_common::endpoint::Endpoint| {
        let mut words = Vec::new();
        for direction in Direction::BOTH {
            let row = endpoint.row(generation, direction);
            for group in &seen {
                words.extend(
                    PORTS.map(|(p, n)| decide(memory, (row.base, row.len), *group, port_key(p, n)).0),
                );
            }
        }
        words
    };
    let rows = memory.image.endpoints.iter().map(|(ifindex, endpoint)| (*ifindex, words(endpoint))).collect();
    Sight { groups, rows }
}

/// Applies operations one by one. After each one, every flow is judged as the worlds allow in every generation
/// that a packet may still be judged by (`in_flight`), and nothing that such a packet reads has changed.
fn play(
    memory: &mut Memory,
    in_flight: &mut Vec<u32>,
    ops: &[Op],
    worlds: &[&World],
    flows: &[Flow],
) -> Result<(), TestCaseError> {
    let expected: Vec<(bool, bool)> = flows
        .iter()
        .map(|flow| {
            let allowed = worlds.iter().map(|world| flow.allowed(world));
            (allowed.clone().all(|a| a), allowed.into_iter().any(|a| a))
        })
        .collect();
    for (i, op) in ops.iter().enumerate() {
        let before: Vec<Sight> = in_flight.iter().map(|g| sight(memory, *g)).collect();
        memory.image.apply(op);
        for (generation, before) in in_flight.iter().zip(&before) {
            let mut now = sight(memory, *generation);
            let mut before = Sight { groups: before.groups.clone(), rows: before.rows.clone() };
            // An endpoint that comes or goes changes what can be seen; its rows are empty then.
            now.rows.retain(|ifindex, _| before.rows.contains_key(ifindex));
            before.rows.retain(|ifindex, _| now.rows.contains_key(ifindex));
            prop_assert_eq!(&before, &now, "generation {} sees operation {}: {:?}", generation, i, op);
        }
        match op {
            Op::State(state) if !in_flight.contains(&state.generation) => in_flight.push(state.generation),
            Op::Grace => *in_flight = vec![memory.image.state.generation],
            _ => {}
        }
        let state = memory.image.state;
        for generation in in_flight.iter() {
            memory.image.state.generation = *generation;
            for (flow, (all, any)) in flows.iter().zip(&expected) {
                let passes = flow.passes(memory);
                prop_assert!(passes || !all, "{:?} is lost after {}: {:?}", flow, i, op);
                prop_assert!(!passes || *any, "{:?} slips through after {}: {:?}", flow, i, op);
            }
        }
        memory.image.state = state;
    }
    Ok(())
}

/// The worlds of some knobs, each a change of the one before.
fn worlds(start: &Knobs, changes: &[(Knobs, Vec<u8>)]) -> Vec<World> {
    let mut now = start.clone();
    let mut worlds = vec![World::from(&now)];
    for (other, mask) in changes {
        now = mixed(&now, other, mask);
        worlds.push(World::from(&now));
    }
    worlds
}

fn changes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(Knobs, Vec<u8>)>> {
    prop::collection::vec((knobs(), prop::collection::vec(any::<u8>(), 13)), len)
}

fn next(image: &Image, world: &World) -> Image {
    layout(image, &world.compiled, &world.attachments, &params()).expect("fits")
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn every_prefix_of_an_update_is_old_or_new(
        start in knobs(),
        changes in changes(1..4),
        pick in 0usize..7,
        goes_on: bool,
    ) {
        let nothing = World::default();
        let worlds = worlds(&start, &changes);
        let flows = flows(&worlds, pick);
        let (mut memory, mut in_flight) = (Memory::default(), vec![0]);
        let mut before = &nothing;
        // Whether it goes on from what it did last, or from what it reads back, an update is an update.
        let mut going_on = Layout::default();
        for world in &worlds {
            let World { compiled, attachments } = world;
            let image = match goes_on {
                true => going_on.next(&memory.image, compiled, attachments, &params()).expect("fits"),
                false => next(&memory.image, world),
            };
            let ops = diff(&memory.image, &image);
            play(&mut memory, &mut in_flight, &ops, &[before, world], &flows)?;
            prop_assert_eq!(&memory.image, &image);
            memory.image = image.clone();
            for flow in &flows {
                prop_assert_eq!(flow.passes(&memory), flow.allowed(world), "{:?}", flow);
            }
            let again = going_on.next(&image, compiled, attachments, &params()).expect("fits");
            prop_assert_eq!(again, image.clone(), "equal input gives an equal image");
            prop_assert_eq!(next(&image, world), image, "and so it does from nothing");
            before = world;
        }
    }

    #[test]
    fn an_update_that_was_cut_off_is_taken_up_safely(
        start in knobs(),
        changes in changes(2..4),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 4),
        pick in 0usize..7,
    ) {
        let nothing = World::default();
        let worlds = worlds(&start, &changes);
        let flows = flows(&worlds, pick);
        let (mut memory, mut in_flight) = (Memory::default(), vec![0]);
        let mut possible = vec![&nothing];
        for (world, (cut, at_switch)) in worlds.iter().zip(&cuts) {
            let image = next(&memory.image, world);
            let ops = take_up(&memory.image, &image);
            possible.push(world);
            // The one place among many where packets may be judged by what the next update prepares.
            let switch = ops.iter().position(|op| matches!(op, Op::State(_))).filter(|_| *at_switch);
            let done = &ops[..switch.map_or_else(|| cut.index(ops.len() + 1), |at| at + 1)];
            play(&mut memory, &mut in_flight, done, &possible, &flows)?;
        }
        let last = worlds.last().expect("one at least");
        let image = next(&memory.image, last);
        let ops = take_up(&memory.image, &image);
        play(&mut memory, &mut in_flight, &ops, &possible, &flows)?;
        prop_assert_eq!(&memory.image, &image);
        prop_assert_eq!(next(&image, last), image);
        for flow in &flows {
            prop_assert_eq!(flow.passes(&memory), flow.allowed(last), "{:?}", flow);
        }
    }
}
