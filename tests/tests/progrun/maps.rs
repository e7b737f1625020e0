//! The maps that packets are judged by: one endpoint and one that sends marked packets, and random changes. Not
//! here: packets.

use isolator_common::ABI_VERSION;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Marking, Peer, Row, State};
use isolator_common::policy::{INDEXED, Interval, Kind, NODE, Word, port_key};
use isolator_policy::datapath::image::{Image, Op};
use proptest::prelude::*;

/// Test runs arrive at the loopback interface.
pub(crate) const IFINDEX: u32 = 1;
pub(crate) const SLOT: u32 = 5;
/// Another endpoint: who sent marked packets.
pub(crate) const SENDER: u32 = 9;
pub(crate) const SENDER_SLOT: u32 = 6;
/// The marks of both, and bits of somebody else.
pub(crate) const MASK: u32 = 0x00ff_0000;
pub(crate) const FOREIGN: u32 = 0x4000;
/// Cells of a row.
pub(crate) const GROUPS: u32 = 6;
/// Seconds so long that no entry grows old during a test.
pub(crate) const TICKS: u32 = 1_000_000;

pub(crate) fn v6(network: u8, host: u8) -> Addr {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1], bytes[15]) = (0xfd, network, host);
    Addr(bytes)
}

pub(crate) fn pod(six: bool) -> Addr {
    if six { v6(0, 2) } else { Addr::v4([10, 0, 0, 2]) }
}

/// Addresses that maps may know: in a dense block, alone, by prefix, or not at all; and the pod's own.
pub(crate) fn peer(number: u8, six: bool) -> Addr {
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
pub(crate) struct Change {
    what: u8,
    place: u8,
    group: u32,
    kind: u8,
}

impl Change {
    pub(crate) fn op(self, before: &Image) -> Op {
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
pub(crate) fn in_force_kept(op: Op, before: &Image) -> Op {
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
pub(crate) fn base() -> Image {
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
pub(crate) fn index(image: &mut Image, header: u32) {
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

pub(crate) fn change() -> impl Strategy<Value = Change> {
    (any::<u8>(), any::<u8>(), any::<u32>(), any::<u8>()).prop_map(|(what, place, group, kind)| Change {
        what,
        place,
        group,
        kind,
    })
}
