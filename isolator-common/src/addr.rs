//! One 16-byte address for both families, and the arithmetic on it. IPv4 is written as `::ffff:a.b.c.d`
//! (RFC 4291 section 2.5.5.2), so that IPv4 and IPv6 share every path. No parsing or printing of text.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv6 address, or an IPv4 address mapped into IPv6. Network byte order. Aligned to 8 bytes, so that
/// the kernel programs copy and compare it in two words: from unaligned memory BPF reads byte by byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Addr(pub [u8; 16]);

/// Bits that precede an IPv4 address in its mapped form.
pub const V4_MAPPED_BITS: u32 = 96;

impl Addr {
    /// The unspecified IPv6 address `::`.
    pub const UNSPECIFIED: Addr = Addr([0; 16]);

    /// The mapped form of an IPv4 address given in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(a: [u8; 4]) -> Self {
        // Two stores instead of six: a read of the whole would wait for all of them.
        zerocopy::transmute!([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]])])
    }

    /// Whether this is a mapped IPv4 address.
    #[inline(always)]
    #[must_use]
    pub fn is_v4(&self) -> bool {
        const MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        const MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        // As it lies in memory: two instructions less for each look-up.
        let [high, low] = self.halves();
        high == 0 && low & MASK == MAPPED
    }

    /// The last four bytes as a number: the IPv4 address where [`Addr::is_v4`] holds.
    #[inline(always)]
    #[must_use]
    pub fn low32(&self) -> u32 {
        self.words().1 as u32
    }

    /// The address in two words as they lie in memory: for comparing, not for arithmetic.
    #[inline(always)]
    #[must_use]
    pub fn halves(&self) -> [u64; 2] {
        zerocopy::transmute!(*self)
    }

    /// The address as two numbers, high first.
    #[inline(always)]
    #[must_use]
    pub fn words(&self) -> (u64, u64) {
        let [high, low] = self.halves();
        (u64::from_be(high), u64::from_be(low))
    }

    /// The inverse of [`Addr::words`].
    #[inline(always)]
    #[must_use]
    pub fn from_words(high: u64, low: u64) -> Self {
        zerocopy::transmute!([high.to_be(), low.to_be()])
    }

    /// The block of 256 neighbours that holds this address: an IPv4 /24 or an IPv6 /120.
    #[inline(always)]
    #[must_use]
    pub fn block(&self) -> Addr {
        let mut block = *self;
        block.0[15] = 0;
        block
    }

    /// The position of this address in its [`Addr::block`], 0..=255.
    #[inline(always)]
    #[must_use]
    pub fn in_block(&self) -> u32 {
        self.0[15] as u32
    }

    /// IPv6 link-local unicast, `fe80::/10` (RFC 4291 section 2.5.6).
    #[inline(always)]
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        self.0[0] == 0xfe && (self.0[1] & 0xc0) == 0x80
    }

    /// The address with all bits after the first `bits` cleared. `bits` counts in the 16-byte form
    /// and is at most 128.
    #[must_use]
    pub fn truncate(&self, bits: u32) -> Addr {
        let (high, low) = self.words();
        let keep = |word: u64, n: u32| if n == 0 { 0 } else { word & (u64::MAX << (64 - n)) };
        Addr::from_words(keep(high, bits.min(64)), keep(low, bits.saturating_sub(64).min(64)))
    }
}

/// A prefix in the 16-byte form: an IPv4 prefix /n has `bits` = 96 + n. Ordered by address, then length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    /// Network address; bits beyond `bits` are zero.
    pub addr: Addr,
    /// Length in bits, 0..=128.
    pub bits: u32,
}

impl Prefix {
    /// All of IPv4.
    pub const ALL_V4: Prefix = Prefix { addr: Addr::v4([0; 4]), bits: V4_MAPPED_BITS };
    /// All of IPv6. It also covers the mapped IPv4 range, which [`Prefix::ALL_V4`] overrides by length.
    pub const ALL_V6: Prefix = Prefix { addr: Addr::UNSPECIFIED, bits: 0 };

    /// The prefix of `bits` bits that contains `addr`.
    #[must_use]
    pub fn new(addr: Addr, bits: u32) -> Self {
        Prefix { addr: addr.truncate(bits), bits: bits.min(128) }
    }

    /// Whether `addr` lies inside. `::/0` does not contain IPv4: families never match each other.
    #[must_use]
    pub fn contains(&self, addr: &Addr) -> bool {
        self.is_v4() == addr.is_v4() && addr.truncate(self.bits) == self.addr
    }

    /// Whether every address of `other` lies inside this prefix.
    #[must_use]
    pub fn covers(&self, other: &Prefix) -> bool {
        self.bits <= other.bits
            && self.is_v4() == other.is_v4()
            && other.addr.truncate(self.bits) == self.addr
    }

    /// Whether this is a prefix of the mapped IPv4 range.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.bits >= V4_MAPPED_BITS && self.addr.is_v4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_never_contain_each_other() {
        let v4 = Addr::v4([10, 0, 0, 1]);
        assert!(Prefix::ALL_V4.contains(&v4));
        assert!(!Prefix::ALL_V6.contains(&v4));
        assert!(Prefix::ALL_V6.contains(&Addr([0xfd; 16])));
    }

    #[test]
    fn truncation_keeps_exactly_the_leading_bits() {
        let addr = Addr::v4([10, 1, 2, 3]);
        assert_eq!(addr.truncate(96 + 24), addr.block());
        assert_eq!(addr.truncate(128), addr);
        assert_eq!(addr.truncate(0), Addr::UNSPECIFIED);
        assert!(Prefix::new(addr, 96 + 8).covers(&Prefix::new(addr, 96 + 24)));
        assert!(!Prefix::new(addr, 96 + 24).covers(&Prefix::new(addr, 96 + 8)));
    }
}
