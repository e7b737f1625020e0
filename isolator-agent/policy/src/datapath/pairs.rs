//! Two ordered maps side by side. Not here: what a difference means.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Every key of either map in order, with the value in each.
pub(crate) fn pairs<'a, K: Ord, V>(
    left: &'a BTreeMap<K, V>,
    right: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some((l, _)), Some((r, _))) => l.cmp(r),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        match order {
            Ordering::Less => left.next().map(|(k, v)| (k, Some(v), None)),
            Ordering::Greater => right.next().map(|(k, v)| (k, None, Some(v))),
            Ordering::Equal => left.next().zip(right.next()).map(|((k, l), (_, r))| (k, Some(l), Some(r))),
        }
    })
}
