//! A BPF map with types: keys and values are wire structs, so that a wrong one is a compile error. One by one
//! or many at once, as the kernel allows. Not here: which map means what (`maps`), system calls (`bpf`).

use super::bpf::{Bytes, Token, unsupported};
use aya::maps::MapData;
use aya_obj::generated::BPF_F_MMAPABLE;
use std::io;
use std::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What may stand in a map: plain bytes without padding.
pub(crate) trait Wire: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy> Wire for T {}

/// Entries per batch: large enough that the call itself costs nothing, small enough for the kernel to allocate.
const BATCH: usize = 1 << 14;

/// Entries in a piece of a walk. A power of two so large that pieces of arrays begin where pages do.
const PIECE: u32 = 1 << 12;

/// Entries in a piece where each takes two calls.
const SINGLE: usize = 1 << 9;

/// A map from `K` to `V`.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    bytes: Bytes,
    capacity: u32,
    batch: bool,
    mappable: bool,
    types: PhantomData<(K, V)>,
}

impl<K: Wire, V: Wire> Table<K, V> {
    /// Checks that the kernel's sizes are those of the types. `batch`: whether to use batch operations.
    pub(crate) fn new(map: &MapData, batch: bool) -> io::Result<Table<K, V>> {
        let info = map.info().map_err(io::Error::other)?;
        let (capacity, mappable) = (info.max_entries(), info.map_flags() & BPF_F_MMAPABLE != 0);
        let table = Table { bytes: Bytes::new(map, false)?, capacity, batch, mappable, types: PhantomData };
        let (key, value) = (table.bytes.key_size(), table.bytes.value_size());
        if (key, value) != (size_of::<K>(), size_of::<V>()) {
            let (want_key, want_value) = (size_of::<K>(), size_of::<V>());
            return Err(io::Error::other(format!(
                "keys of {key} and values of {value} bytes instead of {want_key} and {want_value}"
            )));
        }
        Ok(table)
    }

    /// Room, in entries.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Asks the kernel for a batch, to find out whether it knows such a thing.
    pub(crate) fn try_batch(&self) -> io::Result<()> {
        let (mut key, mut value) = (K::new_zeroed(), V::new_zeroed());
        self.bytes.lookup_batch(&mut [0; 64], true, key.as_mut_bytes(), value.as_mut_bytes()).map(drop)
    }

    /// Whether many entries can be written by one call.
    pub(crate) fn batches(&self) -> bool {
        self.batch
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        Ok(self.bytes.lookup(key.as_bytes(), value.as_mut_bytes())?.then_some(value))
    }

    /// Adds or replaces an entry.
    pub(crate) fn put(&self, key: &K, value: &V) -> io::Result<()> {
        self.bytes.update(key.as_bytes(), value.as_bytes())
    }

    /// Removes an entry, if it is there.
    pub(crate) fn delete(&self, key: &K) -> io::Result<()> {
        self.bytes.delete(key.as_bytes()).map(drop)
    }

    /// Writes many entries in order. On an error, says how many were written before it.
    pub(crate) fn put_many(&self, keys: &[K], values: &[V]) -> Result<(), (usize, io::Error)> {
        for (i, (keys, values)) in keys.chunks(BATCH).zip(values.chunks(BATCH)).enumerate() {
            self.bytes
                .update_batch(keys.as_bytes(), values.as_bytes(), keys.len() as u32)
                .map_err(|(written, error)| (i * BATCH + written as usize, error))?;
        }
        Ok(())
    }

    /// Shows every entry to `see`, in no order; of mappable arrays only those that are not zero. What changes
    /// meanwhile may be seen or not.
    pub(crate) fn scan(&self, mut see: impl FnMut(K, V)) -> io::Result<()> {
        if self.mappable {
            let wire = |index: u32, value: &[u8]| {
                if let (Ok(key), Ok(value)) =
                    (K::read_from_bytes(index.as_bytes()), V::read_from_bytes(value))
                {
                    see(key, value);
                }
            };
            return self.bytes.scan_mapped(0..self.capacity, wire);
        }
        if self.batch { self.scan_many(&mut see) } else { self.scan_single(&mut see) }
    }

    fn scan_single(&self, see: &mut impl FnMut(K, V)) -> io::Result<()> {
        let mut key = K::new_zeroed();
        let mut found = self.bytes.next_key(None, key.as_mut_bytes())?;
        // A bound, because a key that vanishes meanwhile makes the kernel start again.
        for _ in 0..u64::from(self.capacity) * 2 {
            if !found {
                return Ok(());
            }
            if let Some(value) = self.get(&key)? {
                see(key, value);
            }
            let before = key;
            found = self.bytes.next_key(Some(before.as_bytes()), key.as_mut_bytes())?;
        }
        if found { Err(io::Error::other("the map changes faster than it can be read")) } else { Ok(()) }
    }

    fn scan_many(&self, see: &mut impl FnMut(K, V)) -> io::Result<()> {
        let mut room = BATCH.min(self.capacity as usize).max(1);
        let (mut keys, mut values) = (vec![K::new_zeroed(); room], vec![V::new_zeroed(); room]);
        let (mut token, mut first) = ([0; 64], true);
        loop {
            let before = token;
            let read = self.bytes.lookup_batch(&mut token, first, keys.as_mut_bytes(), values.as_mut_bytes());
            match read {
                Ok((count, end)) => {
                    for (key, value) in keys.iter().zip(&values).take(count) {
                        see(*key, *value);
                    }
                    if end {
                        return Ok(());
                    }
                    first = false;
                }
                // A bucket of a hash is read whole, and this one has more entries than we have room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room *= 2;
                    token = before;
                    keys = vec![K::new_zeroed(); room];
                    values = vec![V::new_zeroed(); room];
                }
                Err(error) if first && unsupported(&error) => return self.scan_single(see),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where a walk through a map goes on.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    begun: bool,
    index: u32,
    /// A token of the kernel's, or the last key.
    token: Token,
}

#[cfg(test)]
impl Position {
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn set_index(&mut self, index: u32) {
        self.index = index;
    }
}

impl Default for Position {
    fn default() -> Self {
        Position { begun: false, index: 0, token: [0; 64] }
    }
}

impl<K: Wire, V: Wire> Table<K, V> {
    /// As [`Table::scan`], but in pieces: the next entries after `at`, of arrays those up to index `end`. Answers
    /// whether these were the last; then `at` is the start again.
    pub(crate) fn walk(&self, at: &mut Position, end: u32, mut see: impl FnMut(K, V)) -> io::Result<bool> {
        let done = if self.mappable {
            let range = at.index..self.capacity.min(end).min(at.index.saturating_add(PIECE));
            at.index = range.end;
            let wire = |index: u32, value: &[u8]| {
                if let (Ok(key), Ok(value)) =
                    (K::read_from_bytes(index.as_bytes()), V::read_from_bytes(value))
                {
                    see(key, value);
                }
            };
            self.bytes.scan_mapped(range, wire)?;
            at.index >= self.capacity.min(end)
        } else if self.batch {
            self.walk_many(at, &mut see)?
        } else {
            self.walk_single(at, &mut see)?
        };
        if done {
            *at = Position::default();
        }
        Ok(done)
    }

    fn walk_many(&self, at: &mut Position, see: &mut impl FnMut(K, V)) -> io::Result<bool> {
        let mut room = (PIECE as usize).min(self.capacity as usize).max(1);
        loop {
            let (mut keys, mut values) = (vec![K::new_zeroed(); room], vec![V::new_zeroed(); room]);
            let mut token = at.token;
            match self.bytes.lookup_batch(&mut token, !at.begun, keys.as_mut_bytes(), values.as_mut_bytes()) {
                Ok((count, end)) => {
                    (at.token, at.begun) = (token, true);
                    for (key, value) in keys.iter().zip(&values).take(count) {
                        see(*key, *value);
                    }
                    return Ok(end);
                }
                // As in `scan_many`.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => room *= 2,
                Err(error) if unsupported(&error) => return self.walk_single(at, see),
                Err(error) => return Err(error),
            }
        }
    }

    /// A key that has vanished since makes the kernel start again: seen twice is better than not at all.
    fn walk_single(&self, at: &mut Position, see: &mut impl FnMut(K, V)) -> io::Result<bool> {
        let size = size_of::<K>();
        let mut key = K::new_zeroed();
        for _ in 0..SINGLE {
            let before = at.begun.then(|| at.token[..size].to_vec());
            if !self.bytes.next_key(before.as_deref(), key.as_mut_bytes())? {
                return Ok(true);
            }
            at.token[..size].copy_from_slice(key.as_bytes());
            at.begun = true;
            if let Some(value) = self.get(&key)? {
                see(key, value);
            }
        }
        Ok(false)
    }
}

/// A per-CPU array of `V`, which is read only.
#[derive(Debug)]
pub(crate) struct PerCpu<V> {
    bytes: Bytes,
    capacity: u32,
    types: PhantomData<V>,
}

impl<V: Wire> PerCpu<V> {
    /// Checks that the kernel's sizes are those of the type.
    pub(crate) fn new(map: &MapData) -> io::Result<PerCpu<V>> {
        let info = map.info().map_err(io::Error::other)?;
        if (info.key_size() as usize, info.value_size() as usize) != (4, size_of::<V>()) {
            return Err(io::Error::other("other sizes of key or value than expected"));
        }
        Ok(PerCpu { bytes: Bytes::new(map, true)?, capacity: info.max_entries(), types: PhantomData })
    }

    /// Room, in entries.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The values of all CPUs at an index; none beyond the end.
    pub(crate) fn get(&self, index: u32) -> io::Result<Vec<V>> {
        let mut values = vec![0; self.bytes.value_size()];
        if !self.bytes.lookup(index.as_bytes(), &mut values)? {
            return Ok(Vec::new());
        }
        let stride = size_of::<V>().next_multiple_of(8);
        Ok(values
            .chunks(stride)
            .filter_map(|chunk| V::read_from_prefix(chunk).ok())
            .map(|(v, _)| v)
            .collect())
    }

    /// Sets an index to zero on all CPUs.
    pub(crate) fn clear(&self, index: u32) -> io::Result<()> {
        self.bytes.update(index.as_bytes(), &vec![0; self.bytes.value_size()])
    }
}
