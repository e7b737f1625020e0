//! The compiled form of policy and the function that reads it. A *row* is a run of cells, one per peer
//! group; a cell is a verdict word; a word either decides or points at a *port set*, a sorted run of
//! intervals or an index, that covers every protocol and port. Precedence was resolved when the row was compiled.
//! Not here: what the policies say. See the crate `isolator-policy`.

use crate::tables::Tables;

/// A direction as the endpoint sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Direction {
    /// The endpoint sends: program `from_pod`.
    Egress = 0,
    /// The endpoint receives: program `to_pod`.
    Ingress = 1,
}

impl Direction {
    /// Both directions, in the order of their numbers.
    pub const BOTH: [Direction; 2] = [Direction::Egress, Direction::Ingress];

    /// The other direction.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(self) -> Direction {
        match self {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
        }
    }

    /// Index into per-direction arrays.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// `egress` or `ingress`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        }
    }
}

/// What a [`Word`] says. The numbers are part of the ABI; 0 is what an empty map holds and denies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Nothing was written here: deny.
    Empty = 0,
    /// A rule denies; the number names it.
    Deny = 1,
    /// The endpoint is isolated and nothing allows; the number names why.
    DefaultDeny = 2,
    /// Different tenants; the number names the guard.
    Tenancy = 3,
    /// Allowed, and both directions allow this peer everything: a connection needs no entry.
    Allow = 4,
    /// Allowed; the connection needs an entry.
    AllowTracked = 5,
    /// The number is the index of a port set's header in the interval table.
    Ports = 6,
    /// Handed to a local proxy whose number follows. Denied until something produces it.
    Redirect = 7,
    /// A Service address: judged after its translation (`docs/adr/0006-services.md`). A connection needs no entry.
    Service = 8,
    /// The same; the connection needs an entry.
    ServiceTracked = 9,
}

/// A verdict in 32 bits: kind in the upper four, a number (rule or port set) in the lower 28.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Word(pub u32);

/// Largest number a [`Word`] carries.
pub const MAX_NUMBER: u32 = (1 << 28) - 1;

impl Word {
    /// Packs a kind and a number; the number is cut to 28 bits (see [`MAX_NUMBER`]).
    #[must_use]
    pub const fn new(kind: Kind, number: u32) -> Self {
        Word(((kind as u32) << 28) | (number & MAX_NUMBER))
    }

    /// The kind.
    #[inline(always)]
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 >> 28 {
            1 => Kind::Deny,
            2 => Kind::DefaultDeny,
            3 => Kind::Tenancy,
            4 => Kind::Allow,
            5 => Kind::AllowTracked,
            6 => Kind::Ports,
            7 => Kind::Redirect,
            8 => Kind::Service,
            9 => Kind::ServiceTracked,
            _ => Kind::Empty,
        }
    }

    /// Rule number, or index of a port set.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 & MAX_NUMBER
    }

    /// Whether the word lets packets pass by itself.
    #[inline(always)]
    #[must_use]
    pub const fn allows(self) -> bool {
        matches!(self.kind(), Kind::Allow | Kind::AllowTracked)
    }

    /// Whether the word leaves the verdict to a second judgement, after translation.
    #[inline(always)]
    #[must_use]
    pub const fn translates(self) -> bool {
        matches!(self.kind(), Kind::Service | Kind::ServiceTracked)
    }
}

/// Where a protocol and port lie in the order of a port set: protocol in bits 16..24, port (or ICMP
/// type, or 0 for protocols without either) in the low 16, host byte order.
#[inline(always)]
#[must_use]
pub const fn port_key(protocol: u8, port: u16) -> u32 {
    ((protocol as u32) << 16) | port as u32
}

/// One entry of a port set that is a list: the word that holds from `start` up to the next entry's start. In the
/// table it is `start << 32 | word`. The first entry of every list starts at 0, so a list covers the whole space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interval {
    /// First [`port_key`] that the word holds for.
    pub start: u32,
    /// The verdict; never of kind [`Kind::Ports`].
    pub word: Word,
}

impl Interval {
    /// As it stands in the map, host byte order.
    #[must_use]
    pub const fn pack(self) -> u64 {
        ((self.start as u64) << 32) | self.word.0 as u64
    }

    /// The inverse of [`Interval::pack`].
    #[inline(always)]
    #[must_use]
    pub const fn unpack(raw: u64) -> Self {
        Interval { start: (raw >> 32) as u32, word: Word(raw as u32) }
    }
}

/// Longest port set, in intervals. A power of two: the search below takes [`SEARCH_STEPS`] steps.
pub const MAX_INTERVALS: u32 = 1 << SEARCH_STEPS;
/// Steps of the binary search, a constant so that the verifier sees an end.
pub const SEARCH_STEPS: u32 = 12;

/// Before each port set stands a header: its low half is the number of entries that follow. With this bit the
/// set is an index, without it a list of intervals. An index costs the same however many ranges it knows. Its
/// nodes have an entry for each value of a byte of the key: of the protocol (the first node), of the port's high
/// byte, of its low byte. An entry is a verdict word, or `node << 32`: where among the entries the next node
/// begins. No node but the first begins at 0.
pub const INDEXED: u64 = 1 << 32;
/// Entries of a node of an index.
pub const NODE: u32 = 256;

/// The verdict word for one peer group and port in one row. `row` is (index of the first cell, number
/// of cells). Never returns [`Kind::Ports`]; what is missing comes back as [`Kind::Empty`], which denies.
#[inline(always)]
pub fn decide<T: Tables>(tables: &T, row: (u32, u32), group: u32, key: u32) -> Word {
    let (base, len) = row;
    if group >= len {
        return Word::default();
    }
    match tables.cell(base.wrapping_add(group)) {
        Some(word) if word.kind() as u8 == Kind::Ports as u8 => search(tables, word.number(), key),
        Some(word) => word,
        None => Word::default(),
    }
}

/// What a port set says of `key`. In a list it is the last interval that starts at or below. Each step is without
/// a branch on what it finds: the verifier would follow both ways of each, and the processor would guess half of
/// them wrong.
#[inline(always)]
fn search<T: Tables>(tables: &T, header: u32, key: u32) -> Word {
    let Some(head) = tables.interval(header) else { return Word::default() };
    let mut found = header.wrapping_add(1);
    if head & INDEXED != 0 {
        return indexed(tables, found, key);
    }
    let mut size = head as u32;
    let mut step = 0;
    while size > 1 && step <= SEARCH_STEPS {
        let half = size / 2;
        let Some(raw) = tables.interval(found.wrapping_add(half)) else { return Word::default() };
        // The borrow of the subtraction: all ones if the interval starts above the key, else 0.
        let above = ((key as u64).wrapping_sub(Interval::unpack(raw).start as u64) >> 32) as u32;
        found = found.wrapping_add(half & !above);
        size -= half;
        step += 1;
    }
    match tables.interval(found) {
        Some(raw) => Interval::unpack(raw).word,
        None => Word::default(),
    }
}

/// What an index says of `key`; `root` is its first node.
#[inline(always)]
fn indexed<T: Tables>(tables: &T, root: u32, key: u32) -> Word {
    let mut node = root;
    for shift in [16, 8, 0] {
        let Some(raw) = tables.interval(node.wrapping_add(key >> shift & (NODE - 1))) else {
            return Word::default();
        };
        let next = (raw >> 32) as u32;
        if next == 0 {
            return Word(raw as u32);
        }
        node = root.wrapping_add(next);
    }
    Word::default()
}
