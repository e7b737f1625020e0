//! The protocols and ports of a rule. Not here: ends.

use super::super::super::node::{child, entry};
use super::super::net::{self, SCTP, TCP, UDP};
use super::super::report::Report;
use super::types::{self, Port, Protocol};
use isolator_policy::model::PortMatch;

/// What the entries of `protocols` match, taken together.
pub(super) fn matches(list: Vec<Protocol>, field: &str, report: &mut Report<'_>) -> Vec<PortMatch> {
    let mut matches = Vec::new();
    for (index, protocol) in list.into_iter().enumerate() {
        let field = entry(field, index);
        let Protocol { tcp, udp, sctp, destination_named_port } = protocol;
        let mut ports = |name, protocol, port: types::PortMatch| {
            let field = child(&child(&field, name), "destinationPort");
            range(port.destination_port, &field, report).map(|(first, last)| PortMatch::Range {
                protocol,
                first,
                last,
            })
        };
        match (tcp, udp, sctp, destination_named_port) {
            (Some(port), None, None, None) => matches.extend(ports("tcp", TCP, port)),
            (None, Some(port), None, None) => matches.extend(ports("udp", UDP, port)),
            (None, None, Some(port), None) => matches.extend(ports("sctp", SCTP, port)),
            (None, None, None, Some(name)) => {
                if let Err(wrong) = net::port_name(&name) {
                    report.invalid(&child(&field, "destinationNamedPort"), wrong);
                }
                let named = |protocol| PortMatch::Named { protocol, name: name.clone() };
                matches.extend([TCP, UDP, SCTP].map(named));
            }
            _ => report.invalid(&field, "exactly one of tcp, udp, sctp and destinationNamedPort is needed"),
        }
    }
    matches
}

fn range(port: Option<Port>, field: &str, report: &mut Report<'_>) -> Option<(u16, u16)> {
    let mut number = |field: &str, number: Option<i32>| {
        net::port_number(number.unwrap_or_default()).map_err(|wrong| report.invalid(field, wrong)).ok()
    };
    match port {
        Some(Port { number: Some(port), range: None }) => {
            let port = number(&child(field, "number"), Some(port))?;
            Some((port, port))
        }
        Some(Port { number: None, range: Some(ports) }) => {
            let field = child(field, "range");
            let first = number(&child(&field, "start"), ports.start);
            let last = number(&child(&field, "end"), ports.end);
            let (first, last) = (first?, last?);
            if first >= last {
                report.invalid(&field, format!("the start {first} must be below the end {last}"));
                return None;
            }
            Some((first, last))
        }
        Some(_) => {
            report.invalid(field, "exactly one of number and range is needed");
            None
        }
        None => {
            report.invalid(field, "`destinationPort` is missing; leave `protocols` out to match every port");
            None
        }
    }
}
