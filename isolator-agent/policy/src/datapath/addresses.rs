//! Where addresses lie: many neighbours in a dense block, few in the hash, prefixes in the trie. Also what the
//! generation in force knows of them. Not here: the order of writes (`diff`).

use super::compiled::{Behind, Compiled};
use super::image::Image;
use super::layout::Capacities;
use crate::shared::{self, SharedMap};
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::Peer;
use std::cell::OnceCell;
use std::collections::HashSet;

/// From this many addresses on a block is dense: then its 256 entries cost no more than hash entries would.
const DENSE_FROM: usize = 8;
/// A dense block with fewer goes back to the hash. Less than [`DENSE_FROM`], so that one pod that comes and
/// goes does not move its neighbours each time.
const DENSE_UNTIL: usize = 4;

/// Group numbers that the half in force speaks of, sorted.
pub(crate) fn groups_in_force(previous: &Image, generation: u32) -> Vec<u32> {
    let Image { block_peers, hosts, prefixes, .. } = previous;
    let peers = block_peers.values().chain(hosts.values()).chain(prefixes.values());
    let mut groups: Vec<u32> = Vec::new();
    for group in peers.map(|peer| peer.group(generation)) {
        if group != Peer::ABSENT && groups.last() != Some(&group) {
            groups.push(group);
        }
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The vote of members of a group for a number that they have in force: group << 32 | number.
pub(crate) fn vote(behind: &Behind, number: u32) -> u64 {
    u64::from(behind.group.0) << 32 | u64::from(number)
}

/// The votes of all addresses and prefixes that have a number in force, each with its weight.
pub(crate) fn votes(previous: &Image, compiled: &Compiled, generation: u32) -> Vec<(u64, u32)> {
    let mut votes = Vec::with_capacity(compiled.addresses.len() + compiled.prefixes.len());
    let mut cast = |behind: &Behind, number: u32| {
        if number != Peer::ABSENT {
            votes.push((vote(behind, number), 1));
        }
    };
    let mut hosts = previous.hosts.iter().peekable();
    for run in Runs::of(compiled) {
        let mut dense = [Peer::ABSENT; 256];
        if let Some(number) = previous.blocks.get(&run.block) {
            let start = number.saturating_mul(256);
            for (index, peer) in previous.block_peers.range(start..=start.saturating_add(255)) {
                dense[(index - start) as usize] = peer.group(generation);
            }
        }
        for (addr, behind) in &run.members {
            while hosts.next_if(|(host, _)| host < addr).is_some() {}
            let host = hosts.next_if(|(host, _)| host == addr).map(|(_, peer)| peer.group(generation));
            let number = match dense[addr.in_block() as usize] {
                Peer::ABSENT => host.unwrap_or(Peer::ABSENT),
                number => number,
            };
            cast(behind, number);
        }
    }
    for (prefix, behind) in &compiled.prefixes {
        cast(behind, previous.prefixes.get(prefix).map_or(Peer::ABSENT, |peer| peer.group(generation)));
    }
    votes
}

/// Contents of the address maps.
#[derive(Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) blocks: SharedMap<Addr, u32>,
    pub(crate) block_peers: SharedMap<u32, Peer>,
    pub(crate) hosts: SharedMap<Addr, Peer>,
    pub(crate) prefixes: SharedMap<Prefix, Peer>,
}

/// Everything that placing addresses depends on.
pub(crate) struct Input<'a> {
    pub(crate) previous: &'a Image,
    pub(crate) compiled: &'a Compiled,
    /// Numbers by group index.
    pub(crate) numbers: &'a [u32],
    pub(crate) capacities: &'a Capacities,
}

impl Input<'_> {
    fn peer(&self, behind: &Behind) -> Peer {
        let group = self.numbers[behind.group.0 as usize];
        Peer { identity: behind.identity, groups: [group, group] }
    }

    /// Places every address anew.
    pub(crate) fn place_all(&self) -> Addresses {
        let mut all = Addresses::default();
        let mut blocks: Vec<Addr> = self.compiled.addresses.keys().map(Addr::block).collect();
        blocks.dedup();
        self.place(&mut all, blocks);
        self.place_prefixes(&mut all);
        all
    }

    /// Places the addresses of these blocks. When no dense block is free they stay in the hash, which is slower and
    /// no less right.
    pub(crate) fn place(&self, addresses: &mut Addresses, blocks: impl IntoIterator<Item = Addr>) {
        let Input { previous, compiled, capacities, .. } = self;
        let in_force: OnceCell<HashSet<u32>> = OnceCell::new();
        let mut free = (0..capacities.block_peers / 256).filter(|number| {
            !in_force.get_or_init(|| previous.blocks.values().copied().collect()).contains(number)
        });
        let mut kept = HashSet::new();
        let mut room = [capacities.blocks4 as usize, capacities.blocks6 as usize];
        for block in previous.blocks.keys() {
            let room = &mut room[usize::from(!block.is_v4())];
            *room = room.saturating_sub(1);
        }
        for block in blocks {
            let mut last = block;
            last.0[15] = u8::MAX;
            let members: Vec<(&Addr, &Behind)> = compiled.addresses.range(block..=last).collect();
            let before = previous.blocks.get(&block).copied();
            let dense = match before {
                Some(number) => (members.len() >= DENSE_UNTIL && kept.insert(number)).then_some(number),
                None if members.len() >= DENSE_FROM => {
                    let room = &mut room[usize::from(!block.is_v4())];
                    let fresh = if *room > 0 { free.next() } else { None };
                    *room -= usize::from(fresh.is_some());
                    fresh
                }
                None => None,
            };
            addresses.blocks.set(block, dense);
            let mut wanted: [Option<Peer>; 256] = [None; 256];
            for (addr, behind) in members {
                wanted[addr.in_block() as usize] = Some(self.peer(behind));
            }
            for (index, peer) in (0..=u8::MAX).zip(wanted) {
                let mut addr = block;
                addr.0[15] = index;
                addresses.hosts.set(addr, peer.filter(|_| dense.is_none()));
                if let Some(number) = dense.or(before) {
                    let place = number.saturating_mul(256).saturating_add(u32::from(index));
                    addresses.block_peers.set(place, peer.filter(|_| dense.is_some()));
                }
            }
        }
    }

    /// Places the prefixes.
    pub(crate) fn place_prefixes(&self, addresses: &mut Addresses) {
        let wanted = &self.compiled.prefixes;
        let gone: Vec<Prefix> =
            addresses.prefixes.keys().filter(|prefix| !wanted.contains_key(prefix)).copied().collect();
        for prefix in gone {
            addresses.prefixes.remove(&prefix);
        }
        for (prefix, behind) in wanted {
            addresses.prefixes.set(*prefix, Some(self.peer(behind)));
        }
    }
}

/// The addresses of one block.
struct Run<'a> {
    block: Addr,
    members: Vec<(&'a Addr, &'a Behind)>,
}

/// The addresses, block by block, in order.
struct Runs<'a> {
    rest: std::iter::Peekable<shared::Iter<'a, Addr, Behind>>,
}

impl<'a> Runs<'a> {
    fn of(compiled: &'a Compiled) -> Self {
        Runs { rest: compiled.addresses.iter().peekable() }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let first = self.rest.next()?;
        let block = first.0.block();
        let mut members = vec![first];
        while let Some(next) = self.rest.next_if(|(addr, _)| addr.block() == block) {
            members.push(next);
        }
        Some(Run { block, members })
    }
}
