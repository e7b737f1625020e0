//! The whole way of one packet: parse, endpoint, spoofing, connection, identity, policy, entry, event.
//! Ingress and egress, IPv4 and IPv6 are one path with an argument. Not here: what a verdict does to
//! the packet; that is the caller's one line.
//!
//! Steps hand over through [`Scratch`], never through what they return: `docs/adr/0003-verifier.md`.

mod connection;
mod scratch;
mod translated;
mod usual;

pub use scratch::Scratch;
pub use translated::{Marked, judge_received, judge_sent};
pub use usual::usual;

use self::connection::{answers, current, find, reply, track};
use self::scratch::{Judged, Seen};
use crate::addr::Addr;
use crate::conntrack::{ConnectionKey, FragmentKey, Ports, protocol};
use crate::endpoint::{Endpoint, Peer, Row};
use crate::event::Event;
use crate::packet::{self, Bytes, Class, Fragment, Parsed};
use crate::policy::{Direction, Kind, Word, decide, port_key};
use crate::reason::Reason;
use crate::tables::{Tables, locate};

/// What became of a packet, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The reason; it says whether the packet passes.
    pub reason: Reason,
    /// Rule that decided, 0 when none did.
    pub rule: u32,
    /// Whether this is the first packet of a connection, worth an event.
    pub new: bool,
}

impl Outcome {
    #[inline(always)]
    const fn by(reason: Reason, rule: u32) -> Self {
        Outcome { reason, rule, new: false }
    }

    #[inline(always)]
    const fn because(reason: Reason) -> Self {
        Outcome::by(reason, 0)
    }
}

/// Where a packet was met.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Interface on the node's side.
    pub ifindex: u32,
    /// Whole length in bytes.
    pub length: u32,
    /// Direction as the endpoint sees it.
    pub direction: Direction,
}

/// Judges a packet at the interface `ifindex`; counts it and reports it as the maps ask.
#[inline(always)]
pub fn judge<T: Tables, B: Bytes>(tables: &T, bytes: B, scratch: &mut Scratch, arrival: Arrival) -> Outcome {
    let Arrival { ifindex, length, direction } = arrival;
    let Some(endpoint) = tables.endpoint(ifindex) else {
        return Outcome::because(Reason::UnknownEndpoint);
    };
    // Read once: a switch in the middle of a packet must not be seen.
    let state = tables.state();
    scratch.state.generation = state.generation;
    scratch.state.ticks_per_second = state.ticks_per_second;
    scratch.judged = Judged::NOTHING;
    scratch.length = length;
    scratch.seen.direction = direction;
    match packet::parse(bytes, &mut scratch.outer) {
        // The packet says that it is longer than what arrived.
        None if scratch.outer.end > length => scratch.outcome = Outcome::because(Reason::Truncated),
        None => consider(tables, bytes, endpoint, bytes.settle(scratch), direction),
        Some(reason) => scratch.outcome = Outcome::because(reason),
    }
    let scratch = bytes.settle(scratch);
    if matches!(direction, Direction::Egress)
        && matches!(scratch.outcome.reason, Reason::ToService)
        && endpoint.slot >= tables.marking().slots
    {
        scratch.outcome = Outcome::by(Reason::NoMark, scratch.outcome.rule);
    }
    let outcome = scratch.outcome;
    tables.count(endpoint, direction, outcome.reason, length);
    if (outcome.new || !outcome.reason.passes()) && tables.may_report(endpoint) {
        report(tables, endpoint, scratch, direction);
    }
    outcome
}

/// Everything after parsing.
#[inline(always)]
fn consider<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    if scratch.state.generation == 0 {
        scratch.outcome = Outcome::because(Reason::NoState);
        return;
    }
    if matches!(scratch.outer.class, Class::Flow) && matches!(scratch.outer.fragment, Fragment::Whole) {
        return flow(tables, bytes, endpoint, scratch, direction);
    }
    uncommon(tables, bytes, endpoint, scratch, direction);
}

/// A packet that is judged by its own addresses and ports.
#[inline(always)]
fn flow<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    let parsed = &scratch.outer;
    if matches!(direction, Direction::Egress) {
        if !endpoint.owns(&parsed.source) {
            scratch.outcome = Outcome::because(Reason::Spoofed);
            return;
        }
        if endpoint.owns(&parsed.destination) {
            scratch.outcome = Outcome::because(Reason::Loopback);
            return;
        }
    }
    judge_flow(tables, bytes, endpoint, bytes.settle(scratch), direction);
}

/// Everything but whole packets of flows.
#[inline(never)]
fn uncommon<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    if matches!(direction, Direction::Egress)
        && let Some(reason) = spoofed(bytes, endpoint, &scratch.outer)
    {
        scratch.outcome = Outcome::because(reason);
        return;
    }
    match scratch.outer.class {
        Class::Arp | Class::Neighbour | Class::Router => {
            scratch.outcome = Outcome::because(Reason::Neighbour);
        }
        Class::Error => match packet::parse_quoted(bytes, &scratch.outer, &mut scratch.quoted) {
            Some(reason) => scratch.outcome = Outcome::because(reason),
            None => related(tables, bytes, endpoint, bytes.settle(scratch), direction),
        },
        Class::Flow => match fragmented(tables, endpoint, &mut scratch.outer, scratch.state.ticks_per_second)
        {
            Some(reason) => scratch.outcome = Outcome::because(reason),
            None => flow(tables, bytes, endpoint, bytes.settle(scratch), direction),
        },
    }
}

/// What a pod may not put on the wire: addresses that are not its own, and a router's messages.
#[inline(always)]
fn spoofed<B: Bytes>(bytes: B, endpoint: &Endpoint, parsed: &Parsed) -> Option<Reason> {
    let source = &parsed.source;
    let own = endpoint.owns(source);
    match parsed.class {
        Class::Router => Some(Reason::RouterSpoof),
        // RFC 5227: a probe for duplicates has no sender address.
        Class::Arp => (!own && source.low32() != 0).then_some(Reason::Spoofed),
        Class::Neighbour => {
            // RFC 4862: the probe for duplicates comes from the unspecified address.
            if !own && !source.is_link_local() && source.words() != (0, 0) {
                return Some(Reason::Spoofed);
            }
            if parsed.icmp_type() == 136 {
                // An advertisement claims its target.
                return match bytes.load::<16>(parsed.offset) {
                    None => Some(Reason::Truncated),
                    Some(target) => {
                        let target = Addr(target);
                        (!endpoint.owns(&target) && !target.is_link_local()).then_some(Reason::Spoofed)
                    }
                };
            }
            None
        }
        Class::Flow | Class::Error => (!own).then_some(Reason::Spoofed),
    }
}

/// Remembers the ports of a first fragment, or finds those of a later one.
#[inline(never)]
fn fragmented<T: Tables>(
    tables: &T,
    endpoint: &Endpoint,
    parsed: &mut Parsed,
    ticks_per_second: u32,
) -> Option<Reason> {
    let now = tables.now();
    let key = FragmentKey {
        source: parsed.source,
        destination: parsed.destination,
        endpoint: endpoint.id,
        identification: parsed.identification,
        protocol: parsed.protocol as u32,
        reserved: 0,
    };
    if matches!(parsed.fragment, Fragment::First) {
        let ports = Ports { source: parsed.source_port, destination: parsed.destination_port, seen: now };
        return if tables.remember_fragment(&key, ports) { None } else { Some(Reason::TableFull) };
    }
    match tables.fragment(&key) {
        // Reassembly gives up after 30 s in Linux, 60 s in RFC 8200: identifications come again.
        Some(first) if now.wrapping_sub(first.seen) <= ticks_per_second.wrapping_mul(60) => {
            parsed.source_port = first.source;
            parsed.destination_port = first.destination;
            None
        }
        _ => Some(Reason::FragmentWithoutFirst),
    }
}

/// The packet from the endpoint's point of view.
#[inline(always)]
fn view(endpoint: &Endpoint, parsed: &Parsed, direction: Direction) -> Seen {
    let egress = matches!(direction, Direction::Egress);
    let (source, destination) = (parsed.source_port, parsed.destination_port);
    let (local_port, remote_port) = if parsed.is_icmp() {
        // Both directions of an echo share the identifier. Which end asks is part of the key, so that a
        // request never counts as a reply; other types have no replies, and keys of their own.
        let kind = source >> 8;
        let (request, asks) = match (parsed.protocol, kind) {
            (protocol::ICMP, 0) => (8, !egress),
            (protocol::ICMPV6, 129) => (128, !egress),
            _ => (kind, egress),
        };
        (destination, (request << 8) | asks as u16)
    } else if egress {
        (source, destination)
    } else {
        (destination, source)
    };
    // What policy knows of ICMP is the type.
    let port = if parsed.is_icmp() { source >> 8 } else { destination };
    Seen {
        key: ConnectionKey {
            endpoint: endpoint.id,
            remote: if egress { parsed.destination } else { parsed.source },
            local_port,
            remote_port,
            protocol: parsed.protocol,
        },
        port: port_key(parsed.protocol, port),
        direction,
        tcp_flags: parsed.tcp_flags,
    }
}

/// The order of look-ups for one flow. `Row::CONNECTION_FIRST` changes the order, never the verdict.
#[inline(always)]
fn judge_flow<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    let generation = scratch.state.generation;
    scratch.see(view(endpoint, &scratch.outer, direction));
    let scratch = bytes.settle(scratch);
    let opens = scratch.seen.opens();
    if endpoint.row(generation, direction).flags & Row::CONNECTION_FIRST != 0
        && !opens
        && current(tables, scratch)
    {
        return;
    }
    let scratch = bytes.settle(scratch);
    let Seen { key, port, .. } = &scratch.seen;
    scratch.judged = policy(tables, endpoint, generation, direction, &key.remote, *port);
    let word = scratch.judged.word;
    if !matches!(word.kind(), Kind::Allow) {
        // What opens a connection answers nothing: no table can let it pass.
        if opens && !matches!(word.kind(), Kind::AllowTracked) && !may_send(word, direction) {
            scratch.outcome = denied(scratch.judged);
            return;
        }
        return with_entry(tables, bytes, endpoint, scratch, direction);
    }
    scratch.outcome = Outcome { reason: Reason::Allowed, rule: word.number(), new: is_new(tables, scratch) };
}

/// Whether an allowed packet without an entry is worth an event: it opens a connection or, where no flag says so,
/// its flow was not seen for a while.
#[inline(always)]
fn is_new<T: Tables>(tables: &T, scratch: &Scratch) -> bool {
    let Scratch { seen, state, .. } = scratch;
    if seen.key.protocol == protocol::TCP {
        return seen.opens();
    }
    let (tag, now, ticks) = (seen.key.tag(), tables.now(), state.ticks_per_second);
    let known = tables.untracked(tag);
    let new = !known.is_fresh(tag, now, ticks);
    if new {
        tables.note_untracked(tag, known.noted(tag, seen.direction, now, ticks));
    }
    new
}

/// What policy does not simply allow.
#[inline(never)]
fn with_entry<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    match scratch.judged.word.kind() {
        Kind::AllowTracked => track(tables, scratch),
        Kind::Service | Kind::ServiceTracked if matches!(direction, Direction::Egress) => {
            translated::to_service(tables, scratch);
        }
        _ => reply(tables, bytes, endpoint, scratch, direction),
    }
}

/// Whether the word lets packets in this direction go on: here, or after translation.
#[inline(always)]
const fn may_send(word: Word, direction: Direction) -> bool {
    word.allows() || (matches!(direction, Direction::Egress) && word.translates())
}

/// The drop that a denying word stands for.
#[inline(always)]
fn denied(judged: Judged) -> Outcome {
    let reason = if judged.group == Peer::ABSENT {
        Reason::UnknownAddress
    } else {
        match judged.word.kind() {
            Kind::Tenancy => Reason::Tenancy,
            Kind::DefaultDeny => Reason::DefaultDeny,
            Kind::Deny | Kind::Redirect => Reason::PolicyDenied,
            _ => Reason::Unprogrammed,
        }
    };
    Outcome::by(reason, judged.word.number())
}

/// The dense tables' answer for a flow, as a packet in `direction`.
#[inline(always)]
fn policy<T: Tables>(
    tables: &T,
    endpoint: &Endpoint,
    generation: u32,
    direction: Direction,
    remote: &Addr,
    port: u32,
) -> Judged {
    let Some((identity, group)) = locate(tables, remote, generation) else {
        return Judged { located: true, ..Judged::NOTHING };
    };
    let row = endpoint.row(generation, direction);
    let word = decide(tables, (row.base, row.len), group, port);
    Judged { word, identity, group, located: true }
}

/// The same where a packet is judged a second time: a subprogram.
#[inline(never)]
fn policy_again<T: Tables>(tables: &T, endpoint: &Endpoint, scratch: &mut Scratch, direction: Direction) {
    let Scratch { seen, state, judged, .. } = scratch;
    *judged = policy(tables, endpoint, state.generation, direction, &seen.key.remote, seen.port);
}

/// An ICMP error passes where the packet it quotes would: as a forward packet or as a reply. The error's
/// sender may be any router, but not a foreign tenant.
#[inline(never)]
fn related<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    // The quoted packet travelled the other way.
    let travelled = direction.opposite();
    let inner = &scratch.quoted;
    if matches!(inner.fragment, Fragment::Later) {
        scratch.outcome = Outcome::because(Reason::FragmentWithoutFirst);
        return;
    }
    let ours = if matches!(travelled, Direction::Egress) { &inner.source } else { &inner.destination };
    if !endpoint.owns(ours) {
        scratch.outcome = Outcome::because(Reason::BadHeader);
        return;
    }
    let seen = view(endpoint, inner, travelled);
    scratch.see(seen);
    let quoted = scratch.seen.key.remote;
    scratch.seen.key.remote =
        if matches!(direction, Direction::Egress) { scratch.outer.destination } else { scratch.outer.source };
    policy_again(tables, endpoint, bytes.settle(scratch), direction);
    if matches!(scratch.judged.word.kind(), Kind::Tenancy) {
        scratch.outcome = Outcome::by(Reason::Tenancy, scratch.judged.word.number());
        return;
    }
    scratch.seen.key.remote = quoted;
    policy_again(tables, endpoint, bytes.settle(scratch), travelled);
    // What was sent to a Service address is judged elsewhere; an error about it is no way around that.
    if may_send(scratch.judged.word, travelled) {
        scratch.outcome = Outcome::by(Reason::Related, scratch.judged.word.number());
        return;
    }
    scratch.outcome = denied(scratch.judged);
    if find(tables, scratch) && answers(tables, bytes, endpoint, scratch, travelled) {
        scratch.outcome = Outcome::by(Reason::Related, scratch.found.connection.rule);
    }
    // An event speaks of the error's sender, which this was not.
    scratch.judged.located = false;
}

/// Builds the event and hands it over.
#[inline(never)]
fn report<T: Tables>(tables: &T, endpoint: &Endpoint, scratch: &mut Scratch, direction: Direction) {
    let Scratch { outer: parsed, judged, outcome, length, state, .. } = scratch;
    let egress = matches!(direction, Direction::Egress);
    let (local, remote) =
        if egress { (&parsed.source, &parsed.destination) } else { (&parsed.destination, &parsed.source) };
    let (local_port, remote_port) = if egress || parsed.is_icmp() {
        (parsed.source_port, parsed.destination_port)
    } else {
        (parsed.destination_port, parsed.source_port)
    };
    if !judged.located
        && let Some((identity, _)) = locate(tables, remote, state.generation)
    {
        judged.identity = identity;
    }
    let event = Event {
        time: 0,
        local: *local,
        remote: *remote,
        ifindex: endpoint.ifindex,
        remote_identity: judged.identity,
        local_identity: endpoint.identity,
        rule: outcome.rule,
        length: *length,
        local_port,
        remote_port,
        protocol: parsed.protocol,
        direction: direction as u8,
        reason: outcome.reason as u8,
        tcp_flags: parsed.tcp_flags,
        generation: state.generation,
    };
    tables.emit(&event);
}
