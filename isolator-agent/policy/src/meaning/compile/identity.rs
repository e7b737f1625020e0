//! Identity numbers, for people: the same on every node without anybody being asked, because they are
//! hashes of what they name. A number that is taken is probed onwards; numbers are dealt out sorted by hash
//! and name, so every node probes alike. Enforcement never depends on them. Not here: groups.

use super::blocks::Blocks;
use crate::cluster::snapshot::{Owner, Snapshot};
use crate::model::{Labels, Pod, PodKey, cidr};
use isolator_common::addr::Prefix;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Reserved numbers, as Cilium deals them out.
mod reserved {
    pub(super) const HOST: u32 = 1;
    pub(super) const UNMANAGED: u32 = 3;
    pub(super) const REMOTE_NODE: u32 = 6;
    pub(super) const WORLD_IPV4: u32 = 9;
    pub(super) const WORLD_IPV6: u32 = 10;
    pub(super) const NAMES: [(u32, &str); 5] = [
        (HOST, "reserved:host"),
        (UNMANAGED, "reserved:unmanaged"),
        (REMOTE_NODE, "reserved:remote-node"),
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
pub(super) struct Identities<'a> {
    /// By pod.
    pods: HashMap<&'a PodKey, u32>,
    /// A pod of each number.
    examples: Vec<(u32, &'a Pod)>,
    prefixes: BTreeMap<Prefix, u32>,
}

impl<'a> Identities<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, blocks: &Blocks) -> Self {
        let running = snapshot.pods().values().filter(|pod| pod.is_endpoint());
        let mut sorted: Vec<(u64, &Pod)> = running.map(|pod| (hash_pod(pod), pod.as_ref())).collect();
        sorted.sort_by(|(hash, pod), (other_hash, other)| {
            hash.cmp(other_hash).then_with(|| named_by(pod).cmp(&named_by(other)))
        });
        let mut taken = HashSet::with_capacity(sorted.len());
        let mut pods = HashMap::with_capacity(sorted.len());
        let mut examples: Vec<(u32, &Pod)> = Vec::new();
        let mut last_hash = 0;
        for (hash, pod) in sorted {
            let number = match examples.last() {
                Some((number, example)) if last_hash == hash && named_by(example) == named_by(pod) => *number,
                _ => {
                    let number = deal(&mut taken, hash, FIRST_POD, FIRST_PREFIX - FIRST_POD);
                    examples.push((number, pod));
                    number
                }
            };
            last_hash = hash;
            pods.insert(&pod.key, number);
        }
        let mut taken = HashSet::new();
        let prefixes = blocks
            .prefixes
            .iter()
            .map(|prefix| {
                let number = match *prefix {
                    Prefix::ALL_V4 => reserved::WORLD_IPV4,
                    Prefix::ALL_V6 => reserved::WORLD_IPV6,
                    _ => deal(&mut taken, fnv([cidr(prefix).as_bytes()]), FIRST_PREFIX, PREFIXES),
                };
                (*prefix, number)
            })
            .collect();
        Identities { pods, examples, prefixes }
    }

    /// The number of a running pod.
    pub(super) fn of_pod(&self, pod: &Pod) -> u32 {
        self.pods.get(&pod.key).copied().unwrap_or(reserved::UNMANAGED)
    }

    /// The number of whoever has an address in the cluster.
    pub(super) fn of_owner(&self, owner: Owner<'_>) -> u32 {
        match owner {
            Owner::Pod(pod) => self.of_pod(pod),
            Owner::LocalHost => reserved::HOST,
            Owner::RemoteNode(_) => reserved::REMOTE_NODE,
            Owner::Conflict(_) | Owner::Outside => reserved::UNMANAGED,
        }
    }

    /// The number of a prefix of an active rule.
    pub(super) fn of_prefix(&self, prefix: &Prefix) -> u32 {
        self.prefixes.get(prefix).copied().unwrap_or(reserved::UNMANAGED)
    }

    /// What each number stands for.
    pub(super) fn names(&self) -> BTreeMap<u32, String> {
        let reserved = reserved::NAMES.iter().map(|(number, name)| (*number, (*name).to_owned()));
        let pods =
            self.examples.iter().map(|(number, pod)| (*number, pod_name(&pod.key.namespace, &pod.labels)));
        let prefixes = self.prefixes.iter().filter(|(_, number)| **number >= FIRST_PREFIX);
        let prefixes = prefixes.map(|(prefix, number)| (*number, format!("cidr:{}", cidr(prefix))));
        reserved.chain(pods).chain(prefixes).collect()
    }
}

/// The number of a tenant: a hash of its name, never 0.
pub(super) fn tenant_number(tenant: &str) -> u32 {
    (fold(fnv([tenant.as_bytes()])) as u32).max(1)
}

/// Labels as Cilium writes them, sorted.
fn pod_name(namespace: &str, labels: &Labels) -> String {
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
        assert_eq!(pod_name("shop", &labels), "k8s:app=web k8s:io.kubernetes.pod.namespace=shop k8s:zone");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // FNV-1a of "a" is 0xaf63dc4c8601ec8c; the closing zero byte multiplies once more.
        assert_eq!(fnv([&b"a"[..]]), 0xaf63_dc4c_8601_ec8c_u64.wrapping_mul(0x0000_0100_0000_01b3));
    }
}
