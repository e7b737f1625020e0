//! Ends and ports as they are typed. Not here: whether they exist (`meaning::flow` in `isolator-policy`).

use crate::flows::text::{addr_of, protocol_name, protocol_number};
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use isolator_common::packet::{Class, Parsed, parse};
use isolator_policy::datapath::frame::Frame;
use isolator_policy::meaning::flow::End;
use isolator_policy::model::PodKey;

/// The end that a text names: `namespace/pod`, an address, or `node:NAME`.
///
/// # Errors
/// What is wrong with the text, in one sentence.
pub(super) fn end(text: &str) -> Result<End, String> {
    if let Some(name) = text.strip_prefix("node:") {
        return if name.is_empty() {
            Err("node: needs a name behind it".to_owned())
        } else {
            Ok(End::Node(name.to_owned()))
        };
    }
    if let Some(addr) = addr_of(text) {
        return Ok(End::Address(addr));
    }
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(End::Pod(PodKey { namespace: namespace.to_owned(), name: name.to_owned() }))
        }
        _ => Err(format!("`{text}` is no end of a flow: write namespace/pod, an address or node:NAME")),
    }
}

/// Protocol number and port, or ICMP type, of `TCP/80` or `icmp/8`.
///
/// # Errors
/// What is wrong with the text, in one sentence.
pub(super) fn protocol_and_port(text: &str) -> Result<(u8, u16), String> {
    let wrong = || format!("`{text}` is no port: write PROTOCOL/PORT, as TCP/80, or ICMP/TYPE");
    let (name, port) = text.split_once('/').ok_or_else(wrong)?;
    let number = protocol_number(name).ok_or_else(|| unknown_protocol(name))?;
    checked_port(number, port.parse().map_err(|_| wrong())?)
}

/// The protocol and port of a flow, if such a flow can exist.
pub(super) fn checked_port(number: u8, port: u16) -> Result<(u8, u16), String> {
    match number {
        protocol::ICMP | protocol::ICMPV6 if port > 255 => {
            Err(format!("{port} is no ICMP type: at most 255"))
        }
        protocol::TCP | protocol::UDP | protocol::SCTP if port == 0 => {
            Err(format!("{} has no port 0", protocol_name(number)))
        }
        _ => Ok((number, port)),
    }
}

/// Whether a packet of this protocol and port, or ICMP type, can open a flow. The parser of the datapath says.
pub(super) fn opens_a_flow(number: u8, port: u16) -> Result<(), String> {
    let addr = if number == protocol::ICMPV6 { Addr([0xfd; 16]) } else { Addr::v4([192, 0, 2, 1]) };
    let frame = Frame::flow(addr, addr, number, port).hop_limit(255).bytes();
    let mut parsed = Parsed::NOTHING;
    if let Some(reason) = parse(frame.as_slice(), &mut parsed) {
        return Err(format!("such a packet cannot be: {}", reason.help()));
    }
    let name = protocol_name(number);
    match parsed.class {
        Class::Flow | Class::Arp => Ok(()),
        Class::Error => Err(format!(
            "{name} type {port} is an error about another packet, and passes where that one does"
        )),
        Class::Neighbour | Class::Router => {
            Err(format!("{name} type {port} is neighbour discovery or the like, and never leaves its link"))
        }
    }
}

/// The complaint about a protocol that nobody knows.
pub(super) fn unknown_protocol(name: &str) -> String {
    format!("`{name}` is no protocol: write TCP, UDP, SCTP, ICMP or ICMPv6")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let pod = PodKey { namespace: "tc-alpha".into(), name: "nginx".into() };
        assert_eq!(end("tc-alpha/nginx"), Ok(End::Pod(pod)));
        assert_eq!(end("10.0.0.1"), Ok(End::Address(Addr::v4([10, 0, 0, 1]))));
        assert_eq!(end("node:n1"), Ok(End::Node("n1".into())));
        for wrong in ["", "nginx", "a/b/c", "/b", "a/", "node:", "10.0.0.0/8", "fd00::1%eth0"] {
            // A prefix looks like a pod, but no pod can have that name; it is unknown later.
            assert!(end(wrong).is_err() || wrong == "10.0.0.0/8", "{wrong}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(protocol_and_port("tcp/80"), Ok((protocol::TCP, 80)));
        assert_eq!(protocol_and_port("ICMPv6/128"), Ok((protocol::ICMPV6, 128)));
        for wrong in ["80", "tcp", "tcp/", "tcp/0", "tcp/65536", "icmp/256", "gre/1", "tcp/80/81"] {
            assert!(protocol_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
