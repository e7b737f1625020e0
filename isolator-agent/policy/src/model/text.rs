//! Addresses and prefixes as people write them. Not here: reading them (`source::convert` in the agent).

use isolator_common::addr::{Addr, Prefix, V4_MAPPED_BITS};
use std::net::{IpAddr, Ipv6Addr};

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
}
