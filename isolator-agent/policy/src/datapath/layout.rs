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
use super::numbers::{cut, groups, hash, name_key, rules};
use super::pairs::pairs;
use super::rows::{self, Extent, Rows};
use crate::model::PodKey;
use isolator_common::ABI_VERSION;
use isolator_common::addr::Addr;
use isolator_common::endpoint::{Endpoint, Peer, Row, State};
use isolator_common::event::NameKind;
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

/// The next image. Its generation differs from the previous one's if and only if packets may be judged
/// differently.
///
/// # Errors
/// A map that cannot hold the previous and the next contents together.
pub fn layout(
    previous: &Image,
    compiled: &Compiled,
    attachments: &BTreeMap<u32, Attachment>,
    params: &Params,
) -> Result<Image, Capacity> {
    let capacities = &params.capacities;
    let generation = previous.state.generation;
    let in_force = addresses::groups_in_force(previous, generation);
    let mut has_members = vec![false; compiled.groups as usize];
    for behind in compiled.addresses.values().chain(compiled.prefixes.values()) {
        has_members[behind.group.0 as usize] = true;
    }
    let groups = groups(&has_members, addresses::votes(previous, compiled, generation), &in_force);
    let (rules, mut names) = rules(previous, &compiled.reasons);
    let Rows { extents, cells, intervals } = rows::lay(&rows::Input {
        previous,
        compiled,
        users: users(previous, compiled, attachments),
        groups: &groups,
        groups_in_force: &in_force,
        rules: &rules,
        capacities,
    })?;
    let Addresses { blocks, block_peers, hosts, prefixes } =
        addresses::place(previous, compiled, &groups, capacities);
    let endpoints = endpoints(previous, compiled, attachments, &extents, capacities)?;
    for (identity, labels) in &compiled.identities {
        names.insert(name_key(NameKind::Identity, *identity), cut(labels));
    }
    for (ifindex, endpoint) in &endpoints {
        if let Some(pod) = &attachments[ifindex].pod {
            names.insert(name_key(NameKind::Endpoint, endpoint.id), cut(&pod.to_string()));
        }
    }
    let state = State {
        generation,
        abi_version: ABI_VERSION,
        ticks_per_second: params.ticks_per_second,
        events_per_second: params.events_per_second,
    };
    let mut next = Image { state, endpoints, blocks, block_peers, hosts, prefixes, cells, intervals, names };
    check_hashes(previous, &next, capacities)?;
    if changes_verdicts(previous, &next) {
        next.state.generation = after(generation);
    }
    Ok(next)
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
        a: &BTreeMap<K, V>,
        b: &BTreeMap<K, V>,
        differ: impl Fn(Option<&V>, Option<&V>) -> bool,
    ) -> bool {
        pairs(a, b).any(|(_, a, b)| differ(a, b))
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
        a: &BTreeMap<K, V>,
        b: &BTreeMap<K, V>,
    ) -> Result<(), Capacity> {
        // Counted only where it could matter.
        if a.len() + b.len() <= available as usize {
            return Ok(());
        }
        let needed = pairs(a, b).count() as u64;
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
) -> Result<BTreeMap<u32, Endpoint>, Capacity> {
    let needed = pairs_of(&previous.endpoints, attachments);
    if needed > u64::from(capacities.endpoints) {
        return Err(Capacity { map: name::ENDPOINTS, needed, available: capacities.endpoints });
    }
    let in_force: HashSet<u32> = previous.endpoints.values().map(|endpoint| endpoint.slot).collect();
    let mut free = (0..).filter(|slot| !in_force.contains(slot));
    let (mut slots, mut ids) = (HashSet::new(), HashSet::new());
    let mut endpoints = BTreeMap::new();
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
            addrs: spec.map_or(attachment.addrs, |spec| spec.addrs).map(Option::unwrap_or_default),
            rows: [rows, rows],
        };
        endpoints.insert(*ifindex, endpoint);
    }
    Ok(endpoints)
}

/// Keys in either map.
fn pairs_of<A, B>(a: &BTreeMap<u32, A>, b: &BTreeMap<u32, B>) -> u64 {
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
