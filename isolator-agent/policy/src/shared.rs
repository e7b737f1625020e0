//! An ordered map whose copies share what is equal. A copy costs nothing, a change copies a few hundred
//! entries, and two maps of which one was made from the other are compared by looking only at what they do not
//! share. Everything large here is kept so: objects, addresses, contents of maps. Not here: hashing; order.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, Index, RangeBounds};
use std::sync::Arc;

/// Entries that a new chunk has; one with twice as many is split.
const CHUNK: usize = 256;
/// A chunk with fewer joins its neighbour, if both are a chunk then.
const SMALL: usize = 64;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A sorted map in shared chunks, none of them empty.
pub struct SharedMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        SharedMap { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap { chunks: Arc::default(), len: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Ord, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.pairs(other).all(|(_, a, b)| a == b)
    }
}

impl<K: Ord, V: Eq> Eq for SharedMap<K, V> {}

impl<K, V> SharedMap<K, V> {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether both are one map: no look at the entries. False says nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// The entries in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: self.chunks.iter(), now: [].iter() }
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<(&K, &V)> {
        let (key, value) = self.chunks.last()?.last()?;
        Some((key, value))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        chunk.binary_search_by(|(there, _)| there.borrow().cmp(key)).ok().map(|index| &chunk[index].1)
    }

    /// Whether a key is there.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The entry of this key, or else of the last one before it.
    #[must_use]
    pub fn at_or_before(&self, key: &K) -> Option<(&K, &V)> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let (key, value) = &chunk[chunk.partition_point(|(there, _)| there <= key).checked_sub(1)?];
        Some((key, value))
    }

    /// The entries with keys in a range, in order.
    pub fn range<'a>(&'a self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&'a K, &'a V)> {
        let is_below = |key: &K| match range.start_bound() {
            Bound::Unbounded => false,
            Bound::Included(start) => key < start,
            Bound::Excluded(start) => key <= start,
        };
        let is_above = |key: &K| match range.end_bound() {
            Bound::Unbounded => false,
            Bound::Included(end) => key > end,
            Bound::Excluded(end) => key >= end,
        };
        // The first of these chunks may begin below the range, the last may end above it; none between does.
        let first = self.chunks.partition_point(|chunk| is_below(&chunk[0].0)).saturating_sub(1);
        let end = self.chunks.partition_point(|chunk| !is_above(&chunk[0].0)).max(first);
        let from = |chunk: &'a [(K, V)]| &chunk[chunk.partition_point(|(key, _)| is_below(key))..];
        let until = |chunk: &'a [(K, V)]| &chunk[..chunk.partition_point(|(key, _)| !is_above(key))];
        let (now, between, last): (&[_], &[_], &[_]) = match &self.chunks[first..end] {
            [] => (&[], &[], &[]),
            [only] => (from(until(only)), &[], &[]),
            [first, between @ .., last] => (from(first), between, until(last)),
        };
        Iter { chunks: between.iter(), now: now.iter() }.chain(last.iter().map(|(key, value)| (key, value)))
    }

    /// Every key of either map in order, with the value in each; but for parts that both share.
    pub fn pairs<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
        let mut left = Walk { chunks: &self.chunks, at: (0, 0) };
        let mut right = Walk { chunks: &other.chunks, at: (0, 0) };
        std::iter::from_fn(move || {
            while let (Some(a), Some(b)) = (left.whole(), right.whole())
                && Arc::ptr_eq(a, b)
            {
                left.at.0 += 1;
                right.at.0 += 1;
            }
            let order = match (left.entry(), right.entry()) {
                (Some((l, _)), Some((r, _))) => l.cmp(r),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            match order {
                Ordering::Less => left.step().map(|(k, v)| (k, Some(v), None)),
                Ordering::Greater => right.step().map(|(k, v)| (k, None, Some(v))),
                Ordering::Equal => {
                    left.step().zip(right.step()).map(|((k, l), (_, r))| (k, Some(l), Some(r)))
                }
            }
        })
    }

    /// The only chunk that may hold a key.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk[0].0.borrow() <= key).saturating_sub(1)
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Removes everything.
    pub fn clear(&mut self) {
        *self = SharedMap::default();
    }

    /// The values in the order of their keys, to be changed: nothing is shared afterwards.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let chunks = Arc::make_mut(&mut self.chunks).iter_mut();
        chunks.flat_map(Arc::make_mut).map(|(_, value)| value)
    }

    /// Adds or replaces; answers what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::default());
        }
        let chunk = Arc::make_mut(&mut chunks[at]);
        let index = match chunk.binary_search_by(|(there, _)| there.cmp(&key)) {
            Ok(index) => return Some(std::mem::replace(&mut chunk[index].1, value)),
            Err(index) => index,
        };
        chunk.insert(index, (key, value));
        self.len += 1;
        if chunk.len() >= 2 * CHUNK {
            let half = chunk.split_off(CHUNK);
            chunks.insert(at + 1, Arc::new(half));
        }
        None
    }

    /// Makes a key have a value or none. Where it is so already, nothing stops being shared.
    pub fn set(&mut self, key: K, value: Option<V>)
    where
        V: PartialEq,
    {
        match value {
            Some(value) if self.get(&key) == Some(&value) => {}
            Some(value) => drop(self.insert(key, value)),
            None => drop(self.remove(&key)),
        }
    }

    /// Makes the map hold these entries, which come in the order of their keys. What is so already stays shared.
    pub fn become_of(&mut self, wanted: impl IntoIterator<Item = (K, V)>)
    where
        V: PartialEq,
    {
        let mut differing: Vec<(K, Option<V>)> = Vec::new();
        let mut there = self.iter().peekable();
        for (key, value) in wanted {
            while let Some((gone, _)) = there.next_if(|(other, _)| **other < key) {
                differing.push((gone.clone(), None));
            }
            match there.next_if(|(other, _)| **other == key) {
                Some((_, before)) if *before == value => {}
                _ => differing.push((key, Some(value))),
            }
        }
        differing.extend(there.map(|(gone, _)| (gone.clone(), None)));
        for (key, value) in differing {
            match value {
                Some(value) => drop(self.insert(key, value)),
                None => drop(self.remove(&key)),
            }
        }
    }

    /// Removes; answers what was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let index = self.chunks.get(at)?.binary_search_by(|(there, _)| there.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[at]);
        let (_, value) = chunk.remove(index);
        self.len -= 1;
        let len = chunk.len();
        if len == 0 {
            chunks.remove(at);
        } else if len < SMALL && chunks.get(at + 1).is_some_and(|next| len + next.len() <= CHUNK) {
            let next = chunks.remove(at + 1);
            Arc::make_mut(&mut chunks[at]).extend(next.iter().cloned());
        }
        Some(value)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SharedMap<K, V> {
    /// Of two entries with one key the later counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                }
                same
            });
        }
        let len = entries.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(CHUNK));
        let mut entries = entries.into_iter();
        loop {
            let chunk: Vec<(K, V)> = entries.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return SharedMap { chunks: Arc::new(chunks), len };
            }
            chunks.push(Arc::new(chunk));
        }
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for SharedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SharedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// If the key is not there.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<'a, K, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

/// The entries of a [`SharedMap`] in order.
#[derive(Debug)]
pub struct Iter<'a, K, V> {
    chunks: std::slice::Iter<'a, Chunk<K, V>>,
    now: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.now.next() {
                return Some((key, value));
            }
            self.now = self.chunks.next()?.iter();
        }
    }

    // Whole chunks at a time: half the cost of one entry after the other.
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, mut add: F) -> B {
        let all = std::iter::once(self.now).chain(self.chunks.map(|chunk| chunk.iter()));
        all.flatten().fold(init, |sum, (key, value)| add(sum, (key, value)))
    }
}

/// A place in a map.
struct Walk<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    /// Chunk, and index in it.
    at: (usize, usize),
}

impl<'a, K, V> Walk<'a, K, V> {
    /// The chunk, if this is its beginning.
    fn whole(&self) -> Option<&'a Chunk<K, V>> {
        if self.at.1 == 0 { self.chunks.get(self.at.0) } else { None }
    }

    fn entry(&self) -> Option<&'a (K, V)> {
        self.chunks.get(self.at.0)?.get(self.at.1)
    }

    fn step(&mut self) -> Option<(&'a K, &'a V)> {
        let (key, value) = self.entry()?;
        self.at.1 += 1;
        if self.at.1 == self.chunks[self.at.0].len() {
            self.at = (self.at.0 + 1, 0);
        }
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_the_map_of_the_standard_library(
            first in proptest::collection::vec((0u16..3000, 0u8..3), 0..3000),
            steps in proptest::collection::vec((0u16..3000, proptest::option::of(0u8..3)), 0..1500),
            range in (0u16..3000, 0u16..3000),
        ) {
            let before: SharedMap<u16, u8> = first.iter().copied().collect();
            let model_before: BTreeMap<u16, u8> = first.into_iter().collect();
            let (mut map, mut model) = (before.clone(), model_before.clone());
            for (key, value) in steps {
                let (was, wanted) = match value {
                    Some(value) => (map.insert(key, value), model.insert(key, value)),
                    None => (map.remove(&key), model.remove(&key)),
                };
                prop_assert_eq!(was, wanted);
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.iter().eq(model.iter()) && before.iter().eq(model_before.iter()));
            prop_assert!(map.keys().all(|key| map.get(key) == model.get(key)));
            let (low, high) = (range.0.min(range.1), range.0.max(range.1));
            prop_assert!(map.range(low..high).eq(model.range(low..high)));
            prop_assert!(map.range(low..=high).eq(model.range(low..=high)));
            prop_assert!(map.range(low..).eq(model.range(low..)));
            let mut all = Vec::new();
            map.range(low..).for_each(|entry| all.push(entry));
            prop_assert!(all.into_iter().eq(model.range(low..)));
            prop_assert_eq!(map.at_or_before(&low), model.range(..=low).next_back());
            let differ = |(_, a, b): &(&u16, Option<&u8>, Option<&u8>)| a != b;
            let found: Vec<_> = before.pairs(&map).filter(differ).collect();
            let mut keys: Vec<&u16> = model_before.keys().chain(model.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            let wanted: Vec<_> =
                keys.into_iter().map(|key| (key, model_before.get(key), model.get(key))).filter(differ).collect();
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(&map, &model.into_iter().collect());
            prop_assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() < 2 * CHUNK));
        }
    }

    proptest! {
        #[test]
        fn becoming_another_map_keeps_what_is_equal(
            first in proptest::collection::btree_map(0u16..3000, 0u8..2, 0..3000),
            wanted in proptest::collection::btree_map(0u16..3000, 0u8..2, 0..3000),
        ) {
            let before: SharedMap<u16, u8> = first.into_iter().collect();
            let mut map = before.clone();
            map.become_of(before.iter().map(|(key, value)| (*key, *value)));
            prop_assert!(map.is_same(&before));
            map.become_of(wanted.clone());
            prop_assert!(map.iter().eq(&wanted) && map.len() == wanted.len());
            prop_assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() < 2 * CHUNK));
        }
    }

    #[test]
    fn becoming_nearly_the_same_copies_what_differs() {
        let before: SharedMap<u32, u32> = (0..100_000).map(|key| (key, 0)).collect();
        let mut after = before.clone();
        after.become_of((0..100_001).filter(|key| *key != 7).map(|key| (key, u32::from(key == 50_000))));
        assert_eq!(before.pairs(&after).filter(|(_, a, b)| a != b).count(), 3);
        assert!(before.pairs(&after).count() <= 6 * CHUNK);
    }

    #[test]
    fn a_change_among_many_looks_at_few() {
        let before: SharedMap<u32, u32> = (0..100_000).map(|key| (key, 0)).collect();
        let mut after = before.clone();
        after.insert(5_000, 1);
        after.remove(&70_000);
        assert!(before.pairs(&after).count() <= 4 * CHUNK);
        assert!(before.is_same(&before.clone()) && !before.is_same(&after));
    }
}
