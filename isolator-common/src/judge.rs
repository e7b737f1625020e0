//! The whole way of one packet: parse, endpoint, spoofing, connection, identity, policy, entry, event.
//! Ingress and egress, IPv4 and IPv6 are one path with an argument. Not here: what a verdict does to
//! the packet; that is the caller's one line.

use crate::conntrack::{self, Connection, ConnectionKey, FragmentKey, Ports, Table, protocol, tcp};
use crate::endpoint::{Endpoint, Row, State};
use crate::event::Event;
use crate::packet::{self, Bytes, Class, Fragment, Parsed};
use crate::policy::{Direction, Kind, Word, decide, port_key};
use crate::reason::Reason;
use crate::tables::{Slot, Tables, locate};

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

impl Seen {
    const NOTHING: Seen = Seen {
        key: ConnectionKey {
            endpoint: 0,
            remote: crate::addr::Addr::UNSPECIFIED,
            local_port: 0,
            remote_port: 0,
            protocol: 0,
        },
        port: 0,
        direction: Direction::Egress,
        tcp_flags: 0,
    };
}

/// The policy's answer for a flow: the word, and whether any map knew the address.
#[derive(Clone, Copy)]
struct Judged {
    word: Word,
    known: bool,
}

/// What an event says beside the packet.
struct Verdict {
    outcome: Outcome,
    direction: Direction,
    length: u32,
}

/// Room for the headers of a packet and of the one it quotes. In the kernel it is a per-CPU map value:
/// the stack has 512 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Scratch {
    /// The packet.
    pub outer: Parsed,
    /// The packet that an ICMP error quotes.
    pub quoted: Parsed,
    /// The flow as the endpoint sees it.
    seen: Seen,
}

impl Scratch {
    /// Nothing parsed yet.
    pub const EMPTY: Scratch = Scratch { outer: Parsed::NOTHING, quoted: Parsed::NOTHING, seen: Seen::NOTHING };
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
    let state = tables.state();
    let outcome = match packet::parse(bytes, &mut scratch.outer) {
        None => consider(tables, bytes, endpoint, &state, scratch, direction),
        Some(reason) => Outcome::because(reason),
    };
    tables.count(endpoint, direction, outcome.reason, length);
    if outcome.new || !outcome.reason.passes() {
        report(tables, endpoint, &state, &scratch.outer, &Verdict { outcome, direction, length });
    }
    outcome
}

/// Everything after parsing.
#[inline(always)]
fn consider<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    endpoint: &Endpoint,
    state: &State,
    scratch: &mut Scratch,
    direction: Direction,
) -> Outcome {
    let Scratch { outer: parsed, quoted, seen } = scratch;
    if state.generation == 0 {
        return Outcome::because(Reason::NoState);
    }
    if matches!(direction, Direction::Egress)
        && let Some(reason) = spoofed(bytes, endpoint, parsed)
    {
        return Outcome::because(reason);
    }
    match parsed.class {
        Class::Arp | Class::Neighbour | Class::Router => return Outcome::because(Reason::Neighbour),
        Class::Error => {
            // The quoted packet travelled the other way.
            let travelled = direction.opposite();
            return match packet::parse_quoted(bytes, parsed, quoted) {
                Some(reason) => Outcome::because(reason),
                None => related(tables, endpoint, state, parsed, quoted, travelled),
            };
        }
        Class::Flow => {}
    }
    let mut ports = Ports { source: parsed.source_port, destination: parsed.destination_port, seen: 0 };
    if !matches!(parsed.fragment, Fragment::Whole)
        && let Some(reason) = fragmented(tables, endpoint, state, parsed, &mut ports)
    {
        return Outcome::because(reason);
    }
    *seen = view(endpoint, parsed, &ports, direction);
    if matches!(direction, Direction::Egress) && endpoint.owns(&seen.key.remote) {
        return Outcome::because(Reason::Loopback);
    }
    judge_flow(tables, endpoint, state, seen)
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
                        let target = crate::addr::Addr(target);
                        (!endpoint.owns(&target) && !target.is_link_local()).then_some(Reason::Spoofed)
                    }
                };
            }
            None
        }
        Class::Flow | Class::Error => (!own).then_some(Reason::Spoofed),
    }
}

/// Remembers the ports of a first fragment, or finds those of a later one. A subprogram of its own: few
/// packets are fragments, and the kernel's stack is small.
#[inline(never)]
fn fragmented<T: Tables>(
    tables: &T,
    endpoint: &Endpoint,
    state: &State,
    parsed: &Parsed,
    ports: &mut Ports,
) -> Option<Reason> {
    ports.seen = tables.now();
    let key = FragmentKey {
        source: parsed.source,
        destination: parsed.destination,
        endpoint: endpoint.id,
        identification: parsed.identification,
        protocol: parsed.protocol as u32,
    };
    if matches!(parsed.fragment, Fragment::First) {
        return if tables.remember_fragment(&key, *ports) { None } else { Some(Reason::TableFull) };
    }
    match tables.fragment(&key) {
        // Reassembly gives up after 30 s in Linux, 60 s in RFC 8200: identifications come again.
        Some(first) if ports.seen.wrapping_sub(first.seen) <= state.ticks_per_second.wrapping_mul(60) => {
            *ports = first;
            None
        }
        _ => Some(Reason::FragmentWithoutFirst),
    }
}

/// The packet from the endpoint's point of view.
#[inline(always)]
fn view(endpoint: &Endpoint, parsed: &Parsed, ports: &Ports, direction: Direction) -> Seen {
    let egress = matches!(direction, Direction::Egress);
    let remote = if egress { parsed.destination } else { parsed.source };
    let (local_port, remote_port, port) = if parsed.is_icmp() {
        // Both directions of an echo share the identifier; the type is what rules speak of.
        (ports.destination, 0, ports.source >> 8)
    } else if egress {
        (ports.source, ports.destination, ports.destination)
    } else {
        (ports.destination, ports.source, ports.destination)
    };
    Seen {
        key: ConnectionKey { endpoint: endpoint.id, remote, local_port, remote_port, protocol: parsed.protocol },
        port: port_key(parsed.protocol, port),
        direction,
        tcp_flags: parsed.tcp_flags,
    }
}

/// The order of look-ups for one flow. `Row::CONNECTION_FIRST` changes the order, never the verdict.
#[inline(always)]
fn judge_flow<T: Tables>(tables: &T, endpoint: &Endpoint, state: &State, seen: &Seen) -> Outcome {
    let row = endpoint.row(state.generation, seen.direction);
    if row.flags & Row::CONNECTION_FIRST != 0 {
        let found = current(tables, state, seen);
        if found.reason.passes() {
            return found;
        }
    }
    let judged = policy(tables, row, state, seen);
    match judged.word.kind() {
        Kind::Allow => {
            let new = if seen.key.protocol == protocol::TCP {
                seen.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
            } else {
                tables.first_seen(seen.key.tag())
            };
            Outcome { reason: Reason::Allowed, rule: judged.word.number(), new }
        }
        Kind::AllowTracked => track(tables, state, seen, judged.word.number()),
        _ => reply(tables, endpoint, state, seen, judged),
    }
}

/// The drop that a denying word stands for.
#[inline(always)]
fn denied(judged: Judged) -> Outcome {
    let reason = if !judged.known {
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

/// The dense tables' answer.
#[inline(always)]
fn policy<T: Tables>(tables: &T, row: Row, state: &State, seen: &Seen) -> Judged {
    match locate(tables, &seen.key.remote, state.generation) {
        Some((_, group)) => Judged { word: decide(tables, (row.base, row.len), group, seen.port), known: true },
        None => Judged { word: Word::default(), known: false },
    }
}

/// A live entry in either table.
#[inline(always)]
fn find<T: Tables>(tables: &T, state: &State, key: &ConnectionKey) -> Option<(T::Slot, Connection, Table)> {
    let now = tables.now();
    let mut table = Table::Established;
    let mut slot = tables.connection(Table::Established, key);
    if slot.is_none() {
        table = Table::HalfOpen;
        slot = tables.connection(Table::HalfOpen, key);
    }
    let slot = slot?;
    let connection = slot.get();
    if conntrack::expired(&connection, table, key.protocol, now, state.ticks_per_second) {
        return None;
    }
    Some((slot, connection, table))
}

/// Whether the packet opens a connection anew, whatever the table remembers.
#[inline(always)]
fn reopens(connection: &Connection, seen: &Seen) -> bool {
    connection.state & Connection::CLOSED != 0 && seen.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// The connection's own verdict, where the policy in force has judged it already; otherwise a drop, which
/// only says that the tables must be asked.
#[inline(always)]
fn current<T: Tables>(tables: &T, state: &State, seen: &Seen) -> Outcome {
    match find(tables, state, &seen.key) {
        Some((slot, connection, table))
            if connection.generation == state.generation && !reopens(&connection, seen) =>
        {
            keep(tables, state, seen, &slot, &connection, table)
        }
        _ => Outcome::because(Reason::Unprogrammed),
    }
}

/// Notes one more packet of a connection that may go on.
#[inline(always)]
fn keep<T: Tables>(
    tables: &T,
    state: &State,
    seen: &Seen,
    slot: &T::Slot,
    connection: &Connection,
    table: Table,
) -> Outcome {
    let reply = connection.is_reply(seen.direction);
    let next =
        conntrack::step(connection, reply, seen.tcp_flags, state.generation, tables.now(), state.ticks_per_second);
    if reply && matches!(table, Table::HalfOpen) && seen.tcp_flags & tcp::RST == 0 {
        promote(tables, &seen.key, &next.unwrap_or(*connection));
    } else if let Some(next) = next {
        slot.set(next);
    }
    Outcome::by(if reply { Reason::Reply } else { Reason::Established }, connection.rule)
}

/// An answered connection goes where floods do not reach. If the map refuses, the half-open entry serves on.
#[inline(never)]
fn promote<T: Tables>(tables: &T, key: &ConnectionKey, connection: &Connection) -> bool {
    let moved = tables.remember(Table::Established, key, *connection);
    if moved {
        tables.forget(Table::HalfOpen, key);
    }
    moved
}

/// A forward packet that policy allows and whose replies need an entry.
#[inline(never)]
fn track<T: Tables>(tables: &T, state: &State, seen: &Seen, rule: u32) -> Outcome {
    if let Some((slot, connection, table)) = find(tables, state, &seen.key)
        && !reopens(&connection, seen)
    {
        let judged = Connection { rule, ..connection };
        return keep(tables, state, seen, &slot, &judged, table);
    }
    let connection = Connection {
        generation: state.generation,
        seen: tables.now(),
        rule,
        opener: seen.direction as u8,
        ..Connection::default()
    };
    // A closed connection that opens again leaves the other table, or its old entry would be found first.
    tables.forget(Table::Established, &seen.key);
    if tables.remember(Table::HalfOpen, &seen.key, connection) {
        Outcome { reason: Reason::New, rule, new: true }
    } else {
        Outcome::by(Reason::TableFull, rule)
    }
}

/// A packet that policy would deny as a new flow: passes as a reply, if what it replies to may still be
/// sent. A stale entry is judged again here, and goes when it is denied now.
#[inline(never)]
fn reply<T: Tables>(tables: &T, endpoint: &Endpoint, state: &State, seen: &Seen, judged: Judged) -> Outcome {
    let Some((slot, connection, table)) = find(tables, state, &seen.key) else {
        return denied(judged);
    };
    // A forward packet that was just denied: its entry has no right to stay. Nor has a stale entry whose
    // opener would be denied now.
    let stays = connection.is_reply(seen.direction)
        && (connection.generation == state.generation || {
            let opener = seen.direction.opposite();
            let forward = Seen { port: forward_port(seen, opener), direction: opener, ..*seen };
            policy(tables, endpoint.row(state.generation, opener), state, &forward).word.allows()
        });
    if !stays {
        tables.forget(table, &seen.key);
    }
    if !stays || reopens(&connection, seen) {
        return denied(judged);
    }
    keep(tables, state, seen, &slot, &connection, table)
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
fn related<T: Tables>(
    tables: &T,
    endpoint: &Endpoint,
    state: &State,
    parsed: &Parsed,
    inner: &Parsed,
    travelled: Direction,
) -> Outcome {
    if matches!(inner.fragment, Fragment::Later) {
        return Outcome::because(Reason::FragmentWithoutFirst);
    }
    let direction = travelled.opposite();
    let ours = if matches!(travelled, Direction::Egress) { &inner.source } else { &inner.destination };
    if !endpoint.owns(ours) {
        return Outcome::because(Reason::BadHeader);
    }
    let ports = Ports { source: inner.source_port, destination: inner.destination_port, seen: 0 };
    let quoted = view(endpoint, inner, &ports, travelled);
    let remote = if matches!(direction, Direction::Egress) { &parsed.destination } else { &parsed.source };
    if let Some((_, group)) = locate(tables, remote, state.generation) {
        let row = endpoint.row(state.generation, direction);
        let word = decide(tables, (row.base, row.len), group, quoted.port);
        if matches!(word.kind(), Kind::Tenancy) {
            return Outcome::by(Reason::Tenancy, word.number());
        }
    }
    let judged = policy(tables, endpoint.row(state.generation, travelled), state, &quoted);
    if judged.word.allows() {
        return Outcome::by(Reason::Related, judged.word.number());
    }
    match find(tables, state, &quoted.key) {
        Some((_, connection, _)) if connection.is_reply(travelled) => Outcome::by(Reason::Related, connection.rule),
        _ => denied(judged),
    }
}

/// Builds the event and hands it over.
#[inline(never)]
fn report<T: Tables>(tables: &T, endpoint: &Endpoint, state: &State, parsed: &Parsed, verdict: &Verdict) {
    let egress = matches!(verdict.direction, Direction::Egress);
    let (local, remote) =
        if egress { (&parsed.source, &parsed.destination) } else { (&parsed.destination, &parsed.source) };
    let (local_port, remote_port) = if egress || parsed.is_icmp() {
        (parsed.source_port, parsed.destination_port)
    } else {
        (parsed.destination_port, parsed.source_port)
    };
    let remote_identity = match locate(tables, remote, state.generation) {
        Some((identity, _)) => identity,
        None => 0,
    };
    let event = Event {
        time: 0,
        local: *local,
        remote: *remote,
        ifindex: endpoint.ifindex,
        remote_identity,
        local_identity: endpoint.identity,
        rule: verdict.outcome.rule,
        length: verdict.length,
        local_port,
        remote_port,
        protocol: parsed.protocol,
        direction: verdict.direction as u8,
        reason: verdict.outcome.reason as u8,
        tcp_flags: parsed.tcp_flags,
        generation: state.generation,
    };
    tables.emit(endpoint, &event);
}
