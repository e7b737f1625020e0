//! The usual packet: TCP or UDP, whole, without options, of a connection that is known or of a flow that needs no
//! memory. It is judged in registers; nothing of it is written down. What is allowed here is allowed by
//! [`super::judge`], which sees every packet that is left over. Not here: anything that drops, begins a
//! connection, changes an entry or is worth an event. `docs/adr/0004-calls-are-dear.md`

use super::connection::kept;
use super::scratch::opens;
use super::{Arrival, Outcome};
use crate::addr::Addr;
use crate::conntrack::{self, Connection, ConnectionKey, Table, protocol};
use crate::endpoint::{Endpoint, Row, State};
use crate::packet::{Bytes, ETHERNET, ethertype};
use crate::policy::{Direction, Kind, Word, decide, port_key};
use crate::reason::Reason;
use crate::tables::{Tables, locate_near};

/// What is read of a packet. Ports in host byte order.
struct Packet {
    source: Addr,
    destination: Addr,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    tcp_flags: u8,
}

/// Lets a usual packet pass and counts it. `None`: it must be judged the long way; nothing was counted.
#[inline(always)]
pub fn usual<T: Tables, B: Bytes>(tables: &T, bytes: B, arrival: Arrival) -> Option<Outcome> {
    let Arrival { ifindex, length, direction } = arrival;
    let endpoint = tables.endpoint(ifindex)?;
    // Read once, as there.
    let state = tables.state();
    let packet = read(bytes, length)?;
    let egress = matches!(direction, Direction::Egress);
    if state.generation == 0
        || opens(packet.tcp_flags)
        || (egress && (!endpoint.owns(&packet.source) || endpoint.owns(&packet.destination)))
    {
        return None;
    }
    let outcome = verdict(tables, endpoint, &packet, state, direction)?;
    tables.count(endpoint, direction, outcome.reason, length);
    Some(outcome)
}

/// The order of look-ups is the row's, as there.
#[inline(always)]
fn verdict<T: Tables>(
    tables: &T,
    endpoint: &Endpoint,
    packet: &Packet,
    state: State,
    direction: Direction,
) -> Option<Outcome> {
    let row = endpoint.row(state.generation, direction);
    let first = row.flags & Row::CONNECTION_FIRST != 0;
    if !first
        && let Some(word) = word(tables, packet, state, row, direction)
        && matches!(word.kind(), Kind::Allow)
    {
        let noted = packet.protocol == protocol::TCP || {
            let tag = key(endpoint, packet, direction).tag();
            tables.untracked(tag).is_fresh(tag, tables.now(), state.ticks_per_second)
        };
        return noted.then_some(Outcome::by(Reason::Allowed, word.number()));
    }
    let entry = steady(tables, endpoint, packet, state, direction)?;
    let outcome = kept(&entry, direction);
    match outcome.reason {
        Reason::Reply => Some(outcome),
        // Policy has let this generation's packets pass: the same again, unless they came from another address.
        Reason::Established if first || entry.sender == 0 => Some(outcome),
        // What goes to a Service address is marked on its way.
        _ => None,
    }
}

/// What policy says of the packet as a new flow. `None`: only prefixes know its peer.
#[inline(always)]
fn word<T: Tables>(
    tables: &T,
    packet: &Packet,
    state: State,
    row: Row,
    direction: Direction,
) -> Option<Word> {
    let remote = if matches!(direction, Direction::Egress) { &packet.destination } else { &packet.source };
    let (_, group) = locate_near(tables, remote, state.generation)?;
    Some(decide(tables, (row.base, row.len), group, port_key(packet.protocol, packet.destination_port)))
}

/// The entry of an answered connection that was judged by this generation and that the packet leaves as it is.
#[inline(always)]
fn steady<T: Tables>(
    tables: &T,
    endpoint: &Endpoint,
    packet: &Packet,
    state: State,
    direction: Direction,
) -> Option<Connection> {
    let mut entry = Connection::default();
    let steady = tables.connection(Table::Established, &key(endpoint, packet, direction), &mut entry)
        && conntrack::steady(
            &entry,
            packet.tcp_flags,
            state.generation,
            tables.now(),
            state.ticks_per_second,
        );
    steady.then_some(entry)
}

#[inline(always)]
fn key(endpoint: &Endpoint, packet: &Packet, direction: Direction) -> ConnectionKey {
    let Packet { source, destination, source_port, destination_port, protocol, .. } = *packet;
    let (remote, local_port, remote_port) = match direction {
        Direction::Egress => (destination, source_port, destination_port),
        Direction::Ingress => (source, destination_port, source_port),
    };
    ConnectionKey { endpoint: endpoint.id, remote, local_port, remote_port, protocol }
}

/// The packet, if it is a usual one and as long as it says.
#[inline(always)]
fn read<B: Bytes>(bytes: B, length: u32) -> Option<Packet> {
    match u16::from_be_bytes(bytes.load(12)?) {
        ethertype::IPV4 => {
            let head: [u8; 34] = bytes.load(ETHERNET)?;
            let total = u32::from(u16::from_be_bytes([head[2], head[3]]));
            let fragment = u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0;
            if head[0] != 0x45 || fragment || total < 20 || ETHERNET + total > length {
                return None;
            }
            let source = Addr::v4([head[12], head[13], head[14], head[15]]);
            let destination = Addr::v4([head[16], head[17], head[18], head[19]]);
            let ports = [head[20], head[21], head[22], head[23]];
            transport(source, destination, ports, (head[9], head[32], head[33]))
        }
        ethertype::IPV6 => {
            let head: [u8; 54] = bytes.load(ETHERNET)?;
            let payload = u32::from(u16::from_be_bytes([head[4], head[5]]));
            let mut addresses = [0; 32];
            addresses.copy_from_slice(&head[8..40]);
            let [source, destination]: [Addr; 2] = zerocopy::transmute!(addresses);
            if head[0] >> 4 != 6
                || payload == 0
                || ETHERNET + 40 + payload > length
                || source.is_v4()
                || destination.is_v4()
            {
                return None;
            }
            transport(
                source,
                destination,
                [head[40], head[41], head[42], head[43]],
                (head[6], head[52], head[53]),
            )
        }
        _ => None,
    }
}

/// `tcp` is the protocol, and the bytes of a TCP header that hold its length and its flags.
#[inline(always)]
fn transport(source: Addr, destination: Addr, ports: [u8; 4], tcp: (u8, u8, u8)) -> Option<Packet> {
    let (protocol, length, flags) = tcp;
    let tcp_flags = match protocol {
        protocol::TCP if length >> 4 >= 5 => flags,
        protocol::UDP => 0,
        _ => return None,
    };
    let source_port = u16::from_be_bytes([ports[0], ports[1]]);
    let destination_port = u16::from_be_bytes([ports[2], ports[3]]);
    Some(Packet { source, destination, source_port, destination_port, protocol, tcp_flags })
}
