//! An entry of one of the four lists, brought to one form, and the rule that it becomes. What is not enforced
//! yet makes an entry allow nothing. Not here: what its fields mean.

use super::super::super::node::child;
use super::super::report::Report;
use super::selector::Owner;
use super::types::{
    Authentication, CidrRule, EgressDenyRule, EgressRule, Fqdn, IcmpRule, IngressDenyRule, IngressRule,
    Object, PortRule, Selectors, ServiceRule,
};
use super::{icmp, peers, ports, unenforced};
use isolator_policy::model::{Action, Entity, Peer, Peers, Ports, Rule, RuleField, RuleList};
use serde_json::Value;

/// An entry of any list.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) endpoints: Selectors,
    pub(super) requires: Option<Vec<Value>>,
    pub(super) cidr: Option<Vec<String>>,
    pub(super) cidr_set: Option<Vec<CidrRule>>,
    pub(super) entities: Option<Vec<String>>,
    pub(super) groups: Option<Vec<Object>>,
    pub(super) nodes: Selectors,
    pub(super) services: Option<Vec<ServiceRule>>,
    pub(super) fqdns: Option<Vec<Fqdn>>,
    pub(super) ports: Vec<PortRule>,
    pub(super) icmps: Vec<IcmpRule>,
    pub(super) authentication: Option<Authentication>,
}

impl From<IngressRule> for Entry {
    fn from(rule: IngressRule) -> Self {
        Entry {
            endpoints: rule.from_endpoints,
            requires: rule.from_requires,
            cidr: rule.from_cidr,
            cidr_set: rule.from_cidr_set,
            entities: rule.from_entities,
            groups: rule.from_groups,
            nodes: rule.from_nodes,
            ports: rule.to_ports.unwrap_or_default(),
            icmps: rule.icmps.unwrap_or_default(),
            authentication: rule.authentication,
            ..Entry::default()
        }
    }
}

impl From<IngressDenyRule> for Entry {
    fn from(rule: IngressDenyRule) -> Self {
        Entry {
            endpoints: rule.from_endpoints,
            requires: rule.from_requires,
            cidr: rule.from_cidr,
            cidr_set: rule.from_cidr_set,
            entities: rule.from_entities,
            groups: rule.from_groups,
            nodes: rule.from_nodes,
            ports: rule.to_ports.into_iter().flatten().map(PortRule::from).collect(),
            icmps: rule.icmps.unwrap_or_default(),
            ..Entry::default()
        }
    }
}

impl From<EgressRule> for Entry {
    fn from(rule: EgressRule) -> Self {
        Entry {
            endpoints: rule.to_endpoints,
            requires: rule.to_requires,
            cidr: rule.to_cidr,
            cidr_set: rule.to_cidr_set,
            entities: rule.to_entities,
            groups: rule.to_groups,
            nodes: rule.to_nodes,
            services: rule.to_services,
            fqdns: rule.to_fqdns,
            ports: rule.to_ports.unwrap_or_default(),
            icmps: rule.icmps.unwrap_or_default(),
            authentication: rule.authentication,
        }
    }
}

impl From<EgressDenyRule> for Entry {
    fn from(rule: EgressDenyRule) -> Self {
        Entry {
            endpoints: rule.to_endpoints,
            requires: rule.to_requires,
            cidr: rule.to_cidr,
            cidr_set: rule.to_cidr_set,
            entities: rule.to_entities,
            groups: rule.to_groups,
            nodes: rule.to_nodes,
            services: rule.to_services,
            ports: rule.to_ports.into_iter().flatten().map(PortRule::from).collect(),
            icmps: rule.icmps.unwrap_or_default(),
            ..Entry::default()
        }
    }
}

/// What an entry stands in.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// Whose selectors they are.
    pub(super) owner: Owner<'a>,
    /// The policy is for nodes.
    pub(super) host: bool,
    /// The entry.
    pub(super) at: RuleField,
}

impl Context<'_> {
    /// What a matching entry does.
    pub(super) fn action(&self) -> Action {
        match self.at.list {
            RuleList::Ingress | RuleList::Egress => Action::Allow,
            RuleList::IngressDeny | RuleList::EgressDeny => Action::Deny,
        }
    }

    /// Whether the entry speaks of ingress.
    pub(super) fn is_ingress(&self) -> bool {
        matches!(self.at.list, RuleList::Ingress | RuleList::IngressDeny)
    }

    /// The name of the field for peers of a kind, as `fromEndpoints`.
    pub(super) fn side(&self, kind: &str) -> String {
        format!("{}{kind}", if self.is_ingress() { "from" } else { "to" })
    }
}

/// The rule of an entry.
pub(super) fn rule(entry: Entry, context: Context<'_>, report: &mut Report<'_>) -> Rule {
    let field = context.at.path();
    if !entry.icmps.is_empty() && !entry.ports.is_empty() {
        let message = "icmps and toPorts cannot stand in one entry; make two of it";
        report.invalid(&child(&field, "icmps"), message);
    }
    let enforced = unenforced::check(&entry, context, &field, report);
    let any_port = entry.ports.is_empty() && entry.icmps.is_empty();
    let mut matches = ports::matches(&entry.ports, &child(&field, "toPorts"), report);
    matches.extend(icmp::matches(&entry.icmps, &child(&field, "icmps"), report));
    let outside = entry.groups.as_ref().is_some_and(|groups| !groups.is_empty());
    let mut peers = peers::peers(entry, context, &field, report);
    match context.action() {
        Action::Deny if outside => peers = Peers::OneOf(vec![Peer::Entity(Entity::World)]),
        _ if !enforced => peers = Peers::OneOf(Vec::new()),
        // An entry that names neither ends nor ports says nothing.
        _ if any_port && peers == Peers::Any => peers = Peers::OneOf(Vec::new()),
        _ => {}
    }
    let ports = if any_port { Ports::Any } else { Ports::OneOf(matches) };
    Rule { at: context.at, action: context.action(), peers, ports }
}
