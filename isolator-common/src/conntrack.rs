//! Connections: keys in one canonical order, entries, and the pure step from one packet to the next
//! entry. Connections are remembered unless policy allows both directions everything. Not here:
//! look-ups and evictions; the kernel's LRU maps do both.

use crate::addr::Addr;
use crate::policy::Direction;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Which table a connection is in. Half-open connections live apart, so that a flood of them cannot
/// evict connections that were answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// Seen in both directions.
    Established,
    /// Seen in one direction only.
    HalfOpen,
}

/// A connection of one endpoint. Both directions have the same key: the endpoint's side is "local"
/// whoever opened it. Ports in host byte order; for ICMP `local_port` is the identifier of an echo, and
/// `remote_port` the type (of an echo always the request's) << 8 | 1 if the endpoint is the one who asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ConnectionKey {
    /// [`crate::endpoint::Endpoint::id`]; keys of different endpoints never meet.
    pub endpoint: u32,
    /// The peer's address.
    pub remote: Addr,
    /// The endpoint's port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// A connection key as the IPv4 maps hold it. Host byte order, the address as a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key4 {
    /// See [`ConnectionKey::endpoint`].
    pub endpoint: u32,
    /// See [`ConnectionKey::remote`].
    pub remote: u32,
    /// Local port in the upper half, remote port in the lower.
    pub ports: u32,
    /// See [`ConnectionKey::protocol`].
    pub protocol: u32,
}

/// A connection key as the IPv6 maps hold it. Host byte order but for the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key6 {
    /// See [`ConnectionKey::remote`].
    pub remote: Addr,
    /// See [`ConnectionKey::endpoint`].
    pub endpoint: u32,
    /// Local port in the upper half, remote port in the lower.
    pub ports: u32,
    /// See [`ConnectionKey::protocol`].
    pub protocol: u32,
    /// 0.
    pub reserved: u32,
}

impl ConnectionKey {
    /// Both ports in one word.
    #[inline(always)]
    #[must_use]
    pub fn ports(&self) -> u32 {
        ((self.local_port as u32) << 16) | self.remote_port as u32
    }

    /// The IPv4 form; meaningful where `remote` is IPv4.
    #[inline(always)]
    #[must_use]
    pub fn key4(&self) -> Key4 {
        Key4 {
            endpoint: self.endpoint,
            remote: self.remote.low32(),
            ports: self.ports(),
            protocol: self.protocol as u32,
        }
    }

    /// The IPv6 form.
    #[inline(always)]
    #[must_use]
    pub fn key6(&self) -> Key6 {
        Key6 {
            remote: self.remote,
            endpoint: self.endpoint,
            ports: self.ports(),
            protocol: self.protocol as u32,
            reserved: 0,
        }
    }

    /// A 32-bit hash of the key: two rounds of multiply and fold, which need not resist an attacker.
    #[inline(always)]
    #[must_use]
    pub fn tag(&self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let (high, low) = self.remote.words();
        let first = (low ^ (((self.endpoint as u64) << 32) | self.ports() as u64)).wrapping_mul(ODD);
        let second = (first ^ (first >> 32) ^ high ^ self.protocol as u64).wrapping_mul(ODD);
        (second >> 32) as u32
    }
}

/// A connection entry. Host byte order. 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connection {
    /// Generation that last judged it. While it is in force, so is the verdict.
    pub generation: u32,
    /// Time of the last packet that was noted, in ticks; wraps.
    pub seen: u32,
    /// Rule that allowed it.
    pub rule: u32,
    /// Who opened it: a [`Direction`] as a number.
    pub opener: u8,
    /// Whether the connection is closing, [`Connection::FIN_FORWARD`] and so on, and [`Connection::SERVICE`].
    pub state: u8,
    /// Mark value of the local endpoint that opened it and whose address was replaced by the node's; else 0.
    pub sender: u16,
}

impl Connection {
    /// The opener sent a FIN.
    pub const FIN_FORWARD: u8 = 1;
    /// The other side sent a FIN.
    pub const FIN_REPLY: u8 = 2;
    /// Over: both sent a FIN or one a RST.
    pub const CLOSED: u8 = 4;
    /// The peer is a Service address: what the opener sends is judged after translation.
    pub const SERVICE: u8 = 8;

    /// Whether a packet in `direction` is a reply.
    #[inline(always)]
    #[must_use]
    pub fn is_reply(&self, direction: Direction) -> bool {
        self.opener != direction as u8
    }
}

/// Lifetimes in seconds; the values are Cilium's defaults (`reference`: its conntrack documentation).
pub mod lifetime {
    /// TCP that was answered: longer than any keep-alive interval in use (RFC 1122 asks for 2 hours).
    pub const TCP: u32 = 8000;
    /// Any connection that was not answered.
    pub const HALF_OPEN: u32 = 60;
    /// TCP after both FINs or a RST.
    pub const CLOSED: u32 = 10;
    /// Protocols without a handshake.
    pub const OTHER: u32 = 60;
}

/// TCP flag bits (RFC 9293 section 3.1).
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Aborts.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

/// IP protocol numbers.
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
}

/// Whether an entry is too old to count.
#[inline(always)]
#[must_use]
pub fn expired(connection: &Connection, table: Table, ip_protocol: u8, now: u32, ticks: u32) -> bool {
    let age = now.wrapping_sub(connection.seen);
    let life = if connection.state & Connection::CLOSED != 0 {
        lifetime::CLOSED
    } else if matches!(table, Table::HalfOpen) {
        lifetime::HALF_OPEN
    } else if ip_protocol == protocol::TCP {
        lifetime::TCP
    } else {
        lifetime::OTHER
    };
    // A stamp "from the future" is a race between CPUs, not an age of 2^32 ticks.
    age > life.wrapping_mul(ticks) && age < u32::MAX / 2
}

/// Whether one more packet leaves an entry as it is: judged by this generation, noted within the second,
/// closed by neither end. The short answer for most packets: such an entry has not expired, and [`step`]
/// changes nothing.
#[inline(always)]
#[must_use]
pub fn steady(connection: &Connection, tcp_flags: u8, generation: u32, now: u32, ticks: u32) -> bool {
    connection.generation == generation
        && now.wrapping_sub(connection.seen) < ticks
        && tcp_flags & (tcp::FIN | tcp::RST) == 0
}

/// The entry after one more packet, or `None` when nothing in it needs to be written. `seen` is
/// refreshed once a second only: a store per packet would bounce the cache line between CPUs.
#[inline(always)]
#[must_use]
pub fn step(
    connection: &Connection,
    reply: bool,
    tcp_flags: u8,
    generation: u32,
    now: u32,
    ticks: u32,
) -> Option<Connection> {
    let mut state = connection.state;
    if tcp_flags & (tcp::FIN | tcp::RST) != 0 {
        if tcp_flags & tcp::RST != 0 {
            state |= Connection::CLOSED;
        } else {
            state |= if reply { Connection::FIN_REPLY } else { Connection::FIN_FORWARD };
            if state & (Connection::FIN_FORWARD | Connection::FIN_REPLY)
                == (Connection::FIN_FORWARD | Connection::FIN_REPLY)
            {
                state |= Connection::CLOSED;
            }
        }
    }
    let age = now.wrapping_sub(connection.seen);
    if state == connection.state && generation == connection.generation && age < ticks {
        return None;
    }
    Some(Connection { generation, seen: now, state, ..*connection })
}

/// Identifies the fragments of one packet (RFC 791 section 3.2, RFC 8200 section 4.5), per endpoint
/// and direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentKey {
    /// Source address.
    pub source: Addr,
    /// Destination address.
    pub destination: Addr,
    /// See [`ConnectionKey::endpoint`].
    pub endpoint: u32,
    /// Identification field; IPv4's has 16 bits. Host byte order.
    pub identification: u32,
    /// IP protocol number.
    pub protocol: u32,
    /// 0.
    pub reserved: u32,
}

/// What the first fragment said: source and destination port (for ICMP type and code, identifier), and
/// when. Host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ports {
    /// Source port, or ICMP type << 8 | code.
    pub source: u16,
    /// Destination port, or ICMP identifier.
    pub destination: u16,
    /// Time of the first fragment in ticks; wraps.
    pub seen: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKS: u32 = 250;

    fn open() -> Connection {
        Connection {
            generation: 3,
            seen: 1000,
            rule: 7,
            opener: Direction::Egress as u8,
            ..Default::default()
        }
    }

    #[test]
    fn a_packet_within_the_second_writes_nothing() {
        assert_eq!(step(&open(), false, tcp::ACK, 3, 1000 + TICKS - 1, TICKS), None);
        assert!(step(&open(), false, tcp::ACK, 3, 1000 + TICKS, TICKS).is_some());
    }

    #[test]
    fn what_is_steady_neither_changes_nor_expires() {
        let mut steadies = 0;
        for (generation, age, flags) in
            (0..2 * 3 * 64).map(|i| (2 + i % 2, [0, TICKS - 1, TICKS][i as usize / 2 % 3], i / 6))
        {
            for state in 0..8 {
                for table in [Table::Established, Table::HalfOpen] {
                    let entry = Connection { generation, state, ..open() };
                    let (now, flags) = (entry.seen + age, flags as u8);
                    if !steady(&entry, flags, 3, now, TICKS) {
                        continue;
                    }
                    steadies += 1;
                    assert!(!expired(&entry, table, protocol::TCP, now, TICKS));
                    assert!(!expired(&entry, table, protocol::UDP, now, TICKS));
                    assert_eq!(step(&entry, true, flags, 3, now, TICKS), None);
                    assert_eq!(step(&entry, false, flags, 3, now, TICKS), None);
                }
            }
        }
        // Two ages, flags without FIN and RST, all states, both tables.
        assert_eq!(steadies, 2 * 16 * 8 * 2);
    }

    #[test]
    fn both_fins_or_one_reset_close() {
        let one = step(&open(), false, tcp::FIN | tcp::ACK, 3, 1000, TICKS).expect("changes");
        assert_eq!(one.state, Connection::FIN_FORWARD);
        let two = step(&one, true, tcp::FIN, 3, 1000, TICKS).expect("changes");
        assert_ne!(two.state & Connection::CLOSED, 0);
        let reset = step(&open(), true, tcp::RST, 3, 1000, TICKS).expect("changes");
        assert_ne!(reset.state & Connection::CLOSED, 0);
    }

    #[test]
    fn ages_survive_the_wrap_of_the_tick_counter() {
        let old = Connection { seen: u32::MAX - 10, ..open() };
        assert!(!expired(&old, Table::HalfOpen, protocol::UDP, 100, TICKS));
        assert!(expired(&old, Table::HalfOpen, protocol::UDP, 61 * TICKS, TICKS));
        let future = Connection { seen: 1001, ..open() };
        assert!(!expired(&future, Table::HalfOpen, protocol::UDP, 1000, TICKS));
    }
}
