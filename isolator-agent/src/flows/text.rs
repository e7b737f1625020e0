//! Addresses as people write them, in both directions, and protocols (`isolator_policy::model`). Used by everything that
//! people type or read. Not here: their meaning.

use isolator_common::addr::Addr;
use isolator_common::conntrack::tcp;
pub use isolator_policy::model::{protocol_name, protocol_number};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as text: IPv4 dotted, IPv6 as RFC 5952 says.
#[must_use]
pub fn addr_text(addr: &Addr) -> String {
    if addr.is_v4() { Ipv4Addr::from(addr.low32()).to_string() } else { Ipv6Addr::from(addr.0).to_string() }
}

/// The address that a text names. A mapped IPv4 address is the IPv4 address.
#[must_use]
pub fn addr_of(text: &str) -> Option<Addr> {
    Some(match text.parse().ok()? {
        IpAddr::V4(v4) => Addr::v4(v4.octets()),
        IpAddr::V6(v6) => Addr(v6.octets()),
    })
}

/// Names of the TCP flags that are set, `SYN, ACK`.
#[must_use]
pub fn tcp_flags(flags: u8) -> String {
    let named = [(tcp::SYN, "SYN"), (tcp::ACK, "ACK"), (tcp::FIN, "FIN"), (tcp::RST, "RST")];
    let set: Vec<_> = named.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    set.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["10.0.0.1", "fd00::1", "::", "0.0.0.0", "2001:db8::a:b"] {
            assert_eq!(addr_text(&addr_of(text).unwrap()), text);
        }
        assert_eq!(addr_of("::ffff:10.0.0.1"), addr_of("10.0.0.1"));
        assert_eq!(addr_of("10.0.0"), None);
        assert_eq!(addr_of("tc-alpha/nginx"), None);
    }
}
