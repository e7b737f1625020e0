//! The other ends that an entry speaks of: of several kinds, one may be there. A list that is there but empty
//! selects nobody. Not here: CIDRs (`cidr`), ports.

use super::super::super::node::{child, entry};
use super::super::report::Report;
use super::cidr;
use super::entry::{Context, Entry};
use super::selector;
use super::types::{Selectors, ServiceRule};
use isolator_policy::model::{Action, Entity, ObjectMatch, Peer, Peers};

/// An entity that no end belongs to.
const NONE: &str = "none";
/// Cilium 1.20's name for everything in any cluster. Only one is known here.
const CLUSTER_MESH: &str = "cluster-mesh";

/// The ends that an entry speaks of.
pub(super) fn peers(each: Entry, context: Context<'_>, field: &str, report: &mut Report<'_>) -> Peers {
    let at = |kind: &str| child(field, &context.side(kind));
    if each.requires.as_ref().is_some_and(|requires| !requires.is_empty()) {
        let field = at("Requires");
        report.invalid(
            &field,
            "this field is gone from the API; put its labels into the selectors of the peers",
        );
    }
    let lengths = [
        ("Endpoints", each.endpoints.as_ref().map(Vec::len)),
        ("Nodes", each.nodes.as_ref().map(Vec::len)),
        ("Entities", each.entities.as_ref().map(Vec::len)),
        ("CIDR", each.cidr.as_ref().map(Vec::len)),
        ("CIDRSet", each.cidr_set.as_ref().map(Vec::len)),
        ("Groups", each.groups.as_ref().map(Vec::len)),
        ("Services", each.services.as_ref().map(Vec::len)),
        ("FQDNs", each.fqdns.as_ref().map(Vec::len)),
    ];
    let used: Vec<&str> = lengths
        .iter()
        .filter(|(_, length)| length.is_some_and(|length| length > 0))
        .map(|(kind, _)| *kind)
        .collect();
    if let [first, second, ..] = used[..] {
        let (first, second) = (context.side(first), context.side(second));
        report.invalid(field, format!("{first} and {second} cannot stand in one entry; make two of it"));
    }
    // Upstream takes an empty list of the last three kinds for an absent one. That would widen what is allowed.
    let closing = if context.action() == Action::Allow { lengths.len() } else { 5 };
    let nobody = lengths[..closing].iter().any(|(_, length)| *length == Some(0));
    let mut peers = Vec::new();
    endpoints(each.endpoints, context, &at("Endpoints"), &mut peers, report);
    nodes(each.nodes, &at("Nodes"), &mut peers, report);
    entities(each.entities, &at("Entities"), &mut peers, report);
    peers.extend(cidr::plain(each.cidr.as_deref().unwrap_or_default(), &at("CIDR"), report));
    peers.extend(cidr::sets(each.cidr_set.unwrap_or_default(), &at("CIDRSet"), report));
    services(each.services, &at("Services"), &mut peers, report);
    match (nobody, used.is_empty()) {
        (true, _) => Peers::OneOf(Vec::new()),
        (false, true) => Peers::Any,
        (false, false) => Peers::OneOf(peers),
    }
}

fn endpoints(
    list: Selectors,
    context: Context<'_>,
    field: &str,
    peers: &mut Vec<Peer>,
    report: &mut Report<'_>,
) {
    for (index, selector) in list.into_iter().flatten().enumerate() {
        let field = entry(field, index);
        peers.push(Peer::Labelled(selector::read(selector, &field, report).peer(context.owner)));
    }
}

fn nodes(list: Selectors, field: &str, peers: &mut Vec<Peer>, report: &mut Report<'_>) {
    for (index, selector) in list.into_iter().flatten().enumerate() {
        let labels = selector::nodes(selector, &entry(field, index), report);
        peers.extend(labels.map(|labels| Peer::Nodes { labels, own: false }));
    }
}

fn entities(list: Option<Vec<String>>, field: &str, peers: &mut Vec<Peer>, report: &mut Report<'_>) {
    for (index, name) in list.into_iter().flatten().enumerate() {
        match Entity::ALL.into_iter().find(|entity| entity.name() == name) {
            Some(entity) => peers.push(Peer::Entity(entity)),
            None if name == NONE => {}
            None if name == CLUSTER_MESH => peers.push(Peer::Entity(Entity::Cluster)),
            None => {
                let names = Entity::ALL.map(Entity::name).join(", ");
                let message =
                    format!("`{name}` is not an entity; it is one of {names}, {CLUSTER_MESH} or {NONE}");
                report.invalid(&entry(field, index), message);
            }
        }
    }
}

fn services(list: Option<Vec<ServiceRule>>, field: &str, peers: &mut Vec<Peer>, report: &mut Report<'_>) {
    let given = |namespace: Option<String>| namespace.filter(|name| !name.is_empty());
    for (index, service) in list.into_iter().flatten().enumerate() {
        let field = entry(field, index);
        match (service.k8s_service_selector, service.k8s_service) {
            (Some(by), _) => {
                let field = child(&child(&field, "k8sServiceSelector"), "selector");
                match by.selector {
                    Some(labels) => {
                        let services = ObjectMatch::Matching(selector::services(labels, &field, report));
                        peers.push(Peer::Services { namespace: given(by.namespace), services });
                    }
                    None => report.invalid(&field, "`selector` is missing; name the labels of the services"),
                }
            }
            (None, Some(by)) => {
                let services = ObjectMatch::Named(by.service_name.unwrap_or_default());
                peers.push(Peer::Services { namespace: given(by.namespace), services });
            }
            (None, None) => {
                let message =
                    "this names no service, so it matches nothing; give k8sService or k8sServiceSelector";
                report.warning("matches-nothing", &field, message);
            }
        }
    }
}
