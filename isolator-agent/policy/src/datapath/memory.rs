//! The maps in memory: an [`Image`] and what the programs write. With it the code that runs in the kernel
//! judges packets without one: the engine `compiled`, and the other side of the comparison with the loaded
//! programs. Not here: the agent's writes (`diff`), evictions, the limit on events.

use super::image::Image;
use super::lpm::longest;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::{Connection, ConnectionKey, FragmentKey, Ports, Table};
use isolator_common::endpoint::{Endpoint, Marking, Peer, State};
use isolator_common::event::Event;
use isolator_common::judge::{Arrival, Marked, Outcome, Scratch, judge, judge_received, judge_sent, usual};
use isolator_common::packet::Start;
use isolator_common::policy::{Direction, Word};
use isolator_common::reason::Reason;
use isolator_common::tables::Tables;
use isolator_common::untracked::{Untracked, place};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Packets and bytes, as COUNTERS keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// All maps of one node.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What the agent writes. May be changed between packets.
    pub image: Image,
    established: RefCell<BTreeMap<ConnectionKey, Connection>>,
    half_open: RefCell<BTreeMap<ConnectionKey, Connection>>,
    fragments: RefCell<BTreeMap<FragmentKey, Ports>>,
    counters: RefCell<BTreeMap<(u32, Direction, Reason), Count>>,
    untracked: RefCell<BTreeMap<u32, Untracked>>,
    recent: RefCell<BTreeMap<(Addr, u32), (u32, u32)>>,
    events: RefCell<Vec<Event>>,
    now: Cell<u32>,
    full: Cell<bool>,
    look_ups: Cell<u32>,
}

impl Memory {
    /// Maps with these contents, no connections, at time 0.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Memory { image, ..Memory::default() }
    }

    /// Sets the clock, in ticks.
    pub fn set_now(&self, ticks: u32) {
        self.now.set(ticks);
    }

    /// Whether the tables of connections and fragments refuse new entries from now on.
    pub fn set_full(&self, full: bool) {
        self.full.set(full);
    }

    /// Writes entries of connections that have none, as the agent does.
    pub fn adopt(&self, entries: &[(ConnectionKey, Connection)]) {
        for (key, connection) in entries {
            self.established.borrow_mut().entry(*key).or_insert(*connection);
        }
    }

    /// Everything that the programs wrote is gone; the image and the clock stay.
    pub fn forget_all(&self) {
        self.established.borrow_mut().clear();
        self.half_open.borrow_mut().clear();
        self.fragments.borrow_mut().clear();
        self.counters.borrow_mut().clear();
        self.untracked.borrow_mut().clear();
        self.recent.borrow_mut().clear();
        self.events.borrow_mut().clear();
    }

    /// Contents of a connection table, by key.
    #[must_use]
    pub fn connections(&self, table: Table) -> Vec<(ConnectionKey, Connection)> {
        self.table(table).borrow().iter().map(|(key, entry)| (*key, *entry)).collect()
    }

    /// How often anything was looked up since the last call.
    pub fn take_look_ups(&self) -> u32 {
        self.look_ups.take()
    }

    fn answer<T>(&self, found: T) -> T {
        self.look_ups.set(self.look_ups.get() + 1);
        found
    }

    /// Packets and bytes so far of the endpoint in `slot`.
    #[must_use]
    pub fn counted(&self, slot: u32, direction: Direction, reason: Reason) -> Count {
        self.counters.borrow().get(&(slot, direction, reason)).copied().unwrap_or_default()
    }

    /// Takes the events that were emitted since the last call, oldest first.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    fn table(&self, table: Table) -> &RefCell<BTreeMap<ConnectionKey, Connection>> {
        match table {
            Table::Established => &self.established,
            Table::HalfOpen => &self.half_open,
        }
    }
}

/// Judges one Ethernet frame at the interface `ifindex`, and does all that the kernel program does with the
/// maps meanwhile.
pub fn judge_frame(memory: &Memory, ifindex: u32, frame: &[u8], direction: Direction) -> Outcome {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let arrival = Arrival { ifindex, length, direction };
    let mut scratch = Scratch::EMPTY;
    usual(memory, frame, arrival).unwrap_or_else(|| judge(memory, frame, &mut scratch, arrival))
}

/// Judges a frame that the endpoint in `slot` has sent to a Service address, after translation: at the interface of
/// a pod, where `ifindex` is given, or on its way elsewhere.
pub fn judge_marked(memory: &Memory, slot: u32, ifindex: Option<u32>, bytes: &[u8], start: Start) -> Outcome {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut scratch = Scratch::EMPTY;
    match ifindex {
        Some(ifindex) => {
            let arrival = Arrival { ifindex, length, direction: Direction::Ingress };
            judge_received(memory, bytes, &mut scratch, slot, arrival)
        }
        None => judge_sent(memory, bytes, &mut scratch, Marked { slot, length, start }),
    }
}

impl Tables for Memory {
    fn state(&self) -> State {
        self.image.state
    }

    fn endpoint(&self, ifindex: u32) -> Option<&Endpoint> {
        self.answer(self.image.endpoints.get(&ifindex))
    }

    fn marking(&self) -> Marking {
        self.image.marking
    }

    fn slot(&self, slot: u32) -> Option<u32> {
        let mut endpoints = self.image.endpoints.iter();
        endpoints.find(|(_, endpoint)| endpoint.slot == slot).map(|(ifindex, _)| *ifindex)
    }

    fn block(&self, addr: &Addr) -> Option<u32> {
        self.answer(self.image.blocks.get(&addr.block()).copied())
    }

    fn in_block(&self, index: u32) -> Option<Peer> {
        self.answer(Some(self.image.block_peers.get(&index).copied().unwrap_or_default()))
    }

    fn host(&self, addr: &Addr) -> Option<Peer> {
        self.answer(self.image.hosts.get(addr).copied())
    }

    fn recent(&self, addr: &Addr, generation: u32) -> Option<(u32, u32)> {
        self.answer(self.recent.borrow().get(&(*addr, generation)).copied())
    }

    fn keep_recent(&self, addr: &Addr, generation: u32, found: (u32, u32)) {
        self.recent.borrow_mut().insert((*addr, generation), found);
    }

    fn prefix(&self, addr: &Addr) -> Option<Peer> {
        self.answer(longest(&self.image.prefixes, &Prefix { addr: *addr, bits: 128 }).map(|(_, peer)| *peer))
    }

    fn cell(&self, index: u32) -> Option<Word> {
        self.answer(Some(self.image.cells.get(&index).copied().unwrap_or_default()))
    }

    fn interval(&self, index: u32) -> Option<u64> {
        self.answer(Some(self.image.intervals.get(&index).copied().unwrap_or_default()))
    }

    fn connection(&self, table: Table, key: &ConnectionKey, found: &mut Connection) -> bool {
        match self.answer(self.table(table).borrow().get(key)) {
            Some(entry) => *found = *entry,
            None => return false,
        }
        true
    }

    fn rewrite(&self, table: Table, key: &ConnectionKey, connection: &Connection) {
        if let Some(entry) = self.table(table).borrow_mut().get_mut(key) {
            *entry = *connection;
        }
    }

    fn remember(&self, table: Table, key: &ConnectionKey, connection: &Connection) -> bool {
        let mut table = self.table(table).borrow_mut();
        if self.full.get() && !table.contains_key(key) {
            return false;
        }
        table.insert(*key, *connection);
        true
    }

    fn remember_new(&self, table: Table, key: &ConnectionKey, connection: &Connection) -> bool {
        !self.table(table).borrow().contains_key(key) && self.remember(table, key, connection)
    }

    fn forget(&self, table: Table, key: &ConnectionKey) {
        self.table(table).borrow_mut().remove(key);
    }

    fn fragment(&self, key: &FragmentKey) -> Option<Ports> {
        self.answer(self.fragments.borrow().get(key).copied())
    }

    fn remember_fragment(&self, key: &FragmentKey, ports: Ports) -> bool {
        let mut fragments = self.fragments.borrow_mut();
        if self.full.get() && !fragments.contains_key(key) {
            return false;
        }
        fragments.insert(*key, ports);
        true
    }

    fn now(&self) -> u32 {
        self.now.get()
    }

    fn count(&self, endpoint: &Endpoint, direction: Direction, reason: Reason, bytes: u32) {
        let mut counters = self.counters.borrow_mut();
        let count = counters.entry((endpoint.slot, direction, reason)).or_default();
        count.packets += 1;
        count.bytes += u64::from(bytes);
    }

    fn untracked(&self, tag: u32) -> Untracked {
        self.answer(self.untracked.borrow().get(&place(tag)).copied().unwrap_or_default())
    }

    fn note_untracked(&self, tag: u32, flow: Untracked) {
        self.untracked.borrow_mut().insert(place(tag), flow);
    }

    fn may_report(&self, _endpoint: &Endpoint) -> bool {
        true
    }

    fn emit(&self, event: &Event) {
        self.events.borrow_mut().push(*event);
    }
}
