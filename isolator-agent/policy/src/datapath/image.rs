//! What the maps hold, as one value, and the writes that change it. The store in the agent mirrors it to
//! the kernel; `memory` judges packets by it without one. Not here: the order of writes (`diff`).

use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Marking, Peer, State};
use isolator_common::event::NameKey;
use isolator_common::policy::Word;

/// Contents of every map that the agent writes. Absent array elements are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// STATE.
    pub state: State,
    /// MARKING.
    pub marking: Marking,
    /// ENDPOINTS and ENDPOINTS_WIDE, by interface index; SLOTS follows from them.
    pub endpoints: SharedMap<u32, Endpoint>,
    /// BLOCKS4 and BLOCKS6: block number by the block's first address.
    pub blocks: SharedMap<Addr, u32>,
    /// BLOCK_PEERS by index; zero peers are absent.
    pub block_peers: SharedMap<u32, Peer>,
    /// HOSTS.
    pub hosts: SharedMap<Addr, Peer>,
    /// PREFIXES.
    pub prefixes: SharedMap<Prefix, Peer>,
    /// CELLS by index; zero words are absent.
    pub cells: SharedMap<u32, Word>,
    /// INTERVALS by index; zero entries that no cell points at are absent.
    pub intervals: SharedMap<u32, u64>,
    /// NAMES.
    pub names: SharedMap<NameKey, String>,
}

/// One map write. `None` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Replaces STATE: the switch.
    State(State),
    /// Replaces MARKING.
    Marking(Marking),
    /// Writes ENDPOINTS or ENDPOINTS_WIDE.
    Endpoint(u32, Option<Endpoint>),
    /// Writes BLOCKS4 or BLOCKS6.
    Block(Addr, Option<u32>),
    /// Writes BLOCK_PEERS; the zero peer clears.
    BlockPeer(u32, Peer),
    /// Writes HOSTS.
    Host(Addr, Option<Peer>),
    /// Writes PREFIXES.
    Prefix(Prefix, Option<Peer>),
    /// Writes CELLS.
    Cell(u32, Word),
    /// Writes INTERVALS, packed.
    Interval(u32, u64),
    /// Writes NAMES.
    Name(NameKey, Option<String>),
    /// Waits until no packet is judged by what was there before.
    Grace,
}

impl Image {
    /// Whether both are one image, but for the marking: no look at the contents. False says nothing.
    #[must_use]
    pub fn is_same(&self, other: &Image) -> bool {
        let Image {
            state,
            marking: _,
            endpoints,
            blocks,
            block_peers,
            hosts,
            prefixes,
            cells,
            intervals,
            names,
        } = self;
        *state == other.state
            && endpoints.is_same(&other.endpoints)
            && blocks.is_same(&other.blocks)
            && block_peers.is_same(&other.block_peers)
            && hosts.is_same(&other.hosts)
            && prefixes.is_same(&other.prefixes)
            && cells.is_same(&other.cells)
            && intervals.is_same(&other.intervals)
            && names.is_same(&other.names)
    }

    /// Does what the kernel does on one write.
    pub fn apply(&mut self, op: &Op) {
        fn put<K: Ord + Copy, V: Clone>(map: &mut SharedMap<K, V>, key: &K, value: Option<&V>) {
            match value {
                Some(value) => drop(map.insert(*key, value.clone())),
                None => drop(map.remove(key)),
            }
        }
        match op {
            Op::State(state) => self.state = *state,
            Op::Marking(marking) => self.marking = *marking,
            Op::Endpoint(ifindex, endpoint) => put(&mut self.endpoints, ifindex, endpoint.as_ref()),
            Op::Block(addr, number) => put(&mut self.blocks, addr, number.as_ref()),
            Op::BlockPeer(index, peer) => {
                put(&mut self.block_peers, index, (*peer != Peer::default()).then_some(peer));
            }
            Op::Host(addr, peer) => put(&mut self.hosts, addr, peer.as_ref()),
            Op::Prefix(prefix, peer) => put(&mut self.prefixes, prefix, peer.as_ref()),
            Op::Cell(index, word) => put(&mut self.cells, index, (word.0 != 0).then_some(word)),
            Op::Interval(index, raw) => put(&mut self.intervals, index, (*raw != 0).then_some(raw)),
            Op::Name(key, name) => put(&mut self.names, key, name.as_ref()),
            Op::Grace => {}
        }
    }
}
