//! Mirrors an `Image` to the kernel: executes operations in the order given, many at once where neighbours
//! allow it. Not here: which operations, and in which order (`isolator_policy::datapath::diff`).

use super::grace::Grace;
use super::maps::{MapError, Maps, TrieKey, encode_name, of};
use super::table::{PerCpu, Table, Wire};
use aya::maps::MapData;
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, ConnectionKey};
use isolator_common::endpoint::{Endpoint, Peer, State};
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_common::tables::{capacity, counter_index, name};
use isolator_policy::datapath::image::{Image, Op};
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// The maps of one node, for their only writer.
#[derive(Debug)]
pub struct Store {
    maps: Maps,
    counters: PerCpu<[u64; 2]>,
    grace: Grace,
}

/// What a successful [`Store::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Map entries written or removed.
    pub writes: usize,
    /// From the first to the switch: every packet that arrives after it is judged anew. Without one, to the last.
    pub switched: Duration,
    /// From the first to the last.
    pub duration: Duration,
}

/// A write that failed. The writes before it are done, the others are not; nothing was tried twice. The caller
/// reads the maps again before it goes on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The map has no room left.
    #[error("operation {op}: map {map} is full ({capacity} entries): start the agent with a larger one")]
    Full {
        /// Index of the operation.
        op: usize,
        /// Name of the map.
        map: &'static str,
        /// Its room, in entries.
        capacity: u32,
    },
    /// The kernel refused a write for another reason.
    #[error("operation {op}: {error}")]
    Write {
        /// Index of the operation.
        op: usize,
        /// The map, and what the kernel said.
        error: MapError,
    },
    /// The wait for packets in flight failed, so that going on could mix two generations.
    #[error("operation {op}: cannot wait until packets in flight are done: {error}")]
    Grace {
        /// Index of the operation.
        op: usize,
        /// What the kernel said.
        error: io::Error,
    },
}

impl Store {
    /// Takes the maps by name; `batch`: the kernel has batch operations.
    pub(crate) fn new(maps: &BTreeMap<&'static str, MapData>, batch: bool) -> Result<Store, MapError> {
        let counters = maps
            .get(name::COUNTERS)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .and_then(PerCpu::new)
            .map_err(of(name::COUNTERS))?;
        let grace = Grace::choose().map_err(of("for grace periods"))?;
        Ok(Store { maps: Maps::new(maps, batch)?, counters, grace })
    }

    /// What the maps hold now. The agent starts with it and writes only what differs.
    ///
    /// # Errors
    /// When the kernel refuses a look-up; never because of what the maps hold.
    pub fn read_image(&self) -> Result<Image, MapError> {
        self.maps.read_image()
    }

    /// The maps, to be looked at.
    pub(crate) fn maps(&self) -> &Maps {
        &self.maps
    }

    /// STATE alone.
    ///
    /// # Errors
    /// When the kernel refuses the look-up.
    pub fn state(&self) -> Result<State, MapError> {
        self.maps.state()
    }

    /// Writes entries of connections that have none; those that the programs made stay.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn adopt(&mut self, entries: &[(ConnectionKey, Connection)]) -> Result<(), MapError> {
        for (key, connection) in entries {
            if key.remote.is_v4() {
                add(&self.maps.established4, &key.key4(), connection).map_err(of(name::ESTABLISHED4))?;
            } else {
                add(&self.maps.established6, &key.key6(), connection).map_err(of(name::ESTABLISHED6))?;
            }
        }
        Ok(())
    }

    /// Executes the operations in order.
    ///
    /// # Errors
    /// The first operation that failed; see [`StoreError`].
    pub fn apply(&mut self, ops: &[Op]) -> Result<Applied, StoreError> {
        let start = Instant::now();
        let mut done = 0;
        let mut waits = 0;
        let mut switched = None;
        while done < ops.len() {
            let rest = &ops[done..];
            match rest[0] {
                Op::Grace => {
                    self.grace.wait().map_err(|error| StoreError::Grace { op: done, error })?;
                    waits += 1;
                    done += 1;
                }
                Op::Cell(..) => {
                    let pick =
                        |op: &Op| if let Op::Cell(key, word) = op { Some((*key, word.0)) } else { None };
                    done += put_run(&self.maps.cells, name::CELLS, done, rest, pick)?;
                }
                Op::Interval(..) => {
                    let pick =
                        |op: &Op| if let Op::Interval(key, raw) = op { Some((*key, *raw)) } else { None };
                    done += put_run(&self.maps.intervals, name::INTERVALS, done, rest, pick)?;
                }
                Op::BlockPeer(..) => {
                    let pick =
                        |op: &Op| if let Op::BlockPeer(key, peer) = op { Some((*key, *peer)) } else { None };
                    done += put_run(&self.maps.block_peers, name::BLOCK_PEERS, done, rest, pick)?;
                }
                Op::Host(_, Some(_)) => {
                    let pick = |op: &Op| {
                        if let Op::Host(key, peer) = op { peer.map(|peer| (*key, peer)) } else { None }
                    };
                    done += put_run(&self.maps.hosts, name::HOSTS, done, rest, pick)?;
                }
                Op::Name(_, Some(_)) => {
                    let pick = |op: &Op| match op {
                        Op::Name(key, Some(name)) => Some((*key, encode_name(name))),
                        _ => None,
                    };
                    done += put_run(&self.maps.names, name::NAMES, done, rest, pick)?;
                }
                _ => {
                    self.single(done, &rest[0])?;
                    if matches!(rest[0], Op::State(_)) {
                        switched = Some(start.elapsed());
                    }
                    done += 1;
                }
            }
        }
        let duration = start.elapsed();
        Ok(Applied { writes: ops.len() - waits, switched: switched.unwrap_or(duration), duration })
    }

    fn single(&self, op: usize, what: &Op) -> Result<(), StoreError> {
        let maps = &self.maps;
        match what {
            Op::State(state) => put(&maps.state, name::STATE, op, &0, Some(state)),
            Op::Marking(marking) => put(&maps.marking, name::MARKING, op, &0, Some(marking)),
            Op::Endpoint(ifindex, endpoint) => self.endpoint(op, *ifindex, endpoint.as_ref()),
            Op::Block(addr, number) if addr.is_v4() => {
                put(&maps.blocks4, name::BLOCKS4, op, &(addr.low32() >> 8), number.as_ref())
            }
            Op::Block(addr, number) => put(&maps.blocks6, name::BLOCKS6, op, addr, number.as_ref()),
            Op::Prefix(prefix, peer) => {
                put(&maps.prefixes, name::PREFIXES, op, &TrieKey::from(prefix), peer.as_ref())
            }
            Op::Host(addr, peer) => put::<Addr, Peer>(&maps.hosts, name::HOSTS, op, addr, peer.as_ref()),
            Op::Name(key, name) => {
                put(&maps.names, name::NAMES, op, key, name.as_deref().map(encode_name).as_ref())
            }
            Op::BlockPeer(index, peer) => put(&maps.block_peers, name::BLOCK_PEERS, op, index, Some(peer)),
            Op::Cell(index, word) => put(&maps.cells, name::CELLS, op, index, Some(&word.0)),
            Op::Interval(index, raw) => put(&maps.intervals, name::INTERVALS, op, index, Some(raw)),
            Op::Grace => self.grace.wait().map_err(|error| StoreError::Grace { op, error }),
        }
    }

    /// The array where the interface's place is free, otherwise the hash. The programs look in that order, so
    /// that an endpoint that moves from the hash to the array is never missing.
    fn endpoint(&self, op: usize, ifindex: u32, endpoint: Option<&Endpoint>) -> Result<(), StoreError> {
        let (array, wide) = (&self.maps.endpoints, &self.maps.endpoints_wide);
        let place = ifindex & (capacity::ENDPOINTS - 1);
        let holder = if place < array.capacity() {
            let held = array.get(&place).map_err(|error| write(name::ENDPOINTS, array, op, error))?;
            Some(held.map_or(0, |endpoint| endpoint.ifindex))
        } else {
            None
        };
        if let Some(endpoint) = endpoint {
            let before = match holder {
                Some(holder) if holder == ifindex => array.get(&place),
                _ => wide.get(&ifindex),
            };
            let before = before.map_err(|error| write(name::ENDPOINTS, array, op, error))?;
            if before.is_none_or(|before| before.id != endpoint.id || before.slot != endpoint.slot) {
                self.clear_counters(endpoint.slot)
                    .map_err(|error| StoreError::Write { op, error: of(name::COUNTERS)(error) })?;
            }
        }
        if let Some(endpoint) = endpoint {
            // What an earlier endpoint leaves there leads nowhere: the endpoint found must have the slot.
            put(&self.maps.slots, name::SLOTS, op, &endpoint.slot, Some(&ifindex))?;
        }
        match holder {
            Some(holder) if holder == ifindex || (holder == 0 && endpoint.is_some()) => {
                put(array, name::ENDPOINTS, op, &place, Some(&endpoint.copied().unwrap_or_default()))?;
                put(wide, name::ENDPOINTS_WIDE, op, &ifindex, None)
            }
            _ => put(wide, name::ENDPOINTS_WIDE, op, &ifindex, endpoint),
        }
    }

    /// A new endpoint does not inherit the counters of the one that had its slot before.
    fn clear_counters(&self, slot: u32) -> io::Result<()> {
        for direction in Direction::BOTH {
            for reason in Reason::ALL {
                let index = counter_index(slot, direction, *reason as u8);
                if index < self.counters.capacity() {
                    self.counters.clear(index)?;
                }
            }
        }
        Ok(())
    }
}

fn write<K: Wire, V: Wire>(
    map: &'static str,
    table: &Table<K, V>,
    op: usize,
    error: io::Error,
) -> StoreError {
    // E2BIG: a hash or array is full. ENOSPC: a trie is.
    if matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) {
        return StoreError::Full { op, map, capacity: table.capacity() };
    }
    StoreError::Write { op, error: of(map)(error) }
}

/// Writes one entry, or removes it.
fn put<K: Wire, V: Wire>(
    table: &Table<K, V>,
    map: &'static str,
    op: usize,
    key: &K,
    value: Option<&V>,
) -> Result<(), StoreError> {
    match value {
        Some(value) => table.put(key, value),
        None => table.delete(key),
    }
    .map_err(|error| write(map, table, op, error))
}

/// Writes the entries that `pick` finds at the start of `ops`, and says how many that were, at least one.
/// `op` is the index of the first.
fn put_run<K: Wire, V: Wire>(
    table: &Table<K, V>,
    map: &'static str,
    op: usize,
    ops: &[Op],
    pick: impl Fn(&Op) -> Option<(K, V)>,
) -> Result<usize, StoreError> {
    let run = ops.iter().map_while(pick);
    if !table.batches() {
        let mut count = 0;
        for (key, value) in run {
            put(table, map, op + count, &key, Some(&value))?;
            count += 1;
        }
        return Ok(count);
    }
    let (keys, values): (Vec<K>, Vec<V>) = run.unzip();
    match table.put_many(&keys, &values) {
        Ok(()) => Ok(keys.len()),
        Err((written, error)) => Err(write(map, table, op + written, error)),
    }
}
/// Adds an entry where there is none.
fn add<K: Wire>(table: &Table<K, Connection>, key: &K, connection: &Connection) -> io::Result<()> {
    match table.get(key)? {
        Some(_) => Ok(()),
        None => table.put(key, connection),
    }
}
