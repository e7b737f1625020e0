//! What is remembered of flows that need no entry and say nothing of who opened them (UDP; not TCP): who sent the first
//! packet that was noted, and when one was noted last. A table of places: flows that share one forget each other.
//! Not here: connections (`conntrack`).

use crate::policy::Direction;
use crate::tables::capacity;

/// A flow as it stands in its place. In the table it is one number, so that a store is never seen by halves: tag and
/// opener in the upper 32 bits, ticks in the lower. An empty place is the flow of tag 0 at tick 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Untracked(pub u64);

/// Seconds for which a flow is not noted, nor reported, again.
const FRESH: u32 = 60;

/// Place of the flow with this tag ([`crate::conntrack::ConnectionKey::tag`]).
#[inline(always)]
#[must_use]
pub const fn place(tag: u32) -> u32 {
    tag & (capacity::SEEN - 1)
}

impl Untracked {
    /// The opener's place in the tag: the place of the flow tells that bit already.
    const OPENER: u32 = 1;

    /// A flow, when one of its packets is noted. `ticks` are those of a second.
    #[inline(always)]
    #[must_use]
    pub fn noted(self, tag: u32, direction: Direction, now: u32, ticks: u32) -> Self {
        let opener = self.opener(tag, now, ticks).unwrap_or(direction);
        Untracked((u64::from(tag & !Self::OPENER | opener as u32) << 32) | u64::from(now))
    }

    /// Whether it is this flow, noted within the minute.
    #[inline(always)]
    #[must_use]
    pub fn is_fresh(self, tag: u32, now: u32, ticks: u32) -> bool {
        self.is_within(FRESH, tag, now, ticks)
    }

    /// Who opened the flow; `None`: it is another, or was silent. As long as it is never silent for a minute it is noted
    /// once in two.
    #[inline(always)]
    #[must_use]
    pub fn opener(self, tag: u32, now: u32, ticks: u32) -> Option<Direction> {
        let opener = Direction::BOTH[((self.0 >> 32) as u32 & Self::OPENER) as usize];
        self.is_within(2 * FRESH, tag, now, ticks).then_some(opener)
    }

    #[inline(always)]
    fn is_within(self, seconds: u32, tag: u32, now: u32, ticks: u32) -> bool {
        let (known, seen) = ((self.0 >> 32) as u32, self.0 as u32);
        (known ^ tag) & !Self::OPENER == 0 && now.wrapping_sub(seen) < ticks.wrapping_mul(seconds)
    }
}

const _: () = assert!(capacity::SEEN > 1, "the place tells the lowest bit of the tag");

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Egress, Ingress};

    const TICKS: u32 = 100;

    #[test]
    fn the_opener_stays_while_packets_are_noted_and_is_forgotten_after_a_silence() {
        for tag in [0x1234_5678, 0x1234_5679] {
            let (first, other) = (1000 + FRESH * TICKS, tag ^ 0x8000_0000);
            let flow = Untracked::default().noted(tag, Ingress, first, TICKS);
            assert!(flow.is_fresh(tag, first + FRESH * TICKS - 1, TICKS));
            assert!(!flow.is_fresh(tag, first + FRESH * TICKS, TICKS) && !flow.is_fresh(other, first, TICKS));
            let later = first + 2 * FRESH * TICKS - 1;
            let answered = flow.noted(tag, Egress, later, TICKS);
            assert_eq!(answered.opener(tag, later, TICKS), Some(Ingress));
            assert!(answered.is_fresh(tag, later, TICKS));
            assert_eq!(flow.opener(tag, later + 1, TICKS), None);
            assert_eq!(flow.noted(tag, Egress, later + 1, TICKS).opener(tag, later + 1, TICKS), Some(Egress));
            assert_eq!(flow.opener(other, later, TICKS), None);
        }
    }
}
