//! What the datapath asks its maps, as a trait: the kernel programs answer from BPF maps, the tests
//! and `policy verdicts --engine compiled` from ordinary collections. Also the table of maps: names
//! and capacities, so that no second copy of either exists.

use crate::addr::Addr;
use crate::conntrack::{Connection, ConnectionKey, FragmentKey, Ports, Table};
use crate::endpoint::{Endpoint, Marking, Peer, State};
use crate::event::Event;
use crate::policy::{Direction, Word};
use crate::reason::Reason;
use crate::untracked::Untracked;

/// The maps as `judge` sees them. `None` always means "not there", never "error".
pub trait Tables {
    /// The state map's only entry.
    fn state(&self) -> State;
    /// The endpoint behind an interface of the node.
    fn endpoint(&self, ifindex: u32) -> Option<&Endpoint>;
    /// How packets to Service addresses are marked.
    fn marking(&self) -> Marking;
    /// The interface of the endpoint in a slot; what it says is checked against the endpoint.
    fn slot(&self, slot: u32) -> Option<u32>;
    /// Number of the dense block (256 addresses) that holds `addr`.
    fn block(&self, addr: &Addr) -> Option<u32>;
    /// Entry of a dense block: index is block number × 256 + position.
    fn in_block(&self, index: u32) -> Option<Peer>;
    /// Exact address outside dense blocks.
    fn host(&self, addr: &Addr) -> Option<Peer>;
    /// Longest prefix of `addr`.
    fn prefix(&self, addr: &Addr) -> Option<Peer>;
    /// What was found lately for an address that is in no dense block: identity and group.
    fn recent(&self, addr: &Addr, generation: u32) -> Option<(u32, u32)>;
    /// Keeps what was found, for packets to come. May be forgotten at any time.
    fn keep_recent(&self, addr: &Addr, generation: u32, found: (u32, u32));
    /// A cell of the policy table.
    fn cell(&self, index: u32) -> Option<Word>;
    /// An entry of the interval table, packed.
    fn interval(&self, index: u32) -> Option<u64>;
    /// Copies a connection's entry into `found`, if it is there, and says whether.
    fn connection(&self, table: Table, key: &ConnectionKey, found: &mut Connection) -> bool;
    /// Replaces an entry in place, if it is still there. Last writer wins.
    fn rewrite(&self, table: Table, key: &ConnectionKey, connection: &Connection);
    /// Adds or replaces a connection; false when the map refuses.
    fn remember(&self, table: Table, key: &ConnectionKey, connection: &Connection) -> bool;
    /// Adds a connection that is not there yet; false when it is, or the map refuses.
    fn remember_new(&self, table: Table, key: &ConnectionKey, connection: &Connection) -> bool;
    /// Removes a connection, if it is there.
    fn forget(&self, table: Table, key: &ConnectionKey);
    /// Ports of a fragmented packet whose first fragment was seen.
    fn fragment(&self, key: &FragmentKey) -> Option<Ports>;
    /// Remembers the ports of a first fragment.
    fn remember_fragment(&self, key: &FragmentKey, ports: Ports) -> bool;
    /// Coarse time in kernel ticks; wraps.
    fn now(&self) -> u32;
    /// Counts one packet for an endpoint.
    fn count(&self, endpoint: &Endpoint, direction: Direction, reason: Reason, bytes: u32);
    /// What stands in the place of the flow without an entry whose hash is `tag`; it may be another flow.
    fn untracked(&self, tag: u32) -> Untracked;
    /// Puts the flow into its place.
    fn note_untracked(&self, tag: u32, flow: Untracked);
    /// Whether the endpoint's tenant may cause one more event; if not, the event is counted as lost.
    fn may_report(&self, endpoint: &Endpoint) -> bool;
    /// Hands an event to user space, or counts it as lost.
    fn emit(&self, event: &Event);
}

/// What is behind an address in a generation: exact by block, exact by hash, longest prefix, in that
/// order. `None`: nothing, not even the outside. The last two are dear (a trie of 10,000 prefixes 70 ns), so
/// what they found is kept: while a generation is in force, nothing of it changes.
#[inline(always)]
pub fn locate<T: Tables>(tables: &T, addr: &Addr, generation: u32) -> Option<(u32, u32)> {
    if let Some(found) = locate_near(tables, addr, generation) {
        return Some(found);
    }
    let mut peer = tables.host(addr).unwrap_or(Peer::NOBODY);
    if peer.group(generation) == Peer::ABSENT {
        peer = tables.prefix(addr).unwrap_or(Peer::NOBODY);
    }
    let found = (peer.identity, peer.group(generation));
    if found.1 == Peer::ABSENT {
        return None;
    }
    tables.keep_recent(addr, generation, found);
    Some(found)
}

/// The cheap half of [`locate`]: `None` says that the dear half must be asked.
#[inline(always)]
pub fn locate_near<T: Tables>(tables: &T, addr: &Addr, generation: u32) -> Option<(u32, u32)> {
    if let Some(block) = tables.block(addr)
        && let Some(peer) = tables.in_block((block << 8) | addr.in_block())
        && peer.group(generation) != Peer::ABSENT
    {
        return Some((peer.identity, peer.group(generation)));
    }
    tables.recent(addr, generation)
}

macro_rules! maps {
    ($($ident:ident = $name:literal, $capacity:expr, $about:literal;)*) => {
        /// Names of the pinned maps.
        pub mod name { $(#[doc = $about] pub const $ident: &str = $name;)* }
        /// Default capacities, in entries. The agent may load with others, never the programs.
        pub mod capacity { $(#[doc = $about] pub const $ident: u32 = $capacity;)* }
        /// Every map: name, default capacity, what it holds.
        pub const ALL: &[(&str, u32, &str)] = &[$(($name, $capacity, $about)),*];
    };
}

maps! {
    STATE = "STATE", 1, "The generation in force. Array of State; the agent writes.";
    MARKING = "MARKING", 1, "How packets to Service addresses are marked. Array of Marking; the agent writes.";
    SLOTS = "SLOTS", 1 << 10, "Interface index by endpoint slot. Array of u32; the agent writes.";
    ENDPOINTS = "ENDPOINTS", 1 << 16, "Endpoint by the low bits of its interface index. Array of Endpoint; the agent writes.";
    ENDPOINTS_WIDE = "ENDPOINTS_WIDE", 1 << 12, "Endpoints whose place in ENDPOINTS is taken, by whole interface index. Hash; the agent writes.";
    BLOCKS4 = "BLOCKS4", 1 << 12, "Number of the dense block of an IPv4 /24, by address >> 8. Hash; the agent writes.";
    BLOCKS6 = "BLOCKS6", 1 << 12, "Number of the dense block of an IPv6 /120. Hash; the agent writes.";
    BLOCK_PEERS = "BLOCK_PEERS", 1 << 20, "Peers of the dense blocks, 256 each. Array of Peer; the agent writes.";
    HOSTS = "HOSTS", 1 << 17, "Peers with few neighbours, by address. Hash of Peer; the agent writes.";
    PREFIXES = "PREFIXES", 1 << 17, "Peers by longest prefix, the outside included. LPM trie of Peer; the agent writes.";
    CELLS = "CELLS", 1 << 22, "Verdict words: rows of one per peer group. Array of u32; the agent writes.";
    INTERVALS = "INTERVALS", 1 << 20, "Port sets: header, then intervals or an index. Array of u64; the agent writes.";
    ESTABLISHED4 = "ESTABLISHED4", 1 << 18, "IPv4 connections that were answered. LRU hash; the programs write.";
    ESTABLISHED6 = "ESTABLISHED6", 1 << 17, "IPv6 connections that were answered. LRU hash; the programs write.";
    HALF_OPEN4 = "HALF_OPEN4", 1 << 16, "IPv4 connections not answered yet. LRU hash; the programs write.";
    HALF_OPEN6 = "HALF_OPEN6", 1 << 15, "IPv6 connections not answered yet. LRU hash; the programs write.";
    FRAGMENTS = "FRAGMENTS", 1 << 13, "Ports of fragmented packets. LRU hash; the programs write.";
    COUNTERS = "COUNTERS", 1 << 17, "Packets and bytes by endpoint slot, direction and reason. Per-CPU array; the programs write.";
    SEEN = "SEEN", 1 << 16, "Flows without an entry that were noted lately: who opened them, when. Array of u64; the programs write.";
    EVENT_RATE = "EVENT_RATE", 1 << 10, "Events in the current second, by Endpoint::share. Per-CPU array; the programs write.";
    LOST = "LOST", 2, "Events not delivered: over the rate, ring full. Per-CPU array; the programs write.";
    EVENTS = "EVENTS", 1 << 22, "Ring buffer of Event, in bytes.";
    NAMES = "NAMES", 1 << 17, "Names for the numbers in the other maps: rules, identities, endpoints. Hash; the agent writes.";
}

/// Endpoints that one node can hold, and the room of SLOTS: COUNTERS has room for each of them in both directions.
pub const MAX_ENDPOINTS: u32 = capacity::COUNTERS / (2 * crate::reason::REASONS);

const _: () = assert!(capacity::EVENT_RATE >= MAX_ENDPOINTS, "each endpoint may have a share of its own");

/// Index into COUNTERS.
#[inline(always)]
#[must_use]
pub const fn counter_index(slot: u32, direction: Direction, reason: u8) -> u32 {
    (slot * 2 + direction as u32) * crate::reason::REASONS + reason as u32
}
