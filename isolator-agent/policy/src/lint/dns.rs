//! Pods that are isolated for egress and may ask no DNS server: the first thing that breaks under a default deny.
//!
//! DNS servers are the pods of `kube-system` with the label `k8s-app: kube-dns`. Where there are none in the input, one
//! is thought of, and so is a pod for each policy that isolates and selects nobody in an input without its pods. A rule
//! that names port 53 and means others counts, too: they may be a cache on the node or a server elsewhere.
//!
//! Not here: whether the DNS server lets them in.

use super::facts::Facts;
use super::view::{PartView, View, namespace_of};
use super::{listed, warning};
use crate::cluster::snapshot::Snapshot;
use crate::meaning::flow::{End, FlowSpec};
use crate::meaning::oracle;
use crate::meaning::reading::{means_pod, selects};
use crate::model::{
    Action, ContainerPort, Labels, Operator, Peer, Peers, Pod, PodKey, PolicyKey, PortMatch, Ports, Problem,
    Subject, Tier,
};
use crate::phrase;
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The port of DNS.
const PORT: u16 = 53;
/// Where a cluster's DNS servers are, and their label.
const NAMESPACE: &str = "kube-system";
const LABEL: (&str, &str) = ("k8s-app", "kube-dns");

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    let mut thought_of: BTreeMap<PodKey, (Pod, String)> = BTreeMap::new();
    for part in view.parts.iter().filter(|part| isolates(part) && part.pods.is_empty()) {
        if let Some(pod) = witness(view, part, thought_of.len()) {
            let name = format!("a pod like those that it selects ({})", phrase::subject(&part.part.subject));
            thought_of.insert(pod.key.clone(), (pod, name));
        }
    }
    let mut pods: Vec<Pod> = thought_of.values().map(|(pod, _)| pod.clone()).collect();
    if servers(view.snapshot).next().is_none() {
        pods.push(server(pods.len()));
    }
    let supplemented = view.snapshot.with_pods(pods);
    let view = View::new(&supplemented);

    // By what is said of them, so that pods with one trouble are one finding.
    let mut found: BTreeMap<(&PolicyKey, String, &'static str), Vec<String>> = BTreeMap::new();
    let mut known: BTreeMap<(&str, &Arc<Labels>, &str), Option<&'static str>> = BTreeMap::new();
    for pod in view.endpoints.iter().filter(|pod| !is_server(pod)) {
        let isolating = view.parts.iter().filter(|part| isolates(part) && holds(part, pod));
        // The one with the fewest rules is the one that denies by default.
        let rules = |part: &&PartView<'_>| part.part.egress.as_ref().map(|rules| rules.rules.len());
        let Some(first) = isolating.min_by_key(rules) else { continue };
        let alike = (pod.key.namespace.as_str(), &pod.labels, pod.service_account.as_str());
        if let Some(code) = *known.entry(alike).or_insert_with(|| lacks(&view, pod)) {
            let name =
                thought_of.get(&pod.key).map_or_else(|| format!("Pod {}", pod.key), |(_, name)| name.clone());
            let field = format!("{}.egress", first.field());
            found.entry((&first.policy.key, field, code)).or_default().push(name);
        }
    }
    for ((policy, field, code), pods) in found {
        let who = listed(&pods, 2);
        let (key, value) = LABEL;
        let message = if code == "no-dns" {
            format!(
                "{who} may not ask any DNS server, so names do not resolve: nothing allows UDP/{PORT} to pods with \
                 {key}={value} in {NAMESPACE}, nor to anybody else. Allow UDP and TCP to port {PORT} there"
            )
        } else {
            format!(
                "{who} may ask DNS servers over UDP alone, so answers that are too long for it never come. Allow \
                 TCP/{PORT} beside UDP/{PORT}"
            )
        };
        problems.push(warning(code, policy, field, message));
    }
}

fn isolates(part: &PartView<'_>) -> bool {
    part.policy.tier == Tier::Normal && part.part.egress.as_ref().is_some_and(|rules| rules.default_deny)
}

fn holds(part: &PartView<'_>, pod: &Pod) -> bool {
    part.pods.binary_search_by(|other| other.key.cmp(&pod.key)).is_ok()
}

fn servers(snapshot: &Snapshot) -> impl Iterator<Item = &Pod> {
    snapshot.pods().values().map(AsRef::as_ref).filter(|pod| pod.is_endpoint() && is_server(pod))
}

fn is_server(pod: &Pod) -> bool {
    let (key, value) = LABEL;
    pod.key.namespace == NAMESPACE && pod.labels.get(key).is_some_and(|own| own == value)
}

/// What a pod lacks.
fn lacks(view: &View<'_>, pod: &Pod) -> Option<&'static str> {
    let may_ask = |protocol| {
        servers(view.snapshot).any(|server| may_reach(view, pod, server, protocol))
            || names_dns(view, pod, protocol)
    };
    match (may_ask(protocol::UDP), may_ask(protocol::TCP)) {
        (false, _) => Some("no-dns"),
        (true, false) => Some("no-dns-over-tcp"),
        (true, true) => None,
    }
}

/// Whether a pod may send to the DNS port of another, as far as its own side goes.
fn may_reach(view: &View<'_>, pod: &Pod, server: &Pod, protocol: u8) -> bool {
    let (from, to) = (End::Pod(pod.key.clone()), End::Pod(server.key.clone()));
    let flow = FlowSpec { from, to, protocol, port: PORT };
    oracle::judge(view.snapshot, &flow).is_ok_and(|verdict| verdict.egress.allowed)
}

/// Whether a rule for a pod names the port of DNS, and the pod may reach somebody there.
fn names_dns(view: &View<'_>, pod: &Pod, protocol: u8) -> bool {
    let own = view.parts.iter().filter(|part| holds(part, pod));
    let rules = own.filter_map(|part| part.part.egress.as_ref()).flat_map(|rules| &rules.rules);
    let mut naming = rules.filter(|rule| rule.action == Action::Allow).filter(|rule| match &rule.ports {
        Ports::Any => false,
        Ports::OneOf(ports) => ports.iter().any(|port| match port {
            PortMatch::Range { first: 0, last: u16::MAX, .. } => false,
            PortMatch::Range { protocol: own, first, last } => {
                *own == protocol && (*first..=*last).contains(&PORT)
            }
            PortMatch::Named { protocol: own, .. } => *own == protocol,
        }),
    });
    naming.any(|rule| match &rule.peers {
        Peers::Any => true,
        Peers::OneOf(peers) => peers.iter().any(|peer| {
            may_be_outside(peer)
                || view.endpoints.iter().any(|other| {
                    means_pod(view.snapshot, peer, other) && may_reach(view, pod, other, protocol)
                })
        }),
    })
}

/// Whether a peer may be a cache on the node, or a server outside the cluster.
fn may_be_outside(peer: &Peer) -> bool {
    match peer {
        Peer::Pods { .. } => false,
        Peer::Labelled(identity) => !Facts::of_identity(identity).mean_pods(),
        Peer::Nodes { .. }
        | Peer::Block { .. }
        | Peer::CidrGroups { .. }
        | Peer::Services { .. }
        | Peer::Entity(_) => true,
    }
}

/// A pod that a part would select, where its namespace has none in the input.
fn witness(view: &View<'_>, part: &PartView<'_>, number: usize) -> Option<Pod> {
    let namespace = match namespace_of(&part.part.subject) {
        Some(name) if view.endpoints.iter().all(|pod| pod.key.namespace != name) => name,
        None if view.endpoints.is_empty() => "default",
        _ => return None,
    };
    let wanted: Vec<(&str, &Operator)> = match &part.part.subject {
        Subject::Pods { pods, .. } => {
            pods.requirements().iter().map(|wanted| (wanted.key.as_str(), &wanted.operator)).collect()
        }
        Subject::Labelled { identity, .. } => {
            identity.requirements().iter().map(|wanted| (wanted.key.as_str(), &wanted.operator)).collect()
        }
    };
    let labels = wanted.into_iter().filter_map(|(key, operator)| match operator {
        Operator::In(values) => Some((key.to_owned(), values.first()?.clone())),
        Operator::Exists => Some((key.to_owned(), "any".to_owned())),
        Operator::NotIn(_) | Operator::DoesNotExist => None,
    });
    let pod = thought_of(namespace, labels.collect(), number);
    selects(view.snapshot, &part.part.subject, &pod).then_some(pod)
}

fn server(number: usize) -> Pod {
    let (key, value) = LABEL;
    let ports = [protocol::UDP, protocol::TCP].map(|protocol| ContainerPort {
        name: if protocol == protocol::UDP { "dns".to_owned() } else { "dns-tcp".to_owned() },
        protocol,
        port: PORT,
    });
    let labels = Labels::from([(key.to_owned(), value.to_owned())]);
    Pod { ports: ports.to_vec(), ..thought_of(NAMESPACE, labels, number) }
}

/// A pod with addresses that nobody has: 192.0.2.0/24 and 2001:db8::/32 are for documentation.
fn thought_of(namespace: &str, labels: Labels, number: usize) -> Pod {
    let number = u64::try_from(number).unwrap_or_default();
    let [high, low] = [number >> 8, number].map(|byte| u8::try_from(byte & 0xff).unwrap_or_default());
    Pod {
        // No object can have this name.
        key: PodKey { namespace: namespace.to_owned(), name: format!("?{number}") },
        labels: labels.into(),
        node: None,
        addresses: vec![
            Addr::v4([192, 0, high.wrapping_add(2), low]),
            Addr::from_words(0x2001_0db8 << 32, number),
        ],
        host_network: false,
        finished: false,
        ports: Vec::new(),
        service_account: "default".to_owned(),
    }
}
