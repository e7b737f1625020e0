//! Entries of maps as text and JSON. Not here: which maps.

use super::Entry;
use crate::cli::pinned::{Pinned, name as name_of, prefix_text};
use crate::flows::text::protocol_name;
use anyhow::Result;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::{Connection, ConnectionKey, Table};
use isolator_common::endpoint::{Endpoint, Peer};
use isolator_common::event::NameKind;
use isolator_common::policy::{Direction, INDEXED, Interval, Kind, Word};
use isolator_common::tables::name;
use isolator_policy::datapath::image::Image;
use isolator_policy::model::ip;
use serde_json::{Value, json};

/// Length of a dense block's prefix in the 16-byte form: an IPv4 /24 or an IPv6 /120.
const BLOCK_BITS: u32 = 120;

/// All entries of one map.
pub(super) fn entries(pinned: &Pinned, map: &'static str, all: &mut Vec<Entry>) -> Result<()> {
    let image = &pinned.image;
    let mut add = |key: String, value: Value| all.push(Entry { map, key, value });
    match map {
        name::STATE => add("0".to_owned(), state(image)),
        // Both maps are one thing to everybody but the programs.
        name::ENDPOINTS => {
            for one in image.endpoints.values() {
                add(one.ifindex.to_string(), endpoint(image, one));
            }
        }
        name::BLOCKS4 | name::BLOCKS6 => {
            let v4 = map == name::BLOCKS4;
            for (addr, number) in image.blocks.iter().filter(|(addr, _)| addr.is_v4() == v4) {
                add(prefix_text(&Prefix { addr: *addr, bits: BLOCK_BITS }), json!(number));
            }
        }
        name::BLOCK_PEERS => {
            for (index, one) in &image.block_peers {
                add(index.to_string(), peer(image, one));
            }
        }
        name::HOSTS => {
            for (addr, one) in &image.hosts {
                add(ip(addr).to_string(), peer(image, one));
            }
        }
        name::PREFIXES => {
            for (prefix, one) in &image.prefixes {
                add(prefix_text(prefix), peer(image, one));
            }
        }
        name::CELLS => {
            for (index, one) in &image.cells {
                add(index.to_string(), word(image, *one));
            }
        }
        name::INTERVALS => {
            let mut index_of_ports = 0..0;
            for (index, raw) in &image.intervals {
                let value = if index_of_ports.contains(index) {
                    node(image, index_of_ports.start, *raw)
                } else {
                    let entries = if *raw & INDEXED != 0 && is_header(*raw) { *raw as u32 } else { 0 };
                    index_of_ports = index + 1..(index + 1).saturating_add(entries);
                    interval(image, *raw)
                };
                add(index.to_string(), value);
            }
        }
        name::NAMES => {
            for (key, text) in &image.names {
                add(format!("{} {}", kind_of_name(key.kind), key.number), json!(text));
            }
        }
        name::ESTABLISHED4 | name::ESTABLISHED6 | name::HALF_OPEN4 | name::HALF_OPEN6 => {
            let v4 = matches!(map, name::ESTABLISHED4 | name::HALF_OPEN4);
            let half_open = matches!(map, name::HALF_OPEN4 | name::HALF_OPEN6);
            for (table, key, value) in pinned.maps.connections()? {
                if key.remote.is_v4() == v4 && (table == Table::HalfOpen) == half_open {
                    add(connection_key(image, &key), connection(image, &value));
                }
            }
        }
        name::COUNTERS => {
            for endpoint in image.endpoints.values() {
                for counter in pinned.maps.counters(endpoint.slot)? {
                    let key = format!(
                        "{} {} {}",
                        owner(image, endpoint.id),
                        counter.direction.name(),
                        counter.reason.name()
                    );
                    add(key, json!({ "packets": counter.packets, "bytes": counter.bytes }));
                }
            }
        }
        name::LOST => {
            let lost = pinned.maps.lost()?;
            add("over-rate".to_owned(), json!(lost.over_rate));
            add("ring-full".to_owned(), json!(lost.ring_full));
        }
        _ => {}
    }
    Ok(())
}

/// A value as one line for people.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let words: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            words.join(" ")
        }
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn kind_of_name(kind: u32) -> &'static str {
    match kind {
        kind if kind == NameKind::Rule as u32 => "rule",
        kind if kind == NameKind::Identity as u32 => "identity",
        kind if kind == NameKind::Endpoint as u32 => "endpoint",
        _ => "unknown",
    }
}

fn state(image: &Image) -> Value {
    let state = &image.state;
    json!({
        "generation": state.generation,
        "abi_version": state.abi_version,
        "ticks_per_second": state.ticks_per_second,
        "events_per_second": state.events_per_second,
    })
}

fn endpoint(image: &Image, endpoint: &Endpoint) -> Value {
    let rows = endpoint.rows.map(|half| half.map(|row| format!("{}+{}", row.base, row.len)));
    let [egress, ingress] =
        Direction::BOTH.map(|direction| [&rows[0][direction.index()], &rows[1][direction.index()]]);
    let addrs: Vec<_> = endpoint.addrs.iter().filter(|addr| **addr != Addr::UNSPECIFIED).map(ip).collect();
    json!({
        "pod": owner(image, endpoint.id),
        "slot": endpoint.slot,
        "id": endpoint.id,
        "identity": endpoint.identity,
        "tenant": endpoint.tenant,
        "known": endpoint.flags & Endpoint::KNOWN != 0,
        "addresses": addrs,
        "egress_rows": egress,
        "ingress_rows": ingress,
    })
}

fn owner(image: &Image, id: u32) -> String {
    name_of(image, NameKind::Endpoint, id).map_or_else(|| format!("endpoint {id}"), str::to_owned)
}

fn peer(image: &Image, peer: &Peer) -> Value {
    let labels = name_of(image, NameKind::Identity, peer.identity);
    json!({ "identity": peer.identity, "groups": peer.groups, "labels": labels.unwrap_or_default() })
}

fn word(image: &Image, word: Word) -> Value {
    let kind = match word.kind() {
        Kind::Empty => "empty",
        Kind::Deny => "deny",
        Kind::DefaultDeny => "default-deny",
        Kind::Tenancy => "tenancy",
        Kind::Allow => "allow",
        Kind::AllowTracked => "allow-tracked",
        Kind::Ports => return json!({ "verdict": "ports", "ports": word.number() }),
        Kind::Redirect => "redirect",
        Kind::Service => "service",
        Kind::ServiceTracked => "service-tracked",
    };
    json!({ "verdict": kind, "by": rule(image, word.number()) })
}

fn rule(image: &Image, number: u32) -> String {
    name_of(image, NameKind::Rule, number).map_or_else(|| number.to_string(), str::to_owned)
}

/// An entry of an index: a verdict, or the map's entry where the next node begins.
fn node(image: &Image, first: u32, raw: u64) -> Value {
    match (raw >> 32) as u32 {
        0 => word(image, Word(raw as u32)),
        next => json!({ "node": first.saturating_add(next) }),
    }
}

/// A header has no verdict where intervals have theirs.
fn is_header(raw: u64) -> bool {
    Interval::unpack(raw).word.kind() == Kind::Empty
}

/// A header, or an entry of a list.
fn interval(image: &Image, raw: u64) -> Value {
    let Interval { start, word: verdict } = Interval::unpack(raw);
    if is_header(raw) {
        let kind = if raw & INDEXED != 0 { "index" } else { "intervals" };
        return json!({ kind: raw as u32 });
    }
    let from = match (start >> 16, start & 0xffff) {
        (0, 0) => "0".to_owned(),
        (protocol, port) => format!("{}/{port}", protocol_name(u8::try_from(protocol).unwrap_or(u8::MAX))),
    };
    let mut value = word(image, verdict);
    if let Value::Object(fields) = &mut value {
        fields.insert("from".to_owned(), json!(from));
    }
    value
}

fn connection_key(image: &Image, key: &ConnectionKey) -> String {
    let ConnectionKey { endpoint, remote, local_port, remote_port, protocol } = key;
    let (pod, protocol) = (owner(image, *endpoint), protocol_name(*protocol));
    format!("{pod}:{local_port} {} {remote_port} {protocol}", ip(remote))
}

fn connection(image: &Image, connection: &Connection) -> Value {
    let Connection { generation, seen, rule: number, opener, state, sender: _ } = connection;
    let opener = if *opener == Direction::Egress as u8 { Direction::Egress } else { Direction::Ingress };
    let closing = match state {
        state if state & Connection::CLOSED != 0 => "closed",
        state if state & (Connection::FIN_FORWARD | Connection::FIN_REPLY) != 0 => "half",
        _ => "no",
    };
    json!({
        "opened_by": opener.name(),
        "generation": generation,
        "seen_ticks": seen,
        "by": rule(image, *number),
        "closing": closing,
        "service": state & Connection::SERVICE != 0,
    })
}
