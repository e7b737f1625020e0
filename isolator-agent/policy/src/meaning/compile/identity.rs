//! Identity numbers, for people: the same on every node without anybody being asked, because they are
//! hashes of what they name. Where one is taken, the next that is free serves; numbers are dealt out in the
//! order of what is asked for, of hash and of name, so every node deals alike, and one pod more moves only its
//! neighbours. Enforcement never depends on them. Not here: groups.

use crate::cluster::snapshot::{Owner, Snapshot};
use crate::model::{Labels, Pod, cidr};
use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Reserved numbers, as Cilium deals them out.
mod reserved {
    pub(super) const HOST: u32 = 1;
    pub(super) const UNMANAGED: u32 = 3;
    pub(super) const REMOTE_NODE: u32 = 6;
    pub(super) const KUBE_APISERVER: u32 = 7;
    pub(super) const WORLD_IPV4: u32 = 9;
    pub(super) const WORLD_IPV6: u32 = 10;
    pub(super) const NAMES: [(u32, &str); 6] = [
        (HOST, "reserved:host"),
        (UNMANAGED, "reserved:unmanaged"),
        (REMOTE_NODE, "reserved:remote-node"),
        (KUBE_APISERVER, "reserved:kube-apiserver"),
        (WORLD_IPV4, "reserved:world-ipv4"),
        (WORLD_IPV6, "reserved:world-ipv6"),
    ];
}

/// First number for pods; below are reserved ones.
const FIRST_POD: u32 = 256;
/// First number for prefixes; all for pods are below.
const FIRST_PREFIX: u32 = 1 << 24;
/// Numbers that prefixes are hashed into.
const PREFIXES: u32 = 1 << 24;

/// The numbers of everything in a cluster.
#[derive(Debug, Default)]
pub(super) struct Identities {
    pods: BTreeMap<Named, Numbered>,
    prefixes: BTreeMap<Prefix, u32>,
    /// What each number stands for.
    names: SharedMap<u32, String>,
}

/// What pods of one number have in common, in the order in which numbers are dealt out.
#[derive(Clone, Debug)]
struct Named {
    start: u32,
    hash: u64,
    /// Any of them.
    example: Arc<Pod>,
}

#[derive(Clone, Copy, Debug)]
struct Numbered {
    number: u32,
    /// Pods that have it.
    pods: usize,
}

impl Named {
    fn of(pod: &Arc<Pod>) -> Self {
        let hash = hash_pod(pod);
        let start = start(hash, FIRST_POD, FIRST_PREFIX - FIRST_POD);
        Named { start, hash, example: Arc::clone(pod) }
    }

    fn order(&self) -> (u32, u64, (&str, &Labels)) {
        (self.start, self.hash, named_by(&self.example))
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl Identities {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut pods: BTreeMap<Named, Numbered> = BTreeMap::new();
        for pod in snapshot.pods().values().filter(|pod| pod.is_endpoint()) {
            pods.entry(Named::of(pod)).or_insert(Numbered { number: 0, pods: 0 }).pods += 1;
        }
        let mut next = FIRST_POD;
        for (named, numbered) in &mut pods {
            numbered.number = dealt(named.start, next, FIRST_PREFIX);
            next = numbered.number + 1;
        }
        let reserved = reserved::NAMES.iter().map(|(number, name)| (*number, (*name).to_owned()));
        let named =
            pods.iter().map(|(named, numbered)| (numbered.number, pod_name(named_by(&named.example))));
        Identities { names: reserved.chain(named).collect(), pods, prefixes: BTreeMap::new() }
    }

    /// Replaces a pod. Adds to `moved` the numbers that pods of other names had and have no more: the dealing of two
    /// names may meet, which is rare, and concerns a few.
    pub(super) fn replace(
        &mut self,
        before: Option<&Arc<Pod>>,
        after: Option<&Arc<Pod>>,
        moved: &mut BTreeSet<u32>,
    ) {
        let of = |pod: Option<&Arc<Pod>>| pod.filter(|pod| pod.is_endpoint()).map(Named::of);
        let (before, after) = (of(before), of(after));
        if before == after {
            return;
        }
        if let Some(named) = after {
            match self.pods.get_mut(&named) {
                Some(numbered) => numbered.pods += 1,
                None => {
                    self.pods.insert(named.clone(), Numbered { number: 0, pods: 1 });
                    self.deal_from(&named, moved);
                }
            }
        }
        if let Some(named) = before
            && let Some(numbered) = self.pods.get_mut(&named)
        {
            numbered.pods -= 1;
            if numbered.pods == 0 {
                let number = numbered.number;
                self.pods.remove(&named);
                self.names.remove(&number);
                self.deal_from(&named, moved);
            }
        }
    }

    /// Deals numbers out from here on, until one stays: those behind it depend on nothing else. Adds those that are
    /// different now to `moved`, as they were.
    fn deal_from(&mut self, from: &Named, moved: &mut BTreeSet<u32>) {
        let before = self.pods.range(..from).next_back();
        let mut next = before.map_or(FIRST_POD, |(_, numbered)| numbered.number + 1);
        let mut renamed = Vec::new();
        for (named, numbered) in self.pods.range_mut(from..) {
            let number = dealt(named.start, next, FIRST_PREFIX);
            if number == numbered.number {
                break;
            }
            renamed.push((numbered.number, number, pod_name(named_by(&named.example))));
            numbered.number = number;
            next = number + 1;
        }
        // 0: it had none yet.
        for (old, ..) in renamed.iter().filter(|(old, ..)| *old != 0) {
            self.names.remove(old);
            moved.insert(*old);
        }
        for (_, new, name) in renamed {
            self.names.insert(new, name);
        }
    }

    /// The prefixes of active rules, sorted.
    pub(super) fn prefixes(&mut self, prefixes: impl Iterator<Item = Prefix>) {
        let mut taken = HashSet::new();
        let prefixes: BTreeMap<Prefix, u32> = prefixes
            .map(|prefix| {
                let number = match prefix {
                    Prefix::ALL_V4 => reserved::WORLD_IPV4,
                    Prefix::ALL_V6 => reserved::WORLD_IPV6,
                    _ => deal(&mut taken, fnv([cidr(&prefix).as_bytes()]), FIRST_PREFIX, PREFIXES),
                };
                (prefix, number)
            })
            .collect();
        let of_rules = |numbers: &BTreeMap<Prefix, u32>| -> BTreeMap<u32, Prefix> {
            let all = numbers.iter().filter(|(_, number)| **number >= FIRST_PREFIX);
            all.map(|(prefix, number)| (*number, *prefix)).collect()
        };
        let (before, after) = (of_rules(&self.prefixes), of_rules(&prefixes));
        for number in before.keys().filter(|number| !after.contains_key(number)) {
            self.names.remove(number);
        }
        for (number, prefix) in after.iter().filter(|(number, prefix)| before.get(number) != Some(prefix)) {
            self.names.insert(*number, format!("cidr:{}", cidr(prefix)));
        }
        self.prefixes = prefixes;
    }

    /// The number of a running pod.
    pub(super) fn of_pod(&self, pod: &Arc<Pod>) -> u32 {
        self.pods.get(&Named::of(pod)).map_or(reserved::UNMANAGED, |numbered| numbered.number)
    }

    /// The number of whoever has an address in the cluster, or of an API server.
    pub(super) fn of_address(&self, snapshot: &Snapshot, addr: &Addr, node: &str) -> u32 {
        match snapshot.owner(addr, node) {
            Owner::Pod(pod) => self.of_pod(pod),
            Owner::LocalHost => reserved::HOST,
            Owner::RemoteNode(_) | Owner::Outside if snapshot.api_servers().contains(addr) => {
                reserved::KUBE_APISERVER
            }
            Owner::RemoteNode(_) => reserved::REMOTE_NODE,
            Owner::Conflict(_) | Owner::Outside => reserved::UNMANAGED,
        }
    }

    /// The number of a prefix of an active rule.
    pub(super) fn of_prefix(&self, prefix: &Prefix) -> u32 {
        self.prefixes.get(prefix).copied().unwrap_or(reserved::UNMANAGED)
    }

    /// What each number stands for.
    pub(super) fn names(&self) -> SharedMap<u32, String> {
        self.names.clone()
    }
}

/// The number of a tenant: a hash of its name, never 0.
pub(super) fn tenant_number(tenant: &str) -> u32 {
    (fold(fnv([tenant.as_bytes()])) as u32).max(1)
}

/// Labels as Cilium writes them, sorted.
fn pod_name((namespace, labels): (&str, &Labels)) -> String {
    let mut parts: Vec<(&str, &str)> =
        labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    parts.push(("io.kubernetes.pod.namespace", namespace));
    parts.sort_unstable();
    let mut name = String::new();
    for (key, value) in parts {
        let space = if name.is_empty() { "" } else { " " };
        let equals = if value.is_empty() { "" } else { "=" };
        name.extend([space, "k8s:", key, equals, value]);
    }
    name
}

/// The number that a hash asks for, in `first..first + count`.
fn start(hash: u64, first: u32, count: u32) -> u32 {
    first + (fold(hash) % u64::from(count)) as u32
}

/// The number of what asks for `start`, where those that asked before have all below `next`. At the end of all
/// numbers the last is shared: that blurs a name for people, nothing else.
fn dealt(start: u32, next: u32, end: u32) -> u32 {
    start.max(next).min(end - 1)
}

/// A free number near a hash, in `first..first + count`.
fn deal(taken: &mut HashSet<u32>, hash: u64, first: u32, count: u32) -> u32 {
    let start = (fold(hash) % u64::from(count)) as u32;
    let mut number = start;
    while !taken.insert(number) {
        number = (number + 1) % count;
        if number == start {
            // Every number is taken: sharing one blurs a name for people, nothing else.
            break;
        }
    }
    first + number
}

/// What a pod's number stands for.
fn named_by(pod: &Pod) -> (&str, &Labels) {
    (&pod.key.namespace, &pod.labels)
}

fn hash_pod(pod: &Pod) -> u64 {
    let (namespace, labels) = named_by(pod);
    let labels = labels.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]);
    fnv(std::iter::once(namespace.as_bytes()).chain(labels))
}

/// FNV-1a, 64 bits. Each part ends with a zero byte, which no Kubernetes name contains.
fn fnv<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.into_iter().flat_map(|part| part.iter().copied().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// Both halves of a hash in 32 bits: the low bits of FNV alone are its weakest.
fn fold(hash: u64) -> u64 {
    (hash >> 32) ^ (hash & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_number_is_probed_onwards_and_around() {
        let mut taken = HashSet::new();
        assert_eq!(deal(&mut taken, 9, 100, 10), 109);
        assert_eq!(deal(&mut taken, 9, 100, 10), 100);
        assert_eq!(deal(&mut taken, 9, 100, 10), 101);
    }

    #[test]
    fn names_are_sorted_labels_with_their_source() {
        let labels = Labels::from([("app".into(), "web".into()), ("zone".into(), String::new())]);
        assert_eq!(pod_name(("shop", &labels)), "k8s:app=web k8s:io.kubernetes.pod.namespace=shop k8s:zone");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // FNV-1a of "a" is 0xaf63dc4c8601ec8c; the closing zero byte multiplies once more.
        assert_eq!(fnv([&b"a"[..]]), 0xaf63_dc4c_8601_ec8c_u64.wrapping_mul(0x0000_0100_0000_01b3));
    }
}
