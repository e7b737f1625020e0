//! Deals out numbers: from what policy compiled to and what the maps hold now to what they hold next. Pure and
//! stable: equal input gives an equal image, and a small change a small difference. The rule of
//! `docs/adr/0002-one-switch.md` holds by construction: everything that the generation in force looks at is
//! either equal in the next image or lies where the next generation alone looks. Not here: the order of
//! writes (`diff`).
//!
//! A settled image has both halves of every pair equal. After a switch and a grace period the update brings
//! the half that went out of force to the one in force; so the next update starts with a free half, and
//! numbers, cells and intervals that no longer appear are free. An image read back from the kernel after the
//! agent was killed need not be settled: only the half in force is taken from it.

use super::addresses::{self, Addresses};
use super::compiled::{Compiled, EndpointSpec, RowIndex};
use super::image::Image;
use super::kept::{Kept, members};
use super::numbers::{cut, groups, hash, name_key, rules};
use super::rows::{self, Extent, Rows};
use crate::model::PodKey;
use crate::shared::SharedMap;
use isolator_common::ABI_VERSION;
use isolator_common::addr::Addr;
use isolator_common::endpoint::{Endpoint, Peer, Row, State};
use isolator_common::event::{NameKey, NameKind};
use isolator_common::policy::Direction;
use isolator_common::tables::{MAX_ENDPOINTS, capacity, name};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// An interface of the node that is enforced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The pod behind it; `None` while only the sandbox is known.
    pub pod: Option<PodKey>,
    /// Addresses found in the sandbox, IPv4 (mapped) and IPv6: what a pod that is not known yet may send from.
    pub addrs: [Option<Addr>; 2],
}

impl Attachment {
    /// The interface of this pod, or of one that is not known; nothing is known of addresses.
    #[must_use]
    pub fn of(pod: Option<PodKey>) -> Self {
        Attachment { pod, addrs: [None; 2] }
    }
}

/// What the image depends on beside policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Kernel ticks per second.
    pub ticks_per_second: u32,
    /// Events that one tenant may cause per second and CPU.
    pub events_per_second: u32,
    /// Sizes of the maps.
    pub capacities: Capacities,
}

/// Sizes of the maps that the agent writes, in entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Endpoints: slots in COUNTERS.
    pub endpoints: u32,
    /// BLOCKS4.
    pub blocks4: u32,
    /// BLOCKS6.
    pub blocks6: u32,
    /// BLOCK_PEERS.
    pub block_peers: u32,
    /// HOSTS.
    pub hosts: u32,
    /// PREFIXES.
    pub prefixes: u32,
    /// CELLS.
    pub cells: u32,
    /// INTERVALS.
    pub intervals: u32,
    /// NAMES.
    pub names: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Capacities {
            endpoints: MAX_ENDPOINTS,
            blocks4: capacity::BLOCKS4,
            blocks6: capacity::BLOCKS6,
            block_peers: capacity::BLOCK_PEERS,
            hosts: capacity::HOSTS,
            prefixes: capacity::PREFIXES,
            cells: capacity::CELLS,
            intervals: capacity::INTERVALS,
            names: capacity::NAMES,
        }
    }
}

/// A map is too small for what is in force and what comes next together. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The map.
    pub map: &'static str,
    /// Entries needed while both generations are there.
    pub needed: u64,
    /// Entries that it has.
    pub available: u32,
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capacity { map, needed, available } = self;
        write!(
            f,
            "map {map} is too small: {needed} entries needed, {available} there; the policy before stays in force"
        )
    }
}

impl std::error::Error for Capacity {}

/// The next image, from nothing but the previous one. Its generation differs from the previous one's if and only
/// if packets may be judged differently.
///
/// # Errors
/// A map that cannot hold the previous and the next contents together.
pub fn layout(
    previous: &Image,
    compiled: &Compiled,
    attachments: &BTreeMap<u32, Attachment>,
    params: &Params,
) -> Result<Image, Capacity> {
    Layout::default().next(previous, compiled, attachments, params)
}

/// Lays out again and again. Where the maps hold what the last layout made of them, only what differs is looked at.
#[derive(Debug, Default)]
pub struct Layout {
    kept: Option<Kept>,
}

impl Layout {
    /// The next image, as [`layout`] gives it.
    ///
    /// # Errors
    /// A map that cannot hold the previous and the next contents together.
    pub fn next(
        &mut self,
        previous: &Image,
        compiled: &Compiled,
        attachments: &BTreeMap<u32, Attachment>,
        params: &Params,
    ) -> Result<Image, Capacity> {
        let capacities = &params.capacities;
        let kept = self.kept.as_ref().filter(|kept| kept.image.is_same(previous));
        let generation = previous.state.generation;
        let members = kept.map_or_else(|| members(compiled), |kept| kept.members(compiled));
        let has_members: Vec<bool> = members.iter().map(|count| *count > 0).collect();
        let (in_force, votes) = match kept {
            Some(kept) => (kept.groups_in_force(), kept.votes(compiled, members.clone())),
            None => (
                addresses::groups_in_force(previous, generation),
                addresses::votes(previous, compiled, generation),
            ),
        };
        let groups = groups(&has_members, votes, &in_force);
        let (rules, rule_names) = match kept.filter(|kept| kept.reasons == compiled.reasons) {
            Some(kept) => (kept.rules.clone(), None),
            None => {
                let (rules, names) = rules(previous, &compiled.reasons);
                (rules, Some(names))
            }
        };
        let users = users(previous, compiled, attachments);
        let rows = match kept.and_then(|kept| kept.rows(compiled, &groups, &rules, &users)) {
            Some(rows) => rows,
            None => rows::lay(&rows::Input {
                previous,
                compiled,
                users,
                groups: &groups,
                groups_in_force: &in_force,
                rules: &rules,
                capacities,
            })?,
        };
        let input = addresses::Input { previous, compiled, numbers: &groups, capacities };
        let placed = kept.map_or_else(|| input.place_all(), |kept| kept.place(&input));
        let Addresses { blocks, block_peers, hosts, prefixes } = placed;
        let endpoints = endpoints(previous, compiled, attachments, &rows.extents, capacities)?;
        let names = names(kept, compiled, rule_names, &endpoints, attachments);
        let state = State {
            generation,
            abi_version: ABI_VERSION,
            ticks_per_second: params.ticks_per_second,
            events_per_second: params.events_per_second,
        };
        let Rows { cells, intervals, .. } = rows.clone();
        let endpoints = keep(&previous.endpoints, endpoints);
        let marking = previous.marking;
        let mut next = Image {
            state,
            marking,
            endpoints,
            blocks,
            block_peers,
            hosts,
            prefixes,
            cells,
            intervals,
            names,
        };
        check_hashes(previous, &next, capacities)?;
        if changes_verdicts(previous, &next) {
            next.state.generation = after(generation);
        }
        let reasons = match self.kept.take() {
            Some(kept) if kept.reasons == compiled.reasons => kept.reasons,
            _ => compiled.reasons.clone(),
        };
        self.kept = Some(Kept {
            reasons,
            image: next.clone(),
            addresses: compiled.addresses.clone(),
            prefixes: compiled.prefixes.clone(),
            identities: compiled.identities.clone(),
            groups,
            members,
            rules,
            specs: compiled.rows.clone(),
            rows,
        });
        Ok(next)
    }
}

/// What was there, if it is equal: so that it stays shared.
fn keep<K: Ord, V: PartialEq>(previous: &SharedMap<K, V>, next: SharedMap<K, V>) -> SharedMap<K, V> {
    if *previous == next { previous.clone() } else { next }
}

/// Names of rules, if they are not as before, of identities and of endpoints.
fn names(
    kept: Option<&Kept>,
    compiled: &Compiled,
    rules: Option<BTreeMap<NameKey, String>>,
    endpoints: &SharedMap<u32, Endpoint>,
    attachments: &BTreeMap<u32, Attachment>,
) -> SharedMap<NameKey, String> {
    let kinds: &[NameKind] = match rules {
        Some(_) => &[NameKind::Rule, NameKind::Endpoint],
        None => &[NameKind::Endpoint],
    };
    let mut some = rules.unwrap_or_default();
    for (ifindex, endpoint) in endpoints {
        if let Some(pod) = &attachments[ifindex].pod {
            some.insert(name_key(NameKind::Endpoint, endpoint.id), cut(&pod.to_string()));
        }
    }
    let identity = |number: &u32| name_key(NameKind::Identity, *number);
    let Some(kept) = kept else {
        let identities = compiled.identities.iter().map(|(number, labels)| (identity(number), cut(labels)));
        return some.into_iter().chain(identities).collect();
    };
    let mut names = kept.image.names.clone();
    for (number, _, labels) in kept.identities.pairs(&compiled.identities).filter(|(_, b, a)| b != a) {
        names.set(identity(number), labels.map(|labels| cut(labels)));
    }
    for kind in kinds {
        let there = names.range(name_key(*kind, 0)..=name_key(*kind, u32::MAX)).map(|(key, _)| *key);
        for key in there.filter(|key| !some.contains_key(key)).collect::<Vec<_>>() {
            names.remove(&key);
        }
    }
    for (key, name) in some {
        names.set(key, Some(name));
    }
    names
}

/// The generation after this one: never 0, and always of the other parity.
fn after(generation: u32) -> u32 {
    if generation == u32::MAX { 2 } else { generation + 1 }
}

/// Whether the half in force differs anywhere. Where a cell in force changes, the row has moved.
fn changes_verdicts(previous: &Image, next: &Image) -> bool {
    let generation = previous.state.generation;
    let group = |peer: Option<&Peer>| peer.map_or(Peer::ABSENT, |peer| peer.group(generation));
    fn any<K: Ord, V>(
        a: &SharedMap<K, V>,
        b: &SharedMap<K, V>,
        differ: impl Fn(Option<&V>, Option<&V>) -> bool,
    ) -> bool {
        a.pairs(b).any(|(_, a, b)| differ(a, b))
    }
    let peers = |a: Option<&Peer>, b: Option<&Peer>| group(a) != group(b);
    let rows = |endpoint: Option<&Endpoint>| {
        endpoint.map(|endpoint| Direction::BOTH.map(|direction| endpoint.row(generation, direction)))
    };
    generation == 0
        || previous.blocks != next.blocks
        || any(&previous.endpoints, &next.endpoints, |a, b| rows(a) != rows(b))
        || any(&previous.prefixes, &next.prefixes, |a, b| a.is_none() != b.is_none() || peers(a, b))
        || any(&previous.hosts, &next.hosts, peers)
        || any(&previous.block_peers, &next.block_peers, peers)
}

/// During an update the hash maps hold the keys of both images.
fn check_hashes(previous: &Image, next: &Image, capacities: &Capacities) -> Result<(), Capacity> {
    fn check<K: Ord, V>(
        map: &'static str,
        available: u32,
        a: &SharedMap<K, V>,
        b: &SharedMap<K, V>,
    ) -> Result<(), Capacity> {
        // Counted only where it could matter.
        if a.len() + b.len() <= available as usize {
            return Ok(());
        }
        // What both share is in both.
        let removed = a.pairs(b).filter(|(_, _, after)| after.is_none()).count();
        let needed = (b.len() + removed) as u64;
        if needed > u64::from(available) { Err(Capacity { map, needed, available }) } else { Ok(()) }
    }
    check(name::HOSTS, capacities.hosts, &previous.hosts, &next.hosts)?;
    check(name::PREFIXES, capacities.prefixes, &previous.prefixes, &next.prefixes)?;
    check(name::NAMES, capacities.names, &previous.names, &next.names)
}

/// What an interface is to be: the pod's specification, if its pod is compiled, and a row by direction.
fn wanted<'a>(
    compiled: &'a Compiled,
    attachment: &Attachment,
) -> (Option<&'a EndpointSpec>, [Option<RowIndex>; 2]) {
    match attachment.pod.as_ref().and_then(|pod| compiled.endpoints.get(pod)) {
        Some(spec) => (Some(spec), spec.rows.map(Some)),
        None => (None, compiled.startup),
    }
}

/// Rows in use, each with those that its endpoints have in force.
fn users(
    previous: &Image,
    compiled: &Compiled,
    attachments: &BTreeMap<u32, Attachment>,
) -> BTreeMap<RowIndex, Vec<Row>> {
    let mut users: BTreeMap<RowIndex, Vec<Row>> = BTreeMap::new();
    for (ifindex, attachment) in attachments {
        let (_, rows) = wanted(compiled, attachment);
        for direction in Direction::BOTH {
            let Some(row) = rows[direction.index()] else { continue };
            let now = users.entry(row).or_default();
            if let Some(endpoint) = previous.endpoints.get(ifindex) {
                let there = endpoint.row(previous.state.generation, direction);
                if there.len != 0 && !now.iter().any(|row| row.base == there.base) {
                    now.push(there);
                }
            }
        }
    }
    users
}

/// Endpoints by interface.
fn endpoints(
    previous: &Image,
    compiled: &Compiled,
    attachments: &BTreeMap<u32, Attachment>,
    extents: &BTreeMap<RowIndex, Extent>,
    capacities: &Capacities,
) -> Result<SharedMap<u32, Endpoint>, Capacity> {
    let needed = pairs_of(&previous.endpoints, attachments);
    if needed > u64::from(capacities.endpoints) {
        return Err(Capacity { map: name::ENDPOINTS, needed, available: capacities.endpoints });
    }
    let in_force: HashSet<u32> = previous.endpoints.values().map(|endpoint| endpoint.slot).collect();
    let mut free = (0..).filter(|slot| !in_force.contains(slot));
    let (mut slots, mut ids) = (HashSet::new(), HashSet::new());
    let mut endpoints = Vec::with_capacity(attachments.len());
    for (ifindex, attachment) in attachments {
        let kept = previous.endpoints.get(ifindex).map(|endpoint| endpoint.slot);
        let slot = match kept.filter(|slot| *slot < capacities.endpoints && slots.insert(*slot)) {
            Some(slot) => slot,
            None => free.next().unwrap_or(0),
        };
        let mut id = incarnation(*ifindex, attachment);
        while id == 0 || !ids.insert(id) {
            id = id.wrapping_add(1);
        }
        let (spec, rows) = wanted(compiled, attachment);
        let row = |direction: Direction| {
            let (base, len) = rows[direction.index()].map_or((0, 0), |row| extents[&row]);
            let first = spec.is_some_and(|spec| spec.connection_first[direction.index()]);
            Row { base, len, flags: if first { Row::CONNECTION_FIRST } else { 0 } }
        };
        let rows = Direction::BOTH.map(row);
        let endpoint = Endpoint {
            ifindex: *ifindex,
            slot,
            id,
            identity: spec.map_or(0, |spec| spec.identity),
            tenant: spec.map_or(0, |spec| spec.tenant),
            flags: if spec.is_some() { Endpoint::KNOWN } else { 0 },
            share: 0,
            reserved: 0,
            addrs: spec.map_or(attachment.addrs, |spec| spec.addrs).map(Option::unwrap_or_default),
            rows: [rows, rows],
        };
        endpoints.push((*ifindex, endpoint));
    }
    let mut endpoints = endpoints.into_iter().collect();
    share(&mut endpoints);
    Ok(endpoints)
}

/// Gives the endpoints of each tenant one share of the events: the place of that with the lowest slot.
fn share(endpoints: &mut SharedMap<u32, Endpoint>) {
    let mut shares: BTreeMap<u32, u32> = BTreeMap::new();
    for Endpoint { tenant, slot, .. } in endpoints.values() {
        let share = shares.entry(*tenant).or_insert(*slot);
        *share = (*share).min(*slot);
    }
    for endpoint in endpoints.values_mut() {
        endpoint.share = shares[&endpoint.tenant];
    }
}

/// Keys in either map.
fn pairs_of<A, B>(a: &SharedMap<u32, A>, b: &BTreeMap<u32, B>) -> u64 {
    (a.len() + b.keys().filter(|key| !a.contains_key(key)).count()) as u64
}

/// The endpoint's id: another pod on the same interface has another, and the same pod on the same interface the
/// same after a restart of the agent.
fn incarnation(ifindex: u32, attachment: &Attachment) -> u32 {
    let index = ifindex.to_be_bytes();
    let hash = match &attachment.pod {
        Some(PodKey { namespace, name }) => hash(&[&index, namespace.as_bytes(), name.as_bytes()]),
        None => hash(&[&index]),
    };
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_alternate_and_skip_zero() {
        assert_eq!((after(0), after(1), after(u32::MAX - 1), after(u32::MAX)), (1, 2, u32::MAX, 2));
    }
}
