//! Which policies speak of which local endpoints. The result is *programs*: the rules for one direction
//! in the order of evaluation, shared by all endpoints that they are the same for. Not here: peers.

use super::intern::Interner;
use super::peers::Matchers;
use crate::cluster::snapshot::Snapshot;
use crate::meaning::reading::section;
use crate::model::{
    Action, ContainerPort, Labels, NamespaceMatch, Peers, Pod, Policy, PortMatch, Ports, Rule, Rules, Tier,
};
use isolator_common::policy::Direction;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// All programs of the node.
pub(super) struct Selection<'a> {
    /// The distinct programs.
    pub(super) programs: Vec<Program<'a>>,
    /// Sections of policies that programs are made of.
    pub(super) sections: Vec<Section<'a>>,
    /// By local endpoint, in the order given: its program in each direction.
    pub(super) programs_of: Vec<[usize; 2]>,
    /// Programs of an interface whose pod is not known yet.
    pub(super) startup: [usize; 2],
    /// Tenants of local endpoints. Empty: tenancy plays no part on this node.
    pub(super) tenants: BTreeSet<&'a str>,
    /// Port names that egress rules ask peers for: (protocol, name).
    pub(super) names: Interner<(u8, &'a str)>,
}

/// The rules of some endpoints in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Program<'a> {
    pub(super) direction: Direction,
    /// Rules of an unknown pod: only the local host may talk.
    pub(super) startup: bool,
    /// Indexes into `sections`, in the order of evaluation.
    pub(super) sections: Vec<usize>,
    pub(super) tenant: Option<&'a str>,
    /// Tenants that the endpoint admits. Only for ingress with a tenant.
    pub(super) accepts: Option<&'a BTreeSet<String>>,
    /// Ports of the endpoint that have names. Only for ingress with named ports in its rules.
    pub(super) ports: Vec<&'a ContainerPort>,
}

/// One direction of a policy.
pub(super) struct Section<'a> {
    pub(super) policy: &'a Policy,
    pub(super) default_deny: bool,
    pub(super) rules: Vec<CompiledRule<'a>>,
    /// Some rule speaks of a port by name.
    pub(super) names: bool,
}

/// A rule with its peers as numbers.
pub(super) struct CompiledRule<'a> {
    pub(super) action: Action,
    /// `None`: everybody.
    pub(super) matchers: Option<Vec<u32>>,
    pub(super) ports: &'a Ports,
}

/// Policies in the order of evaluation, found by the namespace of their subjects.
struct Policies<'a> {
    ordered: Vec<&'a Policy>,
    by_namespace: HashMap<&'a str, Vec<usize>>,
    wide: Vec<usize>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, local: &[&'a Arc<Pod>], matchers: &mut Matchers<'a>) -> Self {
        let policies = Policies::new(snapshot);
        let mut selected: HashMap<(&str, &Labels), Vec<usize>> = HashMap::new();
        let mut builder =
            Builder { sections: Vec::new(), numbers: HashMap::new(), names: Interner::default() };
        let mut programs: Interner<Program<'a>> = Interner::default();
        let mut tenants = BTreeSet::new();
        let mut programs_of = Vec::with_capacity(local.len());
        for pod in local {
            let selecting = selected
                .entry((&pod.key.namespace, &pod.labels))
                .or_insert_with(|| policies.selecting(snapshot, pod));
            let tenant = snapshot.tenant_of(&pod.key.namespace);
            tenants.extend(tenant);
            programs_of.push(Direction::BOTH.map(|direction| {
                let sections: Vec<usize> = selecting
                    .iter()
                    .filter_map(|index| {
                        builder.section(policies.ordered[*index], *index, direction, matchers)
                    })
                    .collect();
                let ingress = direction == Direction::Ingress;
                let named = ingress && sections.iter().any(|index| builder.sections[*index].names);
                let program = Program {
                    direction,
                    startup: false,
                    tenant,
                    accepts: accepts(snapshot, pod).filter(|_| ingress && tenant.is_some()),
                    ports: pod.ports.iter().filter(|port| named && !port.name.is_empty()).collect(),
                    sections,
                };
                programs.number(program) as usize
            }));
        }
        let startup = Direction::BOTH.map(|direction| {
            let sections = Vec::new();
            programs.number(Program {
                direction,
                startup: true,
                sections,
                tenant: None,
                accepts: None,
                ports: Vec::new(),
            }) as usize
        });
        Selection {
            programs: programs.into_values(),
            sections: builder.sections,
            programs_of,
            startup,
            tenants,
            names: builder.names,
        }
    }
}

impl<'a> Selection<'a> {
    /// The sections that isolate the endpoints of a program.
    pub(super) fn isolating(&self, program: &Program<'a>) -> impl Iterator<Item = &Section<'a>> {
        let sections = program.sections.iter().map(|index| &self.sections[*index]);
        sections.filter(|section| section.default_deny && section.policy.tier == Tier::Normal)
    }

    /// Whether a program isolates its endpoints.
    pub(super) fn isolates(&self, program: usize) -> bool {
        self.isolating(&self.programs[program]).next().is_some()
    }
}

fn accepts<'a>(snapshot: &'a Snapshot, pod: &Pod) -> Option<&'a BTreeSet<String>> {
    snapshot.namespaces().get(&pod.key.namespace).map(|namespace| &namespace.accept_tenants)
}

impl<'a> Policies<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let mut ordered: Vec<&Policy> = snapshot.policies().values().map(Arc::as_ref).collect();
        ordered.sort_by_key(|policy| (policy.tier, policy.priority, &policy.key));
        let mut by_namespace: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut wide = Vec::new();
        for (index, policy) in ordered.iter().enumerate() {
            match &policy.subject.namespaces {
                NamespaceMatch::Named(name) => by_namespace.entry(name).or_default().push(index),
                NamespaceMatch::Matching(_) => wide.push(index),
            }
        }
        Policies { ordered, by_namespace, wide }
    }

    /// The policies that select a pod, in the order of evaluation.
    fn selecting(&self, snapshot: &Snapshot, pod: &Pod) -> Vec<usize> {
        let labels = snapshot.namespace_labels(&pod.key.namespace);
        let in_namespace = self.by_namespace.get(pod.key.namespace.as_str()).into_iter().flatten();
        let wide = self.wide.iter().filter(|index| match &self.ordered[**index].subject.namespaces {
            NamespaceMatch::Matching(selector) => selector.matches(&labels),
            NamespaceMatch::Named(_) => false,
        });
        let mut selecting: Vec<usize> = in_namespace
            .chain(wide)
            .copied()
            .filter(|index| self.ordered[*index].subject.pods.matches(&pod.labels))
            .collect();
        selecting.sort_unstable();
        selecting
    }
}

/// Builds each section once.
struct Builder<'a> {
    sections: Vec<Section<'a>>,
    numbers: HashMap<(usize, Direction), Option<usize>>,
    names: Interner<(u8, &'a str)>,
}

impl<'a> Builder<'a> {
    /// The number of a policy's section; `None` if it says nothing of the direction.
    fn section(
        &mut self,
        policy: &'a Policy,
        index: usize,
        direction: Direction,
        matchers: &mut Matchers<'a>,
    ) -> Option<usize> {
        if let Some(number) = self.numbers.get(&(index, direction)) {
            return *number;
        }
        let number = section(policy, direction).map(|rules| {
            let section = self.build(policy, rules, direction, matchers);
            self.sections.push(section);
            self.sections.len() - 1
        });
        self.numbers.insert((index, direction), number);
        number
    }

    fn build(
        &mut self,
        policy: &'a Policy,
        rules: &'a Rules,
        direction: Direction,
        matchers: &mut Matchers<'a>,
    ) -> Section<'a> {
        let mut names = false;
        for port in rules.rules.iter().flat_map(named_ports) {
            names = true;
            if direction == Direction::Egress {
                self.names.number(port);
            }
        }
        let rules_of = |rule: &'a Rule| CompiledRule {
            action: rule.action,
            matchers: match &rule.peers {
                Peers::Any => None,
                Peers::OneOf(peers) => Some(peers.iter().map(|peer| matchers.number(peer)).collect()),
            },
            ports: &rule.ports,
        };
        Section {
            policy,
            default_deny: rules.default_deny,
            rules: rules.rules.iter().map(rules_of).collect(),
            names,
        }
    }
}

fn named_ports(rule: &Rule) -> impl Iterator<Item = (u8, &str)> {
    let ports = match &rule.ports {
        Ports::Any => &[][..],
        Ports::OneOf(ports) => ports,
    };
    ports.iter().filter_map(|port| match port {
        PortMatch::Named { protocol, name } => Some((*protocol, name.as_str())),
        PortMatch::Range { .. } => None,
    })
}
