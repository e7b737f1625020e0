//! networking.k8s.io/v1 NetworkPolicy: defaults and validation as in the API server, then our model. Not
//! here: what it does to packets.

use super::super::node::{Node as Tree, child, entry};
use super::metadata::{self, Scope, is_dns_subdomain};
use super::net;
use super::report::Report;
use super::selector::selector;
use isolator_common::policy::Direction;
use isolator_policy::model::{
    Action, NamespaceMatch, Part, Peer, Peers, Policy, PolicyKey, PortMatch, Ports, Rule, RuleField, Rules,
    Selector, Subject, Tier,
};
use k8s_openapi::api::networking::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A policy.
pub(crate) fn policy(key: &PolicyKey, tree: &Tree, report: &mut Report<'_>) -> Option<Policy> {
    // Clusters before 1.28 wrote a status, which means nothing to anybody.
    let api::NetworkPolicy { metadata, spec } = report.read(tree, &["status"])?;
    metadata::check(metadata, Scope::Namespaced, is_dns_subdomain, report);
    let api::NetworkPolicySpec { egress, ingress, pod_selector, policy_types } = spec.unwrap_or_default();
    let pods = match pod_selector {
        Some(pods) => selector(pods, "spec.podSelector", report),
        None => {
            let message = "there is no podSelector, so it selects every pod of its namespace; \
                           write `podSelector: {}` if that is meant";
            report.warning("selects-everything", "spec.podSelector", message);
            Selector::everything()
        }
    };
    empty_ports(tree, report);
    let (ingress, egress) = (ingress.unwrap_or_default(), egress.unwrap_or_default());
    let types = types(&policy_types.unwrap_or_default(), !egress.is_empty(), report);
    for (named, name, rules) in
        [(types.ingress, "ingress", ingress.len()), (types.egress, "egress", egress.len())]
    {
        if !named && rules > 0 {
            let message =
                format!("this section has no effect, because policyTypes does not name {}", capital(name));
            report.warning("section-without-effect", &child("spec", name), message);
        }
    }
    let own = &key.namespace;
    let ingress = (0..).zip(ingress).map(|(index, rule)| {
        let api::NetworkPolicyIngressRule { from, ports } = rule;
        self::rule(own, RuleField::of(Direction::Ingress, index), "from", from, ports, report)
    });
    let ingress: Vec<Rule> = ingress.collect();
    let egress = (0..).zip(egress).map(|(index, rule)| {
        let api::NetworkPolicyEgressRule { to, ports } = rule;
        self::rule(own, RuleField::of(Direction::Egress, index), "to", to, ports, report)
    });
    let egress: Vec<Rule> = egress.collect();
    report.accept(Policy {
        key: key.clone(),
        tier: Tier::Normal,
        priority: 0,
        parts: vec![Part {
            subject: Subject::Pods { namespaces: NamespaceMatch::Named(own.clone()), pods },
            ingress: types.ingress.then_some(Rules { default_deny: true, rules: ingress }),
            egress: types.egress.then_some(Rules { default_deny: true, rules: egress }),
        }],
    })
}

/// Says where `port:` stands with nothing behind it: that is no port to the API, so the entry opens all of them.
fn empty_ports(tree: &Tree, report: &mut Report<'_>) {
    for section in ["ingress", "egress"] {
        let rules = tree.get("spec").and_then(|spec| spec.get(section)).map_or(&[][..], Tree::items);
        for (index, rule) in rules.iter().enumerate() {
            let field = child(&entry(&child("spec", section), index), "ports");
            let ports = rule.get("ports").map_or(&[][..], Tree::items).iter().enumerate();
            for (index, _) in ports.filter(|(_, port)| port.get("port").is_some_and(Tree::is_null)) {
                let message = "nothing stands behind `port:`, so every port of the protocol is meant; write the \
                               number, or take the line away if that is so";
                report.warning("empty-port", &child(&entry(&field, index), "port"), message);
            }
        }
    }
}

fn capital(section: &str) -> &'static str {
    if section == "ingress" { "Ingress" } else { "Egress" }
}

/// The directions that a policy speaks of.
struct Types {
    ingress: bool,
    egress: bool,
}

fn types(names: &[String], has_egress: bool, report: &mut Report<'_>) -> Types {
    if names.is_empty() {
        return Types { ingress: true, egress: has_egress };
    }
    if names.len() > 2 {
        report.invalid("spec.policyTypes", "there are more than two policyTypes");
    }
    for (index, name) in names.iter().enumerate() {
        if !matches!(name.as_str(), "Ingress" | "Egress") {
            let message = format!("`{name}` is not a policy type; it is Ingress or Egress");
            report.invalid(&entry("spec.policyTypes", index), message);
        }
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    Types { ingress: has("Ingress"), egress: has("Egress") }
}

/// One rule of either direction; `side` is `from` or `to`.
fn rule(
    own: &str,
    at: RuleField,
    side: &str,
    peers: Option<Vec<api::NetworkPolicyPeer>>,
    ports: Option<Vec<api::NetworkPolicyPort>>,
    report: &mut Report<'_>,
) -> Rule {
    let (peers, ports) = (peers.unwrap_or_default(), ports.unwrap_or_default());
    let field = format!("spec.{at}");
    let side = child(&field, side);
    let matches = peers.into_iter().enumerate();
    let matches: Vec<Option<Peer>> =
        matches.map(|(index, each)| peer(own, each, &entry(&side, index), report)).collect();
    // Absent and empty mean the same: everybody. A list whose entries are all bad must not become that.
    let peers =
        if matches.is_empty() { Peers::Any } else { Peers::OneOf(matches.into_iter().flatten().collect()) };
    let field = child(&field, "ports");
    let matches = ports.into_iter().enumerate();
    let matches: Vec<Option<PortMatch>> =
        matches.map(|(index, each)| port(each, &entry(&field, index), report)).collect();
    let ports =
        if matches.is_empty() { Ports::Any } else { Ports::OneOf(matches.into_iter().flatten().collect()) };
    Rule { at, action: Action::Allow, peers, ports }
}

fn peer(own: &str, peer: api::NetworkPolicyPeer, field: &str, report: &mut Report<'_>) -> Option<Peer> {
    let api::NetworkPolicyPeer { ip_block, namespace_selector, pod_selector } = peer;
    let namespaces =
        namespace_selector.map(|each| selector(each, &child(field, "namespaceSelector"), report));
    let pods = pod_selector.map(|each| selector(each, &child(field, "podSelector"), report));
    match (ip_block, namespaces, pods) {
        (Some(block), None, None) => self::block(block, &child(field, "ipBlock"), report),
        (Some(_), ..) => {
            report.invalid(field, "an ipBlock stands alone; make the selectors an entry of their own");
            None
        }
        (None, None, None) => {
            let message = "this peer is empty; give it a podSelector, a namespaceSelector or an ipBlock \
                           (`podSelector: {}` is every pod of the namespace)";
            report.invalid(field, message);
            None
        }
        (None, None, Some(pods)) => {
            Some(Peer::Pods { namespaces: NamespaceMatch::Named(own.to_owned()), pods })
        }
        (None, Some(namespaces), pods) => Some(Peer::Pods {
            namespaces: NamespaceMatch::Matching(namespaces),
            pods: pods.unwrap_or_else(Selector::everything),
        }),
    }
}

fn block(block: api::IPBlock, field: &str, report: &mut Report<'_>) -> Option<Peer> {
    let api::IPBlock { cidr: text, except: texts } = block;
    let at = child(field, "cidr");
    if text.is_empty() {
        report.invalid(&at, "`cidr` is missing; write a range such as 10.0.0.0/8");
        return None;
    }
    let cidr = prefix(&text, &at, report)?;
    let mut except = Vec::new();
    for (index, inner) in texts.unwrap_or_default().into_iter().enumerate() {
        let at = entry(&child(field, "except"), index);
        let Some(prefix) = prefix(&inner, &at, report) else { continue };
        if cidr.covers(&prefix) && cidr.bits < prefix.bits {
            except.push(prefix);
        } else {
            report.invalid(&at, format!("`{inner}` is not a smaller range inside `{text}`"));
        }
    }
    Some(Peer::Block { cidr, except, inside: true })
}

fn prefix(text: &str, field: &str, report: &mut Report<'_>) -> Option<isolator_common::addr::Prefix> {
    match net::prefix(text) {
        Ok((prefix, host_bits)) => {
            if host_bits {
                let message = format!("`{text}` has bits set behind its length; they do not count");
                report.warning("host-bits", field, message);
            }
            Some(prefix)
        }
        Err(wrong) => {
            report.invalid(field, wrong);
            None
        }
    }
}

fn port(port: api::NetworkPolicyPort, field: &str, report: &mut Report<'_>) -> Option<PortMatch> {
    let api::NetworkPolicyPort { end_port, port, protocol } = port;
    let protocol = protocol.as_deref().map_or(Ok(net::TCP), net::protocol);
    let protocol = protocol.map_err(|wrong| report.invalid(&child(field, "protocol"), wrong)).ok();
    let at = child(field, "endPort");

    match (port, end_port) {
        (None, None) => protocol.map(|protocol| PortMatch::Range { protocol, first: 0, last: u16::MAX }),
        (None, Some(_)) => {
            report.invalid(&at, "endPort needs a `port` where the range begins");
            None
        }
        (Some(IntOrString::String(name)), end) => {
            let good = net::port_name(&name).map_err(|wrong| report.invalid(&child(field, "port"), wrong));
            if end.is_some() {
                report.invalid(&at, "endPort needs a `port` that is a number");
            }
            good.ok().and(protocol).map(|protocol| PortMatch::Named { protocol, name })
        }
        (Some(IntOrString::Int(first)), end) => {
            let begin = net::port_number(first).map_err(|wrong| report.invalid(&child(field, "port"), wrong));
            let last = net::port_number(end.unwrap_or(first));
            if let (Some(_), Err(wrong)) = (end, &last) {
                report.invalid(&at, wrong.clone());
            } else if end.is_some_and(|end| end < first) {
                report.invalid(&at, format!("endPort must not be below port {first}"));
            }
            match (protocol, begin, last) {
                (Some(protocol), Ok(first), Ok(last)) => Some(PortMatch::Range { protocol, first, last }),
                _ => None,
            }
        }
    }
}
