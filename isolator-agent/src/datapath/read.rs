//! The kernel's own truth for people: pinned maps, opened to look and never to write, whether the agent is alive
//! or not. Not here: names for the numbers (`flows`, `cli`), the agent's own start (`store`).

use super::maps::{MapError, Maps, of, table};
use super::table::{PerCpu, Table, Wire};
use aya::maps::{Map, MapData, RingBuf};
use isolator_common::ABI_VERSION;
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, ConnectionKey, FragmentKey, Key4, Key6, Ports, Table as Life};
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_common::tables::{self, counter_index, name};
use isolator_policy::datapath::image::Image;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// Why the pinned maps cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are none.
    #[error("no maps in {0}: no agent has run with these pins, or it was uninstalled")]
    NotThere(PathBuf),
    /// This process may not open them.
    #[error("cannot open {path}: {error}")]
    Refused {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// They were written by an agent with other layouts.
    #[error(
        "the maps in {pin_dir} have ABI version {found}, this program reads {ABI_VERSION}: use the agent's own"
    )]
    Abi {
        /// Directory of the pins.
        pin_dir: PathBuf,
        /// Version of the maps.
        found: u32,
    },
    /// A map cannot be read.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// All pinned maps.
#[derive(Debug)]
pub struct ReadOnly {
    maps: Maps,
    counters: PerCpu<[u64; 2]>,
    lost: PerCpu<u64>,
    data: BTreeMap<&'static str, MapData>,
}

/// Packets with one outcome, of one endpoint in one direction, since the endpoint exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// As the endpoint sees it.
    pub direction: Direction,
    /// The outcome.
    pub reason: Reason,
    /// On all CPUs together.
    pub packets: u64,
    /// On all CPUs together, from the Ethernet header on.
    pub bytes: u64,
}

/// Events that nobody saw, since the maps exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Their tenant had caused more than its share.
    pub over_rate: u64,
    /// The ring buffer was full.
    pub ring_full: u64,
}

/// A map, for a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSummary {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The kernel's number.
    pub id: u32,
    /// Room in entries; of EVENTS in bytes.
    pub capacity: u32,
    /// Entries in use (in arrays: not zero); `None` where the kernel does not tell.
    pub entries: Option<u64>,
    /// Kernel memory in bytes, where the kernel tells.
    pub memory: Option<u64>,
}

impl ReadOnly {
    /// Opens the maps pinned in `pin_dir`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(pin_dir: &Path) -> Result<ReadOnly, ReadError> {
        let mut data = BTreeMap::new();
        for (name, ..) in tables::ALL {
            let path = pin_dir.join(name);
            if !path.try_exists().map_err(|error| ReadError::Refused { path: path.clone(), error })? {
                return Err(ReadError::NotThere(pin_dir.to_owned()));
            }
            let map = MapData::from_pin(&path)
                .map_err(|error| ReadError::Refused { path, error: io::Error::other(error) })?;
            data.insert(*name, map);
        }
        let per_cpu = |name| PerCpu::new(&data[name]).map_err(of(name));
        let (counters, lost) =
            (per_cpu(name::COUNTERS)?, PerCpu::new(&data[name::LOST]).map_err(of(name::LOST))?);
        // Old kernels read one by one: this is for people, not for speed, and the fall-back is automatic.
        let maps = Maps::new(&data, true)?;
        let found = maps.state()?.abi_version;
        if found != 0 && found != ABI_VERSION {
            return Err(ReadError::Abi { pin_dir: pin_dir.to_owned(), found });
        }
        Ok(ReadOnly { maps, counters, lost, data })
    }

    /// The maps, to be looked at in pieces.
    pub(crate) fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Everything that the agent wrote.
    ///
    /// # Errors
    /// When the kernel refuses a look-up.
    pub fn read_image(&self) -> Result<Image, ReadError> {
        Ok(self.maps.read_image()?)
    }

    /// Counters of the endpoint with this `Endpoint::slot` that are not zero.
    ///
    /// # Errors
    /// When the kernel refuses a look-up.
    pub fn counters(&self, slot: u32) -> Result<Vec<Counter>, ReadError> {
        let mut counters = Vec::new();
        for direction in Direction::BOTH {
            for reason in Reason::ALL {
                let index = counter_index(slot, direction, *reason as u8);
                let values = self.counters.get(index).map_err(of(name::COUNTERS))?;
                let [packets, bytes] =
                    values.iter().fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
                if packets != 0 {
                    counters.push(Counter { direction, reason: *reason, packets, bytes });
                }
            }
        }
        Ok(counters)
    }

    /// How many events nobody saw.
    ///
    /// # Errors
    /// When the kernel refuses a look-up.
    pub fn lost(&self) -> Result<Lost, ReadError> {
        let sum = |index| -> Result<u64, MapError> {
            Ok(self.lost.get(index).map_err(of(name::LOST))?.iter().sum())
        };
        Ok(Lost { over_rate: sum(0)?, ring_full: sum(1)? })
    }

    /// All connection entries, in no order. Old ones count for nothing but may still be there.
    ///
    /// # Errors
    /// When the kernel refuses a look-up.
    pub fn connections(&self) -> Result<Vec<(Life, ConnectionKey, Connection)>, ReadError> {
        let mut all = Vec::new();
        for (map, life) in [(name::ESTABLISHED4, Life::Established), (name::HALF_OPEN4, Life::HalfOpen)] {
            self.scan(map, |key: Key4, connection| all.push((life, key4(&key), connection)))?;
        }
        for (map, life) in [(name::ESTABLISHED6, Life::Established), (name::HALF_OPEN6, Life::HalfOpen)] {
            self.scan(map, |key: Key6, connection| all.push((life, key6(&key), connection)))?;
        }
        Ok(all)
    }

    fn scan<K: Wire, V: Wire>(&self, map: &'static str, see: impl FnMut(K, V)) -> Result<(), MapError> {
        let table: Table<K, V> = table(&self.data, map, true)?;
        table.scan(see).map_err(of(map))
    }

    /// All maps.
    ///
    /// # Errors
    /// When the kernel refuses a look-up.
    pub fn summaries(&self) -> Result<Vec<MapSummary>, ReadError> {
        let image = self.read_image()?;
        let mut all = Vec::new();
        for (name, _, about) in tables::ALL {
            let data = &self.data[name];
            let info = data.info().map_err(|error| of(name)(io::Error::other(error)))?;
            let (id, capacity) = (info.id(), info.max_entries());
            let (entries, memory) = (self.entries(name, &image)?, memory(data));
            all.push(MapSummary { name, about, id, capacity, entries, memory });
        }
        Ok(all)
    }

    fn entries(&self, map: &'static str, image: &Image) -> Result<Option<u64>, MapError> {
        let count = match map {
            name::STATE => usize::from(image.state.generation != 0),
            name::BLOCK_PEERS => image.block_peers.len(),
            name::HOSTS => image.hosts.len(),
            name::PREFIXES => image.prefixes.len(),
            name::CELLS => image.cells.len(),
            name::INTERVALS => image.intervals.len(),
            name::NAMES => image.names.len(),
            name::BLOCKS4 => image.blocks.keys().filter(|addr| addr.is_v4()).count(),
            name::BLOCKS6 => image.blocks.keys().filter(|addr| !addr.is_v4()).count(),
            name::ENDPOINTS_WIDE | name::ENDPOINTS => {
                let mut wide = 0;
                self.maps.endpoints_wide.scan(|_, _| wide += 1).map_err(of(name::ENDPOINTS_WIDE))?;
                if map == name::ENDPOINTS_WIDE { wide } else { image.endpoints.len().saturating_sub(wide) }
            }
            name::ESTABLISHED4 | name::HALF_OPEN4 => self.count::<Key4, Connection>(map)?,
            name::ESTABLISHED6 | name::HALF_OPEN6 => self.count::<Key6, Connection>(map)?,
            name::FRAGMENTS => self.count::<FragmentKey, Ports>(map)?,
            _ => return Ok(None),
        };
        Ok(Some(count as u64))
    }

    fn count<K: Wire, V: Wire>(&self, map: &'static str) -> Result<usize, MapError> {
        let mut count = 0;
        self.scan(map, |_: K, _: V| count += 1)?;
        Ok(count)
    }

    /// The ring buffer of events. It has one read position for all who read: an event reaches one of them.
    ///
    /// # Errors
    /// When the kernel does not let this process map it.
    pub fn into_events(mut self) -> Result<RingBuf<MapData>, ReadError> {
        let missing = || of(name::EVENTS)(io::Error::from(io::ErrorKind::NotFound));
        Ok(ring(self.data.remove(name::EVENTS).ok_or_else(missing)?)?)
    }
}

/// The ring buffer in a map.
pub(crate) fn ring(map: MapData) -> Result<RingBuf<MapData>, MapError> {
    RingBuf::try_from(Map::RingBuf(map)).map_err(|error| of(name::EVENTS)(io::Error::other(error)))
}

/// What the kernel says in `/proc/self/fdinfo`.
fn memory(map: &MapData) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    // Before 6.4 the kernel says 0 for ring buffers.
    text.lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
        .filter(|bytes| *bytes != 0)
}

fn key4(key: &Key4) -> ConnectionKey {
    ConnectionKey {
        endpoint: key.endpoint,
        remote: Addr::v4(key.remote.to_be_bytes()),
        local_port: (key.ports >> 16) as u16,
        remote_port: key.ports as u16,
        protocol: key.protocol as u8,
    }
}

fn key6(key: &Key6) -> ConnectionKey {
    ConnectionKey {
        endpoint: key.endpoint,
        remote: key.remote,
        local_port: (key.ports >> 16) as u16,
        remote_port: key.ports as u16,
        protocol: key.protocol as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_keys_survive_the_maps() {
        let mut key = ConnectionKey {
            endpoint: 7,
            remote: Addr::v4([10, 1, 2, 3]),
            local_port: 80,
            remote_port: 40_000,
            protocol: 6,
        };
        assert_eq!(key4(&key.key4()), key);
        key.remote = Addr([0xfd; 16]);
        assert_eq!(key6(&key.key6()), key);
    }
}
