//! The BPF maps as `judge` sees them. One line per question; no decisions.
#![expect(clippy::needless_borrows_for_generic_args, reason = "by value, the key would be copied once more")]
#![expect(unsafe_code, reason = "values of hash maps are shared with the agent and reached by raw pointers")]

use crate::apart;
use crate::events;
use crate::maps::{
    BLOCK_PEERS, BLOCKS4, BLOCKS6, CELLS, ENDPOINTS, ENDPOINTS_WIDE, ESTABLISHED4, ESTABLISHED6, FRAGMENTS,
    HALF_OPEN4, HALF_OPEN6, HOSTS, INTERVALS, MARKING, PREFIXES, SEEN, SLOTS, STATE,
};
use crate::recent;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::lpm_trie::Key;
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, ConnectionKey, FragmentKey, Ports, Table};
use isolator_common::endpoint::{Endpoint, Marking, Peer, State};
use isolator_common::event::Event;
use isolator_common::policy::{Direction, Word};
use isolator_common::reason::Reason;
use isolator_common::tables::{Tables, capacity};
use isolator_common::untracked::{self, Untracked};

/// All maps of this node.
pub(crate) struct Maps;

/// Where a connection's entry lies.
#[inline(always)]
fn entry(table: Table, key: &ConnectionKey) -> Option<*mut Connection> {
    match (table, key.remote.is_v4()) {
        (Table::Established, true) => ESTABLISHED4.get_ptr_mut(&key.key4()).map(apart::v4),
        (Table::Established, false) => ESTABLISHED6.get_ptr_mut(&key.key6()).map(apart::v6),
        (Table::HalfOpen, true) => HALF_OPEN4.get_ptr_mut(&key.key4()).map(apart::v4),
        (Table::HalfOpen, false) => HALF_OPEN6.get_ptr_mut(&key.key6()).map(apart::v6),
    }
}

impl Tables for Maps {
    #[inline(always)]
    fn state(&self) -> State {
        STATE.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn endpoint(&self, ifindex: u32) -> Option<&Endpoint> {
        match ENDPOINTS.get(ifindex & (capacity::ENDPOINTS - 1)) {
            Some(endpoint) if endpoint.ifindex == ifindex => Some(endpoint),
            // SAFETY: the agent replaces entries whole, and a removed one stays readable in this run.
            _ => unsafe { ENDPOINTS_WIDE.get(&ifindex) },
        }
    }

    #[inline(always)]
    fn marking(&self) -> Marking {
        MARKING.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn slot(&self, slot: u32) -> Option<u32> {
        SLOTS.get(slot).copied()
    }

    #[inline(always)]
    fn block(&self, addr: &Addr) -> Option<u32> {
        // SAFETY: the values are single words.
        unsafe {
            if addr.is_v4() {
                BLOCKS4.get(&(addr.low32() >> 8)).copied()
            } else {
                BLOCKS6.get(&addr.block()).copied()
            }
        }
    }

    #[inline(always)]
    fn in_block(&self, index: u32) -> Option<Peer> {
        BLOCK_PEERS.get(index).copied()
    }

    #[inline(always)]
    fn host(&self, addr: &Addr) -> Option<Peer> {
        // SAFETY: the agent writes the half of the other generation only.
        unsafe { HOSTS.get(addr).copied() }
    }

    #[inline(always)]
    fn prefix(&self, addr: &Addr) -> Option<Peer> {
        PREFIXES.get(Key::new(128, *addr)).copied()
    }

    #[inline(always)]
    fn recent(&self, addr: &Addr, generation: u32) -> Option<(u32, u32)> {
        recent::find(addr, generation)
    }

    #[inline(always)]
    fn keep_recent(&self, addr: &Addr, generation: u32, found: (u32, u32)) {
        recent::keep(addr, generation, found);
    }

    #[inline(always)]
    fn cell(&self, index: u32) -> Option<Word> {
        CELLS.get(index).map(|word| Word(*word))
    }

    #[inline(always)]
    fn interval(&self, index: u32) -> Option<u64> {
        INTERVALS.get(index).copied()
    }

    #[inline(always)]
    fn connection(&self, table: Table, key: &ConnectionKey, found: &mut Connection) -> bool {
        let Some(entry) = entry(table, key) else { return false };
        // SAFETY: entries stay readable until the program ends. Another CPU may write: every field may be a
        // little stale.
        *found = unsafe { *entry };
        true
    }

    #[inline(always)]
    fn rewrite(&self, table: Table, key: &ConnectionKey, connection: &Connection) {
        if let Some(entry) = entry(table, key) {
            // SAFETY: as in `connection`.
            unsafe { *entry = *connection };
        }
    }

    #[inline(always)]
    fn remember(&self, table: Table, key: &ConnectionKey, connection: &Connection) -> bool {
        match (table, key.remote.is_v4()) {
            (Table::Established, true) => {
                apart::done4(ESTABLISHED4.insert(&key.key4(), connection, 0).is_ok())
            }
            (Table::Established, false) => {
                apart::done6(ESTABLISHED6.insert(&key.key6(), connection, 0).is_ok())
            }
            (Table::HalfOpen, true) => apart::done4(HALF_OPEN4.insert(&key.key4(), connection, 0).is_ok()),
            (Table::HalfOpen, false) => apart::done6(HALF_OPEN6.insert(&key.key6(), connection, 0).is_ok()),
        }
    }

    #[inline(always)]
    fn remember_new(&self, table: Table, key: &ConnectionKey, connection: &Connection) -> bool {
        let flags = u64::from(BPF_NOEXIST);
        match (table, key.remote.is_v4()) {
            (Table::Established, true) => {
                apart::done4(ESTABLISHED4.insert(&key.key4(), connection, flags).is_ok())
            }
            (Table::Established, false) => {
                apart::done6(ESTABLISHED6.insert(&key.key6(), connection, flags).is_ok())
            }
            (Table::HalfOpen, true) => {
                apart::done4(HALF_OPEN4.insert(&key.key4(), connection, flags).is_ok())
            }
            (Table::HalfOpen, false) => {
                apart::done6(HALF_OPEN6.insert(&key.key6(), connection, flags).is_ok())
            }
        }
    }

    #[inline(always)]
    fn forget(&self, table: Table, key: &ConnectionKey) {
        let _absent_is_fine = match (table, key.remote.is_v4()) {
            (Table::Established, true) => apart::done4(ESTABLISHED4.remove(&key.key4()).is_ok()),
            (Table::Established, false) => apart::done6(ESTABLISHED6.remove(&key.key6()).is_ok()),
            (Table::HalfOpen, true) => apart::done4(HALF_OPEN4.remove(&key.key4()).is_ok()),
            (Table::HalfOpen, false) => apart::done6(HALF_OPEN6.remove(&key.key6()).is_ok()),
        };
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<Ports> {
        // SAFETY: entries are written once, whole.
        unsafe { FRAGMENTS.get(key).copied() }
    }

    #[inline(always)]
    fn remember_fragment(&self, key: &FragmentKey, ports: Ports) -> bool {
        FRAGMENTS.insert(key, &ports, 0).is_ok()
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        events::now()
    }

    #[inline(always)]
    fn count(&self, endpoint: &Endpoint, direction: Direction, reason: Reason, bytes: u32) {
        events::count(endpoint, direction, reason, bytes);
    }

    #[inline(always)]
    fn untracked(&self, tag: u32) -> Untracked {
        Untracked(SEEN.get(untracked::place(tag)).copied().unwrap_or_default())
    }

    #[inline(always)]
    fn note_untracked(&self, tag: u32, flow: Untracked) {
        if let Some(place) = SEEN.get_ptr_mut(untracked::place(tag)) {
            // SAFETY: the place is in the map for as long as the map is there; other CPUs see one number or the other.
            unsafe { place.write_volatile(flow.0) };
        }
    }

    #[inline(always)]
    fn may_report(&self, endpoint: &Endpoint) -> bool {
        let state = self.state();
        events::may_report(endpoint, state.ticks_per_second, state.events_per_second)
    }

    #[inline(always)]
    fn emit(&self, event: &Event) {
        events::emit(event);
    }
}
