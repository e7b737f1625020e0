//! Prefixes of the rules: which of them hold an address. All addresses between one prefix and the longer ones
//! inside it are alike, so each prefix is looked at once. Not here: pod selectors.

use super::peers::services;
use crate::cluster::snapshot::Snapshot;
use crate::model::{CidrGroup, ObjectMatch, Peer, Requirement};
use isolator_common::addr::{Addr, Prefix, V4_MAPPED_BITS};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The prefixes of all matchers, and always all of IPv4 and all of IPv6.
#[derive(Debug)]
pub(super) struct Blocks {
    known: BTreeMap<Prefix, At>,
    /// Lengths that occur, longest first.
    lengths: Vec<u32>,
    /// By matcher: its ranges and exceptions.
    of: HashMap<u32, Vec<Prefix>>,
}

/// Matchers at a prefix.
#[derive(Debug, Default)]
struct At {
    /// Whose range it is: number, and whether it speaks of addresses inside the cluster, too.
    ranges: Vec<(u32, bool)>,
    /// Whose exception it is.
    exceptions: Vec<u32>,
}

impl Default for Blocks {
    fn default() -> Self {
        let known = [Prefix::ALL_V4, Prefix::ALL_V6].map(|prefix| (prefix, At::default())).into();
        Blocks { known, lengths: vec![Prefix::ALL_V4.bits, Prefix::ALL_V6.bits], of: HashMap::new() }
    }
}

impl Blocks {
    /// Takes a matcher in.
    pub(super) fn add(&mut self, snapshot: &Snapshot, number: u32, peer: &Peer) {
        let (cidrs, except, inside) = match peer {
            Peer::Block { cidr, except, inside } => (vec![*cidr], except.clone(), *inside),
            Peer::CidrGroups { groups, except } => {
                let (cidrs, ruled_out) = grouped(snapshot, groups);
                (cidrs, [except.as_slice(), &ruled_out].concat(), false)
            }
            Peer::Services { namespace, services: which } => {
                (backends(snapshot, namespace.as_deref(), which), Vec::new(), false)
            }
            Peer::Pods { .. } | Peer::Labelled(_) | Peer::Nodes { .. } | Peer::Entity(_) => return,
        };
        for cidr in &cidrs {
            self.at(*cidr).ranges.push((number, inside));
        }
        for hole in &except {
            self.at(*hole).exceptions.push(number);
        }
        self.of.insert(number, [cidrs, except].concat());
    }

    fn at(&mut self, prefix: Prefix) -> &mut At {
        if let Err(place) = self.lengths.binary_search_by(|bits| prefix.bits.cmp(bits)) {
            self.lengths.insert(place, prefix.bits);
        }
        self.known.entry(prefix).or_default()
    }

    /// Ranges and exceptions of a matcher.
    pub(super) fn of(&self, number: u32) -> &[Prefix] {
        self.of.get(&number).map_or(&[], Vec::as_slice)
    }

    /// Every prefix, sorted.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.known.keys().copied()
    }

    /// The prefixes inside this one, itself included.
    pub(super) fn inside(&self, prefix: Prefix) -> impl Iterator<Item = Prefix> {
        let all = self.known.range(prefix..).map(|(inside, _)| *inside);
        all.take_while(move |inside| inside.addr.truncate(prefix.bits) == prefix.addr)
            .filter(move |inside| prefix.covers(inside))
    }

    /// The longest prefix that holds an address. Both families have one that holds all.
    pub(super) fn longest(&self, addr: &Addr) -> Prefix {
        let mut around = self.around(Prefix { addr: *addr, bits: 128 });
        around.next().map_or(if addr.is_v4() { Prefix::ALL_V4 } else { Prefix::ALL_V6 }, |(prefix, _)| prefix)
    }

    /// The matchers whose range holds what lies in this prefix, but in no longer one: for addresses outside
    /// the cluster, and for those inside. Sorted.
    pub(super) fn matching(&self, prefix: Prefix) -> [Vec<u32>; 2] {
        let excepted: HashSet<u32> =
            self.around(prefix).flat_map(|(_, at)| &at.exceptions).copied().collect();
        let holding: BTreeSet<(u32, bool)> = self
            .around(prefix)
            .flat_map(|(_, at)| &at.ranges)
            .filter(|(number, _)| !excepted.contains(number))
            .copied()
            .collect();
        [
            holding.iter().map(|(number, _)| *number).collect(),
            holding.iter().filter(|(_, inside)| *inside).map(|(number, _)| *number).collect(),
        ]
    }

    /// The prefixes that cover this one, itself included, longest first. Families stay apart.
    fn around(&self, prefix: Prefix) -> impl Iterator<Item = (Prefix, &At)> {
        self.lengths
            .iter()
            .filter(move |bits| **bits <= prefix.bits)
            .map(move |bits| Prefix::new(prefix.addr, *bits))
            .filter(move |around| around.is_v4() == prefix.is_v4())
            .filter_map(|around| Some((around, self.known.get(&around)?)))
    }
}

/// The ranges of the groups that are meant, and those that are ruled out. An address has the labels of all groups
/// that hold it, so each label that is demanded may come from another group.
fn grouped(snapshot: &Snapshot, which: &ObjectMatch) -> (Vec<Prefix>, Vec<Prefix>) {
    let ranges = |is_meant: &dyn Fn(&CidrGroup) -> bool| -> HashSet<Prefix> {
        let meant = snapshot.cidr_groups().values().filter(|group| is_meant(group));
        meant.flat_map(|group| group.cidrs.iter().copied()).collect()
    };
    let selector = match which {
        ObjectMatch::Named(name) => {
            return (ranges(&|group| group.name == *name).into_iter().collect(), Vec::new());
        }
        ObjectMatch::Matching(selector) => selector,
    };
    let holds = |wanted: &Requirement, group: &CidrGroup| {
        wanted.operator.holds(group.labels.get(&wanted.key).map(String::as_str))
    };
    let (demanding, ruling_out): (Vec<_>, Vec<_>) =
        selector.requirements().iter().partition(|wanted| wanted.operator.demands());
    let demanded: Vec<_> = demanding.iter().map(|wanted| ranges(&|group| holds(wanted, group))).collect();
    let covered = |prefix: &Prefix, ranges: &HashSet<Prefix>| {
        let least = if prefix.is_v4() { V4_MAPPED_BITS } else { 0 };
        (least..=prefix.bits).any(|bits| ranges.contains(&Prefix::new(prefix.addr, bits)))
    };
    let mut meant: HashSet<Prefix> = match demanded.is_empty() {
        true => ranges(&|_| true),
        false => demanded.iter().flatten().copied().collect(),
    };
    if demanded.len() > 1 {
        meant.retain(|prefix| demanded.iter().all(|ranges| covered(prefix, ranges)));
    }
    let ruled_out = ranges(&|group| ruling_out.iter().any(|wanted| !holds(wanted, group)));
    (meant.into_iter().collect(), ruled_out.into_iter().collect())
}

/// The backends of those services that select no pods.
fn backends(snapshot: &Snapshot, namespace: Option<&str>, which: &ObjectMatch) -> Vec<Prefix> {
    let without_pods: HashSet<(&str, &str)> = services(snapshot, namespace, which)
        .filter(|service| service.selector.is_empty())
        .map(|service| (service.key.namespace.as_str(), service.key.name.as_str()))
        .collect();
    let slices = snapshot.slices().values();
    let own =
        slices.filter(|slice| without_pods.contains(&(slice.namespace.as_str(), slice.service.as_str())));
    let addresses = own.flat_map(|slice| &slice.backends).flat_map(|backend| &backend.addresses);
    addresses.map(|addr| Prefix::new(*addr, 128)).collect()
}
