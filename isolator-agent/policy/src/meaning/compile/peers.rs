//! Distinct peers of the active rules, and which ends their selectors match. A pod is looked at only
//! through the labels that some selector reads, and only by selectors that its labels could satisfy. Not
//! here: prefixes (`blocks`), groups.

use super::intern::Interner;
use crate::cluster::ends::in_identity;
use crate::cluster::ends::{
    CLUSTER_KEY, EndLabels, NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX, SERVICE_ACCOUNT_KEY,
};
use crate::cluster::snapshot::Snapshot;
use crate::model::{
    Entity, IdentityLabels, IdentityRequirement, IdentitySelector, LabelSource, Labels, NamespaceMatch,
    ObjectMatch, Operator, Peer, Pod, PodKey, Selector, Service,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The distinct peers that rules speak of. A matcher is named by its number; none is ever forgotten.
#[derive(Debug, Default)]
pub(super) struct Matchers {
    peers: Interner<Arc<Peer>>,
}

impl Matchers {
    pub(super) fn number(&mut self, peer: &Peer) -> u32 {
        match self.peers.find(peer) {
            Some(number) => number,
            None => self.peers.number(Arc::new(peer.clone())),
        }
    }

    pub(super) fn peers(&self) -> &[Arc<Peer>] {
        self.peers.values()
    }

    /// The matcher of an entity, if a rule speaks of it.
    pub(super) fn entity(&self, entity: Entity) -> Option<u32> {
        self.peers.find(&Peer::Entity(entity))
    }

    /// The matchers of the selectors that match an end which is no pod, ascending. `node`: a node's own labels.
    pub(super) fn of_end(&self, labels: &EndLabels<'_>, node: Option<&Labels>) -> Vec<u32> {
        let here = matches!(labels, EndLabels::Host { .. });
        let matches = |peer: &Peer| match peer {
            Peer::Labelled(identity) => identity.matches(labels),
            Peer::Nodes { labels, own } => (*own || !here) && node.is_some_and(|node| labels.matches(node)),
            _ => false,
        };
        (0..).zip(self.peers()).filter(|(_, peer)| matches(peer)).map(|(number, _)| number).collect()
    }
}

/// The services that a peer means.
pub(super) fn services<'a>(
    snapshot: &'a Snapshot,
    namespace: Option<&str>,
    which: &ObjectMatch,
) -> impl Iterator<Item = &'a Service> {
    snapshot.services().values().map(AsRef::as_ref).filter(move |service| {
        namespace.is_none_or(|namespace| namespace == service.key.namespace)
            && match which {
                ObjectMatch::Named(name) => service.key.name == *name,
                ObjectMatch::Matching(labels) => labels.matches(&service.labels),
            }
    })
}

/// Answers which selectors match a pod.
#[derive(Debug, Default)]
pub(super) struct PodMatcher {
    scopes: Interner<Scope>,
    /// By scope.
    selectors: Vec<Selectors>,
    /// Namespaces that a pod was asked about.
    namespaces: HashMap<String, InNamespace>,
    /// Distinct sets of matchers, sorted.
    pub(super) sets: Interner<Vec<u32>>,
}

/// The namespaces that a selector means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Named(String),
    Matching(Selector),
    /// What an identity's selector asks of all pods of a namespace alike.
    Common(Vec<IdentityRequirement>),
}

/// What a selector reads of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Field {
    Label(String),
    ServiceAccount,
}

/// What a selector asks of each pod by itself; all must hold.
type Conditions = Vec<(Field, Operator)>;

/// The selectors of one scope.
#[derive(Debug, Default)]
struct Selectors {
    /// What some selector reads.
    fields: BTreeSet<Field>,
    /// With the matchers that they belong to.
    conditions: Vec<(u32, Conditions)>,
    /// Conditions that demand one of some values of a field, by that field and each value.
    by_value: HashMap<Field, HashMap<String, Vec<usize>>>,
    /// All others.
    rest: Vec<usize>,
}

#[derive(Debug)]
struct InNamespace {
    /// A pod that is or was there.
    example: Arc<Pod>,
    /// The fields that were read of every pod that was ever asked about, with hashes of all values that they had.
    seen: BTreeMap<Field, HashSet<u64>>,
    scopes: Vec<usize>,
    /// How many selectors these scopes had when they were asked last. Scopes and selectors are only ever added, so that
    /// answers of fewer are out of date, and no others.
    asked: usize,
    /// Answers by the values of all fields, each after its length.
    known: HashMap<Vec<u8>, u32>,
}

impl PodMatcher {
    /// Takes a matcher in.
    pub(super) fn add(&mut self, snapshot: &Snapshot, number: u32, peer: &Peer) {
        for (scope, conditions) in wanted(snapshot, peer) {
            let index = self.scopes.number(scope.clone()) as usize;
            if index == self.selectors.len() {
                self.selectors.push(Selectors::default());
                let holding =
                    self.namespaces.values_mut().filter(|here| scope.holds(snapshot, &here.example));
                holding.for_each(|here| here.scopes.push(index));
            }
            self.selectors[index].add(number, conditions);
        }
    }

    /// The pods that the selectors of a peer match, in namespaces that were asked about. The peer was taken in.
    pub(super) fn matched<'s>(&self, snapshot: &'s Snapshot, peer: &Peer) -> Vec<&'s Arc<Pod>> {
        let mut matched = Vec::new();
        for (scope, conditions) in wanted(snapshot, peer) {
            let Some(index) = self.scopes.find(&scope).map(|index| index as usize) else { continue };
            let concerned = self.namespaces.iter().filter(|(_, here)| here.scopes.contains(&index));
            for (namespace, _) in concerned.filter(|(_, here)| here.may_meet(&conditions)) {
                let first = |namespace: String| PodKey { namespace, name: String::new() };
                // No namespace is named between the two.
                let all = first(namespace.clone())..first(format!("{namespace}\0"));
                let pods = snapshot.pods().range(all).map(|(_, pod)| pod);
                matched.extend(pods.filter(|pod| hold(&conditions, pod)));
            }
        }
        matched
    }

    /// The number of the set of selectors that match.
    pub(super) fn set_of(&mut self, snapshot: &Snapshot, pod: &Arc<Pod>) -> u32 {
        let namespace = pod.key.namespace.as_str();
        if !self.namespaces.contains_key(namespace) {
            let holding =
                self.scopes.values().iter().enumerate().filter(|(_, scope)| scope.holds(snapshot, pod));
            let scopes: Vec<usize> = holding.map(|(index, _)| index).collect();
            let fields = scopes.iter().flat_map(|scope| &self.selectors[*scope].fields);
            let here = InNamespace {
                example: Arc::clone(pod),
                seen: fields.map(|field| (field.clone(), HashSet::new())).collect(),
                scopes,
                asked: 0,
                known: HashMap::new(),
            };
            self.namespaces.insert(namespace.to_owned(), here);
        }
        let Some(here) = self.namespaces.get_mut(namespace) else { return self.sets.number(Vec::new()) };
        let asked = here.scopes.iter().map(|scope| self.selectors[*scope].conditions.len()).sum();
        if std::mem::replace(&mut here.asked, asked) != asked {
            here.known.clear();
        }
        let mut seen = Vec::new();
        for field in here.scopes.iter().flat_map(|scope| &self.selectors[*scope].fields) {
            // No value is as long as an absent one.
            let value = field.of(pod);
            seen.extend(value.map_or(u32::MAX, |value| value.len() as u32).to_ne_bytes());
            seen.extend(value.unwrap_or_default().as_bytes());
        }
        if let Some(set) = here.known.get(&seen) {
            return *set;
        }
        for (field, values) in &mut here.seen {
            values.extend(field.of(pod).map(hashed));
        }
        let set: BTreeSet<u32> =
            here.scopes.iter().flat_map(|scope| self.selectors[*scope].matching(pod)).collect();
        let number = self.sets.number(set.into_iter().collect());
        here.known.insert(seen, number);
        number
    }
}

impl InNamespace {
    /// Whether a pod that is or was there may meet the conditions. Spares a look at all of them.
    fn may_meet(&self, conditions: &Conditions) -> bool {
        conditions.iter().all(|(field, operator)| match (operator, self.seen.get(field)) {
            (Operator::In(values), Some(seen)) => values.iter().any(|value| seen.contains(&hashed(value))),
            _ => true,
        })
    }
}

impl Selectors {
    fn add(&mut self, number: u32, conditions: Conditions) {
        let index = self.conditions.len();
        self.fields.extend(conditions.iter().map(|(field, _)| field.clone()));
        let demanded = conditions.iter().find_map(|(field, operator)| match operator {
            Operator::In(values) => Some((field, values)),
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
        });
        match demanded {
            Some((field, values)) => {
                let by_value = self.by_value.entry(field.clone()).or_default();
                for value in values {
                    by_value.entry(value.clone()).or_default().push(index);
                }
            }
            None => self.rest.push(index),
        }
        self.conditions.push((number, conditions));
    }

    fn matching(&self, pod: &Pod) -> impl Iterator<Item = u32> {
        let demanding =
            self.by_value.iter().filter_map(|(field, values)| values.get(field.of(pod)?)).flatten();
        let candidates = demanding.chain(&self.rest).map(|index| &self.conditions[*index]);
        candidates.filter(|(_, conditions)| hold(conditions, pod)).map(|(number, _)| *number)
    }
}

/// What a peer asks of pods, for each set of namespaces that it means. Peers that are not about pods: nothing.
fn wanted(snapshot: &Snapshot, peer: &Peer) -> Vec<(Scope, Conditions)> {
    let of_labels = |pods: &Selector| {
        let requirements = pods.requirements().iter();
        requirements.map(|wanted| (Field::Label(wanted.key.clone()), wanted.operator.clone())).collect()
    };
    match peer {
        Peer::Pods { namespaces: NamespaceMatch::Named(name), pods } => {
            vec![(Scope::Named(name.clone()), of_labels(pods))]
        }
        Peer::Pods { namespaces: NamespaceMatch::Matching(selector), pods } => {
            vec![(Scope::Matching(selector.clone()), of_labels(pods))]
        }
        Peer::Services { namespace, services: which } => {
            let meant = services(snapshot, namespace.as_deref(), which);
            let equal = |service: &Service| {
                let labels = service.selector.iter();
                let is = |(key, value): (&String, &String)| {
                    (Field::Label(key.clone()), Operator::In([value.clone()].into()))
                };
                (Scope::Named(service.key.namespace.clone()), labels.map(is).collect())
            };
            meant.filter(|service| !service.selector.is_empty()).map(equal).collect()
        }
        Peer::Labelled(identity) => of_identity(identity),
        Peer::Nodes { .. } | Peer::Block { .. } | Peer::CidrGroups { .. } | Peer::Entity(_) => Vec::new(),
    }
}

/// The requirements of an identity's selector: those that all pods of a namespace meet or not, and the rest.
fn of_identity(identity: &IdentitySelector) -> Vec<(Scope, Conditions)> {
    let mut common = Vec::new();
    let mut conditions = Vec::new();
    for wanted in identity.requirements() {
        match field(wanted) {
            Some(field) => conditions.push((field, wanted.operator.clone())),
            None => common.push(wanted.clone()),
        }
    }
    vec![(Scope::Common(common), conditions)]
}

/// What a requirement reads of a pod; `None`: something that all pods of a namespace have in common.
fn field(wanted: &IdentityRequirement) -> Option<Field> {
    if !wanted.source.means(&LabelSource::Kubernetes) {
        return None;
    }
    match wanted.key.as_str() {
        SERVICE_ACCOUNT_KEY => Some(Field::ServiceAccount),
        NAMESPACE_KEY | CLUSTER_KEY => None,
        key if key.starts_with(NAMESPACE_LABELS_PREFIX) || !in_identity(key) => None,
        key => Some(Field::Label(key.to_owned())),
    }
}

impl Scope {
    /// Whether the namespace of a pod is meant.
    fn holds(&self, snapshot: &Snapshot, pod: &Pod) -> bool {
        match self {
            Scope::Named(name) => pod.key.namespace == *name,
            Scope::Matching(selector) => selector.matches(&snapshot.namespace_labels(&pod.key.namespace)),
            Scope::Common(requirements) => {
                let labels = EndLabels::of_pod(snapshot, pod);
                requirements
                    .iter()
                    .all(|wanted| wanted.operator.holds(labels.value(&wanted.source, &wanted.key)))
            }
        }
    }
}

impl Field {
    fn of<'p>(&self, pod: &'p Pod) -> Option<&'p str> {
        match self {
            Field::Label(key) => pod.labels.get(key).map(String::as_str),
            Field::ServiceAccount => Some(&pod.service_account),
        }
    }
}

/// Equal hashes of different values cost a look, nothing else.
fn hashed(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn hold(conditions: &Conditions, pod: &Pod) -> bool {
    conditions.iter().all(|(field, operator)| operator.holds(field.of(pod)))
}
