//! The record that a kernel program hands to user space: one per drop and per new connection.
//! Not here: names. The agent looks the numbers up.

use crate::addr::Addr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One verdict. Host byte order but for addresses. 72 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// `CLOCK_MONOTONIC` in nanoseconds; the agent turns it into wall time. 0 outside the kernel.
    pub time: u64,
    /// The endpoint's address in the packet.
    pub local: Addr,
    /// The peer's address in the packet.
    pub remote: Addr,
    /// Interface of the endpoint.
    pub ifindex: u32,
    /// Identity behind the peer's address; 0 unknown.
    pub remote_identity: u32,
    /// Identity of the endpoint.
    pub local_identity: u32,
    /// Rule that decided, by its number in NAMES; 0 when none did.
    pub rule: u32,
    /// Whole length of the packet, bytes.
    pub length: u32,
    /// The endpoint's port, or ICMP type << 8 | code.
    pub local_port: u16,
    /// The peer's port, or ICMP identifier.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::policy::Direction`] as a number.
    pub direction: u8,
    /// [`crate::reason::Reason`] as a number.
    pub reason: u8,
    /// TCP flags of the packet; 0 for other protocols.
    pub tcp_flags: u8,
    /// Generation of the policy that judged.
    pub generation: u32,
}

/// Kinds of entries in the NAMES map.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum NameKind {
    /// A rule number: `kind namespace/name direction rule`, or why none was needed.
    Rule = 1,
    /// An identity number: its labels.
    Identity = 2,
    /// An endpoint id: `namespace/pod`.
    Endpoint = 3,
}

/// Key of the NAMES map. Host byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NameKey {
    /// [`NameKind`] as a number.
    pub kind: u32,
    /// The number that is named.
    pub number: u32,
}

/// Bytes of a name in the NAMES map: UTF-8, zero-filled; longer names end in `…`.
pub const NAME_BYTES: usize = 256;
