//! Numbers that stay: of peer groups, of rules, and the hash behind them. Not here: extents of rows.

use super::image::Image;
use crate::meaning::why::By;
use isolator_common::event::{NAME_BYTES, NameKey, NameKind};
use isolator_common::policy::MAX_NUMBER;
use std::collections::{BTreeMap, HashMap};

/// FNV-1a, 64 bits: numbers in the kernel's maps, and what nodes agree on without a word, must not depend on a library's
/// choice of hash.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in *part {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // A separator, so that ("a", "bc") differs from ("ab", "c").
        hash = (hash ^ 0xff).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// Cuts a name to what the NAMES map holds.
pub(crate) fn cut(text: &str) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= NAME_BYTES {
        return text.to_owned();
    }
    let mut end = NAME_BYTES - ELLIPSIS.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

/// Numbers of peer groups, by group index. 0 for a group without members: nothing ever looks at its cells.
///
/// `votes` holds (group << 32 | number in force) of members, each with a weight. A group gets the number that most of its
/// members have now, so that few addresses are written; a group that gets none takes one that is not in
/// force. `in_force` is sorted.
pub(crate) fn groups(has_members: &[bool], mut votes: Vec<(u64, u32)>, in_force: &[u32]) -> Vec<u32> {
    votes.sort_unstable();
    let mut claims: Vec<(u32, u32, usize)> = votes
        .chunk_by(|(a, _), (b, _)| a == b)
        .map(|run| {
            let (vote, weight) = (run[0].0, run.iter().map(|(_, weight)| weight).sum::<u32>());
            (u32::MAX - weight, vote as u32, (vote >> 32) as usize)
        })
        .collect();
    claims.sort_unstable();
    let mut numbers = vec![0; has_members.len()];
    let mut taken = std::collections::HashSet::new();
    for (_, number, group) in claims {
        if numbers[group] == 0 && taken.insert(number) {
            numbers[group] = number;
        }
    }
    let mut used = in_force.iter().copied().peekable();
    let mut fresh = (1..).filter(|number| {
        while used.next_if(|u| u < number).is_some() {}
        used.peek() != Some(number)
    });
    for (number, _) in numbers.iter_mut().zip(has_members).filter(|(number, has)| **number == 0 && **has) {
        *number = fresh.next().unwrap_or(0);
    }
    numbers
}

/// Numbers of rules, in the order of `reasons`, and their names. A text keeps the number that it has; a new one
/// starts at its hash and passes over numbers that mean something else, now or next.
pub(crate) fn rules(previous: &Image, reasons: &[By]) -> (Vec<u32>, BTreeMap<NameKey, String>) {
    let range = name_key(NameKind::Rule, 0)..=name_key(NameKind::Rule, u32::MAX);
    let mut known: HashMap<&str, u32> = HashMap::new();
    for (key, text) in previous.names.range(range) {
        if (1..=MAX_NUMBER).contains(&key.number) {
            known.entry(text).or_insert(key.number);
        }
    }
    let mut names: BTreeMap<NameKey, String> = BTreeMap::new();
    let numbers = reasons.iter().map(|by| {
        let full = by.to_string();
        let text = cut(&full);
        let mut number = match known.get(text.as_str()) {
            Some(number) => *number,
            None => hash(&[full.as_bytes()]) as u32 & MAX_NUMBER,
        };
        loop {
            let key = name_key(NameKind::Rule, number);
            let other = |there: Option<&String>| there.is_some_and(|there| *there != text);
            if number != 0 && !other(names.get(&key)) && !other(previous.names.get(&key)) {
                names.insert(key, text);
                return number;
            }
            number = (number + 1) & MAX_NUMBER;
        }
    });
    let numbers = numbers.collect();
    (numbers, names)
}

/// A key of the NAMES map.
pub(crate) fn name_key(kind: NameKind, number: u32) -> NameKey {
    NameKey { kind: kind as u32, number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_members_decide_the_number_and_fresh_ones_avoid_what_is_in_force() {
        // Group 0: three members of number 5, one of 7. Group 1: one of 5, two of 7. Group 2: one of 5.
        let vote = |group: u64, number: u64| (group << 32 | number, 1);
        let votes = vec![
            vote(0, 5),
            vote(0, 5),
            vote(0, 5),
            vote(0, 7),
            vote(1, 5),
            vote(1, 7),
            vote(1, 7),
            vote(2, 5),
        ];
        assert_eq!(groups(&[true, true, true, false, true], votes, &[1, 2, 5, 7]), [5, 7, 3, 0, 4]);
    }

    #[test]
    fn names_are_cut_between_characters() {
        let long = "ä".repeat(200);
        assert!(cut(&long).len() <= NAME_BYTES && cut(&long).ends_with("ä…"));
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn a_colliding_rule_takes_the_next_number_and_keeps_it() {
        let reasons = [By::LocalHost, By::Loopback];
        let (numbers, _) = rules(&Image::default(), &reasons);
        let mut image = Image::default();
        image.names.insert(name_key(NameKind::Rule, numbers[0]), "something else".into());
        let (probed, names) = rules(&image, &reasons);
        assert_eq!(probed, [numbers[0] + 1, numbers[1]]);
        // The other text has gone; the number stays.
        let names = names.into_iter().collect();
        let (again, _) = rules(&Image { names, ..Image::default() }, &reasons);
        assert_eq!(again, probed);
    }
}
