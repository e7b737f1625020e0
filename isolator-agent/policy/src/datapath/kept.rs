//! What one layout leaves for the next: so that a small change costs what it concerns. Valid as long as the maps hold
//! what that layout made of them. Not here: the layout.

use super::addresses::{Addresses, Input, vote};
use super::compiled::{Behind, Compiled, RowIndex, RowSpecs};
use super::image::Image;
use super::rows::Rows;
use crate::meaning::why::By;
use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Peer, Row};
use std::collections::{BTreeMap, BTreeSet};

/// The last layout.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What came of it.
    pub(crate) image: Image,
    pub(crate) addresses: SharedMap<Addr, Behind>,
    pub(crate) prefixes: SharedMap<Prefix, Behind>,
    pub(crate) identities: SharedMap<u32, String>,
    /// Numbers by group index.
    pub(crate) groups: Vec<u32>,
    /// Members by group index.
    pub(crate) members: Vec<u32>,
    /// Reasons, and their numbers.
    pub(crate) reasons: Vec<By>,
    pub(crate) rules: Vec<u32>,
    /// What was laid out, and where.
    pub(crate) specs: RowSpecs,
    pub(crate) rows: Rows,
}

/// Members of each group.
pub(crate) fn members(compiled: &Compiled) -> Vec<u32> {
    let mut members = vec![0; compiled.groups as usize];
    for behind in compiled.addresses.values().chain(compiled.prefixes.values()) {
        members[behind.group.0 as usize] += 1;
    }
    members
}

impl Kept {
    /// The numbers in force, sorted.
    pub(crate) fn groups_in_force(&self) -> Vec<u32> {
        let mut groups: Vec<u32> =
            self.groups.iter().copied().filter(|number| *number != Peer::ABSENT).collect();
        groups.sort_unstable();
        groups
    }

    /// What is behind addresses and prefixes, before and now, where it is not the same.
    fn differing<'a>(
        &'a self,
        compiled: &'a Compiled,
    ) -> impl Iterator<Item = (Option<&'a Behind>, Option<&'a Behind>)> {
        let addresses = self.addresses.pairs(&compiled.addresses).map(|(_, before, after)| (before, after));
        let prefixes = self.prefixes.pairs(&compiled.prefixes).map(|(_, before, after)| (before, after));
        addresses.chain(prefixes).filter(|(before, after)| before != after)
    }

    /// Members of each group, as [`members`] gives them.
    pub(crate) fn members(&self, compiled: &Compiled) -> Vec<u32> {
        let mut members = self.members.clone();
        members.resize(members.len().max(compiled.groups as usize), 0);
        for (before, after) in self.differing(compiled) {
            before.iter().for_each(|behind| members[behind.group.0 as usize] -= 1);
            after.iter().for_each(|behind| members[behind.group.0 as usize] += 1);
        }
        members.truncate(compiled.groups as usize);
        members
    }

    /// Votes for numbers, as [`super::addresses::votes`] gives them: who stays in a group votes with all others who do.
    pub(crate) fn votes(&self, compiled: &Compiled, mut members: Vec<u32>) -> Vec<(u64, u32)> {
        let mut votes = Vec::new();
        for (before, after) in self.differing(compiled) {
            let Some(after) = after else { continue };
            members[after.group.0 as usize] -= 1;
            let number = before.map_or(Peer::ABSENT, |before| self.groups[before.group.0 as usize]);
            if number != Peer::ABSENT {
                votes.push((vote(after, number), 1));
            }
        }
        let staying = (0..).zip(&members).zip(&self.groups);
        votes.extend(
            staying.filter(|((_, count), number)| **count > 0 && **number != Peer::ABSENT).map(
                |((group, count), number): ((u64, &u32), &u32)| (group << 32 | u64::from(*number), *count),
            ),
        );
        votes
    }

    /// Places the addresses that differ, and those whose group has another number.
    pub(crate) fn place(&self, input: &Input<'_>) -> Addresses {
        let Image { blocks, block_peers, hosts, prefixes, .. } = self.image.clone();
        let mut all = Addresses { blocks, block_peers, hosts, prefixes };
        let Compiled { addresses, prefixes, .. } = input.compiled;
        let differing = self.addresses.pairs(addresses).filter(|(_, before, after)| before != after);
        let mut touched: BTreeSet<Addr> = differing.map(|(addr, ..)| addr.block()).collect();
        let same = |group: usize| self.groups.get(group) == input.numbers.get(group);
        let renumbered = !(0..self.groups.len()).all(same);
        if renumbered {
            let same: Vec<bool> = (0..input.numbers.len()).map(same).collect();
            let other = addresses.iter().filter(|(_, behind)| !same[behind.group.0 as usize]);
            touched.extend(other.map(|(addr, _)| addr.block()));
        }
        input.place(&mut all, touched);
        if renumbered || !prefixes.is_same(&self.prefixes) {
            input.place_prefixes(&mut all);
        }
        all
    }

    /// The rows as they lie, if they are to lie there still.
    pub(crate) fn rows(
        &self,
        compiled: &Compiled,
        groups: &[u32],
        rules: &[u32],
        users: &BTreeMap<RowIndex, Vec<Row>>,
    ) -> Option<Rows> {
        let there = |(index, now): (&RowIndex, &Vec<Row>)| {
            let extent = self.rows.extents.get(index);
            now.iter().all(|row| Some(&(row.base, row.len)) == extent)
        };
        let same = compiled.rows.is_same(&self.specs)
            && groups == self.groups
            && rules == self.rules
            && users.len() == self.rows.extents.len()
            && users.iter().all(there);
        same.then(|| self.rows.clone())
    }
}
