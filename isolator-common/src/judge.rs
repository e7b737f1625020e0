//! The whole way of one packet: parse, endpoint, spoofing, connection, identity, policy, entry, event.
//! Ingress and egress, IPv4 and IPv6 are one path with an argument. Not here: what a verdict does to
//! the packet; that is the caller's one line.
//!
//! Steps hand over through [`Scratch`], never through what they return: `docs/adr/0003-verifier.md`.

use crate::addr::Addr;
use crate::conntrack::{self, Connection, ConnectionKey, FragmentKey, Ports, Table, protocol, tcp};
use crate::endpoint::{Endpoint, Peer, Row, State};
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

/// A packet as one endpoint sees it.
#[derive(Clone, Copy)]
struct Seen {
    key: ConnectionKey,
    /// What port sets are searched by.
    port: u32,
    direction: Direction,
    tcp_flags: u8,
}

/// The policy's answer for a flow.
#[derive(Clone, Copy)]
struct Judged {
    word: Word,
    /// Identity behind the peer's address.
    identity: u32,
    /// The peer's group; [`Peer::ABSENT`] when no map knows it.
    group: u32,
    /// Whether the peer was looked up.
    located: bool,
}

impl Judged {
    const NOTHING: Judged = Judged { word: Word(0), identity: 0, group: Peer::ABSENT, located: false };
}

/// What a look-up of the connection found.
#[derive(Clone, Copy)]
struct Found {
    connection: Connection,
    table: Table,
    now: u32,
}

/// Room for everything that is known of the packet at hand. In the kernel it is a per-CPU map value: the
/// stack has 512 bytes, and what lies here the verifier does not follow.
#[derive(Clone, Copy)]
pub struct Scratch {
    outer: Parsed,
    quoted: Parsed,
    seen: Seen,
    state: State,
    judged: Judged,
    found: Found,
    outcome: Outcome,
    length: u32,
}

impl Scratch {
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
            connection: Connection { generation: 0, seen: 0, rule: 0, opener: 0, state: 0, reserved: 0 },
            table: Table::Established,
            now: 0,
        },
        outcome: Outcome::because(Reason::NoState),
        length: 0,
    };
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
    scratch.state = tables.state();
    scratch.judged = Judged::NOTHING;
    scratch.length = length;
    scratch.seen.direction = direction;
    match packet::parse(bytes, &mut scratch.outer) {
        None => consider(tables, bytes, endpoint, bytes.settle(scratch), direction),
        Some(reason) => scratch.outcome = Outcome::because(reason),
    }
    let scratch = bytes.settle(scratch);
    let outcome = scratch.outcome;
    tables.count(endpoint, direction, outcome.reason, length);
    if outcome.new || !outcome.reason.passes() {
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
    scratch.seen = view(endpoint, parsed, direction);
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
            scratch.outcome = Outcome::because(Reason::Neighbour)
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
    let (local_port, remote_port, port) = if parsed.is_icmp() {
        // Both directions of an echo share the identifier; the type is what rules speak of.
        (destination, 0, source >> 8)
    } else if egress {
        (source, destination, destination)
    } else {
        (destination, source, destination)
    };
    let remote = if egress { parsed.destination } else { parsed.source };
    Seen {
        key: ConnectionKey {
            endpoint: endpoint.id,
            remote,
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
    if endpoint.row(scratch.state.generation, direction).flags & Row::CONNECTION_FIRST != 0
        && current(tables, scratch)
    {
        return;
    }
    let scratch = bytes.settle(scratch);
    policy(tables, bytes, endpoint, scratch, direction);
    let scratch = bytes.settle(scratch);
    let word = scratch.judged.word;
    if !matches!(word.kind(), Kind::Allow) {
        return with_entry(tables, bytes, endpoint, scratch, direction);
    }
    let seen = &scratch.seen;
    let new = if seen.key.protocol == protocol::TCP {
        seen.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    } else {
        tables.first_seen(seen.key.tag())
    };
    scratch.outcome = Outcome { reason: Reason::Allowed, rule: word.number(), new };
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
    if matches!(scratch.judged.word.kind(), Kind::AllowTracked) {
        track(tables, scratch);
    } else {
        reply(tables, bytes, endpoint, scratch, direction);
    }
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

/// The dense tables' answer for the flow in `scratch.seen`, as a packet in `direction`.
#[inline(always)]
fn policy<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    let generation = scratch.state.generation;
    scratch.judged = match locate(tables, &scratch.seen.key.remote, generation) {
        Some((identity, group)) => Judged { word: Word::default(), identity, group, located: true },
        None => Judged { located: true, ..Judged::NOTHING },
    };
    let scratch = bytes.settle(scratch);
    let group = scratch.judged.group;
    if group != Peer::ABSENT {
        let row = endpoint.row(generation, direction);
        scratch.judged.word = decide(tables, (row.base, row.len), group, scratch.seen.port);
    }
}

/// The same where a packet is judged a second time: a subprogram.
#[inline(never)]
fn policy_again<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    policy(tables, bytes, endpoint, scratch, direction);
}

/// Looks for a live entry in either table.
#[inline(always)]
fn find<T: Tables>(tables: &T, seen: &Seen, found: &mut Found, ticks_per_second: u32) -> bool {
    found.now = tables.now();
    found.table = Table::Established;
    if !tables.connection(Table::Established, &seen.key, &mut found.connection) {
        found.table = Table::HalfOpen;
        if !tables.connection(Table::HalfOpen, &seen.key, &mut found.connection) {
            return false;
        }
    }
    !conntrack::expired(&found.connection, found.table, seen.key.protocol, found.now, ticks_per_second)
}

/// Whether the packet opens a connection anew, whatever the table remembers.
#[inline(always)]
fn reopens(connection: &Connection, seen: &Seen) -> bool {
    connection.state & Connection::CLOSED != 0 && seen.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// Whether the policy in force has judged the connection already; if so, its verdict holds.
#[inline(always)]
fn current<T: Tables>(tables: &T, scratch: &mut Scratch) -> bool {
    let holds = find(tables, &scratch.seen, &mut scratch.found, scratch.state.ticks_per_second)
        && scratch.found.connection.generation == scratch.state.generation
        && !reopens(&scratch.found.connection, &scratch.seen);
    if holds {
        keep(tables, scratch);
    }
    holds
}

/// Notes one more packet of the connection found, which may go on.
#[inline(always)]
fn keep<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let Scratch { seen, state, found, outcome, .. } = scratch;
    let reply = found.connection.is_reply(seen.direction);
    let reason = if reply { Reason::Reply } else { Reason::Established };
    *outcome = Outcome::by(reason, found.connection.rule);
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

/// A forward packet that policy allows and whose replies need an entry.
#[inline(always)]
fn track<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let rule = scratch.judged.word.number();
    if find(tables, &scratch.seen, &mut scratch.found, scratch.state.ticks_per_second)
        && !reopens(&scratch.found.connection, &scratch.seen)
    {
        scratch.found.connection.rule = rule;
        return keep(tables, scratch);
    }
    open(tables, scratch, rule);
}

/// Makes the entry of a new connection.
#[inline(never)]
fn open<T: Tables>(tables: &T, scratch: &mut Scratch, rule: u32) {
    let Scratch { seen, state, found, outcome, .. } = scratch;
    found.connection = Connection {
        generation: state.generation,
        seen: found.now,
        rule,
        opener: seen.direction as u8,
        ..Connection::default()
    };
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

/// A packet that policy would deny as a new flow: passes as a reply, if what it replies to may still be
/// sent. A stale entry is judged again here, and goes when it is denied now.
#[inline(always)]
fn reply<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    scratch: &mut Scratch,
    direction: Direction,
) {
    scratch.outcome = denied(scratch.judged);
    if !find(tables, &scratch.seen, &mut scratch.found, scratch.state.ticks_per_second) {
        return;
    }
    // A forward packet that was just denied: its entry has no right to stay. Nor has a stale entry whose
    // opener would be denied now.
    let stays = scratch.found.connection.is_reply(direction)
        && (scratch.found.connection.generation == scratch.state.generation || {
            let opener = direction.opposite();
            scratch.seen.port = forward_port(&scratch.seen, opener);
            policy_again(tables, bytes, endpoint, bytes.settle(scratch), opener);
            scratch.judged.word.allows()
        });
    if !stays {
        tables.forget(scratch.found.table, &scratch.seen.key);
    } else if !reopens(&scratch.found.connection, &scratch.seen) {
        keep(tables, scratch);
    }
}

/// The port that the opener's packets were judged by.
#[inline(always)]
fn forward_port(seen: &Seen, opener: Direction) -> u32 {
    match seen.key.protocol {
        // Only echo has replies; its request is type 8, in ICMPv6 128.
        protocol::ICMP => port_key(protocol::ICMP, 8),
        protocol::ICMPV6 => port_key(protocol::ICMPV6, 128),
        other => match opener {
            Direction::Egress => port_key(other, seen.key.remote_port),
            Direction::Ingress => port_key(other, seen.key.local_port),
        },
    }
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
    scratch.seen = view(endpoint, inner, travelled);
    let quoted = scratch.seen.key.remote;
    scratch.seen.key.remote =
        if matches!(direction, Direction::Egress) { scratch.outer.destination } else { scratch.outer.source };
    policy_again(tables, bytes, endpoint, bytes.settle(scratch), direction);
    if matches!(scratch.judged.word.kind(), Kind::Tenancy) {
        scratch.outcome = Outcome::by(Reason::Tenancy, scratch.judged.word.number());
        return;
    }
    scratch.seen.key.remote = quoted;
    policy_again(tables, bytes, endpoint, bytes.settle(scratch), travelled);
    // An event speaks of the error's sender, which this was not.
    scratch.judged.located = false;
    scratch.outcome = if scratch.judged.word.allows() {
        Outcome::by(Reason::Related, scratch.judged.word.number())
    } else if find(tables, &scratch.seen, &mut scratch.found, scratch.state.ticks_per_second)
        && scratch.found.connection.is_reply(travelled)
    {
        Outcome::by(Reason::Related, scratch.found.connection.rule)
    } else {
        denied(scratch.judged)
    };
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
    tables.emit(endpoint, &event);
}
