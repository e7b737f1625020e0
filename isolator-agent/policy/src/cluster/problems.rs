//! What looks wrong in the objects of a cluster, taken together. Nothing here changes what is enforced: the
//! closed reading is in `owners` and in `meaning`. Not here: what a single manifest has wrong.

use super::snapshot::Snapshot;
use crate::model::{Place, Pod, PolicyKey, Problem, Severity, Tier, ip};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn problems(snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    shared_addresses(snapshot, &mut problems);
    let mut namespaces = BTreeSet::new();
    let mut nodes = BTreeSet::new();
    for pod in snapshot.pods().values() {
        if !pod.finished {
            namespaces.insert(pod.key.namespace.as_str());
            nodes.extend(pod.node.as_deref());
        }
        if pod.is_endpoint() {
            pod_addresses(snapshot, pod, &mut problems);
        }
    }
    for name in namespaces.into_iter().filter(|name| !snapshot.namespaces().contains_key(*name)) {
        problems.push(problem(
            Severity::Warning,
            "undeclared-namespace",
            format!("Namespace {name}"),
            "",
            "pods are in this namespace but nothing declares it, so it has no labels and no tenant; declare it"
                .to_owned(),
        ));
    }
    for name in nodes.into_iter().filter(|name| !snapshot.nodes().contains_key(*name)) {
        problems.push(problem(
            Severity::Warning,
            "undeclared-node",
            format!("Node {name}"),
            "",
            "pods are on this node but nothing declares it, so its own addresses are not known; declare it"
                .to_owned(),
        ));
    }
    for namespace in snapshot.namespaces().values() {
        if !namespace.accept_tenants.is_empty() && snapshot.tenant_of(&namespace.name).is_none() {
            problems.push(problem(
                Severity::Warning,
                "accepts-without-tenant",
                format!("Namespace {}", namespace.name),
                "metadata.annotations",
                format!(
                    "it admits tenants but has none itself, so tenancy does not restrict it; label it with {}",
                    snapshot.tenant_label()
                ),
            ));
        }
    }
    priority_ties(snapshot, &mut problems);
    problems.sort();
    problems
}

/// Policies of one tier and priority: the API leaves open which of them comes first. Here the order of their names
/// decides.
fn priority_ties(snapshot: &Snapshot, problems: &mut Vec<Problem>) {
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
}

fn shared_addresses(snapshot: &Snapshot, problems: &mut Vec<Problem>) {
    for (addr, conflict) in snapshot.owners().shared() {
        let pods = conflict.pods.iter().map(|pod| format!("Pod {}", pod.key));
        let nodes = conflict.nodes.iter().map(|node| format!("Node {}", node.name));
        let all: Vec<_> = pods.chain(nodes).collect();
        let (severity, code, meaning) = if conflict.pods.is_empty() {
            (Severity::Warning, "shared-node-address", "nobody is taken for the local host by it")
        } else {
            (Severity::Error, "duplicate-address", "nobody has rights by it until it is unique")
        };
        let object = all.first().cloned().unwrap_or_default();
        let addr = ip(&addr);
        problems.push(problem(
            severity,
            code,
            object,
            "status",
            format!("address {addr} is claimed by {}; {meaning}", all.join(" and ")),
        ));
    }
}

fn pod_addresses(snapshot: &Snapshot, pod: &Pod, problems: &mut Vec<Problem>) {
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
    let Some(node) = pod.node.as_ref().and_then(|name| snapshot.nodes().get(name)) else { return };
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
}

fn problem(severity: Severity, code: &'static str, object: String, field: &str, message: String) -> Problem {
    Problem { severity, code, place: Place::Unknown, object, field: field.to_owned(), message }
}
