//! Connections that run without an entry when their endpoint becomes isolated: which entries they need, so that
//! what both policies allow goes on and what the new one denies its opener does not go on as the other end's
//! (`docs/adr/0005-connections-without-an-entry.md`). Pure. Not here: how sockets are listed, how entries are written.

use super::image::{Image, Op};
use super::memory::Memory;
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, ConnectionKey};
use isolator_common::endpoint::{Endpoint, Peer, Row};
use isolator_common::policy::{Direction, Interval, Kind, Word, decide, port_key};
use isolator_common::tables::locate;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// A connection as a pod's socket table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// IP protocol number.
    pub protocol: u8,
    /// The peer's address.
    pub remote: Addr,
    /// The pod's port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Whether the peer has opened the connection, as far as can be told.
    pub accepted: bool,
}

/// Endpoints whose connections needed no entry before the switch and may need one after it: their rows are others, or
/// a peer is in another group. `ops` lead from `previous` to `next`. Few edits are such, and to list a pod's sockets takes
/// milliseconds: the kernel looks through those of all pods. Where nothing was enforced before, all pods may have some.
pub fn changed<'a>(previous: &'a Image, next: &'a Image, ops: &[Op]) -> impl Iterator<Item = &'a Endpoint> {
    let moved = Moved::new(previous.state.generation, ops);
    next.endpoints.values().filter(move |endpoint| {
        if previous.state.generation == 0 {
            return true;
        }
        let Some(before) = previous.endpoints.get(&endpoint.ifindex) else { return false };
        before.id == endpoint.id
            && Direction::BOTH.into_iter().any(|direction| {
                let (was, is) =
                    (Cells::new(previous, before, direction), Cells::new(next, endpoint, direction));
                needs(&was, &is, &moved)
            })
    })
}

/// Addresses that go from one group to another.
struct Moved {
    /// From, to.
    groups: BTreeSet<(u32, u32)>,
    /// Some come or go, so that a prefix had or gets them: anything may become anything. Pods come and go all the time,
    /// and without connections, so that under the same row this counts for nothing.
    unclear: bool,
}

impl Moved {
    fn new(generation: u32, ops: &[Op]) -> Moved {
        let peers = ops.iter().filter_map(|op| match op {
            Op::BlockPeer(_, peer) => Some(Some(peer)),
            Op::Host(_, peer) => Some(peer.as_ref()),
            Op::Prefix(_, peer) => Some(peer.as_ref()),
            _ => None,
        });
        let mut moved = Moved { groups: BTreeSet::new(), unclear: false };
        for peer in peers {
            let (from, to) = peer.map_or((Peer::ABSENT, Peer::ABSENT), |peer| {
                (peer.group(generation), peer.group(generation ^ 1))
            });
            moved.unclear |= from == Peer::ABSENT || to == Peer::ABSENT;
            moved.groups.insert((from, to));
        }
        moved
    }
}

/// A row with its cells.
struct Cells<'a> {
    image: &'a Image,
    row: Row,
    /// Kinds of verdicts of the port sets that were asked for, by header: a bit each.
    sets: RefCell<HashMap<u32, u32>>,
}

impl<'a> Cells<'a> {
    fn new(image: &'a Image, endpoint: &Endpoint, direction: Direction) -> Self {
        Cells { image, row: endpoint.row(image.state.generation, direction), sets: RefCell::default() }
    }

    /// Whether the cell of `group` has this kind, for some port at least.
    fn has(&self, group: u32, kind: Kind) -> bool {
        let word = |index| self.image.cells.get(&index).copied().unwrap_or_default();
        let word = if group < self.row.len { word(self.row.base + group) } else { return false };
        if word.kind() != Kind::Ports {
            return word.kind() == kind;
        }
        let mut sets = self.sets.borrow_mut();
        let kinds = sets.entry(word.number()).or_insert_with_key(|header| self.kinds(*header));
        *kinds & 1 << kind as u32 != 0
    }

    /// Kinds of verdicts of a port set.
    fn kinds(&self, header: u32) -> u32 {
        let intervals = &self.image.intervals;
        let len = intervals.get(&header).map_or(0, |head| *head as u32);
        let first = header.saturating_add(1);
        let entries = intervals.range(first..first.saturating_add(len));
        entries.fold(0, |kinds, (_, raw)| kinds | 1 << Interval::unpack(*raw).word.kind() as u32)
    }

    fn groups(&self) -> std::ops::Range<u32> {
        0..self.row.len
    }
}

/// Whether a connection that needed no entry may need one.
fn needs(was: &Cells<'_>, is: &Cells<'_>, moved: &Moved) -> bool {
    TRACKED.into_iter().any(|(without, with)| {
        let became = |from, to| was.has(from, without) && is.has(to, with);
        let by_row = || {
            if moved.unclear {
                let had = was.groups().any(|from| was.has(from, without));
                return had && is.groups().any(|to| is.has(to, with));
            }
            is.groups().any(|group| became(group, group))
        };
        (was.row != is.row && by_row()) || moved.groups.iter().any(|(from, to)| became(*from, *to))
    })
}

/// Verdicts under which connections have no entry, and what they become when replies need one.
const TRACKED: [(Kind, Kind); 2] = [(Kind::Allow, Kind::AllowTracked), (Kind::Service, Kind::ServiceTracked)];

/// The entries that the endpoint's connections need under the policy of `next`. `now` is in ticks.
#[must_use]
pub fn adopt(
    next: &Memory,
    endpoint: &Endpoint,
    sockets: &[Socket],
    now: u32,
) -> Vec<(ConnectionKey, Connection)> {
    let entry = |socket: &Socket| {
        let opener = if socket.accepted { Direction::Ingress } else { Direction::Egress };
        let word = verdict(next, endpoint, socket, opener)?;
        let new = Connection { seen: now, opener: opener as u8, ..Connection::default() };
        let connection = match word.kind() {
            Kind::AllowTracked | Kind::ServiceTracked => Connection {
                generation: next.image.state.generation,
                rule: word.number(),
                state: if word.translates() { Connection::SERVICE } else { 0 },
                ..new
            },
            Kind::Allow | Kind::Service => return None,
            // No policy has judged it, so it lets nothing pass. It keeps the other end, which may open connections of
            // its own, from taking this one over with its next answer.
            _ => {
                let answers = verdict(next, endpoint, socket, opener.opposite())?.kind();
                TRACKED.iter().find(|(_, with)| *with == answers)?;
                new
            }
        };
        let key = ConnectionKey {
            endpoint: endpoint.id,
            remote: socket.remote,
            local_port: socket.local_port,
            remote_port: socket.remote_port,
            protocol: socket.protocol,
        };
        Some((key, connection))
    };
    sockets.iter().filter_map(entry).collect()
}

/// What the policy of `next` says of the connection if it is opened in `direction`; nothing of an unknown peer.
fn verdict(next: &Memory, endpoint: &Endpoint, socket: &Socket, direction: Direction) -> Option<Word> {
    let generation = next.image.state.generation;
    let (_, group) = locate(next, &socket.remote, generation)?;
    let port = match direction {
        Direction::Ingress => socket.local_port,
        Direction::Egress => socket.remote_port,
    };
    let row = endpoint.row(generation, direction);
    Some(decide(next, (row.base, row.len), group, port_key(socket.protocol, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::addr::Addr;
    use isolator_common::policy::Word;

    const WAS: u32 = 2;
    const IFINDEX: u32 = 4;

    /// One endpoint, of which the row for what it receives has these cells; the other row is empty.
    fn image(generation: u32, base: u32, cells: &[Word]) -> Image {
        let row = Row { base, len: cells.len() as u32, flags: 0 };
        let rows = [[Row::default(), row]; 2];
        let endpoint = Endpoint {
            ifindex: IFINDEX,
            slot: 0,
            id: 7,
            identity: 0,
            tenant: 0,
            flags: Endpoint::KNOWN,
            share: 0,
            reserved: 0,
            addrs: [Addr::UNSPECIFIED; 2],
            rows,
        };
        let mut image = Image::default();
        image.state.generation = generation;
        image.endpoints.insert(IFINDEX, endpoint);
        image.cells = (base..).zip(cells.iter().copied()).collect();
        image.intervals =
            [(8, 2), (9, interval(0, Kind::DefaultDeny)), (10, interval(80, Kind::AllowTracked))].into();
        image
    }

    fn interval(start: u32, kind: Kind) -> u64 {
        Interval { start, word: Word::new(kind, 1) }.pack()
    }

    /// `None` for `is`: the row stays.
    fn looked_at(was: &[Kind], is: Option<&[Kind]>, ops: &[Op]) -> bool {
        let words = |kinds: &[Kind]| {
            kinds
                .iter()
                .map(|kind| Word::new(*kind, if *kind == Kind::Ports { 8 } else { 1 }))
                .collect::<Vec<_>>()
        };
        let base = if is.is_some() { 32 } else { 16 };
        let (was, is) = (image(WAS, 16, &words(was)), image(WAS + 1, base, &words(is.unwrap_or(was))));
        changed(&was, &is, ops).count() == 1
    }

    #[test]
    fn sockets_of_all_are_listed_before_anything_is_enforced() {
        let next = image(1, 16, &[Word::default()]);
        assert_eq!(changed(&Image::default(), &next, &[]).count(), 1);
    }

    #[test]
    fn sockets_are_listed_only_where_one_may_need_an_entry_that_it_did_not() {
        use Kind::{Allow, AllowTracked, DefaultDeny, Empty, Ports, Service, ServiceTracked};
        let moves = |from, to| Op::BlockPeer(1, Peer { identity: 1, groups: [from, to] });
        for (was, is, ops, wanted) in [
            // The pod becomes isolated in the other direction.
            (&[Empty, Allow][..], &[Empty, AllowTracked][..], &[][..], true),
            (&[Empty, Allow], &[Empty, Ports], &[], true),
            // Other ports, other peers, but everything was and is tracked, or neither.
            (&[Empty, AllowTracked], &[Empty, Ports], &[], false),
            (&[Empty, Allow, AllowTracked], &[Empty, Allow, Ports], &[], false),
            (&[Empty, Allow], &[Empty, DefaultDeny], &[], false),
            // A part of group 1 becomes group 2.
            (&[Empty, Allow], &[Empty, Allow, AllowTracked], &[], false),
            (&[Empty, Allow], &[Empty, Allow, AllowTracked], &[moves(1, 2)], true),
            (&[Empty, Service], &[Empty, ServiceTracked], &[], true),
            (&[Empty, Service], &[Empty, AllowTracked], &[], false),
            // An address that a prefix had before: nobody knows which.
            (&[Empty, Allow], &[Empty, Allow, AllowTracked], &[moves(Peer::ABSENT, 2)], true),
        ] {
            assert_eq!(looked_at(was, Some(is), ops), wanted, "{was:?} {is:?} {ops:?}");
        }
        // A peer is relabelled; pods come and go.
        let row = [Empty, Allow, AllowTracked];
        for (from, to, wanted) in
            [(1, 2, true), (2, 1, false), (Peer::ABSENT, 2, false), (1, Peer::ABSENT, false)]
        {
            assert_eq!(looked_at(&row, None, &[moves(from, to)]), wanted, "{from} {to}");
        }
    }
}
