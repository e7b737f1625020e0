//! Packets by outcome, of all endpoints together, as numbers that never fall: an endpoint's counters go with it,
//! what they counted stays. Not here: how the kernel counts.

use crate::datapath::read::Counter;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use std::collections::BTreeMap;

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// How many.
    pub packets: u64,
    /// From the Ethernet header on.
    pub bytes: u64,
}

/// An outcome at a pod's interface.
pub(super) type Outcome = (Direction, Reason);

/// Sums over endpoints that come and go.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    sums: BTreeMap<Outcome, Packets>,
    /// By endpoint number, as last seen.
    seen: BTreeMap<u32, BTreeMap<Outcome, Packets>>,
}

impl Totals {
    /// Takes in what the endpoints' counters say now; each endpoint has its number.
    pub(super) fn take(&mut self, endpoints: impl IntoIterator<Item = (u32, Vec<Counter>)>) {
        let mut now = BTreeMap::new();
        for (endpoint, counters) in endpoints {
            let before = self.seen.remove(&endpoint).unwrap_or_default();
            let mut counts = BTreeMap::new();
            for Counter { direction, reason, packets, bytes } in counters {
                let outcome = (direction, reason);
                let before = before.get(&outcome).copied().unwrap_or_default();
                let sum = self.sums.entry(outcome).or_default();
                // Less than before: counted from nothing again.
                let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
                sum.packets += since(packets, before.packets);
                sum.bytes += since(bytes, before.bytes);
                counts.insert(outcome, Packets { packets, bytes });
            }
            now.insert(endpoint, counts);
        }
        self.seen = now;
    }

    /// The sums.
    pub(super) fn sums(&self) -> &BTreeMap<Outcome, Packets> {
        &self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(packets: u64) -> Vec<Counter> {
        vec![Counter { direction: Direction::Egress, reason: Reason::Tenancy, packets, bytes: packets * 60 }]
    }

    fn sum(totals: &Totals) -> u64 {
        totals.sums()[&(Direction::Egress, Reason::Tenancy)].packets
    }

    #[test]
    fn sums_never_fall_whoever_goes_or_starts_anew() {
        let mut totals = Totals::default();
        totals.take([(1, counter(10)), (2, counter(5))]);
        assert_eq!(sum(&totals), 15);
        totals.take([(1, counter(12)), (2, counter(5))]);
        assert_eq!(sum(&totals), 17);
        totals.take([(1, counter(12))]);
        assert_eq!(sum(&totals), 17);
        totals.take([(1, counter(3)), (2, counter(1))]);
        assert_eq!(sum(&totals), 21);
        assert_eq!(totals.sums()[&(Direction::Egress, Reason::Tenancy)].bytes, 21 * 60);
    }
}
