//! What looks wrong in the objects of a cluster, taken together. Nothing here changes what is enforced: the
//! closed reading is in `owners` and in `meaning`. Not here: what a single manifest has wrong.

use super::snapshot::{Changes, Conflict, Snapshot};
use crate::model::{Namespace, Place, Pod, PodKey, PolicyKey, Problem, Severity, Tier, ip};
use isolator_common::addr::Addr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Finds what looks wrong, and goes on from what it found last: a change of one pod costs what it concerns.
#[derive(Debug, Default)]
pub struct Problems {
    last: Option<Snapshot>,
    /// Of each pod that has any.
    pods: BTreeMap<PodKey, Vec<Problem>>,
    /// Of each address that several claim.
    addresses: BTreeMap<Addr, Problem>,
    /// How many pods that run are in each namespace.
    namespaces: BTreeMap<String, usize>,
    /// How many pods that run are on each node.
    nodes: BTreeMap<String, usize>,
    /// Of namespaces' tenants.
    tenancy: Vec<Problem>,
    /// Of policies' priorities.
    ties: Vec<Problem>,
}

impl Problems {
    /// What looks wrong in a cluster's own objects. Sorted; equal snapshots give equal problems.
    pub fn of(&mut self, snapshot: &Snapshot) -> Vec<Problem> {
        let last = self.last.take();
        match last.as_ref().and_then(|last| Some((last, snapshot.since(last)?))) {
            Some((last, changes)) => self.go_on(last, snapshot, &changes),
            None => self.begin(snapshot),
        }
        self.last = Some(snapshot.clone());
        let of_pods = self.pods.values().flatten().chain(self.addresses.values());
        let mut all: Vec<Problem> = of_pods.chain(&self.tenancy).chain(&self.ties).cloned().collect();
        all.extend(self.undeclared(snapshot));
        all.sort();
        all
    }

    fn begin(&mut self, snapshot: &Snapshot) {
        *self = Problems { tenancy: tenancy(snapshot), ties: priority_ties(snapshot), ..Problems::default() };
        for pod in snapshot.pods().values() {
            self.pod(snapshot, &pod.key, None, Some(pod));
        }
        let shared = snapshot.owners().shared();
        self.addresses = shared.map(|(addr, conflict)| (addr, shared_address(&addr, conflict))).collect();
    }

    fn go_on(&mut self, last: &Snapshot, snapshot: &Snapshot, changes: &Changes<'_>) {
        for &(key, before, after) in &changes.pods {
            self.pod(snapshot, key, before, after);
        }
        for addr in &changes.addresses {
            match snapshot.owners().conflict(addr) {
                Some(conflict) => self.addresses.insert(*addr, shared_address(addr, conflict)),
                None => self.addresses.remove(addr),
            };
        }
        if !snapshot.policies().is_same(last.policies()) {
            self.ties = priority_ties(snapshot);
        }
    }

    fn pod(
        &mut self,
        snapshot: &Snapshot,
        key: &PodKey,
        before: Option<&Arc<Pod>>,
        after: Option<&Arc<Pod>>,
    ) {
        for pod in before.into_iter().filter(|pod| !pod.finished) {
            leave(&mut self.namespaces, &pod.key.namespace);
            pod.node.iter().for_each(|node| leave(&mut self.nodes, node));
        }
        for pod in after.into_iter().filter(|pod| !pod.finished) {
            enter(&mut self.namespaces, &pod.key.namespace);
            pod.node.iter().for_each(|node| enter(&mut self.nodes, node));
        }
        let found = after.filter(|pod| pod.is_endpoint()).map(|pod| pod_addresses(snapshot, pod));
        match found.filter(|found| !found.is_empty()) {
            Some(found) => self.pods.insert(key.clone(), found),
            None => self.pods.remove(key),
        };
    }

    fn undeclared(&self, snapshot: &Snapshot) -> Vec<Problem> {
        let namespaces = self.namespaces.keys().filter(|name| !snapshot.namespaces().contains_key(*name));
        let namespaces = namespaces.map(|name| {
            let message = "pods are in this namespace but nothing declares it, so it has no labels and no tenant; declare it";
            problem(Severity::Warning, "undeclared-namespace", format!("Namespace {name}"), "", message.to_owned())
        });
        let nodes = self.nodes.keys().filter(|name| !snapshot.nodes().contains_key(*name));
        let nodes = nodes.map(|name| {
            let message = "pods are on this node but nothing declares it, so its own addresses are not known; declare it";
            problem(Severity::Warning, "undeclared-node", format!("Node {name}"), "", message.to_owned())
        });
        namespaces.chain(nodes).collect()
    }
}

fn enter(counts: &mut BTreeMap<String, usize>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

fn leave(counts: &mut BTreeMap<String, usize>, name: &str) {
    match counts.get_mut(name) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(name)),
    }
}

fn tenancy(snapshot: &Snapshot) -> Vec<Problem> {
    let admits = |namespace: &&Arc<Namespace>| {
        !namespace.accept_tenants.is_empty() && snapshot.tenant_of(&namespace.name).is_none()
    };
    let namespaces = snapshot.namespaces().values().filter(admits);
    let found = namespaces.map(|namespace| {
        let message = format!(
            "it admits tenants but has none itself, so tenancy does not restrict it; label it with {}",
            snapshot.tenant_label()
        );
        let object = format!("Namespace {}", namespace.name);
        problem(Severity::Warning, "accepts-without-tenant", object, "metadata.annotations", message)
    });
    found.collect()
}

/// Policies of one tier and priority: the API leaves open which of them comes first. Here the order of their names
/// decides.
fn priority_ties(snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut by_rank: BTreeMap<_, Vec<&PolicyKey>> = BTreeMap::new();
    let policies = snapshot.policies().values().filter(|policy| policy.tier != Tier::Normal);
    for policy in policies {
        by_rank.entry((policy.tier, policy.priority)).or_default().push(&policy.key);
    }
    for ((tier, priority), keys) in by_rank {
        let [first, others @ ..] = &keys[..] else { continue };
        for other in others {
            problems.push(problem(
                Severity::Warning,
                "priority-tie",
                other.to_string(),
                "spec.priority",
                format!(
                    "it has priority {priority} in the tier {tier:?}, as {first} has, and the API leaves open which of \
                     them comes first; here the order of their names decides"
                ),
            ));
        }
    }
    problems
}

fn shared_address(addr: &Addr, conflict: &Conflict) -> Problem {
    let pods = conflict.pods.iter().map(|pod| format!("Pod {}", pod.key));
    let nodes = conflict.nodes.iter().map(|node| format!("Node {}", node.name));
    let all: Vec<_> = pods.chain(nodes).collect();
    let (severity, code, meaning) = if conflict.pods.is_empty() {
        (Severity::Warning, "shared-node-address", "nobody is taken for the local host by it")
    } else {
        (Severity::Error, "duplicate-address", "nobody has rights by it until it is unique")
    };
    let object = all.first().cloned().unwrap_or_default();
    let message = format!("address {} is claimed by {}; {meaning}", ip(addr), all.join(" and "));
    problem(severity, code, object, "status", message)
}

fn pod_addresses(snapshot: &Snapshot, pod: &Pod) -> Vec<Problem> {
    let mut problems = Vec::new();
    let object = || format!("Pod {}", pod.key);
    let counted = pod.addrs();
    for extra in pod.addresses.iter().filter(|addr| !counted.contains(&Some(**addr))) {
        problems.push(problem(
            Severity::Warning,
            "surplus-address",
            object(),
            "status.podIPs",
            format!("{} is its second address of one family; only the first counts", ip(extra)),
        ));
    }
    let Some(node) = pod.node.as_ref().and_then(|name| snapshot.nodes().get(name)) else {
        return problems;
    };
    for addr in counted.into_iter().flatten() {
        let mut ranges = node.pod_cidrs.iter().filter(|range| range.is_v4() == addr.is_v4()).peekable();
        if ranges.peek().is_some() && !ranges.any(|range| range.contains(&addr)) {
            problems.push(problem(
                Severity::Warning,
                "address-outside-pod-cidr",
                object(),
                "status.podIPs",
                format!("{} is not in a pod CIDR of its node {}", ip(&addr), node.name),
            ));
        }
    }
    problems
}

fn problem(severity: Severity, code: &'static str, object: String, field: &str, message: String) -> Problem {
    Problem { severity, code, place: Place::Unknown, object, field: field.to_owned(), message }
}
