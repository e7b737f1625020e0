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
    /// Look into the connection table before the dense tables: what passes needs an entry, or nearly all of it.
    /// Only the cost depends on it, never the verdict (`docs/adr/0004-calls-are-dear.md`).
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
    /// Tenant number, 0 for none; for people.
    pub tenant: u32,
    /// [`Endpoint::KNOWN`] or 0.
    pub flags: u32,
    /// Index into EVENT_RATE, below the number of endpoints: the same for the endpoints of one tenant.
    pub share: u32,
    /// 0.
    pub reserved: u32,
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

    /// Its address of one family; unspecified where it has none.
    #[inline(always)]
    #[must_use]
    pub fn address(&self, v4: bool) -> Addr {
        if v4 { self.addrs[0] } else { self.addrs[1] }
    }

    /// The row for a generation and direction.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, generation: u32, direction: Direction) -> Row {
        self.rows[(generation & 1) as usize][direction.index()]
    }
}

/// The one entry of MARKING: how a packet to a Service address carries its sender's slot to where it is judged
/// again. Host byte order. Written by the agent only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Marking {
    /// Bits of the packet's mark that are ours: one run. 0: no packet was ever marked.
    pub mask: u32,
    /// Position of the lowest of them.
    pub shift: u32,
    /// Endpoints in slots below this number may send to Service addresses. 0: none may.
    pub slots: u32,
    /// 0.
    pub reserved: u32,
}

impl Marking {
    /// Marks within `mask`, for as many endpoints as it has room for. `None`: it is not one run of bits.
    #[must_use]
    pub const fn new(mask: u32) -> Option<Marking> {
        let shift = mask.trailing_zeros();
        if mask == 0 || !((mask >> shift) as u64 + 1).is_power_of_two() {
            return None;
        }
        Some(Marking { mask, shift, slots: mask >> shift, reserved: 0 })
    }

    /// The same mask, and nobody may send: for as long as a way out of the node is not judged.
    #[must_use]
    pub const fn closed(self) -> Marking {
        Marking { slots: 0, ..self }
    }

    /// The slot that a packet carries. `None`: it is not marked.
    #[inline(always)]
    #[must_use]
    pub const fn slot(&self, mark: u32) -> Option<u32> {
        ((mark & self.mask) >> (self.shift & 31)).checked_sub(1)
    }

    /// The mark of a packet from the endpoint in `slot`; other bits stay.
    #[inline(always)]
    #[must_use]
    pub const fn marked(&self, mark: u32, slot: u32) -> u32 {
        (mark & !self.mask) | (((slot + 1) << (self.shift & 31)) & self.mask)
    }

    /// The mark without our bits.
    #[inline(always)]
    #[must_use]
    pub const fn clear(&self, mark: u32) -> u32 {
        mark & !self.mask
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
    /// Nobody: absent in both generations.
    pub const NOBODY: Peer = Peer { identity: 0, groups: [Peer::ABSENT; 2] };

    /// The group in a generation.
    #[inline(always)]
    #[must_use]
    pub fn group(&self, generation: u32) -> u32 {
        // A shift, not a choice: the verifier would follow both ways from here on.
        let both = ((self.groups[1] as u64) << 32) | self.groups[0] as u64;
        (both >> ((generation & 1) * 32)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_carry_slots_and_leave_other_bits_alone() {
        let marking = Marking::new(0x00ff_0000).expect("one run");
        assert_eq!((marking.shift, marking.slots), (16, 255));
        let mark = marking.marked(0x4321_8765, 254);
        assert_eq!(mark, 0x43ff_8765);
        assert_eq!(marking.slot(mark), Some(254));
        assert_eq!(marking.clear(mark), 0x4300_8765);
        assert_eq!(marking.slot(0xff00_ffff), None);
        assert_eq!(Marking::default().slot(u32::MAX), None);
    }

    #[test]
    fn a_mask_is_one_run_of_bits() {
        assert_eq!(Marking::new(u32::MAX).map(|marking| marking.slots), Some(u32::MAX));
        assert_eq!(Marking::new(0), None);
        assert_eq!(Marking::new(0x0050_0000), None);
    }
}
