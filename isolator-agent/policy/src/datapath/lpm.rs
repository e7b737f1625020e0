//! Longest-prefix match over an ordered map, as the kernel's trie does it: by bits alone, so that `::/0`
//! also matches mapped IPv4 where nothing longer does. Not here: what a prefix means.

use crate::shared::SharedMap;
use isolator_common::addr::Prefix;

/// The longest prefix in `map` that covers `of`, bits beyond `of.bits` ignored. `of` itself counts.
///
/// Goes down from `of` in the order (address, length): what lies between a covering prefix and `of` is inside
/// the covering prefix, so the bits that it shares with `of` bound the length still possible.
pub(crate) fn longest<'a, V>(map: &'a SharedMap<Prefix, V>, of: &Prefix) -> Option<(&'a Prefix, &'a V)> {
    let mut bound = *of;
    loop {
        let (found, value) = map.at_or_before(&bound)?;
        let shared = shared_bits(found, &bound);
        if shared == found.bits {
            return Some((found, value));
        }
        bound = Prefix { addr: of.addr.truncate(shared), bits: shared };
    }
}

/// Leading bits that both prefixes have in common, at most the length of the shorter.
fn shared_bits(a: &Prefix, b: &Prefix) -> u32 {
    let ((a_high, a_low), (b_high, b_low)) = (a.addr.words(), b.addr.words());
    let equal = match (a_high ^ b_high).leading_zeros() {
        64 => 64 + (a_low ^ b_low).leading_zeros(),
        fewer => fewer,
    };
    equal.min(a.bits).min(b.bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::addr::Addr;
    use proptest::prelude::*;

    fn slow<'a>(map: &'a SharedMap<Prefix, u32>, of: &Prefix) -> Option<(&'a Prefix, &'a u32)> {
        map.iter()
            .filter(|(p, _)| p.bits <= of.bits && of.addr.truncate(p.bits) == p.addr)
            .max_by_key(|(p, _)| p.bits)
    }

    proptest! {
        #[test]
        fn equals_the_scan_of_all_prefixes(
            prefixes in prop::collection::vec((any::<bool>(), 0u8..4, 0u8..4, prop::sample::select(vec![0u32, 8, 90, 96, 97, 104, 112, 120, 126, 128])), 0..20),
            of in (any::<bool>(), 0u8..4, 0u8..4, 96u32..=128),
        ) {
            let prefix = |(v4, a, b, bits): (bool, u8, u8, u32)| {
                let addr = if v4 { Addr::v4([a * 64, b, 0, b]) } else { Addr([a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b, 0, a]) };
                Prefix::new(addr, bits)
            };
            let map: SharedMap<Prefix, u32> = prefixes.into_iter().enumerate().map(|(i, p)| (prefix(p), i as u32)).collect();
            let of = prefix(of);
            prop_assert_eq!(longest(&map, &of), slow(&map, &of));
        }
    }
}
