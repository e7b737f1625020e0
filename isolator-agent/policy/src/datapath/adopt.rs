//! Connections that run without an entry when their endpoint becomes isolated: which entries they need, so that
//! what both policies allow goes on (`docs/adr/0005-connections-without-an-entry.md`). Pure. Not here: how sockets
//! are listed, how entries are written.

use super::image::Image;
use super::memory::Memory;
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, ConnectionKey, protocol};
use isolator_common::endpoint::Endpoint;
use isolator_common::policy::{Direction, Kind, decide, port_key};
use isolator_common::tables::locate;

/// A TCP connection as a pod's socket table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The peer's address.
    pub remote: Addr,
    /// The pod's port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Whether the pod listens on `local_port`: the peer has opened the connection.
    pub accepted: bool,
}

/// Endpoints that are judged by other rows after the switch than before: their connections may need entries.
pub fn changed<'a>(previous: &'a Image, next: &'a Image) -> impl Iterator<Item = &'a Endpoint> {
    let rows =
        |image: &Image, endpoint: &Endpoint| Direction::BOTH.map(|d| endpoint.row(image.state.generation, d));
    next.endpoints.values().filter(move |endpoint| {
        let before = previous.endpoints.get(&endpoint.ifindex);
        before
            .is_some_and(|before| before.id == endpoint.id && rows(previous, before) != rows(next, endpoint))
    })
}

/// The entries that the endpoint's connections need under the policy of `next`. `now` is in ticks.
#[must_use]
pub fn adopt(
    next: &Memory,
    endpoint: &Endpoint,
    sockets: &[Socket],
    now: u32,
) -> Vec<(ConnectionKey, Connection)> {
    let generation = next.image.state.generation;
    let entry = |socket: &Socket| {
        let (_, group) = locate(next, &socket.remote, generation)?;
        let (opener, port) = if socket.accepted {
            (Direction::Ingress, socket.local_port)
        } else {
            (Direction::Egress, socket.remote_port)
        };
        let row = endpoint.row(generation, opener);
        let word = decide(next, (row.base, row.len), group, port_key(protocol::TCP, port));
        let key = ConnectionKey {
            endpoint: endpoint.id,
            remote: socket.remote,
            local_port: socket.local_port,
            remote_port: socket.remote_port,
            protocol: protocol::TCP,
        };
        let connection = Connection {
            generation,
            seen: now,
            rule: word.number(),
            opener: opener as u8,
            ..Connection::default()
        };
        (word.kind() == Kind::AllowTracked).then_some((key, connection))
    };
    sockets.iter().filter_map(entry).collect()
}
