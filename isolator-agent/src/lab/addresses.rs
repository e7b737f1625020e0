//! Address ranges and the choice of free addresses in them. Pure. Not here: who gets which address (`plan`).

use isolator_common::addr::{Prefix, V4_MAPPED_BITS};
use isolator_policy::model::ip;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one range that are looked at before it counts as full.
const LOOKED_AT: u128 = 65_536;

/// A range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    /// The network address; bits after `bits` are zero.
    pub(crate) base: IpAddr,
    /// Length of the prefix in bits of its family.
    pub(crate) bits: u8,
}

impl Range {
    /// A range of IPv4 addresses.
    pub(crate) fn v4(base: [u8; 4], bits: u8) -> Self {
        Range { base: Ipv4Addr::from(base).into(), bits }
    }

    /// A range of IPv6 addresses.
    pub(crate) fn v6(base: [u16; 8], bits: u8) -> Self {
        Range { base: Ipv6Addr::from(base).into(), bits }
    }

    /// Whether `address` lies inside. Families never contain each other.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let host_bits = width(self.base) - u32::from(self.bits);
        let cut = |ip: IpAddr| number(ip).checked_shr(host_bits).unwrap_or(0);
        self.base.is_ipv4() == address.is_ipv4() && cut(self.base) == cut(address)
    }

    /// The address at `offset` from the base, if it lies inside.
    pub(crate) fn nth(&self, offset: u128) -> Option<IpAddr> {
        let sum = number(self.base).checked_add(offset)?;
        let address = match self.base {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(sum).ok()?)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(sum)),
        };
        self.contains(address).then_some(address)
    }

    /// The address of the bridge where pods are bridged.
    pub(crate) fn gateway(&self) -> Option<IpAddr> {
        self.nth(1)
    }

    /// The first free address. The network address, the next one (the gateway of bridged pods) and the
    /// broadcast address of IPv4 are nobody's.
    pub(crate) fn free(&self, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        (2..LOOKED_AT)
            .map_while(|offset| self.nth(offset))
            .filter(|address| {
                address.is_ipv6() || self.nth(number(*address) - number(self.base) + 1).is_some()
            })
            .find(|address| !taken.contains(address))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl From<&Prefix> for Range {
    fn from(prefix: &Prefix) -> Self {
        let bits = if prefix.is_v4() { prefix.bits - V4_MAPPED_BITS } else { prefix.bits };
        // At most 128: both forms of a prefix are.
        Range { base: ip(&prefix.addr), bits: bits as u8 }
    }
}

/// Bits of an address of this family.
pub(crate) fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether an interface of the lab can have this address: one of a single host.
pub(crate) fn usable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_it_ends() {
        let range = Range::v4([10, 0, 0, 4], 30);
        assert_eq!(range.nth(3), Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(range.nth(4), None);
        assert!(!range.contains(IpAddr::from([10, 0, 0, 8])));
        assert!(!range.contains(IpAddr::V6(Ipv6Addr::from(0x0a00_0004_u128))));
        assert!(Range::v4([0; 4], 0).contains(IpAddr::from([255, 1, 1, 1])));
        assert!(Range::v6([0; 8], 0).contains(IpAddr::from([0xffff_u16, 0, 0, 0, 0, 0, 0, 1])));
    }

    #[test]
    fn network_gateway_and_broadcast_are_nobodys() {
        let range = Range::v4([10, 0, 0, 0], 29);
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(address) = range.free(&taken) {
            taken.insert(address);
            given.push(address.to_string());
        }
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
    }
}
