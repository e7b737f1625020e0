//! Sets of `port_key`s as ranges: what rules have not decided yet. Not here: who decides in which order.

use crate::model::{PortMatch, Ports};
use isolator_common::policy::port_key;
use std::collections::BTreeMap;

/// The last port key there is.
pub(super) const LAST_KEY: u32 = port_key(u8::MAX, u16::MAX);

/// An inclusive range of port keys.
pub(super) type KeyRange = (u32, u32);

/// The ranges of a port list. `resolve` gives the numbers behind a name.
pub(super) fn ranges(ports: &Ports, mut resolve: impl FnMut(u8, &str) -> Vec<u16>) -> Vec<KeyRange> {
    let ports = match ports {
        Ports::Any => return vec![(0, LAST_KEY)],
        Ports::OneOf(ports) => ports,
    };
    let mut ranges = Vec::with_capacity(ports.len());
    for port in ports {
        match port {
            PortMatch::Range { protocol, first, last } => {
                ranges.push((port_key(*protocol, *first), port_key(*protocol, *last)));
            }
            PortMatch::Named { protocol, name } => {
                let numbers = resolve(*protocol, name);
                ranges.extend(
                    numbers.into_iter().map(|port| (port_key(*protocol, port), port_key(*protocol, port))),
                );
            }
        }
    }
    ranges
}

/// A set of port keys: last key by first key of each range. Ranges do not overlap.
#[derive(Clone, Debug)]
pub(super) struct KeySet(BTreeMap<u32, u32>);

impl KeySet {
    pub(super) fn all() -> Self {
        KeySet(BTreeMap::from([(0, LAST_KEY)]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes a range and returns the parts of it that were in the set.
    pub(super) fn take(&mut self, (first, last): KeyRange) -> Vec<KeyRange> {
        // Only the last range that starts at or below `first` can reach into it from the left.
        let start = match self.0.range(..=first).next_back() {
            Some((start, end)) if *end >= first => *start,
            _ => first,
        };
        if first > last {
            return Vec::new();
        }
        let touched: Vec<KeyRange> = self.0.range(start..=last).map(|(start, end)| (*start, *end)).collect();
        let mut taken = Vec::with_capacity(touched.len());
        for (start, end) in touched {
            self.0.remove(&start);
            if start < first {
                self.0.insert(start, first - 1);
            }
            if end > last {
                self.0.insert(last + 1, end);
            }
            taken.push((start.max(first), end.min(last)));
        }
        taken
    }

    /// Puts back a range that was taken.
    pub(super) fn put(&mut self, (first, last): KeyRange) {
        self.0.insert(first, last);
    }

    /// Removes everything and returns it.
    pub(super) fn take_all(&mut self) -> Vec<KeyRange> {
        std::mem::take(&mut self.0).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_the_rest_stays() {
        let mut set = KeySet::all();
        assert_eq!(set.take((10, 19)), [(10, 19)]);
        assert_eq!(set.take((5, 30)), [(5, 9), (20, 30)]);
        assert_eq!(set.take((5, 30)), []);
        assert_eq!(set.take((7, 3)), []);
        assert_eq!(set.take((LAST_KEY, LAST_KEY)), [(LAST_KEY, LAST_KEY)]);
        set.put((10, 12));
        assert_eq!(set.take((11, 11)), [(11, 11)]);
        assert_eq!(set.take_all(), [(0, 4), (10, 10), (12, 12), (31, LAST_KEY - 1)]);
        assert!(set.is_empty());
    }
}
