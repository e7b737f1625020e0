//! A small hand-made `Image`: one endpoint, two known peers, one of which it may talk to. And the operations
//! that write it. Not here: what the compiler would make (`isolator-policy`).

use isolator_common::ABI_VERSION;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Peer, Row, State};
use isolator_common::event::{NameKey, NameKind};
use isolator_common::policy::{Interval, Kind, Word, port_key};
use isolator_policy::datapath::image::{Image, Op};

/// The endpoint's address.
pub const POD: Addr = Addr::v4([10, 0, 0, 2]);
/// A peer in a dense block that may talk to it.
pub const FRIEND: Addr = Addr::v4([10, 0, 0, 1]);
/// A peer outside dense blocks that may talk to it on UDP port 53 only.
pub const GUEST: Addr = Addr::v4([10, 9, 0, 1]);
/// Everyone else: denied.
pub const STRANGER: Addr = Addr::v4([192, 0, 2, 1]);

/// An endpoint at `ifindex` with the rules above in both directions, as generation 2.
#[must_use]
pub fn small(ifindex: u32) -> Image {
    let mut image = Image {
        state: State {
            generation: 2,
            abi_version: ABI_VERSION,
            ticks_per_second: 250,
            events_per_second: 1000,
        },
        ..Image::default()
    };
    let row = Row { base: 8, len: 4, flags: 0 };
    image.endpoints.insert(
        ifindex,
        Endpoint {
            ifindex,
            slot: 3,
            id: 77,
            identity: 5000,
            tenant: 0,
            flags: Endpoint::KNOWN,
            share: 0,
            reserved: 0,
            addrs: [POD, Addr::UNSPECIFIED],
            rows: [[row; 2], [Row::default(); 2]],
        },
    );
    let peer = |identity, group| Peer { identity, groups: [group, 0] };
    image.blocks.insert(FRIEND.block(), 1);
    image.block_peers.insert((1 << 8) | FRIEND.in_block(), peer(5001, 1));
    image.block_peers.insert((1 << 8) | POD.in_block(), peer(5000, 1));
    image.hosts.insert(GUEST, peer(5002, 2));
    image.prefixes.insert(Prefix::ALL_V4, peer(9, 3));
    image.prefixes.insert(Prefix::ALL_V6, peer(10, 3));
    let word = |kind, number| Word::new(kind, number);
    image.cells.insert(9, word(Kind::Allow, 1));
    image.cells.insert(10, word(Kind::Ports, 16));
    image.cells.insert(11, word(Kind::DefaultDeny, 2));
    image.intervals.insert(16, 3);
    let interval = |start, word| Interval { start, word }.pack();
    image.intervals.insert(17, interval(0, word(Kind::DefaultDeny, 2)));
    image.intervals.insert(18, interval(port_key(17, 53), word(Kind::Allow, 3)));
    image.intervals.insert(19, interval(port_key(17, 54), word(Kind::DefaultDeny, 2)));
    let key = |kind: NameKind, number| NameKey { kind: kind as u32, number };
    image.names.insert(key(NameKind::Rule, 2), "default deny".to_owned());
    image.names.insert(key(NameKind::Endpoint, 77), "ns/pod".to_owned());
    image
}

/// Writes that make an empty store hold `image`, the switch last.
#[must_use]
pub fn writes(image: &Image) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    ops.extend(image.intervals.iter().map(|(k, v)| Op::Interval(*k, *v)));
    ops.extend(image.cells.iter().map(|(k, v)| Op::Cell(*k, *v)));
    ops.extend(image.block_peers.iter().map(|(k, v)| Op::BlockPeer(*k, *v)));
    ops.extend(image.blocks.iter().map(|(k, v)| Op::Block(*k, Some(*v))));
    ops.extend(image.hosts.iter().map(|(k, v)| Op::Host(*k, Some(*v))));
    ops.extend(image.prefixes.iter().map(|(k, v)| Op::Prefix(*k, Some(*v))));
    ops.extend(image.endpoints.iter().map(|(k, v)| Op::Endpoint(*k, Some(*v))));
    ops.extend(image.names.iter().map(|(k, v)| Op::Name(*k, Some(v.clone()))));
    ops.extend([Op::Marking(image.marking), Op::State(image.state), Op::Grace]);
    ops
}
