//! Which policies speak of which local endpoints. The result is *programs*: the rules for one direction
//! in the order of evaluation, shared by all endpoints that they are the same for. Sections and programs that
//! nobody uses any more stay, so that numbers do. Not here: peers.

use super::intern::Interner;
use super::peers::Matchers;
use crate::cluster::ends::EndLabels;
use crate::cluster::snapshot::{Changes, Snapshot};
use crate::meaning::flow::judging_node;
use crate::model::{
    Action, ContainerPort, NamespaceMatch, Peers, Pod, PodKey, Policy, PolicyKey, PortMatch, Ports, Rule,
    RuleField, Rules, Subject, Tier,
};
use isolator_common::policy::Direction;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// All programs of the node.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// The distinct programs.
    pub(super) programs: Interner<Program>,
    /// Sections of policies that programs are made of.
    pub(super) sections: Vec<Section>,
    numbers: Numbers,
    /// Local endpoints.
    pub(super) local: BTreeMap<PodKey, Local>,
    /// Programs of an interface whose pod is not known yet.
    pub(super) startup: [usize; 2],
    /// Tenants of local endpoints. Empty: tenancy plays no part on this node.
    pub(super) tenants: BTreeSet<String>,
    /// Port names that egress rules ask peers for: (protocol, name).
    pub(super) names: Interner<(u8, String)>,
}

/// Numbers of sections by policy, index of the part and direction, with the policy that they were made of. No
/// number: the part says nothing of the direction.
type Numbers = HashMap<(PolicyKey, usize, Direction), (Arc<Policy>, Option<usize>)>;

/// A local endpoint.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) pod: Arc<Pod>,
    /// The parts of policies that select it, in the order of evaluation.
    parts: Vec<PartOf>,
    /// They changed since its programs were found.
    stale: bool,
    /// Its program in each direction.
    pub(super) programs: [usize; 2],
}

/// A part of a policy, by its index.
#[derive(Clone, Debug)]
struct PartOf(Arc<Policy>, usize);

/// The rules of some endpoints in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Program {
    pub(super) direction: Direction,
    /// Rules of an unknown pod: only the local host may talk.
    pub(super) startup: bool,
    /// Indexes into `sections`, in the order of evaluation.
    pub(super) sections: Vec<usize>,
    pub(super) tenant: Option<String>,
    /// Tenants that the endpoint admits. Only for ingress with a tenant.
    pub(super) accepts: Option<BTreeSet<String>>,
    /// Ports of the endpoint that have names. Only for ingress with named ports in its rules.
    pub(super) ports: Vec<ContainerPort>,
}

/// One direction of a part of a policy.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) policy: Arc<Policy>,
    pub(super) default_deny: bool,
    pub(super) rules: Vec<CompiledRule>,
    /// Some rule speaks of a port by name.
    pub(super) names: bool,
}

/// A rule with its peers as numbers.
#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) at: RuleField,
    pub(super) action: Action,
    /// `None`: everybody.
    pub(super) matchers: Option<Vec<u32>>,
    pub(super) ports: Ports,
}

impl Selection {
    pub(super) fn new(snapshot: &Snapshot, node: &str, matchers: &mut Matchers) -> Self {
        let mut selection = Selection::default();
        selection.startup = Direction::BOTH.map(|direction| {
            selection.programs.number(Program {
                direction,
                startup: true,
                sections: Vec::new(),
                tenant: None,
                accepts: None,
                ports: Vec::new(),
            }) as usize
        });
        let policies = Policies::new(snapshot);
        for pod in snapshot.pods().values().filter(|pod| is_local(pod, node)) {
            selection.place(snapshot, pod, policies.of(&pod.key.namespace));
        }
        selection.finish(snapshot, matchers);
        selection
    }

    /// Takes changes of pods and policies in. Answers whether endpoints or their programs may differ now.
    pub(super) fn update(
        &mut self,
        snapshot: &Snapshot,
        node: &str,
        changes: &Changes<'_>,
        matchers: &mut Matchers,
    ) -> bool {
        let mut changed = false;
        for (key, _, after) in &changes.policies {
            for local in self.local.values_mut() {
                local.replace(snapshot, key, *after);
                changed |= local.stale;
            }
        }
        for (key, before, after) in &changes.pods {
            if before.is_some_and(|pod| is_local(pod, node)) {
                self.local.remove(key);
                changed = true;
            }
            if let Some(pod) = after.filter(|pod| is_local(pod, node)) {
                self.place(snapshot, pod, snapshot.policies().values());
                changed = true;
            }
        }
        if changed {
            self.finish(snapshot, matchers);
        }
        changed
    }

    /// Adds an endpoint that some of these policies may select.
    fn place<'p>(
        &mut self,
        snapshot: &Snapshot,
        pod: &Arc<Pod>,
        policies: impl Iterator<Item = &'p Arc<Policy>>,
    ) {
        let mut parts: Vec<PartOf> = policies.flat_map(|policy| selecting(snapshot, policy, pod)).collect();
        parts.sort_by(|a, b| a.order().cmp(&b.order()));
        self.local
            .insert(pod.key.clone(), Local { pod: Arc::clone(pod), parts, stale: true, programs: [0; 2] });
    }

    /// Gives every endpoint whose rules changed its programs.
    fn finish(&mut self, snapshot: &Snapshot, matchers: &mut Matchers) {
        let Selection { programs, sections, numbers, local, tenants, names, startup: _ } = self;
        let mut builder = Builder { sections, numbers, names, matchers };
        let tenant_of = |pod: &Pod| snapshot.tenant_of(&pod.key.namespace).map(str::to_owned);
        *tenants = local.values().filter_map(|local| tenant_of(&local.pod)).collect();
        for Local { pod, parts, stale, programs: of_pod } in local.values_mut() {
            if !std::mem::take(stale) {
                continue;
            }
            let tenant = tenant_of(pod);
            *of_pod = Direction::BOTH.map(|direction| {
                let own: Vec<usize> =
                    parts.iter().filter_map(|part| builder.section(part, direction)).collect();
                let ingress = direction == Direction::Ingress;
                let named = ingress && own.iter().any(|index| builder.sections[*index].names);
                let program = Program {
                    direction,
                    startup: false,
                    tenant: tenant.clone(),
                    accepts: accepts(snapshot, pod).filter(|_| ingress && tenant.is_some()).cloned(),
                    ports: pod.ports.iter().filter(|port| named && !port.name.is_empty()).cloned().collect(),
                    sections: own,
                };
                programs.number(program) as usize
            });
        }
    }

    /// The programs that some endpoint or interface uses, ascending.
    pub(super) fn live(&self) -> Vec<usize> {
        let used = self.local.values().flat_map(|local| local.programs);
        sorted(used.chain(self.startup))
    }

    /// Egress and ingress together, as endpoints and interfaces have them.
    pub(super) fn pairs(&self) -> BTreeSet<[usize; 2]> {
        self.local.values().map(|local| local.programs).chain([self.startup]).collect()
    }

    /// The matchers that those programs' rules speak of, ascending.
    pub(super) fn speaking_of(&self, programs: &[usize]) -> Vec<u32> {
        let sections =
            sorted(programs.iter().flat_map(|program| self.program(*program).sections.iter().copied()));
        let rules = sections.into_iter().flat_map(|section| &self.sections[section].rules);
        sorted(rules.filter_map(|rule| rule.matchers.as_ref()).flatten().copied())
    }

    pub(super) fn program(&self, number: usize) -> &Program {
        &self.programs.values()[number]
    }

    /// The sections that isolate the endpoints of a program.
    pub(super) fn isolating(&self, program: &Program) -> impl Iterator<Item = &Section> {
        let sections = program.sections.iter().map(|index| &self.sections[*index]);
        sections.filter(|section| section.default_deny && section.policy.tier == Tier::Normal)
    }

    /// Whether a program may admit some peers at every port: nothing isolates its endpoints, or a rule allows without
    /// naming ports. By the rules alone: it does not change with who is there.
    pub(super) fn admits_freely(&self, program: usize) -> bool {
        let program = self.program(program);
        let mut rules = program.sections.iter().flat_map(|index| &self.sections[*index].rules);
        self.isolating(program).next().is_none()
            || rules.any(|rule| rule.action == Action::Allow && rule.ports == Ports::Any)
    }
}

impl Local {
    /// Replaces a policy.
    fn replace(&mut self, snapshot: &Snapshot, key: &PolicyKey, after: Option<&Arc<Policy>>) {
        let before = self.parts.len();
        self.parts.retain(|PartOf(policy, _)| policy.key != *key);
        self.stale |= self.parts.len() != before;
        for part in after.into_iter().flat_map(|policy| selecting(snapshot, policy, &self.pod)) {
            let place = self.parts.partition_point(|other| other.order() < part.order());
            self.parts.insert(place, part);
            self.stale = true;
        }
    }
}

impl PartOf {
    /// Its place in the order of evaluation.
    fn order(&self) -> (Tier, u32, &PolicyKey, usize) {
        let PartOf(policy, part) = self;
        (policy.tier, policy.priority, &policy.key, *part)
    }
}

/// Distinct values, ascending.
pub(super) fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn is_local(pod: &Pod, node: &str) -> bool {
    pod.is_endpoint() && judging_node(pod) == node
}

fn accepts<'a>(snapshot: &'a Snapshot, pod: &Pod) -> Option<&'a BTreeSet<String>> {
    snapshot.namespaces().get(&pod.key.namespace).map(|namespace| &namespace.accept_tenants)
}

/// The namespace whose pods alone a subject can select; `None`: any.
fn namespace_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Pods { namespaces: NamespaceMatch::Named(name), .. }
        | Subject::Labelled { namespace: Some(name), .. } => Some(name),
        Subject::Pods { namespaces: NamespaceMatch::Matching(_), .. }
        | Subject::Labelled { namespace: None, .. } => None,
    }
}

/// The parts of a policy that select a pod.
fn selecting(snapshot: &Snapshot, policy: &Arc<Policy>, pod: &Pod) -> Vec<PartOf> {
    let selects = |subject: &Subject| {
        namespace_of(subject).is_none_or(|name| name == pod.key.namespace)
            && match subject {
                Subject::Pods { namespaces: NamespaceMatch::Named(_), pods } => pods.matches(&pod.labels),
                Subject::Pods { namespaces: NamespaceMatch::Matching(selector), pods } => {
                    pods.matches(&pod.labels)
                        && selector.matches(&snapshot.namespace_labels(&pod.key.namespace))
                }
                Subject::Labelled { identity, .. } => identity.matches(&EndLabels::of_pod(snapshot, pod)),
            }
    };
    let parts = policy.parts.iter().enumerate().filter(|(_, part)| selects(&part.subject));
    parts.map(|(index, _)| PartOf(Arc::clone(policy), index)).collect()
}

/// Policies by the namespace of their subjects, so that not every pod is asked about every policy.
struct Policies<'a> {
    by_namespace: HashMap<&'a str, Vec<&'a Arc<Policy>>>,
    wide: Vec<&'a Arc<Policy>>,
}

impl<'a> Policies<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let mut by_namespace: HashMap<&str, Vec<_>> = HashMap::new();
        let mut wide = Vec::new();
        for policy in snapshot.policies().values() {
            let namespaces = sorted(policy.parts.iter().map(|part| namespace_of(&part.subject)));
            match namespaces.as_slice() {
                [Some(name)] => by_namespace.entry(name).or_default().push(policy),
                [] => {}
                _ => wide.push(policy),
            }
        }
        Policies { by_namespace, wide }
    }

    /// The policies that may select pods of a namespace.
    fn of(&self, namespace: &str) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.by_namespace.get(namespace).into_iter().flatten().chain(&self.wide).copied()
    }
}

/// Builds each section once.
struct Builder<'s> {
    sections: &'s mut Vec<Section>,
    numbers: &'s mut Numbers,
    names: &'s mut Interner<(u8, String)>,
    matchers: &'s mut Matchers,
}

impl Builder<'_> {
    /// The number of a part's section; `None` if it says nothing of the direction.
    fn section(&mut self, PartOf(policy, part): &PartOf, direction: Direction) -> Option<usize> {
        let key = (policy.key.clone(), *part, direction);
        if let Some((known, number)) = self.numbers.get(&key)
            && Arc::ptr_eq(known, policy)
        {
            return *number;
        }
        let number = policy.parts[*part].section(direction).map(|rules| {
            let section = self.build(policy, rules, direction);
            self.sections.push(section);
            self.sections.len() - 1
        });
        self.numbers.insert(key, (Arc::clone(policy), number));
        number
    }

    fn build(&mut self, policy: &Arc<Policy>, rules: &Rules, direction: Direction) -> Section {
        let mut names = false;
        for (protocol, name) in rules.rules.iter().flat_map(named_ports) {
            names = true;
            if direction == Direction::Egress {
                self.names.number((protocol, name.to_owned()));
            }
        }
        let mut rules_of = |rule: &Rule| CompiledRule {
            at: rule.at,
            action: rule.action,
            matchers: match &rule.peers {
                Peers::Any => None,
                Peers::OneOf(peers) => Some(peers.iter().map(|peer| self.matchers.number(peer)).collect()),
            },
            ports: rule.ports.clone(),
        };
        Section {
            policy: Arc::clone(policy),
            default_deny: rules.default_deny,
            rules: rules.rules.iter().map(&mut rules_of).collect(),
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
