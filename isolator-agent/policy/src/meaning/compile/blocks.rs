//! Prefixes of the active rules: which of them hold an address. All addresses between one prefix and the
//! longer ones inside it are alike, so each prefix is looked at once. Not here: pod selectors.

use crate::model::Peer;
use isolator_common::addr::{Addr, Prefix};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The prefixes of the active rules, and always all of IPv4 and all of IPv6.
pub(super) struct Blocks {
    /// Every range and every exception.
    pub(super) prefixes: BTreeSet<Prefix>,
    /// Matchers by range: number, and whether it speaks of addresses inside the cluster, too.
    ranges: HashMap<Prefix, Vec<(u32, bool)>>,
    /// Matchers by exception.
    exceptions: HashMap<Prefix, Vec<u32>>,
    /// The same, for look-ups.
    known: HashSet<Prefix>,
    /// Lengths that occur, longest first.
    lengths: Vec<u32>,
}

impl Blocks {
    pub(super) fn new(peers: &[&Peer]) -> Self {
        let mut prefixes = BTreeSet::from([Prefix::ALL_V4, Prefix::ALL_V6]);
        let mut ranges: HashMap<Prefix, Vec<(u32, bool)>> = HashMap::new();
        let mut exceptions: HashMap<Prefix, Vec<u32>> = HashMap::new();
        for (number, peer) in (0..).zip(peers) {
            let Peer::Block { cidr, except, inside } = peer else { continue };
            prefixes.insert(*cidr);
            prefixes.extend(except);
            ranges.entry(*cidr).or_default().push((number, *inside));
            for hole in except {
                exceptions.entry(*hole).or_default().push(number);
            }
        }
        let lengths: BTreeSet<u32> = prefixes.iter().map(|prefix| prefix.bits).collect();
        let known = prefixes.iter().copied().collect();
        Blocks { prefixes, ranges, exceptions, known, lengths: lengths.into_iter().rev().collect() }
    }

    /// The longest prefix that holds an address. Both families have one that holds all.
    pub(super) fn longest(&self, addr: &Addr) -> Prefix {
        let mut around = self.around(Prefix { addr: *addr, bits: 128 });
        around.next().unwrap_or(if addr.is_v4() { Prefix::ALL_V4 } else { Prefix::ALL_V6 })
    }

    /// The matchers whose range holds what lies in this prefix, but in no longer one: for addresses outside
    /// the cluster, and for those inside. Sorted.
    pub(super) fn matching(&self, prefix: Prefix) -> [Vec<u32>; 2] {
        let excepted: BTreeSet<u32> = self
            .around(prefix)
            .filter_map(|around| self.exceptions.get(&around))
            .flatten()
            .copied()
            .collect();
        let holding: BTreeSet<(u32, bool)> = self
            .around(prefix)
            .filter_map(|around| self.ranges.get(&around))
            .flatten()
            .filter(|(number, _)| !excepted.contains(number))
            .copied()
            .collect();
        [
            holding.iter().map(|(number, _)| *number).collect(),
            holding.iter().filter(|(_, inside)| *inside).map(|(number, _)| *number).collect(),
        ]
    }

    /// The prefixes that cover this one, itself included, longest first. Families stay apart.
    fn around(&self, prefix: Prefix) -> impl Iterator<Item = Prefix> + '_ {
        self.lengths
            .iter()
            .filter(move |bits| **bits <= prefix.bits)
            .map(move |bits| Prefix::new(prefix.addr, *bits))
            .filter(move |around| around.is_v4() == prefix.is_v4() && self.known.contains(around))
    }
}
