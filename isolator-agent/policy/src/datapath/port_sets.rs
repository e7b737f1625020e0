//! Port sets as extents of INTERVALS: short ones as lists, long ones as indices, which cost a packet the same
//! however long they are. Sets with equal contents are one. Not here: the rows that point at them.

use super::extents::Extents;
use super::image::Image;
use super::layout::Capacity;
use super::rows::Extent;
use isolator_common::policy::{INDEXED, Interval, Kind, MAX_INTERVALS, NODE, Word, port_key};
use isolator_common::tables::name;
use std::collections::HashMap;

/// Longest list that is not worth an index.
const LIST: usize = 16;

/// Port sets by content, as lists of packed intervals.
pub(super) struct PortSets {
    known: HashMap<Vec<u64>, Set>,
    free: Extents,
    capacity: u32,
}

struct Set {
    /// Where its header is.
    header: u32,
    /// The entries of its index, if it has one.
    index: Option<Vec<u64>>,
    /// Whether the next generation uses it.
    used: bool,
}

impl PortSets {
    /// The sets that cells in force point at: of rows in force (`extents`), those of groups in force (sorted). What an
    /// update that was cut off left in the cells of other groups points anywhere.
    pub(super) fn in_force(previous: &Image, extents: &[Extent], groups: &[u32], capacity: u32) -> Self {
        let mut known = HashMap::new();
        let mut used = Vec::new();
        let mut headers: Vec<u32> = Vec::new();
        for (base, len) in extents {
            let cells = previous.cells.range(*base..base.saturating_add(*len));
            let sets = cells.filter(|(_, word)| word.kind() == Kind::Ports);
            let looked_at = sets.filter(|(index, _)| groups.binary_search(&(*index - base)).is_ok());
            headers.extend(looked_at.map(|(_, word)| word.number()));
        }
        headers.sort_unstable();
        headers.dedup();
        for header in headers {
            let head = previous.intervals.get(&header).copied().unwrap_or_default();
            let len = (head as u32).min(capacity);
            used.push((header, len.saturating_add(1)));
            let first = header.saturating_add(1);
            let body: Vec<u64> =
                previous.intervals.range(first..first.saturating_add(len)).map(|(_, raw)| *raw).collect();
            if body.len() != len as usize {
                continue;
            }
            if head & INDEXED == 0 {
                known.entry(body).or_insert(Set { header, index: None, used: false });
            } else if let Some(list) = list_of(&body) {
                known.entry(list).or_insert(Set { header, index: Some(body), used: false });
            }
        }
        PortSets { known, free: Extents::new(used, capacity), capacity }
    }

    /// The word that points at a set, which gets room if it has none.
    pub(super) fn word(&mut self, intervals: impl Iterator<Item = Interval>) -> Result<Word, Capacity> {
        let mut list: Vec<u64> = Vec::new();
        for interval in intervals {
            if list.last().is_none_or(|last| Interval::unpack(*last).word != interval.word) {
                list.push(interval.pack());
            }
        }
        if let Some(set) = self.known.get_mut(&list) {
            set.used = true;
            return Ok(Word::new(Kind::Ports, set.header));
        }
        let len = list.len() as u64;
        if len > u64::from(MAX_INTERVALS) {
            return Err(Capacity { map: "INTERVALS (one port set)", needed: len, available: MAX_INTERVALS });
        }
        let (header, index) = match self.index(&list) {
            Some((header, index)) => (header, Some(index)),
            None => (self.free.take(len as u32 + 1).ok_or_else(|| self.full(len + 1))?, None),
        };
        self.known.insert(list, Set { header, index, used: true });
        Ok(Word::new(Kind::Ports, header))
    }

    /// The index of a long list, with its place. `None` where it would take room that lists may need: then a
    /// packet pays some steps more.
    fn index(&mut self, list: &[u64]) -> Option<(u32, Vec<u64>)> {
        if list.len() <= LIST {
            return None;
        }
        let index = index_of(list);
        let len = u32::try_from(index.len()).ok()? + 1;
        let left = self.free.free().checked_sub(len)?;
        if left < self.capacity / 2 {
            return None;
        }
        Some((self.free.take(len)?, index))
    }

    fn full(&self, more: u64) -> Capacity {
        let needed = u64::from(self.capacity - self.free.free()) + more;
        Capacity { map: name::INTERVALS, needed, available: self.capacity }
    }

    /// The sets that the next generation uses, in the order in which they lie in the map.
    pub(super) fn contents(self) -> impl Iterator<Item = (u32, u64)> {
        let mut used: Vec<(Vec<u64>, Set)> = self.known.into_iter().filter(|(_, set)| set.used).collect();
        used.sort_unstable_by_key(|(_, set)| set.header);
        used.into_iter().flat_map(|(list, set)| {
            let (mark, entries) = match set.index {
                Some(index) => (INDEXED, index),
                None => (0, list),
            };
            (set.header..).zip(std::iter::once(mark | entries.len() as u64).chain(entries))
        })
    }
}

/// The entries of the index that says what a list says.
fn index_of(list: &[u64]) -> Vec<u64> {
    let mut entries = vec![0; NODE as usize];
    let mut leaves: HashMap<Vec<u64>, u64> = HashMap::new();
    for protocol in 0..=u8::MAX {
        let entry = match only(list, port_key(protocol, 0), 1 << 16) {
            Some(word) => word,
            None => {
                let node: Vec<u64> =
                    (0..=u8::MAX).map(|high| leaf(list, protocol, high, &mut entries, &mut leaves)).collect();
                append(&mut entries, &node)
            }
        };
        entries[usize::from(protocol)] = entry;
    }
    entries
}

/// The entry for 256 ports: a word, or where their node is. Nodes that are equal are one.
fn leaf(
    list: &[u64],
    protocol: u8,
    high: u8,
    entries: &mut Vec<u64>,
    leaves: &mut HashMap<Vec<u64>, u64>,
) -> u64 {
    let first = port_key(protocol, u16::from(high) << 8);
    only(list, first, NODE).unwrap_or_else(|| {
        let node: Vec<u64> = (first..first + NODE).map(|key| at(list, key)).collect();
        *leaves.entry(node).or_insert_with_key(|node| append(entries, node))
    })
}

fn append(entries: &mut Vec<u64>, node: &[u64]) -> u64 {
    let begins = entries.len() as u64;
    entries.extend(node);
    begins << 32
}

/// The word for `len` keys from `first`, if it is one.
fn only(list: &[u64], first: u32, len: u32) -> Option<u64> {
    let begins = list.partition_point(|raw| Interval::unpack(*raw).start <= first);
    let alone = list.get(begins).is_none_or(|raw| Interval::unpack(*raw).start - first >= len);
    alone.then(|| at(list, first))
}

/// The word for a key.
fn at(list: &[u64], key: u32) -> u64 {
    let after = list.partition_point(|raw| Interval::unpack(*raw).start <= key);
    after.checked_sub(1).map_or(0, |index| u64::from(Interval::unpack(list[index]).word.0))
}

/// The list of which an index was made; `None` if it is none.
fn list_of(index: &[u64]) -> Option<Vec<u64>> {
    let mut list: Vec<u64> = Vec::new();
    let mut add = |start: u32, raw: u64| {
        let word = Word(raw as u32);
        if list.last().is_none_or(|last| Interval::unpack(*last).word != word) {
            list.push(Interval { start, word }.pack());
        }
    };
    let node = |raw: &u64| index.get((raw >> 32) as usize..)?.get(..NODE as usize);
    for (protocol, raw) in (0..=u8::MAX).zip(index.get(..NODE as usize)?) {
        let start = port_key(protocol, 0);
        if raw >> 32 == 0 {
            add(start, *raw);
            continue;
        }
        for (high, raw) in (0..).zip(node(raw)?) {
            let start = start | high << 8;
            if raw >> 32 == 0 {
                add(start, *raw);
                continue;
            }
            for (low, raw) in (0..).zip(node(raw)?) {
                add(start | low, *raw);
            }
        }
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::memory::Memory;
    use crate::shared::SharedMap;
    use isolator_common::policy::decide;

    fn list(starts: impl Iterator<Item = u32>) -> Vec<u64> {
        let kinds = [Kind::DefaultDeny, Kind::Allow, Kind::AllowTracked];
        let words = kinds.into_iter().cycle().map(|kind| Word::new(kind, 7));
        starts.zip(words).map(|(start, word)| Interval { start, word }.pack()).collect()
    }

    #[test]
    fn an_index_says_what_its_list_says_and_is_read_back() {
        let far =
            [0, 5, 0x06_0000, 0x06_00ff, 0x06_0100, 0x06_ffff, 0x07_0000, 0x11_0035, 0x11_0036, 0xff_ffff];
        let many = (0..20).map(|n| n << 19 | n << 4);
        let dense = [0].into_iter().chain((0..4000).map(|n| port_key(6, 1024) + n * 2));
        for list in [list(far.into_iter()), list(many), list(dense)] {
            assert_eq!(list_of(&index_of(&list)).as_ref(), Some(&list));
            let mut sets = PortSets::in_force(&Image::default(), &[], &[], 1 << 20);
            let word = sets.word(list.iter().map(|raw| Interval::unpack(*raw))).unwrap();
            let image =
                Image { cells: [(0, word)].into(), intervals: sets.contents().collect(), ..Image::default() };
            assert_eq!(image.intervals[&word.number()] & INDEXED != 0, list.len() > LIST);
            let memory = Memory::new(image);
            let starts = list.iter().map(|raw| Interval::unpack(*raw).start);
            for key in starts.flat_map(|start| [start.saturating_sub(1), start, (start + 1) & 0xff_ffff]) {
                assert_eq!(u64::from(decide(&memory, (0, 1), 0, key).0), at(&list, key), "{key:#x}");
            }
        }
    }

    #[test]
    fn equal_leaves_are_one_and_whatever_is_no_index_is_none() {
        let periodic = list([0].into_iter().chain((0..3000).map(|n| port_key(6, 0) + n * 8 + 8)));
        // Three words take turns every 8 ports, so a leaf comes back after three.
        let index = index_of(&periodic);
        assert!(index.len() <= NODE as usize * (2 + 3 + 2), "{}", index.len());
        assert_eq!(list_of(&index[..index.len() - 1]), None);
        assert_eq!(list_of(&[]), None);
    }

    #[test]
    fn a_cell_that_nobody_looks_at_takes_no_room() {
        // Left by an update that was cut off: it points into what another set's list holds by now.
        let word = Word::new(Kind::Ports, 7);
        let image = Image {
            cells: [(65, word), (66, Word::new(Kind::Allow, 1))].into(),
            intervals: [(7, Interval { start: 80, word: Word::new(Kind::Allow, 1 << 20) }.pack())].into(),
            ..Image::default()
        };
        let room = |groups: &[u32]| PortSets::in_force(&image, &[(64, 64)], groups, 1 << 20).free.free();
        assert_eq!(room(&[2]), 1 << 20);
        assert!(room(&[1, 2]) < 100, "what packets may look at stays as it is");
    }

    #[test]
    fn an_index_that_would_crowd_out_lists_is_not_made() {
        let intervals = || (0..40).map(|n| Interval { start: n * 512, word: Word::new(Kind::Allow, n + 1) });
        let extents = |capacity| PortSets::in_force(&Image::default(), &[], &[], capacity);
        for (capacity, indexed) in [(1 << 10, false), (1 << 13, true)] {
            let mut sets = extents(capacity);
            sets.word(intervals()).unwrap();
            let contents: SharedMap<u32, u64> = sets.contents().collect();
            assert_eq!(contents.get(&0).is_some_and(|head| head & INDEXED != 0), indexed, "{capacity}");
        }
    }
}
