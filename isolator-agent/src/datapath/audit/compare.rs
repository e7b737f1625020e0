//! Map entries against an image, piece by piece: a look is at a piece of one map, so that nobody waits long for its end
//! however large the maps are, and a round of looks sees everything. Changed and foreign entries are seen by walking the kernel's map, missing ones by asking
//! it for what is wanted. Not here: programs, links, pins; repairing.

use super::Difference;
use crate::datapath::maps::{MapError, Maps, TrieKey, decode_name, encode_name, of};
use crate::datapath::table::{Position, Table, Wire};
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Peer};
use isolator_common::event::{NAME_BYTES, NameKey};
use isolator_common::policy::Word;
use isolator_common::tables::name;
use isolator_policy::datapath::image::Image;
use isolator_policy::shared::SharedMap;
use std::fmt;
use std::io;
use std::ops::Bound;

/// Wanted entries that are asked for in one look: each is a call.
const ASKED: usize = 1 << 10;

/// A map that can be looked at in pieces, as an image has it.
trait Kernel<K, V> {
    /// The next piece; whether it was the last. Of arrays what lies behind `end` does not matter.
    fn walk(&self, at: &mut Position, end: u32, see: &mut dyn FnMut(K, V)) -> io::Result<bool>;
    /// One entry; of an array none where there is zero. The outer `None`: such a key is not for this map.
    fn ask(&self, key: &K) -> io::Result<Option<Option<V>>>;
    /// Whether what is there is what was written.
    fn same(&self, kernel: &V, wanted: &V) -> bool;
}

/// A kernel's map with its keys and values as an image has them.
struct Translated<'t, A, B, K, V> {
    table: &'t Table<A, B>,
    entry: fn(A, B) -> Option<(K, V)>,
    key: fn(&K) -> Option<A>,
    same: fn(&V, &V) -> bool,
}

impl<A: Wire, B: Wire, K, V> Kernel<K, V> for Translated<'_, A, B, K, V> {
    fn walk(&self, at: &mut Position, end: u32, see: &mut dyn FnMut(K, V)) -> io::Result<bool> {
        self.table.walk(at, end, |key, value| {
            if let Some((key, value)) = (self.entry)(key, value) {
                see(key, value);
            }
        })
    }

    fn ask(&self, key: &K) -> io::Result<Option<Option<V>>> {
        let Some(key) = (self.key)(key) else { return Ok(None) };
        let value = self.table.get(&key)?;
        Ok(Some(value.and_then(|value| (self.entry)(key, value)).map(|(_, value)| value)))
    }

    fn same(&self, kernel: &V, wanted: &V) -> bool {
        (self.same)(kernel, wanted)
    }
}

/// A map whose keys and values are those of the image.
fn plain<K: Wire, V: Wire + PartialEq>(table: &Table<K, V>) -> Translated<'_, K, V, K, V> {
    Translated { table, entry: |key, value| Some((key, value)), key: |key| Some(*key), same: V::eq }
}

/// PREFIXES. A trie that is asked for a prefix it does not have answers with the longest that covers it.
struct Trie<'t> {
    table: &'t Table<TrieKey, Peer>,
    wanted: &'t SharedMap<Prefix, Peer>,
}

impl Trie<'_> {
    /// Whether this is what a trie without `prefix` says of it.
    fn is_of_cover(&self, prefix: &Prefix, peer: &Peer) -> bool {
        let shorter = (0..prefix.bits).rev().map(|bits| Prefix::new(prefix.addr, bits));
        shorter.filter_map(|cover| self.wanted.get(&cover)).next() == Some(peer)
    }
}

impl Kernel<Prefix, Peer> for Trie<'_> {
    fn walk(&self, at: &mut Position, end: u32, see: &mut dyn FnMut(Prefix, Peer)) -> io::Result<bool> {
        self.table.walk(at, end, |key, peer| see(Prefix::from(&key), peer))
    }

    fn ask(&self, prefix: &Prefix) -> io::Result<Option<Option<Peer>>> {
        let found = self.table.get(&TrieKey::from(prefix))?;
        let own = |peer: &Peer| self.wanted.get(prefix) == Some(peer) || !self.is_of_cover(prefix, peer);
        Ok(Some(found.filter(own)))
    }

    fn same(&self, kernel: &Peer, wanted: &Peer) -> bool {
        kernel == wanted
    }
}

/// Where the looks at one map go on in this round.
#[derive(Clone, Debug)]
struct Progress<K> {
    walk: Position,
    walked: bool,
    asked: Option<K>,
    all_asked: bool,
}

impl<K> Default for Progress<K> {
    fn default() -> Self {
        Progress { walk: Position::default(), walked: false, asked: None, all_asked: false }
    }
}

impl<K: Ord + Copy + fmt::Debug> Progress<K> {
    /// Looks at the next piece. False: this round has seen all of the map, and nothing was looked at.
    fn look<V: PartialEq + fmt::Debug>(
        &mut self,
        map: &'static str,
        kernel: &impl Kernel<K, V>,
        wanted: &SharedMap<K, V>,
        end: u32,
        found: &mut Vec<Difference>,
    ) -> Result<bool, MapError> {
        if self.done() {
            return Ok(false);
        }
        if !self.walked {
            let see = &mut |key: K, value: V| {
                let should = wanted.get(&key);
                if !should.is_some_and(|should| kernel.same(&value, should)) {
                    found.push(difference(map, &key, Some(&value), should));
                }
            };
            self.walked = kernel.walk(&mut self.walk, end, see).map_err(of(map))?;
        }
        if !self.all_asked {
            let from = self.asked.map_or(Bound::Unbounded, Bound::Excluded);
            let mut asked = 0;
            for (key, should) in wanted.range((from, Bound::Unbounded)).take(ASKED) {
                asked += 1;
                self.asked = Some(*key);
                // What is there and different is seen by the walk.
                if let Some(None) = kernel.ask(key).map_err(of(map))? {
                    found.push(difference(map, key, None, Some(should)));
                }
            }
            self.all_asked = asked < ASKED;
        }
        Ok(true)
    }

    fn done(&self) -> bool {
        self.walked && self.all_asked
    }
}

fn difference<K: fmt::Debug, V: fmt::Debug>(
    map: &'static str,
    key: &K,
    kernel: Option<&V>,
    wanted: Option<&V>,
) -> Difference {
    let text = |value: Option<&V>| value.map(|value| format!("{value:?}"));
    Difference::Entry { map, key: format!("{key:?}"), kernel: text(kernel), wanted: text(wanted) }
}

/// How much of an array is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// What something may lead to: up to the last entry that is wanted.
    InUse,
}

/// A round of looks at all maps that the agent writes.
#[derive(Debug)]
pub(crate) struct Round {
    extent: Extent,
    /// Walks through ENDPOINTS and ENDPOINTS_WIDE, and whether they are over.
    endpoints: [(Position, bool); 2],
    blocks4: Progress<Addr>,
    blocks6: Progress<Addr>,
    block_peers: Progress<u32>,
    hosts: Progress<Addr>,
    prefixes: Progress<Prefix>,
    cells: Progress<u32>,
    intervals: Progress<u32>,
    names: Progress<NameKey>,
}

impl Round {
    pub(crate) fn new(extent: Extent) -> Round {
        Round {
            extent,
            endpoints: Default::default(),
            blocks4: Progress::default(),
            blocks6: Progress::default(),
            block_peers: Progress::default(),
            hosts: Progress::default(),
            prefixes: Progress::default(),
            cells: Progress::default(),
            intervals: Progress::default(),
            names: Progress::default(),
        }
    }

    /// Looks at the switch, at every endpoint, and at the next piece of a map that this round has not seen all of.
    /// Answers whether it has seen all of all now.
    pub(crate) fn look(
        &mut self,
        maps: &Maps,
        wanted: &Image,
        found: &mut Vec<Difference>,
    ) -> Result<bool, MapError> {
        let state = maps.state()?;
        if state != wanted.state {
            found.push(difference(name::STATE, &0, Some(&state), Some(&wanted.state)));
        }
        let marking = maps.marking.get(&0).map_err(of(name::MARKING))?.unwrap_or_default();
        if marking != wanted.marking {
            found.push(difference(name::MARKING, &0, Some(&marking), Some(&wanted.marking)));
        }
        self.endpoints(maps, &wanted.endpoints, found)?;
        if !self.addresses(maps, wanted, found)? {
            self.rules(maps, wanted, found)?;
        }
        Ok(self.done())
    }

    /// What rows, port sets and numbers stand for. Answers whether it has looked at something.
    fn rules(&mut self, maps: &Maps, wanted: &Image, found: &mut Vec<Difference>) -> Result<bool, MapError> {
        let cells = Translated {
            table: &maps.cells,
            entry: |index, word| (word != 0).then_some((index, Word(word))),
            key: |index| Some(*index),
            same: Word::eq,
        };
        if self.cells.look(name::CELLS, &cells, &wanted.cells, end(self.extent, &wanted.cells), found)? {
            return Ok(true);
        }
        let intervals =
            Translated { entry: |index, raw| (raw != 0).then_some((index, raw)), ..plain(&maps.intervals) };
        let last = end(self.extent, &wanted.intervals);
        if self.intervals.look(name::INTERVALS, &intervals, &wanted.intervals, last, found)? {
            return Ok(true);
        }
        let names = Translated {
            table: &maps.names,
            entry: |key, bytes: [u8; NAME_BYTES]| Some((key, decode_name(&bytes))),
            key: |key| Some(*key),
            // The kernel cuts long names.
            same: |kernel: &String, wanted: &String| {
                kernel == wanted || *kernel == decode_name(&encode_name(wanted))
            },
        };
        self.names.look(name::NAMES, &names, &wanted.names, 0, found)
    }

    /// Who has which address. Answers whether it has looked at something.
    fn addresses(
        &mut self,
        maps: &Maps,
        wanted: &Image,
        found: &mut Vec<Difference>,
    ) -> Result<bool, MapError> {
        let blocks4 = Translated {
            table: &maps.blocks4,
            entry: |key, number| Some((Addr::v4((key << 8).to_be_bytes()), number)),
            key: |addr| addr.is_v4().then(|| addr.low32() >> 8),
            same: u32::eq,
        };
        if self.blocks4.look(name::BLOCKS4, &blocks4, &wanted.blocks, 0, found)? {
            return Ok(true);
        }
        let blocks6 =
            Translated { key: |addr: &Addr| (!addr.is_v4()).then_some(*addr), ..plain(&maps.blocks6) };
        if self.blocks6.look(name::BLOCKS6, &blocks6, &wanted.blocks, 0, found)? {
            return Ok(true);
        }
        let peers = Translated {
            entry: |index, peer| (peer != Peer::default()).then_some((index, peer)),
            ..plain(&maps.block_peers)
        };
        let last = end(self.extent, &wanted.block_peers);
        if self.block_peers.look(name::BLOCK_PEERS, &peers, &wanted.block_peers, last, found)?
            || self.hosts.look(name::HOSTS, &plain(&maps.hosts), &wanted.hosts, 0, found)?
        {
            return Ok(true);
        }
        let trie = Trie { table: &maps.prefixes, wanted: &wanted.prefixes };
        self.prefixes.look(name::PREFIXES, &trie, &wanted.prefixes, 0, found)
    }

    /// Asks for every endpoint as the programs do, in the array and then in the hash; walks both for others.
    fn endpoints(
        &mut self,
        maps: &Maps,
        wanted: &SharedMap<u32, Endpoint>,
        found: &mut Vec<Difference>,
    ) -> Result<(), MapError> {
        let (array, wide) = (&maps.endpoints, &maps.endpoints_wide);
        for (ifindex, should) in wanted {
            let place = ifindex & (array.capacity().next_power_of_two() - 1);
            let held = if place < array.capacity() { array.get(&place) } else { Ok(None) };
            let held = held.map_err(of(name::ENDPOINTS))?.filter(|held| held.ifindex == *ifindex);
            let is = match held {
                Some(held) => Some(held),
                None => wide.get(ifindex).map_err(of(name::ENDPOINTS_WIDE))?,
            };
            if is.as_ref() != Some(should) {
                found.push(difference(name::ENDPOINTS, ifindex, is.as_ref(), Some(should)));
            }
        }
        for ((at, over), (map, table)) in
            self.endpoints.iter_mut().zip([(name::ENDPOINTS, array), (name::ENDPOINTS_WIDE, wide)])
        {
            if *over {
                continue;
            }
            let see = |_, endpoint: Endpoint| {
                if endpoint.ifindex != 0 && wanted.get(&endpoint.ifindex).is_none() {
                    found.push(difference(map, &endpoint.ifindex, Some(&endpoint), None));
                }
            };
            *over = table.walk(at, u32::MAX, see).map_err(of(map))?;
        }
        Ok(())
    }

    fn done(&self) -> bool {
        self.endpoints.iter().all(|(_, over)| *over)
            && [&self.blocks4, &self.blocks6, &self.hosts].into_iter().all(Progress::done)
            && [&self.block_peers, &self.cells, &self.intervals].into_iter().all(Progress::done)
            && self.prefixes.done()
            && self.names.done()
    }
}

/// Where the walk through an array ends.
fn end<V>(extent: Extent, wanted: &SharedMap<u32, V>) -> u32 {
    match extent {
        Extent::Whole => u32::MAX,
        Extent::InUse => wanted.last().map_or(0, |(last, _)| last.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A map that shows two entries at a time.
    struct Fake(BTreeMap<u32, u32>);

    impl Kernel<u32, u32> for Fake {
        fn walk(&self, at: &mut Position, _: u32, see: &mut dyn FnMut(u32, u32)) -> io::Result<bool> {
            let seen = at.index();
            self.0.iter().skip(seen as usize).take(2).for_each(|(key, value)| see(*key, *value));
            at.set_index(seen + 2);
            Ok((seen + 2) as usize >= self.0.len())
        }

        fn ask(&self, key: &u32) -> io::Result<Option<Option<u32>>> {
            Ok(Some(self.0.get(key).copied()))
        }

        fn same(&self, kernel: &u32, wanted: &u32) -> bool {
            kernel == wanted
        }
    }

    #[test]
    fn entries_that_are_missing_too_many_or_different_are_named_once_each() {
        let kernel = Fake([(1, 1), (2, 2), (4, 4), (5, 5)].into());
        let wanted = [(2, 3), (3, 3), (4, 4), (5, 5)].into_iter().collect();
        let mut progress = Progress::default();
        let mut found = Vec::new();
        let mut looks = 0;
        while !progress.done() {
            progress.look(name::CELLS, &kernel, &wanted, 0, &mut found).unwrap();
            looks += 1;
        }
        assert_eq!(looks, 2, "two pieces");
        let mut lines: Vec<String> = found.iter().map(Difference::to_string).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "CELLS[1] is 1, should be nothing",
                "CELLS[2] is 2, should be 3",
                "CELLS[3] is nothing, should be 3"
            ]
        );
    }
}
