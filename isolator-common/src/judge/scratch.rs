//! What is known of the packet at hand, while it is judged. Not here: who finds it out.

use super::Outcome;
use crate::addr::Addr;
use crate::conntrack::{Connection, ConnectionKey, Table, tcp};
use crate::endpoint::{Peer, State};
use crate::packet::Parsed;
use crate::policy::{Direction, Word};
use crate::reason::Reason;

/// A packet as one endpoint sees it.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) key: ConnectionKey,
    /// What port sets are searched by.
    pub(super) port: u32,
    pub(super) direction: Direction,
    pub(super) tcp_flags: u8,
}

impl Seen {
    /// Whether the packet asks for a new TCP connection: it answers nothing, whatever the tables remember.
    #[inline(always)]
    pub(super) fn opens(&self) -> bool {
        opens(self.tcp_flags)
    }
}

/// Whether the flags are those of a packet that asks for a new TCP connection. Other protocols have none.
#[inline(always)]
pub(super) fn opens(tcp_flags: u8) -> bool {
    tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// The policy's answer for a flow.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    pub(super) word: Word,
    /// Identity behind the peer's address.
    pub(super) identity: u32,
    /// The peer's group; [`Peer::ABSENT`] when no map knows it.
    pub(super) group: u32,
    /// Whether the peer was looked up.
    pub(super) located: bool,
}

impl Judged {
    pub(super) const NOTHING: Judged =
        Judged { word: Word(0), identity: 0, group: Peer::ABSENT, located: false };
}

/// What a look-up of the connection found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// Whether the connection of [`Scratch::seen`] was looked for, and whether a live entry is there.
    pub(super) looked: bool,
    pub(super) there: bool,
    pub(super) connection: Connection,
    pub(super) table: Table,
    pub(super) now: u32,
}

/// Room for everything that is known of the packet at hand. In the kernel it is a per-CPU map value: the
/// stack has 512 bytes, and what lies here the verifier does not follow.
#[derive(Clone, Copy)]
pub struct Scratch {
    pub(super) outer: Parsed,
    pub(super) quoted: Parsed,
    pub(super) seen: Seen,
    pub(super) state: State,
    pub(super) judged: Judged,
    pub(super) found: Found,
    pub(super) outcome: Outcome,
    pub(super) length: u32,
    /// Mark value of the sender, where the packet comes from another address than its own; else 0.
    pub(super) sender: u32,
}

impl Scratch {
    /// From now on this is the packet that is spoken of.
    #[inline(always)]
    pub(super) fn see(&mut self, seen: Seen) {
        self.seen = seen;
        self.found.looked = false;
    }

    /// Nothing is known yet.
    pub const EMPTY: Scratch = Scratch {
        outer: Parsed::NOTHING,
        quoted: Parsed::NOTHING,
        seen: Seen {
            key: ConnectionKey {
                endpoint: 0,
                remote: Addr::UNSPECIFIED,
                local_port: 0,
                remote_port: 0,
                protocol: 0,
            },
            port: 0,
            direction: Direction::Egress,
            tcp_flags: 0,
        },
        state: State { generation: 0, abi_version: 0, ticks_per_second: 0, events_per_second: 0 },
        judged: Judged::NOTHING,
        found: Found {
            looked: false,
            there: false,
            connection: Connection { generation: 0, seen: 0, rule: 0, opener: 0, state: 0, sender: 0 },
            table: Table::Established,
            now: 0,
        },
        outcome: Outcome::because(Reason::NoState),
        length: 0,
        sender: 0,
    };
}
