//! E3: the loaded programs and `judge` over the maps in memory do the same with the same packets: verdict,
//! counters, connections, while the maps change between packets. Random maps, random frames of every kind,
//! whole and broken. `ISOLATOR_PROPTEST_CASES` asks for more cases, `ISOLATOR_PROPTEST_SEED` for others.
//! Skipped, with the reason, when not root. Not here: expiry, whose clock is the kernel's own (`conntrack`).

use aya::programs::ProgramError;
use isolator_agent::datapath::hook::Hook;
use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_agent::datapath::read::ReadOnly;
use isolator_agent::datapath::run::RunResult;
use isolator_common::ABI_VERSION;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::{Connection, ConnectionKey, Table};
use isolator_common::endpoint::{Endpoint, Marking, Peer, Row, State};
use isolator_common::judge::Outcome;
use isolator_common::packet::Start;
use isolator_common::policy::{Direction, INDEXED, Interval, Kind, NODE, Word, port_key};
use isolator_common::reason::Reason;
use isolator_policy::datapath::frame::{Frame, arp};
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::memory::{Memory, judge_frame, judge_marked};
use isolator_tests::image::writes;
use isolator_tests::netns::isolated;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Test runs arrive at the loopback interface.
const IFINDEX: u32 = 1;
const SLOT: u32 = 5;
/// Another endpoint: who sent marked packets.
const SENDER: u32 = 9;
const SENDER_SLOT: u32 = 6;
/// The marks of both, and bits of somebody else.
const MASK: u32 = 0x00ff_0000;
const FOREIGN: u32 = 0x4000;
/// Cases unless somebody asks for others: enough to meet every reason.
const CASES: u32 = 24;
/// Cells of a row.
const GROUPS: u32 = 6;
/// Seconds so long that no entry grows old during a test.
const TICKS: u32 = 1_000_000;

fn v6(network: u8, host: u8) -> Addr {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1], bytes[15]) = (0xfd, network, host);
    Addr(bytes)
}

fn pod(six: bool) -> Addr {
    if six { v6(0, 2) } else { Addr::v4([10, 0, 0, 2]) }
}

/// Addresses that maps may know: in a dense block, alone, by prefix, or not at all; and the pod's own.
fn peer(number: u8, six: bool) -> Addr {
    let number = number % 8;
    match (number, six) {
        (0..=2, false) => Addr::v4([10, 0, 0, 10 + number]),
        (0..=2, true) => v6(0, 10 + number),
        (3..=4, false) => Addr::v4([172, 16, number, 1]),
        (3..=4, true) => v6(number, 1),
        (5, false) => Addr::v4([192, 0, 2, 9]),
        (5, true) => v6(0xee, 9),
        (6, _) => pod(six),
        (_, false) => Addr::v4([203, 0, 113, number]),
        (_, true) => v6(0xff, number),
    }
}

/// A change of one entry of the maps, from random numbers.
#[derive(Clone, Copy, Debug)]
struct Change {
    what: u8,
    place: u8,
    group: u32,
    kind: u8,
}

impl Change {
    fn op(self, before: &Image) -> Op {
        let place = u32::from(self.place);
        let six = self.kind & 1 == 1;
        let groups = [self.group % (GROUPS + 2), u32::from(self.kind) % (GROUPS + 2)];
        let known = Peer { identity: place + 1, groups };
        let addr = peer(self.place, six);
        match self.what % 9 {
            0..=2 => {
                let kind = self.kind % 10;
                let number = if kind == Kind::Ports as u8 { 64 + 16 * (place % 5) } else { place };
                let word = Word(u32::from(kind) << 28 | number);
                Op::Cell(8 + self.group % (6 * GROUPS), word)
            }
            3 => Op::BlockPeer((1 + u32::from(six)) << 8 | addr.in_block(), known),
            4 => Op::Host(addr, (!self.group.is_multiple_of(4)).then_some(known)),
            5 => {
                let prefix = match place % 4 {
                    0 => Prefix::new(addr, 120),
                    1 => Prefix::new(addr, 96 + 12),
                    2 => Prefix::new(addr, 128),
                    _ if six => Prefix::ALL_V6,
                    _ => Prefix::ALL_V4,
                };
                Op::Prefix(prefix, (!self.group.is_multiple_of(4)).then_some(known))
            }
            6 => {
                let ifindex = if self.kind & 8 == 0 { IFINDEX } else { SENDER };
                let mut endpoint = before.endpoints[&ifindex];
                let row = &mut endpoint.rows[usize::from(six)][usize::from(self.kind >> 1 & 1)];
                row.flags ^= Row::CONNECTION_FIRST;
                row.len = GROUPS - u32::from(self.kind & 4 != 0);
                Op::Endpoint(ifindex, Some(endpoint))
            }
            7 => {
                let marking = Marking::new(MASK).expect("a mask");
                Op::Marking(if self.kind.is_multiple_of(4) { marking.closed() } else { marking })
            }
            _ => Op::State(State { generation: before.state.generation + 1, ..before.state }),
        }
    }
}

/// The change without what it does to an address in the generation in force: the agent never touches that, and
/// the programs rely on it.
fn in_force_kept(op: Op, before: &Image) -> Op {
    let half = (before.state.generation & 1) as usize;
    let kept = |old: Option<&Peer>, new: Option<Peer>| {
        let old = old.copied().unwrap_or(Peer::NOBODY);
        let mut new = new.unwrap_or(Peer::NOBODY);
        new.groups[half] = old.groups[half];
        if old.groups[half] != Peer::ABSENT {
            new.identity = old.identity;
        }
        new
    };
    let there = |peer: Peer| (peer.groups != Peer::NOBODY.groups).then_some(peer);
    match op {
        Op::BlockPeer(index, new) => Op::BlockPeer(index, kept(before.block_peers.get(&index), Some(new))),
        Op::Host(addr, new) => Op::Host(addr, there(kept(before.hosts.get(&addr), new))),
        Op::Prefix(prefix, new) => {
            // A prefix hides the shorter ones, in both generations; the trie knows no families.
            let covers = |around: &Prefix| {
                around.bits <= prefix.bits && Prefix::new(prefix.addr, around.bits).addr == around.addr
            };
            let around = before.prefixes.iter().filter(|(around, _)| covers(around));
            let longest = around.max_by_key(|(around, _)| around.bits);
            Op::Prefix(prefix, there(kept(longest.map(|(_, peer)| peer), new)))
        }
        other => other,
    }
}

/// Maps with one endpoint, port sets of several lengths and one block of each family; everything else is made
/// by changes.
fn base() -> Image {
    let state =
        State { generation: 2, abi_version: ABI_VERSION, ticks_per_second: TICKS, events_per_second: 9 };
    let mut image = Image { state, ..Image::default() };
    let row = |number| Row { base: 8 + number * GROUPS, len: GROUPS, flags: 0 };
    let endpoint = Endpoint {
        ifindex: IFINDEX,
        slot: SLOT,
        id: 77,
        identity: 5000,
        tenant: 3,
        flags: Endpoint::KNOWN,
        share: 0,
        reserved: 0,
        addrs: [pod(false), pod(true)],
        rows: [[row(0), row(1)], [row(2), row(3)]],
    };
    image.endpoints.insert(IFINDEX, endpoint);
    let sender = Endpoint {
        ifindex: SENDER,
        slot: SENDER_SLOT,
        id: 78,
        addrs: [peer(0, false), peer(0, true)],
        rows: [[row(4), row(5)], [row(5), row(4)]],
        ..endpoint
    };
    image.endpoints.insert(SENDER, sender);
    image.marking = Marking::new(MASK).expect("a mask");
    image.blocks.insert(pod(false).block(), 1);
    image.blocks.insert(pod(true).block(), 2);
    let kinds = [
        Kind::Allow,
        Kind::DefaultDeny,
        Kind::AllowTracked,
        Kind::Tenancy,
        Kind::Service,
        Kind::Deny,
        Kind::ServiceTracked,
    ];
    for (set, len) in [1, 3, 8, 13].into_iter().enumerate() {
        let header = 64 + 16 * set as u32;
        image.intervals.insert(header, u64::from(len));
        for i in 0..len {
            let start = if i == 0 { 0 } else { port_key([6, 17, 1][i as usize % 3], (i as u16 - 1) / 3) };
            let word = Word::new(kinds[(i as usize + set) % kinds.len()], i + 100);
            image.intervals.insert(header + 1 + i, Interval { start, word }.pack());
        }
        // Sorted, as every set is.
        let mut sorted: Vec<u64> = (1..=len).map(|i| image.intervals[&(header + i)]).collect();
        sorted.sort_unstable();
        (1..=len).zip(sorted).for_each(|(i, raw)| {
            image.intervals.insert(header + i, raw);
        });
    }
    index(&mut image, 64 + 16 * 4);
    image
}

/// An index of ports: nodes for TCP and UDP, of which that for TCP leads on for the lowest 512 ports, and a word
/// that is missing.
fn index(image: &mut Image, header: u32) {
    let mut entries = vec![u64::from(Word::new(Kind::DefaultDeny, 90).0); 5 * NODE as usize];
    let node = |number: u64| (number * u64::from(NODE)) << 32;
    entries[6] = node(1);
    entries[17] = node(2);
    entries[58] = 0;
    entries[NODE as usize] = node(3);
    entries[NODE as usize + 1] = node(4);
    for (at, kind) in [(80, Kind::Allow), (53, Kind::AllowTracked), (255, Kind::Deny)] {
        entries[3 * NODE as usize + at] = Word::new(kind, 91).0.into();
        entries[4 * NODE as usize + at - 1] = Word::new(kind, 92).0.into();
    }
    image.intervals.insert(header, INDEXED | entries.len() as u64);
    for (at, raw) in (header + 1..).zip(entries) {
        image.intervals.insert(at, raw);
    }
}

/// A frame, from random numbers.
#[derive(Clone, Copy, Debug)]
struct Packet {
    direction: bool,
    /// Not marked, or by whom and where it is met: see [`Packet::mark`].
    mark: u8,
    /// The endpoint sends where it should, or the other way around.
    backwards: bool,
    six: bool,
    peer: u8,
    what: u8,
    ports: (u8, u8),
    flags: u8,
    around: u8,
    /// Bytes that are left; most frames are shorter.
    cut: u16,
    /// Where one byte is changed, and how; no change where the frame ends before.
    flip: (u16, u8),
}

impl Packet {
    /// The slot in the packet's mark, if it is marked.
    fn mark(self) -> Option<u32> {
        match self.mark % 8 {
            0 | 1 => Some(SENDER_SLOT),
            2 => Some(SLOT),
            // Nobody has it.
            3 if self.mark > 128 => Some(7),
            _ => None,
        }
    }

    fn direction(self) -> Direction {
        if self.direction { Direction::Ingress } else { Direction::Egress }
    }

    fn flow(self, source: Addr, destination: Addr) -> Frame {
        let (from, to) = (u16::from(self.ports.0 % 5), u16::from(self.ports.1 % 5));
        let flags = [0x02, 0x12, 0x10, 0x10, 0x11, 0x04, 0x18, 0x14][usize::from(self.flags % 8)];
        match self.what % 16 {
            0..=5 => Frame::tcp(source, destination, from, to, flags),
            6..=8 => Frame::udp(source, destination, from, to),
            9 => Frame::sctp(source, destination, from, to),
            10 => Frame::echo(source, destination, from, self.flags & 1 == 1),
            11 => Frame::icmp(source, destination, self.ports.0, self.flags % 16),
            12 => Frame::other(source, destination, self.ports.0, &[0, 1, 0, 2, 0, 8, 0, 0]),
            13 => Frame::neighbour(source, destination, 133 + self.flags % 5, source),
            // Quotes the flow that it answers.
            _ => {
                let error = if source.is_v4() { [3, 4, 11, 12] } else { [1, 2, 3, 4] };
                let quoted = Packet { what: self.flags, flags: self.ports.0, ..self };
                let quoted = if quoted.what % 16 > 12 { Packet { what: 6, ..quoted } } else { quoted };
                Frame::icmp(source, destination, error[usize::from(self.around % 4)], 0)
                    .quoting(&quoted.flow(destination, source))
            }
        }
    }

    fn bytes(self) -> Vec<u8> {
        let (own, other) = (pod(self.six), peer(self.peer, self.six));
        let egress = self.direction() == Direction::Egress;
        let (source, destination) = if egress != self.backwards { (own, other) } else { (other, own) };
        let frame = self.flow(source, destination).payload(&[7; 12]);
        let place = u16::from(self.flags % 4);
        let mut bytes = match self.around % 32 {
            0 => frame.vlan(5),
            1 => frame.qinq(5).vlan(6),
            2 => frame.qinq(5).vlan(6).vlan(7),
            3 => frame.options(&[1; 7]),
            4 => frame.options(&[1; 40]),
            5 | 6 => frame.fragment(u32::from(self.ports.0 % 2), 0, true),
            7 | 8 => frame.fragment(u32::from(self.ports.0 % 2), place * 2, self.flags & 4 == 0),
            9 => frame.extension(0, &[1; 6]),
            10 => frame.extension(0, &[]).extension(43, &[3; 20]).extension(60, &[]),
            11 => frame.extension(60, &[]).extension(51, &[9; 14]).extension(0, &[]),
            12 => (0..6).fold(frame, |frame, _| frame.extension(60, &[])),
            13 => (0..7).fold(frame, |frame, _| frame.extension(60, &[])),
            14 => frame.extension(0, &[]).fragment(3, place, self.flags & 4 == 0),
            15 => frame.hop_limit(self.flags),
            16 => return arp(u16::from(self.flags), source, destination),
            _ => frame,
        }
        .bytes();
        // The kernel takes no frame without an Ethernet header.
        bytes.truncate(usize::from(self.cut).max(14));
        if let Some(byte) = bytes.get_mut(usize::from(self.flip.0)) {
            *byte ^= self.flip.1;
        }
        bytes
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Change(Change),
    Packet(Packet),
}

fn change() -> impl Strategy<Value = Change> {
    (any::<u8>(), any::<u8>(), any::<u32>(), any::<u8>()).prop_map(|(what, place, group, kind)| Change {
        what,
        place,
        group,
        kind,
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let whole = prop_oneof![8 => Just(u16::MAX), 1 => 14..100_u16];
    let flip = prop_oneof![8 => Just((u16::MAX, 0)), 1 => (12..90_u16, any::<u8>())];
    let ends = (any::<bool>(), prop::bool::weighted(0.1), any::<bool>(), any::<u8>(), any::<u8>());
    (ends, any::<(u8, (u8, u8), u8, u8)>(), whole, flip).prop_map(
        |((direction, backwards, six, peer, mark), (what, ports, flags, around), cut, flip)| Packet {
            direction,
            mark,
            backwards,
            six,
            peer,
            what,
            ports,
            flags,
            around,
            cut,
            flip,
        },
    )
}

/// Changes, single packets, and packets with their answer and once more.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => change().prop_map(|change| vec![Step::Change(change)]),
        4 => packet().prop_map(|packet| vec![Step::Packet(packet)]),
        4 => (packet(), any::<u8>()).prop_map(|(packet, flags)| {
            let answer = Packet {
                direction: !packet.direction,
                ports: (packet.ports.1, packet.ports.0),
                flags,
                ..packet
            };
            vec![Step::Packet(packet), Step::Packet(answer), Step::Packet(packet)]
        }),
    ];
    vec(step, 30..120).prop_map(|steps| steps.concat())
}

type Counters = BTreeMap<(u32, Direction, Reason), (u64, u64)>;
type Connections = BTreeMap<(Table, ConnectionKey), Connection>;

fn counters(kernel: &ReadOnly) -> Counters {
    let of = |slot| {
        let counters = kernel.counters(slot).expect("read counters");
        counters.into_iter().map(move |c| ((slot, c.direction, c.reason), (c.packets, c.bytes)))
    };
    of(SLOT).chain(of(SENDER_SLOT)).collect()
}

fn counters_in(memory: &Memory) -> Counters {
    let slots = [SLOT, SENDER_SLOT].into_iter();
    let ways = slots.flat_map(|slot| Direction::BOTH.map(|direction| (slot, direction)));
    let all = ways.flat_map(|(slot, d)| Reason::ALL.iter().map(move |reason| (slot, d, *reason)));
    all.map(|(slot, direction, reason)| ((slot, direction, reason), memory.counted(slot, direction, reason)))
        .filter(|(_, count)| count.packets != 0)
        .map(|(key, count)| (key, (count.packets, count.bytes)))
        .collect()
}

/// Entries but for their times, which are the kernel's.
fn connections(all: impl IntoIterator<Item = (Table, ConnectionKey, Connection)>) -> Connections {
    all.into_iter().map(|(table, key, entry)| ((table, key), Connection { seen: 0, ..entry })).collect()
}

fn connections_in(memory: &Memory) -> Connections {
    let tables = [Table::Established, Table::HalfOpen].into_iter();
    connections(
        tables.flat_map(|table| {
            memory.connections(table).into_iter().map(move |(key, entry)| (table, key, entry))
        }),
    )
}

/// Test runs take no frame that ends inside the first IP header (Linux 6.18); behind a VLAN tag they do.
fn refused(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame.len() < 14 + 20,
        [0x86, 0xdd] => frame.len() < 14 + 40,
        _ => false,
    }
}

/// Whether a test run shows the bytes of a packet to a program of a cgroup: older kernels (6.1 still) leave out
/// to compute where they end, which they do for packets that are really received (`bpf_prog_test_run_skb` of
/// `net/bpf/test_run.c`). There the program is tested on packets alone.
fn host_is_shown_bytes(dir: &Path) -> bool {
    let pins = dir.join("probe");
    let mut loaded = Loaded::open(&pins, &Capacities::small()).expect("load");
    let image = base();
    loaded.store.apply(&writes(&image)).expect("write");
    let frame = Frame::udp(peer(0, false), pod(false), 1, 2).bytes();
    loaded.programs.run_host(&frame, image.marking.marked(FOREIGN, SENDER_SLOT)).expect("run");
    let met = counters(&ReadOnly::open(&pins).expect("open the maps"));
    std::fs::remove_dir_all(&pins).expect("unpin");
    let shown = !met.keys().any(|(_, _, reason)| *reason == Reason::Truncated);
    if !shown {
        println!("SKIPPED to_host: a test run on this kernel shows no bytes to a program of a cgroup");
    }
    shown
}

/// One packet on both sides: what memory says, and whether the kernel lets it pass. Marks are checked here.
fn both(loaded: &Loaded, memory: &Memory, packet: Packet, frame: &[u8], host: bool) -> (Outcome, bool) {
    let programs = &loaded.programs;
    let ran = |ran: Result<(RunResult, u32), ProgramError>| {
        ran.unwrap_or_else(|error| panic!("{packet:?} {frame:02x?}: {error:?}"))
    };
    let marking = memory.image.marking;
    let Some(slot) = packet.mark() else {
        let direction = packet.direction();
        let outcome = judge_frame(memory, IFINDEX, frame, direction);
        let (result, mark) = ran(programs.run_marked(direction, frame, FOREIGN, 1));
        let wanted =
            if outcome.reason == Reason::ToService { marking.marked(FOREIGN, SLOT) } else { FOREIGN };
        assert_eq!(mark, wanted, "{packet:?}: {outcome:?}");
        return (outcome, result.passes());
    };
    let before = marking.marked(FOREIGN, slot);
    let network = frame.get(14..).filter(|packet| packet.len() >= 14);
    let (outcome, (result, after), was_host) = match (packet.mark >> 3 & 3, network) {
        (0, _) => {
            let outcome = judge_marked(memory, slot, None, frame, Start::Ethernet);
            (outcome, ran(programs.run_marked(Hook::ToWire, frame, before, 1)), false)
        }
        // The kernel looks at an Ethernet type where there is none.
        (1, Some(network)) if !refused(network) => {
            let outcome = judge_marked(memory, slot, None, network, Start::Network);
            (outcome, ran(programs.run_marked(Hook::ToTunnel, network, before, 1)), false)
        }
        (2, _) if host => {
            let outcome = judge_marked(memory, slot, None, &frame[14..], Start::Network);
            (outcome, ran(programs.run_host(frame, before)), true)
        }
        _ => {
            let outcome = judge_marked(memory, slot, Some(IFINDEX), frame, Start::Ethernet);
            (outcome, ran(programs.run_marked(Hook::ToPod, frame, before, 1)), false)
        }
    };
    let passes = if was_host { result.retval == 1 } else { result.passes() };
    assert_eq!(after, if passes { FOREIGN } else { before }, "{packet:?}: {outcome:?}");
    (outcome, passes)
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
    let seed = RngSeed::Fixed(asked("ISOLATOR_PROPTEST_SEED").unwrap_or(3));
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
                backwards: false,
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
