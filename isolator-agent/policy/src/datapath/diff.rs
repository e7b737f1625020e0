//! From what the maps hold to what they hold next, in the order that no packet notices: prepare, switch, wait,
//! clean up (`docs/adr/0002-one-switch.md`). Not here: numbers (`layout`), system calls.
//!
//! Between two operations a packet may be judged by the generation in force, and until the grace period after
//! the switch also by the one before. Preparation writes only what neither looks at. Two things have no halves:
//!
//! - The addresses of an endpoint. While they change it owns only those that it has before and after; the
//!   others are spoofed in one of the two anyway.
//! - The presence of a key. An address that is in one generation only is `ABSENT` in the other half, and the
//!   next look-up is tried. A prefix would hide shorter ones, so there it carries the group of the prefix that
//!   covers it.
//!
//! What was read back from the maps may have been left by an update that was cut off just after its switch, which
//! nothing in the maps tells: see [`take_up`].

use super::image::{Image, Op};
use super::lpm::longest;
use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Peer, Row};
use isolator_common::policy::Word;

/// The operations that turn `previous` into `next`. None if they are equal. `next` is what
/// [`super::layout::layout`] made of `previous`.
#[must_use]
pub fn diff(previous: &Image, next: &Image) -> Vec<Op> {
    let mut update = Update {
        in_force: (previous.state.generation & 1) as usize,
        switch: previous.state.generation != next.state.generation,
        prepare: Vec::new(),
        clean: Vec::new(),
    };
    let mut unnamed = Vec::new();
    for (key, _, after) in previous.names.pairs(&next.names).filter(|(_, b, a)| b != a) {
        let target = if after.is_some() { &mut update.prepare } else { &mut unnamed };
        target.push(Op::Name(*key, after.cloned()));
    }
    // What is pointed at is there before what points, and goes after it.
    let mut unused = Vec::new();
    for (index, _, after) in previous.intervals.pairs(&next.intervals).filter(|(_, b, a)| b != a) {
        match after {
            Some(raw) => update.prepare.push(Op::Interval(*index, *raw)),
            None => unused.push(Op::Interval(*index, 0)),
        }
    }
    let mut blank = Vec::new();
    for (index, _, after) in previous.cells.pairs(&next.cells).filter(|(_, b, a)| b != a) {
        match after {
            Some(word) => update.prepare.push(Op::Cell(*index, *word)),
            None => blank.push(Op::Cell(*index, Word::default())),
        }
    }
    update.addresses(previous, next);
    update.endpoints(&previous.endpoints, &next.endpoints);
    update.clean.extend(blank.into_iter().chain(unused).chain(unnamed));
    update.order(previous, next)
}

/// As [`diff`], where `previous` was read back from the maps: an update may have been cut off just after its switch, and
/// packets still be judged by the half that this one prepares. So the first operation is a grace period.
#[must_use]
pub fn take_up(previous: &Image, next: &Image) -> Vec<Op> {
    let mut ops = diff(previous, next);
    if !ops.is_empty() {
        ops.insert(0, Op::Grace);
    }
    ops
}

/// Writes on both sides of the switch.
struct Update {
    /// The half that packets are judged by before the switch.
    in_force: usize,
    /// Whether there is a switch at all. Without one, verdicts stay and every write is final.
    switch: bool,
    prepare: Vec<Op>,
    clean: Vec<Op>,
}

impl Update {
    fn order(self, previous: &Image, next: &Image) -> Vec<Op> {
        let Update { in_force: _, switch, prepare, clean } = self;
        let mut ops = Vec::with_capacity(prepare.len() + clean.len() + 3);
        // Nobody is cut off or let through by the switch: this is about devices, not about policy.
        if previous.marking != next.marking {
            ops.push(Op::Marking(next.marking));
        }
        ops.extend(prepare);
        if previous.state != next.state {
            ops.push(Op::State(next.state));
        }
        if switch {
            ops.push(Op::Grace);
        }
        ops.extend(clean);
        ops
    }

    /// The writes of one key: `middle` holds for both generations, `None` removes.
    fn write<V: PartialEq + Copy>(
        &mut self,
        [before, middle, after]: [Option<V>; 3],
        op: impl Fn(Option<V>) -> Op,
    ) {
        let middle = if self.switch { middle } else { after };
        if before != middle {
            self.prepare.push(op(middle));
        }
        if middle != after {
            self.clean.push(op(after));
        }
    }

    /// A peer for both generations.
    fn both(&self, before: &Peer, after: &Peer) -> Peer {
        let mut groups = after.groups;
        groups[self.in_force] = before.groups[self.in_force];
        let known = groups[self.in_force] != Peer::ABSENT;
        Peer { identity: if known { before.identity } else { after.identity }, groups }
    }

    fn addresses(&mut self, previous: &Image, next: &Image) {
        let blocks: Vec<(Addr, Option<u32>)> = previous
            .blocks
            .pairs(&next.blocks)
            .filter(|(_, before, after)| before != after)
            .map(|(block, _, after)| (*block, after.copied()))
            .collect();
        // A block is not looked at any more before it is emptied, and filled before it is looked at.
        self.clean
            .extend(blocks.iter().filter(|(_, to)| to.is_none()).map(|(block, _)| Op::Block(*block, None)));
        for (index, before, after) in previous.block_peers.pairs(&next.block_peers).filter(|(_, b, a)| b != a)
        {
            let [before, after] = [before, after].map(|peer| peer.copied().unwrap_or_default());
            let middle = self.both(&before, &after);
            self.write([Some(before), Some(middle), Some(after)], |peer| {
                Op::BlockPeer(*index, peer.unwrap_or_default())
            });
        }
        let mapped = blocks.into_iter().filter(|(_, to)| to.is_some());
        self.prepare.extend(mapped.map(|(block, to)| Op::Block(block, to)));
        for (addr, before, after) in previous.hosts.pairs(&next.hosts).filter(|(_, b, a)| b != a) {
            let middle = self.both(&before.copied().unwrap_or_default(), &after.copied().unwrap_or_default());
            self.write([before.copied(), Some(middle), after.copied()], |peer| Op::Host(*addr, peer));
        }
        let cover = |map: &SharedMap<Prefix, Peer>, prefix: &Prefix| {
            longest(map, prefix).map(|(_, peer)| *peer).unwrap_or_default()
        };
        for (prefix, before, after) in previous.prefixes.pairs(&next.prefixes).filter(|(_, b, a)| b != a) {
            let old = before.copied().unwrap_or_else(|| cover(&previous.prefixes, prefix));
            let new = after.copied().unwrap_or_else(|| cover(&next.prefixes, prefix));
            let middle = self.both(&old, &new);
            self.write([before.copied(), Some(middle), after.copied()], |peer| Op::Prefix(*prefix, peer));
        }
    }

    fn endpoints(&mut self, previous: &SharedMap<u32, Endpoint>, next: &SharedMap<u32, Endpoint>) {
        for (ifindex, before, after) in previous.pairs(next).filter(|(_, b, a)| b != a) {
            let nothing = [Row::default(); 2];
            let old = before.map_or([nothing; 2], |endpoint| endpoint.rows);
            let new = after.map_or([nothing; 2], |endpoint| endpoint.rows);
            let mut rows = new;
            rows[self.in_force] = old[self.in_force];
            let middle = match (before, after) {
                (Some(before), Some(after)) => {
                    let mut addrs = after.addrs;
                    for (addr, was) in addrs.iter_mut().zip(before.addrs) {
                        if *addr != was {
                            *addr = Addr::UNSPECIFIED;
                        }
                    }
                    Some(Endpoint { addrs, rows, ..*after })
                }
                (before, after) => before.or(after).map(|endpoint| Endpoint { rows, ..*endpoint }),
            };
            self.write([before.copied(), middle, after.copied()], |endpoint| {
                Op::Endpoint(*ifindex, endpoint)
            });
        }
    }
}
