//! Connections in the way of a packet: is it part of one, may that go on, does it make one. Not here: what an
//! entry becomes after a packet (`conntrack`), what policy says of a new flow.

use super::scratch::{Found, Scratch, Seen};
use super::{Outcome, denied, may_send, policy_again};
use crate::conntrack::{self, Connection, Table, protocol, tcp};
use crate::endpoint::Endpoint;
use crate::packet::Bytes;
use crate::policy::{Direction, Word, port_key};
use crate::reason::Reason;
use crate::tables::Tables;

/// Looks for a live entry in either table, once for each packet that is spoken of.
#[inline(always)]
pub(super) fn find<T: Tables>(tables: &T, scratch: &mut Scratch) -> bool {
    let Scratch { seen, found, state, .. } = scratch;
    if !found.looked {
        found.now = tables.now();
        found.table = Table::Established;
        found.there = tables.connection(Table::Established, &seen.key, &mut found.connection);
        if !found.there {
            found.table = Table::HalfOpen;
            found.there = tables.connection(Table::HalfOpen, &seen.key, &mut found.connection);
        }
        found.there &= !conntrack::expired(
            &found.connection,
            found.table,
            seen.key.protocol,
            found.now,
            state.ticks_per_second,
        );
        found.looked = true;
    }
    found.there
}

/// Whether the packet opens a connection anew, whatever the table remembers.
#[inline(always)]
fn reopens(connection: &Connection, seen: &Seen) -> bool {
    connection.state & Connection::CLOSED != 0 && seen.opens()
}

/// Whether the policy in force has judged the connection already; if so, its verdict holds.
#[inline(never)]
pub(super) fn current<T: Tables>(tables: &T, scratch: &mut Scratch) -> bool {
    let holds = find(tables, scratch) && scratch.found.connection.generation == scratch.state.generation;
    if holds {
        keep(tables, scratch);
    }
    holds
}

/// What becomes of a packet of a connection that may go on.
#[inline(always)]
pub(super) fn kept(connection: &Connection, direction: Direction) -> Outcome {
    let reason = if connection.is_reply(direction) {
        Reason::Reply
    } else if connection.state & Connection::SERVICE != 0 {
        Reason::ToService
    } else {
        Reason::Established
    };
    Outcome::by(reason, connection.rule)
}

/// Notes one more packet of the connection found, which may go on.
#[inline(always)]
fn keep<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let Scratch { seen, state, found, outcome, .. } = scratch;
    let reply = found.connection.is_reply(seen.direction);
    *outcome = kept(&found.connection, seen.direction);
    let next = conntrack::step(
        &found.connection,
        reply,
        seen.tcp_flags,
        state.generation,
        found.now,
        state.ticks_per_second,
    );
    let answered = reply && matches!(found.table, Table::HalfOpen) && seen.tcp_flags & tcp::RST == 0;
    if answered || next.is_some() {
        if let Some(next) = next {
            found.connection = next;
        }
        note(tables, seen, found, answered);
    }
}

/// Writes the entry back, once a second for a busy connection. An answered connection goes where floods do
/// not reach; if that map refuses, the half-open entry serves on.
#[inline(never)]
fn note<T: Tables>(tables: &T, seen: &Seen, found: &Found, answered: bool) {
    if !answered {
        tables.rewrite(found.table, &seen.key, &found.connection);
    } else if tables.remember(Table::Established, &seen.key, &found.connection) {
        tables.forget(Table::HalfOpen, &seen.key);
    }
}

/// A forward packet that policy allows and whose connection needs an entry.
#[inline(always)]
pub(super) fn track<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let rule = scratch.judged.word.number();
    if scratch.seen.opens() && begin(tables, scratch, rule) {
        return;
    }
    if find(tables, scratch) && !reopens(&scratch.found.connection, &scratch.seen) {
        let Scratch { found, seen, state, outcome, .. } = scratch;
        let own = !found.connection.is_reply(seen.direction);
        if own {
            found.connection.rule = rule;
            found.connection.state =
                found.connection.state & !Connection::SERVICE | service(scratch.judged.word);
            found.connection.sender = scratch.sender as u16;
        }
        if own || found.connection.generation == state.generation {
            return keep(tables, scratch);
        }
        // This packet was judged, not those of the opener. It passes by its own right and leaves the entry: a late answer
        // that made the connection its own would let the opener go on, as if it answered, where it may not send any more.
        if !seen.opens() {
            *outcome = Outcome::by(Reason::Allowed, rule);
            return;
        }
    }
    // Nor does an answer to what left no entry make the connection its sender's.
    if answers_untracked(tables, scratch) {
        scratch.outcome = Outcome::by(Reason::Allowed, rule);
        return;
    }
    open(tables, scratch, rule);
}

/// Whether a packet that no entry is there for answers one. TCP and ICMP say so themselves; of other protocols it is
/// known for a while who opened a flow without an entry. It gets one now that nobody has judged, for the opener's next
/// packet: until then, and if that is denied, nothing passes as a reply.
#[inline(never)]
fn answers_untracked<T: Tables>(tables: &T, scratch: &Scratch) -> bool {
    let Scratch { seen, found, state, .. } = scratch;
    let key = &seen.key;
    let opener = seen.direction.opposite();
    match key.protocol {
        protocol::TCP => seen.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK,
        protocol::ICMP | protocol::ICMPV6 => {
            (key.remote_port & 1 != 0) == matches!(opener, Direction::Egress)
        }
        _ => {
            let tag = key.tag();
            let answers =
                tables.untracked(tag).opener(tag, found.now, state.ticks_per_second) == Some(opener);
            if answers {
                let known = Connection { seen: found.now, opener: opener as u8, ..Connection::default() };
                tables.remember(Table::HalfOpen, key, &known);
            }
            answers
        }
    }
}

/// Makes the entry of a connection that nothing is known of, if that is so. Most opening packets are such, and
/// adding what is not there yet says as much as looking for it first, for less.
#[inline(always)]
fn begin<T: Tables>(tables: &T, scratch: &mut Scratch, rule: u32) -> bool {
    let new = fresh(scratch, tables.now(), rule);
    let Scratch { seen, found, outcome, .. } = scratch;
    if tables.connection(Table::Established, &seen.key, &mut found.connection) {
        return false;
    }
    found.connection = new;
    let begun = tables.remember_new(Table::HalfOpen, &seen.key, &found.connection);
    if begun {
        *outcome = Outcome { reason: Reason::New, rule, new: true };
    }
    begun
}

/// The entry of a connection that begins with this packet.
#[inline(always)]
fn fresh(scratch: &Scratch, now: u32, rule: u32) -> Connection {
    let Scratch { seen, state, judged, sender, .. } = scratch;
    Connection {
        generation: state.generation,
        seen: now,
        rule,
        opener: seen.direction as u8,
        state: service(judged.word),
        sender: *sender as u16,
    }
}

/// Makes the entry of a new connection in the place of an old one, or where none is.
#[inline(never)]
fn open<T: Tables>(tables: &T, scratch: &mut Scratch, rule: u32) {
    let new = fresh(scratch, scratch.found.now, rule);
    let Scratch { seen, found, outcome, .. } = scratch;
    found.connection = new;
    // A closed connection that opens again leaves the other table, or its old entry would be found first.
    if matches!(found.table, Table::Established) {
        tables.forget(Table::Established, &seen.key);
    }
    *outcome = if tables.remember(Table::HalfOpen, &seen.key, &found.connection) {
        Outcome { reason: Reason::New, rule, new: true }
    } else {
        Outcome::by(Reason::TableFull, rule)
    };
}

/// A packet that policy would deny as a new flow: passes as a reply, if what it replies to may still be sent. An entry
/// whose opener is denied by now stays: no policy in force has judged it, so it lets nothing pass, and nobody else can take
/// the connection over as long as the opener tries.
#[inline(always)]
pub(super) fn reply<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    scratch.outcome = denied(scratch.judged);
    if !find(tables, scratch) {
        return;
    }
    if !scratch.found.connection.is_reply(direction) {
        return linger(tables, scratch);
    }
    if answers(tables, bytes, endpoint, scratch, direction) {
        keep(tables, scratch);
    }
}

/// Notes that the denied opener of the connection found still sends; once a second for a busy one.
#[inline(always)]
fn linger<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let Scratch { seen, state, found, .. } = scratch;
    if found.now.wrapping_sub(found.connection.seen) >= state.ticks_per_second {
        found.connection.seen = found.now;
        tables.rewrite(found.table, &seen.key, &found.connection);
    }
}

/// Whether a packet in `direction` is a reply of the connection found, and its opener may still send.
#[inline(always)]
pub(super) fn answers<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) -> bool {
    scratch.found.connection.is_reply(direction)
        && (scratch.found.connection.generation == scratch.state.generation || {
            let opener = direction.opposite();
            scratch.seen.port = forward_port(&scratch.seen, opener);
            let remote = scratch.seen.key.remote;
            if scratch.found.connection.sender != 0 {
                // Where the opener is gone, so is its right to send.
                let Some(sender) = endpoint_in(tables, scratch.found.connection.sender as u32 - 1) else {
                    return false;
                };
                scratch.seen.key.remote = sender.address(remote.is_v4());
            }
            policy_again(tables, endpoint, bytes.settle(scratch), opener);
            scratch.seen.key.remote = remote;
            may_send(scratch.judged.word, opener)
        })
}

/// The endpoint in a slot.
#[inline(always)]
pub(super) fn endpoint_in<T: Tables>(tables: &T, slot: u32) -> Option<&Endpoint> {
    tables.slot(slot).and_then(|ifindex| tables.endpoint(ifindex)).filter(|endpoint| endpoint.slot == slot)
}

/// The bit of an entry whose peer is a Service address.
#[inline(always)]
const fn service(word: Word) -> u8 {
    if word.translates() { Connection::SERVICE } else { 0 }
}

/// The port that the opener's packets were judged by.
#[inline(always)]
fn forward_port(seen: &Seen, opener: Direction) -> u32 {
    match seen.key.protocol {
        // The key says what is asked; only who asks has an entry.
        protocol::ICMP | protocol::ICMPV6 => port_key(seen.key.protocol, seen.key.remote_port >> 8),
        other => match opener {
            Direction::Egress => port_key(other, seen.key.remote_port),
            Direction::Ingress => port_key(other, seen.key.local_port),
        },
    }
}
