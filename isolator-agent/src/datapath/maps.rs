//! The maps that the agent writes, with types, and the reading of an `Image` from them. Who reads (`read`) and
//! who writes (`store`) share it. Not here: opening (`load`), order of writes.

use super::table::{Table, Wire};
use aya::maps::MapData;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::{Connection, Key4, Key6};
use isolator_common::endpoint::{Endpoint, Marking, Peer, State};
use isolator_common::event::{NAME_BYTES, NameKey};
use isolator_common::policy::Word;
use isolator_common::tables::name;
use isolator_policy::datapath::image::Image;
use std::collections::BTreeMap;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of PREFIXES as the kernel wants it: length in bits (host byte order), then the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TrieKey {
    bits: u32,
    addr: [u8; 16],
}

impl From<&Prefix> for TrieKey {
    fn from(prefix: &Prefix) -> TrieKey {
        TrieKey { bits: prefix.bits, addr: prefix.addr.0 }
    }
}

impl From<&TrieKey> for Prefix {
    fn from(key: &TrieKey) -> Prefix {
        Prefix { addr: Addr(key.addr), bits: key.bits }
    }
}

/// An error and the map it came from.
#[derive(Debug, thiserror::Error)]
#[error("map {map}: {error}")]
pub struct MapError {
    /// Name of the map.
    pub map: &'static str,
    /// What the kernel said.
    pub error: io::Error,
}

/// Adds the name of the map to an error.
pub(crate) fn of(map: &'static str) -> impl FnOnce(io::Error) -> MapError {
    move |error| MapError { map, error }
}

/// Every map that the agent writes.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) state: Table<u32, State>,
    pub(crate) marking: Table<u32, Marking>,
    pub(crate) slots: Table<u32, u32>,
    pub(crate) endpoints: Table<u32, Endpoint>,
    pub(crate) endpoints_wide: Table<u32, Endpoint>,
    pub(crate) blocks4: Table<u32, u32>,
    pub(crate) blocks6: Table<Addr, u32>,
    pub(crate) block_peers: Table<u32, Peer>,
    pub(crate) hosts: Table<Addr, Peer>,
    pub(crate) prefixes: Table<TrieKey, Peer>,
    pub(crate) cells: Table<u32, u32>,
    pub(crate) intervals: Table<u32, u64>,
    pub(crate) names: Table<NameKey, [u8; NAME_BYTES]>,
    pub(crate) established4: Table<Key4, Connection>,
    pub(crate) established6: Table<Key6, Connection>,
}

/// The typed form of one of `maps`.
pub(crate) fn table<K: Wire, V: Wire>(
    maps: &BTreeMap<&'static str, MapData>,
    map: &'static str,
    batch: bool,
) -> Result<Table<K, V>, MapError> {
    let data = maps.get(map).ok_or_else(|| of(map)(io::Error::from(io::ErrorKind::NotFound)))?;
    Table::new(data, batch).map_err(of(map))
}

impl Maps {
    /// Finds each map by its name. `batch`: the kernel has batch operations for arrays and hashes.
    pub(crate) fn new(maps: &BTreeMap<&'static str, MapData>, batch: bool) -> Result<Maps, MapError> {
        Ok(Maps {
            state: table(maps, name::STATE, false)?,
            marking: table(maps, name::MARKING, false)?,
            slots: table(maps, name::SLOTS, false)?,
            endpoints: table(maps, name::ENDPOINTS, batch)?,
            endpoints_wide: table(maps, name::ENDPOINTS_WIDE, batch)?,
            blocks4: table(maps, name::BLOCKS4, batch)?,
            blocks6: table(maps, name::BLOCKS6, batch)?,
            block_peers: table(maps, name::BLOCK_PEERS, batch)?,
            hosts: table(maps, name::HOSTS, batch)?,
            // Tries learnt batches later than the other kinds, and never hold many entries.
            prefixes: table(maps, name::PREFIXES, false)?,
            cells: table(maps, name::CELLS, batch)?,
            intervals: table(maps, name::INTERVALS, batch)?,
            names: table(maps, name::NAMES, batch)?,
            established4: table(maps, name::ESTABLISHED4, false)?,
            established6: table(maps, name::ESTABLISHED6, false)?,
        })
    }

    /// What the maps hold.
    pub(crate) fn read_image(&self) -> Result<Image, MapError> {
        let marking = self.marking.get(&0).map_err(of(name::MARKING))?.unwrap_or_default();
        let mut image = Image { state: self.state()?, marking, ..Image::default() };
        let mut endpoint = |_, endpoint: Endpoint| {
            if endpoint.ifindex != 0 {
                image.endpoints.insert(endpoint.ifindex, endpoint);
            }
        };
        // The wide table first: what is in both counts as the programs see it, from the array.
        self.endpoints_wide.scan(&mut endpoint).map_err(of(name::ENDPOINTS_WIDE))?;
        self.endpoints.scan(&mut endpoint).map_err(of(name::ENDPOINTS))?;
        let blocks = &mut image.blocks;
        let block4 = |key: u32, number| {
            blocks.insert(Addr::v4((key << 8).to_be_bytes()), number);
        };
        self.blocks4.scan(block4).map_err(of(name::BLOCKS4))?;
        let block6 = |addr, number| {
            blocks.insert(addr, number);
        };
        self.blocks6.scan(block6).map_err(of(name::BLOCKS6))?;
        let present = |index, peer: Peer| {
            if peer != Peer::default() {
                image.block_peers.insert(index, peer);
            }
        };
        self.block_peers.scan(present).map_err(of(name::BLOCK_PEERS))?;
        let host = |addr, peer| {
            image.hosts.insert(addr, peer);
        };
        self.hosts.scan(host).map_err(of(name::HOSTS))?;
        let prefix = |key: TrieKey, peer| {
            image.prefixes.insert(Prefix::from(&key), peer);
        };
        self.prefixes.scan(prefix).map_err(of(name::PREFIXES))?;
        let cell = |index, word| {
            if word != 0 {
                image.cells.insert(index, Word(word));
            }
        };
        self.cells.scan(cell).map_err(of(name::CELLS))?;
        let interval = |index, raw| {
            if raw != 0 {
                image.intervals.insert(index, raw);
            }
        };
        self.intervals.scan(interval).map_err(of(name::INTERVALS))?;
        let text = |key, bytes| drop(image.names.insert(key, decode_name(&bytes)));
        self.names.scan(text).map_err(of(name::NAMES))?;
        Ok(image)
    }

    /// The switch alone.
    pub(crate) fn state(&self) -> Result<State, MapError> {
        Ok(self.state.get(&0).map_err(of(name::STATE))?.unwrap_or_default())
    }
}

/// A name as NAMES holds it: UTF-8, filled up with zeros; a longer one is cut and ends in `…`.
pub(crate) fn encode_name(name: &str) -> [u8; NAME_BYTES] {
    const ELLIPSIS: &str = "…";
    let mut bytes = [0; NAME_BYTES];
    if name.len() <= NAME_BYTES {
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        return bytes;
    }
    let end = name.floor_char_boundary(NAME_BYTES - ELLIPSIS.len());
    bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
    bytes[end..end + ELLIPSIS.len()].copy_from_slice(ELLIPSIS.as_bytes());
    bytes
}

/// A name as it was before [`encode_name`], if it was not cut.
pub(crate) fn decode_name(bytes: &[u8; NAME_BYTES]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_long_ones_are_cut_between_characters() {
        assert_eq!(decode_name(&encode_name("ns/pod")), "ns/pod");
        let exact = "x".repeat(NAME_BYTES);
        assert_eq!(decode_name(&encode_name(&exact)), exact);
        let cut = decode_name(&encode_name(&"ü".repeat(NAME_BYTES)));
        assert!(cut.ends_with("ü…") && cut.len() <= NAME_BYTES);
    }
}
