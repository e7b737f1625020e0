//! Where addresses lie: many neighbours in a dense block, few in the hash, prefixes in the trie. Also what the
//! generation in force knows of them. Not here: the order of writes (`diff`).

use super::compiled::{Behind, Compiled};
use super::image::Image;
use super::layout::Capacities;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::Peer;
use std::collections::{BTreeMap, HashSet};

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

/// For each address and prefix that has a group number in force: group << 32 | number.
pub(crate) fn votes(previous: &Image, compiled: &Compiled, generation: u32) -> Vec<u64> {
    let mut votes = Vec::with_capacity(compiled.addresses.len() + compiled.prefixes.len());
    let mut vote = |behind: &Behind, number: u32| {
        if number != Peer::ABSENT {
            votes.push(u64::from(behind.group.0) << 32 | u64::from(number));
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
            vote(behind, number);
        }
    }
    for (prefix, behind) in &compiled.prefixes {
        vote(behind, previous.prefixes.get(prefix).map_or(Peer::ABSENT, |peer| peer.group(generation)));
    }
    votes
}

/// Contents of the address maps.
pub(crate) struct Addresses {
    pub(crate) blocks: BTreeMap<Addr, u32>,
    pub(crate) block_peers: BTreeMap<u32, Peer>,
    pub(crate) hosts: BTreeMap<Addr, Peer>,
    pub(crate) prefixes: BTreeMap<Prefix, Peer>,
}

/// Deals out blocks. When none is free the addresses stay in the hash, which is slower and no less right.
pub(crate) fn place(
    previous: &Image,
    compiled: &Compiled,
    numbers: &[u32],
    capacities: &Capacities,
) -> Addresses {
    let peer = |behind: &Behind| {
        let group = numbers[behind.group.0 as usize];
        Peer { identity: behind.identity, groups: [group, group] }
    };
    let in_force: HashSet<u32> = previous.blocks.values().copied().collect();
    let mut free = (0..capacities.block_peers / 256).filter(|number| !in_force.contains(number));
    let mut kept = HashSet::new();
    let mut room = [capacities.blocks4 as usize, capacities.blocks6 as usize];
    for block in previous.blocks.keys() {
        let room = &mut room[usize::from(!block.is_v4())];
        *room = room.saturating_sub(1);
    }
    let mut blocks = Vec::new();
    let mut block_peers = Vec::with_capacity(compiled.addresses.len());
    let mut hosts = Vec::new();
    for run in Runs::of(compiled) {
        let dense = match previous.blocks.get(&run.block) {
            Some(number) if run.members.len() >= DENSE_UNTIL && kept.insert(*number) => Some(*number),
            Some(_) => None,
            None if run.members.len() >= DENSE_FROM => {
                let room = &mut room[usize::from(!run.block.is_v4())];
                let fresh = if *room > 0 { free.next() } else { None };
                *room -= usize::from(fresh.is_some());
                fresh
            }
            None => None,
        };
        match dense {
            Some(number) => {
                blocks.push((run.block, number));
                block_peers
                    .extend(run.members.iter().map(|(addr, b)| (number * 256 + addr.in_block(), peer(b))));
            }
            None => hosts.extend(run.members.iter().map(|(addr, behind)| (**addr, peer(behind)))),
        }
    }
    Addresses {
        blocks: blocks.into_iter().collect(),
        block_peers: block_peers.into_iter().collect(),
        hosts: hosts.into_iter().collect(),
        prefixes: compiled.prefixes.iter().map(|(prefix, behind)| (*prefix, peer(behind))).collect(),
    }
}

/// The addresses of one block.
struct Run<'a> {
    block: Addr,
    members: Vec<(&'a Addr, &'a Behind)>,
}

/// The addresses, block by block, in order.
struct Runs<'a> {
    rest: std::iter::Peekable<std::collections::btree_map::Iter<'a, Addr, Behind>>,
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
