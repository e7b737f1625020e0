//! Selectors that match nothing, and names of ports that nobody has. Without a single pod in the input nothing is said:
//! whoever checks policies alone knows that. Not here: selectors over labels that identities do not have (`labels`).

use super::facts::Facts;
use super::view::{PartView, View};
use super::{listed, warning};
use crate::cluster::ends::EndLabels;
use crate::meaning::reading::means_pod;
use crate::model::{ObjectMatch, Peer, Peers, Pod, PortMatch, Ports, Problem, Rule};
use crate::phrase;
use isolator_common::policy::Direction;

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    for part in &view.parts {
        let object = &part.policy.key;
        let subject = phrase::subject(&part.part.subject);
        if Facts::of_subject(&part.part.subject).are_impossible() {
            let message = format!("no pod can be {subject}: the conditions exclude each other; correct them");
            problems.push(warning("contradictory-selector", object, part.subject_field(), message));
        } else if !view.endpoints.is_empty() && part.pods.is_empty() {
            let message = format!("it selects no pod ({subject}); check the labels");
            problems.push(warning("selects-nothing", object, part.subject_field(), message));
        }
        for (direction, rule) in part.rules() {
            peers(view, part, rule, problems);
            if !view.endpoints.is_empty() {
                ports(view, part, direction, rule, problems);
            }
        }
    }
}

fn peers(view: &View<'_>, part: &PartView<'_>, rule: &Rule, problems: &mut Vec<Problem>) {
    let Peers::OneOf(peers) = &rule.peers else { return };
    for peer in peers {
        let words = phrase::peer(peer);
        let (code, message) = match peer {
            Peer::Pods { namespaces, pods } if Facts::of_pods(namespaces, pods).are_impossible() => (
                "contradictory-selector",
                format!("nobody can be {words}: the conditions exclude each other; correct them"),
            ),
            Peer::Labelled(identity) if Facts::of_identity(identity).are_impossible() => (
                "contradictory-selector",
                format!("nobody can be {words}: the conditions exclude each other; correct them"),
            ),
            _ if is_somebody(view, peer) => continue,
            Peer::CidrGroups { .. } => (
                "peer-matches-nothing",
                format!("there are no {words}; declare the CiliumCIDRGroup or check the name"),
            ),
            Peer::Services { .. } => (
                "peer-matches-nothing",
                format!("there are no {words}; declare the Service or check the name"),
            ),
            _ => ("peer-matches-nothing", format!("no pod matches {words}; check the labels")),
        };
        problems.push(warning(code, &part.policy.key, rule.at.path(), message));
    }
}

/// Whether a peer is anybody who is there, or may be outside the cluster.
fn is_somebody(view: &View<'_>, peer: &Peer) -> bool {
    let pods =
        || view.endpoints.is_empty() || view.endpoints.iter().any(|pod| means_pod(view.snapshot, peer, pod));
    match peer {
        Peer::Block { .. } | Peer::Entity(_) => true,
        Peer::Pods { .. } => pods(),
        Peer::Labelled(identity) => {
            let others = [true, false].into_iter().flat_map(|api_server| {
                [
                    EndLabels::Host { api_server },
                    EndLabels::RemoteNode { api_server },
                    EndLabels::Outside { v4: true, api_server },
                    EndLabels::Outside { v4: false, api_server },
                ]
            });
            pods() || others.into_iter().any(|labels| identity.matches(&labels))
        }
        Peer::Nodes { labels, .. } => {
            view.snapshot.nodes().is_empty()
                || view.snapshot.nodes().values().any(|node| labels.matches(&node.labels))
        }
        Peer::CidrGroups { groups, .. } => view.snapshot.cidr_groups().values().any(|group| match groups {
            ObjectMatch::Named(name) => group.name == *name,
            // An address has the labels of all groups that hold it, so no single group needs to have them all.
            ObjectMatch::Matching(labels) => {
                labels.requirements().iter().any(|wanted| {
                    !wanted.operator.demands()
                        || wanted.operator.holds(group.labels.get(&wanted.key).map(String::as_str))
                }) || labels.requirements().is_empty()
            }
        }),
        Peer::Services { namespace, services } => view.snapshot.services().values().any(|service| {
            namespace.as_ref().is_none_or(|namespace| *namespace == service.key.namespace)
                && match services {
                    ObjectMatch::Named(name) => service.key.name == *name,
                    ObjectMatch::Matching(labels) => labels.matches(&service.labels),
                }
        }),
    }
}

fn ports(
    view: &View<'_>,
    part: &PartView<'_>,
    direction: Direction,
    rule: &Rule,
    problems: &mut Vec<Problem>,
) {
    let Ports::OneOf(ports) = &rule.ports else { return };
    let receivers: Vec<&Pod> = match (direction, &rule.peers) {
        (Direction::Ingress, _) => part.pods.clone(),
        (Direction::Egress, Peers::Any) => view.endpoints.clone(),
        (Direction::Egress, Peers::OneOf(peers)) => {
            let meant = |pod: &&&Pod| peers.iter().any(|peer| means_pod(view.snapshot, peer, pod));
            view.endpoints.iter().filter(meant).copied().collect()
        }
    };
    // Nobody at all is said elsewhere.
    if receivers.is_empty() {
        return;
    }
    let unknown = ports.iter().filter(|port| match port {
        PortMatch::Named { protocol, name } => !receivers
            .iter()
            .any(|pod| pod.ports.iter().any(|port| port.protocol == *protocol && port.name == *name)),
        PortMatch::Range { .. } => false,
    });
    let unknown: Vec<String> = unknown.map(phrase::port).collect();
    if !unknown.is_empty() {
        let message = format!("no pod that is meant has a port named {}", listed(&unknown, 3));
        problems.push(warning("named-port-unknown", &part.policy.key, rule.at.path(), message));
    }
}
