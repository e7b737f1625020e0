//! Addresses, prefixes and protocols as people write them. Not here: reading addresses (`source::convert` in the
//! agent).

use isolator_common::addr::{Addr, Prefix, V4_MAPPED_BITS};
use isolator_common::conntrack::protocol;
use std::net::{IpAddr, Ipv6Addr};

/// The protocols that have names.
const PROTOCOLS: [(u8, &str); 5] = [
    (protocol::TCP, "TCP"),
    (protocol::UDP, "UDP"),
    (protocol::SCTP, "SCTP"),
    (protocol::ICMP, "ICMP"),
    (protocol::ICMPV6, "ICMPv6"),
];

/// Name of a protocol, as Kubernetes and Cilium write it; otherwise its number.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    PROTOCOLS
        .iter()
        .find(|(n, _)| *n == number)
        .map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Number of a protocol by name, in any case.
#[must_use]
pub fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number)
}

/// The address as the standard library knows it; a mapped IPv4 address becomes an IPv4 address.
#[must_use]
pub fn ip(addr: &Addr) -> IpAddr {
    Ipv6Addr::from(addr.0).to_canonical()
}

/// The prefix in CIDR notation, with the length that belongs to its family.
#[must_use]
pub fn cidr(prefix: &Prefix) -> String {
    if prefix.is_v4() {
        format!("{}/{}", ip(&prefix.addr), prefix.bits - V4_MAPPED_BITS)
    } else {
        format!("{}/{}", Ipv6Addr::from(prefix.addr.0), prefix.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_written_in_its_own_way() {
        assert_eq!(cidr(&Prefix::ALL_V4), "0.0.0.0/0");
        assert_eq!(cidr(&Prefix::ALL_V6), "::/0");
        assert_eq!(cidr(&Prefix::new(Addr::v4([10, 1, 2, 3]), 96 + 24)), "10.1.2.0/24");
        assert_eq!(ip(&Addr::from_words(0xfd00 << 48, 1)).to_string(), "fd00::1");
    }

    #[test]
    fn protocols_read_back() {
        for (number, name) in PROTOCOLS {
            assert_eq!(protocol_number(&protocol_name(number)), Some(number));
            assert_eq!(protocol_number(&name.to_lowercase()), Some(number));
        }
        assert_eq!(protocol_name(47), "47");
        assert_eq!(protocol_number("47"), None);
    }
}
