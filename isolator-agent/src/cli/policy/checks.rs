//! What looks wrong in policies that are valid. Warnings only: what they say is enforced as it is written. Not
//! here: what cannot be read (`source`), the cluster's own objects (`Snapshot::problems`).

use super::list::{in_namespaces, selected};
use super::phrase;
use isolator_common::conntrack::protocol;
use isolator_common::policy::Direction;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{
    Action, Peer, Peers, Pod, Policy, PortMatch, Ports, Problem, Rule, Rules, Severity,
};
use std::collections::BTreeSet;

/// The port of DNS.
const DNS: u16 = 53;

/// All suspicions, sorted.
pub(super) fn suspicions(snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    for policy in snapshot.policies().values() {
        let object = policy.key.to_string();
        let mut warn =
            |code, field: &str, message: String| problems.push(warning(code, &object, field, message));
        if selected(snapshot, policy).next().is_none() {
            let subject = phrase::subject(&policy.subject);
            warn(
                "selects-nothing",
                "spec.podSelector",
                format!("it selects no pod ({subject}); check the labels"),
            );
        }
        for direction in Direction::BOTH {
            let Some(section) = section(policy, direction) else { continue };
            for (index, rule) in section.rules.iter().enumerate() {
                let field = format!("spec.{}[{index}]", direction.name());
                for peer in silent_peers(snapshot, rule) {
                    let peer = phrase::peer(peer);
                    warn("peer-matches-nothing", &field, format!("no pod matches {peer}; check the labels"));
                }
                for port in unknown_names(snapshot, policy, rule, direction) {
                    let port = phrase::port(port);
                    warn(
                        "named-port-unknown",
                        &field,
                        format!("no pod that is meant has a port named {port}"),
                    );
                }
            }
        }
        if let Some(pod) = selected(snapshot, policy).find(|pod| lacks_dns(snapshot, policy, pod)) {
            let message = format!(
                "pod {} may not reach any DNS server: no policy allows it UDP/{DNS}; names will not resolve",
                pod.key
            );
            warn("no-dns", "spec.egress", message);
        }
    }
    tenancy(snapshot, &mut problems);
    problems.sort();
    problems
}

fn section(policy: &Policy, direction: Direction) -> Option<&Rules> {
    match direction {
        Direction::Egress => policy.egress.as_ref(),
        Direction::Ingress => policy.ingress.as_ref(),
    }
}

/// Peers of a rule that are pods, of which there are none.
fn silent_peers<'a>(snapshot: &Snapshot, rule: &'a Rule) -> Vec<&'a Peer> {
    let Peers::OneOf(peers) = &rule.peers else { return Vec::new() };
    let silent = |peer: &&Peer| match peer {
        Peer::Pods { .. } => !endpoints(snapshot).any(|pod| is_peer(snapshot, peer, pod)),
        Peer::Block { .. } | Peer::Entity(_) => false,
    };
    peers.iter().filter(silent).collect()
}

fn endpoints(snapshot: &Snapshot) -> impl Iterator<Item = &Pod> {
    snapshot.pods().values().map(AsRef::as_ref).filter(|pod| pod.is_endpoint())
}

fn is_peer(snapshot: &Snapshot, peer: &Peer, pod: &Pod) -> bool {
    match peer {
        Peer::Pods { namespaces, pods } => {
            in_namespaces(snapshot, namespaces, &pod.key.namespace) && pods.matches(&pod.labels)
        }
        Peer::Block { cidr, .. } => pod.addresses.iter().any(|addr| cidr.contains(addr)),
        Peer::Entity(_) => true,
    }
}

/// Names of ports that no receiving pod has.
fn unknown_names<'a>(
    snapshot: &Snapshot,
    policy: &Policy,
    rule: &'a Rule,
    direction: Direction,
) -> Vec<&'a PortMatch> {
    let Ports::OneOf(ports) = &rule.ports else { return Vec::new() };
    let has = |pod: &Pod, protocol: u8, name: &str| {
        pod.ports.iter().any(|port| port.protocol == protocol && port.name == name)
    };
    let unknown = |port: &&PortMatch| {
        let PortMatch::Named { protocol, name } = port else { return false };
        !match (direction, &rule.peers) {
            (Direction::Ingress, _) => selected(snapshot, policy).any(|pod| has(pod, *protocol, name)),
            (Direction::Egress, Peers::Any) => endpoints(snapshot).any(|pod| has(pod, *protocol, name)),
            (Direction::Egress, Peers::OneOf(peers)) => endpoints(snapshot)
                .filter(|pod| peers.iter().any(|peer| is_peer(snapshot, peer, pod)))
                .any(|pod| has(pod, *protocol, name)),
        }
    };
    ports.iter().filter(unknown).collect()
}

/// Whether a policy isolates a pod for egress, and nothing that selects the pod allows it DNS.
fn lacks_dns(snapshot: &Snapshot, policy: &Policy, pod: &Pod) -> bool {
    let isolates = policy.egress.as_ref().is_some_and(|rules| rules.default_deny);
    let allows = |policy: &Policy| {
        let rules = policy.egress.iter().flat_map(|rules| &rules.rules);
        rules.filter(|rule| rule.action != Action::Deny).any(|rule| match &rule.ports {
            Ports::Any => rule.peers != Peers::OneOf(Vec::new()),
            Ports::OneOf(ports) => ports.iter().any(|port| match port {
                PortMatch::Range { protocol: protocol::UDP, first, last } => (*first..=*last).contains(&DNS),
                PortMatch::Range { .. } => false,
                // Names of ports differ from pod to pod; this one may be DNS.
                PortMatch::Named { protocol, .. } => *protocol == protocol::UDP,
            }),
        })
    };
    let speaks_of = |policy: &Policy| {
        in_namespaces(snapshot, &policy.subject.namespaces, &pod.key.namespace)
            && policy.subject.pods.matches(&pod.labels)
    };
    isolates && !snapshot.policies().values().any(|policy| speaks_of(policy) && allows(policy))
}

/// Namespaces with pods and without a tenant, where others have one.
fn tenancy(snapshot: &Snapshot, problems: &mut Vec<Problem>) {
    let used: BTreeSet<_> = endpoints(snapshot).map(|pod| pod.key.namespace.as_str()).collect();
    let (with, without): (Vec<_>, Vec<_>) =
        used.into_iter().partition(|name| snapshot.tenant_of(name).is_some());
    if with.is_empty() {
        return;
    }
    for name in without {
        let message = format!(
            "it has no tenant while other namespaces have: tenancy does not restrict its pods; label it with {} \
             unless it serves every tenant",
            snapshot.tenant_label()
        );
        problems.push(warning("no-tenant", &format!("Namespace {name}"), "metadata.labels", message));
    }
}

fn warning(code: &'static str, object: &str, field: &str, message: String) -> Problem {
    Problem {
        severity: Severity::Warning,
        code,
        place: String::new(),
        object: object.to_owned(),
        field: field.to_owned(),
        message,
    }
}
