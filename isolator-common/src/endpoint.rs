//! Wire types that describe an endpoint, an address and the state of the whole datapath.
//! Each has two halves, one per generation: see `docs/adr/0002-one-switch.md`.

use crate::addr::Addr;
use crate::policy::Direction;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The one entry of the state map. Host byte order. Written by the agent only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct State {
    /// The generation that packets are judged by; its lowest bit picks the half of every pair.
    /// 0: nothing was programmed yet, everything is dropped.
    pub generation: u32,
    /// [`crate::ABI_VERSION`] of the writer.
    pub abi_version: u32,
    /// Kernel ticks (jiffies) per second, for the ages of connections.
    pub ticks_per_second: u32,
    /// Events that one tenant may cause per second and CPU before they are only counted.
    pub events_per_second: u32,
}

/// A row of cells: an endpoint's rules in one direction. Host byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Row {
    /// Index of the first cell in the cell table.
    pub base: u32,
    /// Number of cells; a group at or beyond it is denied.
    pub len: u32,
    /// [`Row::CONNECTION_FIRST`] or 0.
    pub flags: u32,
}

impl Row {
    /// Look into the connection table before the dense tables: most packets of this row need an entry.
    /// Only the cost depends on it, never the verdict.
    pub const CONNECTION_FIRST: u32 = 1;
}

/// A local pod interface. Host byte order but for addresses. Written by the agent only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Endpoint {
    /// Index of the host side of the pod's interface. The table is indexed by its low bits, so the
    /// whole number is checked.
    pub ifindex: u32,
    /// Dense number of the endpoint on this node, below `maps::ENDPOINTS`; indexes counters.
    pub slot: u32,
    /// Tells this endpoint's connections from those of others, earlier ones on the same interface included.
    pub id: u32,
    /// Identity, for events.
    pub identity: u32,
    /// Tenant number, 0 for none; only for the rate limit of events.
    pub tenant: u32,
    /// [`Endpoint::KNOWN`] or 0.
    pub flags: u32,
    /// The pod's addresses: IPv4 (mapped) and IPv6; unspecified where it has none.
    pub addrs: [Addr; 2],
    /// Rows by generation (lowest bit), then by direction.
    pub rows: [[Row; 2]; 2],
}

impl Endpoint {
    /// The pod behind the interface is known; without it only the local host may talk to it.
    pub const KNOWN: u32 = 1;

    /// Whether `addr` is one of the pod's own. The unspecified address never is.
    #[inline(always)]
    #[must_use]
    pub fn owns(&self, addr: &Addr) -> bool {
        // An IPv6 address never equals the mapped form of an IPv4 one, so the family needs no look.
        let addr = addr.halves();
        (addr == self.addrs[0].halves() || addr == self.addrs[1].halves()) && addr != [0, 0]
    }

    /// The row for a generation and direction.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, generation: u32, direction: Direction) -> Row {
        self.rows[(generation & 1) as usize][direction.index()]
    }
}

/// What is known of an address, exact or by prefix. Host byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Peer {
    /// Identity, for people. 0: unknown.
    pub identity: u32,
    /// Peer group by generation (lowest bit), for enforcement. [`Peer::ABSENT`]: not in that generation.
    pub groups: [u32; 2],
}

impl Peer {
    /// Group number of an address that is not there in that generation: the next look-up is tried.
    /// 0, so that a fresh array says it.
    pub const ABSENT: u32 = 0;

    /// The group in a generation.
    #[inline(always)]
    #[must_use]
    pub fn group(&self, generation: u32) -> u32 {
        // A shift, not a choice: the verifier would follow both ways from here on.
        let both = ((self.groups[1] as u64) << 32) | self.groups[0] as u64;
        (both >> ((generation & 1) * 32)) as u32
    }
}
