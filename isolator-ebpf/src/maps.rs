//! Every map, and nothing else. Names, default capacities and meaning: `isolator_common::tables`.
//! Large arrays can be mapped into memory: the agent reads millions of entries at its start, and a look-up call
//! for each takes seconds.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, FragmentKey, Key4, Key6, Ports};
use isolator_common::endpoint::{Endpoint, Marking, Peer, State};
use isolator_common::event::{NAME_BYTES, NameKey};
use isolator_common::judge::Scratch;
use isolator_common::tables::capacity;

/// What was found for an address. Generation 0 is never in force.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Recent {
    pub(crate) addr: (u64, u64),
    pub(crate) generation: u32,
    pub(crate) identity: u32,
    pub(crate) group: u32,
    pub(crate) reserved: u32,
}

/// Addresses that are kept. A power of two.
pub(crate) const RECENT_PLACES: u32 = 1 << 12;

/// Packets and bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// Events within the second that starts at `start` (ticks).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// Parsed headers of the packet at hand. Not shared and not pinned.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
/// Not shared and not pinned, either.
#[map]
pub(crate) static RECENT: PerCpuArray<Recent> = PerCpuArray::with_max_entries(RECENT_PLACES, 0);
#[map]
pub(crate) static STATE: Array<State> = Array::with_max_entries(capacity::STATE, 0);
#[map]
pub(crate) static MARKING: Array<Marking> = Array::with_max_entries(capacity::MARKING, 0);
#[map]
pub(crate) static SLOTS: Array<u32> = Array::with_max_entries(capacity::SLOTS, 0);
#[map]
pub(crate) static ENDPOINTS: Array<Endpoint> = Array::with_max_entries(capacity::ENDPOINTS, BPF_F_MMAPABLE);
#[map]
pub(crate) static ENDPOINTS_WIDE: HashMap<u32, Endpoint> =
    HashMap::with_max_entries(capacity::ENDPOINTS_WIDE, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static BLOCKS4: HashMap<u32, u32> = HashMap::with_max_entries(capacity::BLOCKS4, 0);
#[map]
pub(crate) static BLOCKS6: HashMap<Addr, u32> = HashMap::with_max_entries(capacity::BLOCKS6, 0);
#[map]
pub(crate) static BLOCK_PEERS: Array<Peer> = Array::with_max_entries(capacity::BLOCK_PEERS, BPF_F_MMAPABLE);
#[map]
pub(crate) static HOSTS: HashMap<Addr, Peer> = HashMap::with_max_entries(capacity::HOSTS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static PREFIXES: LpmTrie<Addr, Peer> =
    LpmTrie::with_max_entries(capacity::PREFIXES, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static CELLS: Array<u32> = Array::with_max_entries(capacity::CELLS, BPF_F_MMAPABLE);
#[map]
pub(crate) static INTERVALS: Array<u64> = Array::with_max_entries(capacity::INTERVALS, BPF_F_MMAPABLE);
#[map]
pub(crate) static ESTABLISHED4: LruHashMap<Key4, Connection> =
    LruHashMap::with_max_entries(capacity::ESTABLISHED4, 0);
#[map]
pub(crate) static ESTABLISHED6: LruHashMap<Key6, Connection> =
    LruHashMap::with_max_entries(capacity::ESTABLISHED6, 0);
#[map]
pub(crate) static HALF_OPEN4: LruHashMap<Key4, Connection> =
    LruHashMap::with_max_entries(capacity::HALF_OPEN4, 0);
#[map]
pub(crate) static HALF_OPEN6: LruHashMap<Key6, Connection> =
    LruHashMap::with_max_entries(capacity::HALF_OPEN6, 0);
#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, Ports> =
    LruHashMap::with_max_entries(capacity::FRAGMENTS, 0);
#[map]
pub(crate) static COUNTERS: PerCpuArray<Count> = PerCpuArray::with_max_entries(capacity::COUNTERS, 0);
#[map]
pub(crate) static SEEN: Array<u64> = Array::with_max_entries(capacity::SEEN, 0);
#[map]
pub(crate) static EVENT_RATE: PerCpuArray<Window> = PerCpuArray::with_max_entries(capacity::EVENT_RATE, 0);
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(capacity::LOST, 0);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(capacity::EVENTS, 0);
#[map]
pub(crate) static NAMES: HashMap<NameKey, [u8; NAME_BYTES]> =
    HashMap::with_max_entries(capacity::NAMES, BPF_F_NO_PREALLOC);
