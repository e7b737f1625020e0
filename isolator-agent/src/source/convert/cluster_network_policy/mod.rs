//! policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy: checked as the API server does it, then our model. Not
//! here: ports (`protocols`), what it does to packets, policies of equal priority (`cluster::problems`).

mod protocols;
mod types;

use self::types::{Document, EgressPeer, NamespacedPod, Protocol, Spec};
use super::super::node::{Node as Tree, child, entry};
use super::metadata::{self, Scope, is_dns_subdomain};
use super::net;
use super::report::Report;
use super::selector::selector;
use isolator_common::policy::Direction;
use isolator_policy::model::{
    Action, NamespaceMatch, Part, Peer, Peers, Policy, PolicyKey, Ports, Rule, RuleField, Rules, Selector,
    Subject, Tier,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Most entries of any list.
const MAX_ENTRIES: usize = 25;
/// Last priority; 0 is the first.
const LAST_PRIORITY: u32 = 1000;
/// Most characters of a rule's name.
const MAX_NAME: usize = 100;

/// A policy.
pub(crate) fn policy(key: &PolicyKey, tree: &Tree, report: &mut Report<'_>) -> Option<Policy> {
    report.unknown_fields("the API server would drop it, or this version of the API has no such field");
    let Document { metadata, spec, .. } = report.read(tree, &["status"])?;
    metadata::check(metadata, Scope::Cluster, is_dns_subdomain, report);
    report.refuse_null_entries(tree, "");
    let Some(Spec { tier, priority, subject, ingress, egress }) = spec else {
        report.invalid("spec", "`spec` is missing");
        return None;
    };
    let tier = match tier.as_deref() {
        Some("Admin") => Some(Tier::Admin),
        Some("Baseline") => Some(Tier::Baseline),
        other => {
            let other = other.unwrap_or_default();
            report.invalid("spec.tier", format!("`{other}` is not a tier; it is Admin or Baseline"));
            None
        }
    };
    let number =
        priority.and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= LAST_PRIORITY);
    if number.is_none() {
        let given = priority.map_or("nothing".to_owned(), |number| number.to_string());
        let message = format!("{given} is not a priority; it is 0 to {LAST_PRIORITY}, and lower comes first");
        report.invalid("spec.priority", message);
    }
    let subject = self::subject(subject, report);
    let (ingress, egress) = (ingress.unwrap_or_default(), egress.unwrap_or_default());
    check_length("spec.ingress", ingress.len(), 0, report);
    check_length("spec.egress", egress.len(), 0, report);
    let ingress: Vec<Rule> = (0..)
        .zip(ingress)
        .map(|(index, rule)| {
            let peers = rule.from.map(|peers| peers.into_iter().map(EgressPeer::from).collect());
            let text = Text { name: rule.name, action: rule.action, peers, protocols: rule.protocols };
            self::rule(text, RuleField::of(Direction::Ingress, index), "from", report)
        })
        .collect();
    let egress: Vec<Rule> = (0..)
        .zip(egress)
        .map(|(index, rule)| {
            let text =
                Text { name: rule.name, action: rule.action, peers: rule.to, protocols: rule.protocols };
            self::rule(text, RuleField::of(Direction::Egress, index), "to", report)
        })
        .collect();
    let rules = |rules: Vec<Rule>| (!rules.is_empty()).then_some(Rules { default_deny: false, rules });
    let (tier, priority, subject) = (tier?, number?, subject?);
    let parts = vec![Part { subject, ingress: rules(ingress), egress: rules(egress) }];
    report.accept(Policy { key: key.clone(), tier, priority, parts })
}

/// A rule of either direction.
struct Text {
    name: Option<String>,
    action: Option<String>,
    peers: Option<Vec<EgressPeer>>,
    protocols: Option<Vec<Protocol>>,
}

fn check_length(field: &str, length: usize, least: usize, report: &mut Report<'_>) {
    if length < least {
        report.invalid(field, "this list needs an entry at least");
    } else if length > MAX_ENTRIES {
        report.invalid(field, format!("there are {length} entries, more than {MAX_ENTRIES}"));
    }
}

fn subject(subject: Option<types::Subject>, report: &mut Report<'_>) -> Option<Subject> {
    let field = "spec.subject";
    let types::Subject { namespaces, pods } =
        subject.unwrap_or(types::Subject { namespaces: None, pods: None });
    let (namespaces, pods) = match (namespaces, pods) {
        (Some(namespaces), None) => whole(namespaces, &child(field, "namespaces"), report),
        (None, Some(pods)) => some(pods, &child(field, "pods"), report)?,
        _ => {
            report.invalid(
                field,
                "exactly one of namespaces and pods is needed; `namespaces: {}` is every pod",
            );
            return None;
        }
    };
    Some(Subject::Pods { namespaces, pods })
}

/// Every pod of some namespaces.
fn whole(namespaces: LabelSelector, field: &str, report: &mut Report<'_>) -> (NamespaceMatch, Selector) {
    (NamespaceMatch::Matching(selector(namespaces, field, report)), Selector::everything())
}

/// Some pods of some namespaces.
fn some(pods: NamespacedPod, field: &str, report: &mut Report<'_>) -> Option<(NamespaceMatch, Selector)> {
    let namespaces = pods.namespace_selector.unwrap_or_default();
    let namespaces = selector(namespaces, &child(field, "namespaceSelector"), report);
    let field = child(field, "podSelector");
    let Some(pods) = pods.pod_selector else {
        report.invalid(&field, "`podSelector` is missing; write `podSelector: {}` for every pod");
        return None;
    };
    Some((NamespaceMatch::Matching(namespaces), selector(pods, &field, report)))
}

fn rule(text: Text, at: RuleField, side: &str, report: &mut Report<'_>) -> Rule {
    let field = at.path();
    if text.name.is_some_and(|name| name.chars().count() > MAX_NAME) {
        report.invalid(&child(&field, "name"), format!("a name has at most {MAX_NAME} characters"));
    }
    let action = match text.action.as_deref() {
        Some("Accept") => Action::Allow,
        Some("Pass") => Action::Pass,
        Some("Deny") => Action::Deny,
        other => {
            let other = other.unwrap_or_default();
            let message = format!("`{other}` is not an action; it is Accept, Deny or Pass");
            report.invalid(&child(&field, "action"), message);
            Action::Deny
        }
    };
    let side = child(&field, side);
    let texts = text.peers.unwrap_or_default();
    check_length(&side, texts.len(), 1, report);
    let nameless = texts
        .iter()
        .position(|peer| peer.nodes.is_some() || peer.networks.is_some() || peer.domain_names.is_some());
    let mut peers = Vec::new();
    let mut unknown = false;
    for (index, peer) in texts.into_iter().enumerate() {
        let field = entry(&side, index);
        let names = child(&field, "domainNames");
        unknown |= peer.domain_names.is_some();
        if peer.domain_names.is_some() {
            let message = match action {
                Action::Allow => "domain names are not enforced here, so this peer matches nothing",
                Action::Deny | Action::Pass => {
                    "domain names are for Accept alone and are not enforced here, so this rule denies everything"
                }
            };
            report.left_out("unenforced-field", &names, message);
        }
        self::peer(peer, &field, &mut peers, report);
    }
    let protocols = child(&field, "protocols");
    let ports = match text.protocols {
        None => Ports::Any,
        Some(list) => {
            check_length(&protocols, list.len(), 1, report);
            let named = list.iter().position(|protocol| protocol.destination_named_port.is_some());
            if let (Some(_), Some(index)) = (nameless, named) {
                let field = child(&entry(&protocols, index), "destinationNamedPort");
                report.invalid(
                    &field,
                    "nodes, networks and domain names have no named ports; make it a rule of its own",
                );
            }
            Ports::OneOf(protocols::matches(list, &protocols, report))
        }
    };
    // As the API wants it of a rule that is not understood: what it accepts is nothing, what it denies or passes on
    // is everything, denied.
    if unknown && action != Action::Allow {
        return Rule { at, action: Action::Deny, peers: Peers::Any, ports: Ports::Any };
    }
    Rule { at, action, peers: Peers::OneOf(peers), ports }
}

fn peer(peer: EgressPeer, field: &str, peers: &mut Vec<Peer>, report: &mut Report<'_>) {
    match peer {
        EgressPeer {
            namespaces: Some(namespaces),
            pods: None,
            nodes: None,
            networks: None,
            domain_names: None,
        } => {
            let (namespaces, pods) = whole(namespaces, &child(field, "namespaces"), report);
            peers.push(Peer::Pods { namespaces, pods });
        }
        EgressPeer {
            namespaces: None,
            pods: Some(pods),
            nodes: None,
            networks: None,
            domain_names: None,
        } => {
            let pods = some(pods, &child(field, "pods"), report);
            peers.extend(pods.map(|(namespaces, pods)| Peer::Pods { namespaces, pods }));
        }
        EgressPeer {
            namespaces: None,
            pods: None,
            nodes: Some(nodes),
            networks: None,
            domain_names: None,
        } => {
            let labels = selector(nodes, &child(field, "nodes"), report);
            peers.push(Peer::Nodes { labels, own: true });
        }
        EgressPeer {
            namespaces: None,
            pods: None,
            nodes: None,
            networks: Some(texts),
            domain_names: None,
        } => {
            let field = child(field, "networks");
            check_length(&field, texts.len(), 1, report);
            for (index, text) in texts.iter().enumerate() {
                let field = entry(&field, index);
                if texts[..index].contains(text) {
                    report.invalid(&field, format!("`{text}` is there twice"));
                }
                match net::prefix(text) {
                    Ok((cidr, host_bits)) => {
                        if host_bits {
                            let message =
                                format!("`{text}` has bits set behind its length; they do not count");
                            report.warning("host-bits", &field, message);
                        }
                        peers.push(Peer::Block { cidr, except: Vec::new(), inside: true });
                    }
                    Err(wrong) => report.invalid(&field, wrong),
                }
            }
        }
        EgressPeer {
            namespaces: None,
            pods: None,
            nodes: None,
            networks: None,
            domain_names: Some(names),
        } => {
            let field = child(field, "domainNames");
            check_length(&field, names.len(), 1, report);
            for (index, name) in names.iter().enumerate().filter(|(_, name)| !is_domain_name(name)) {
                let message = format!("`{name}` is not a domain name, with `*.` before it or without");
                report.invalid(&entry(&field, index), message);
            }
        }
        _ => report.invalid(field, "exactly one kind of peer is needed; make an entry of each"),
    }
}

/// Two labels at least.
fn is_domain_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let part = |part: &str| {
        ends(part.bytes().next())
            && ends(part.bytes().next_back())
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    name.contains('.') && name.split('.').all(part)
}
