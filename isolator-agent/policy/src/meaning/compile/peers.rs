//! Distinct peers of the active rules, and which pods their selectors match. A pod is looked at only
//! through the labels that some selector reads, and only by selectors that its labels could satisfy. Not
//! here: prefixes (`blocks`), groups.

use super::intern::Interner;
use crate::cluster::snapshot::Snapshot;
use crate::model::{Entity, NamespaceMatch, Operator, Peer, Pod, Selector};
use std::collections::{BTreeSet, HashMap};

/// The distinct peers that active rules speak of. A matcher is named by its number.
#[derive(Default)]
pub(super) struct Matchers<'a> {
    peers: Interner<&'a Peer>,
}

impl<'a> Matchers<'a> {
    pub(super) fn number(&mut self, peer: &'a Peer) -> u32 {
        self.peers.number(peer)
    }

    pub(super) fn peers(&self) -> &[&'a Peer] {
        self.peers.values()
    }

    /// The matcher of an entity, if a rule speaks of it.
    pub(super) fn entity(&self, entity: Entity) -> Option<u32> {
        self.peers.find(&&Peer::Entity(entity))
    }
}

/// Answers which pod selectors match a pod.
pub(super) struct PodMatcher<'a> {
    snapshot: &'a Snapshot,
    /// Selectors for one namespace each.
    named: HashMap<&'a str, Vec<(u32, &'a Selector)>>,
    /// Selectors by the namespaces' selector.
    matching: HashMap<&'a Selector, Vec<(u32, &'a Selector)>>,
    namespaces: HashMap<&'a str, InNamespace<'a>>,
    /// Distinct sets of matchers, sorted.
    pub(super) sets: Interner<Vec<u32>>,
}

/// The selectors that apply in one namespace.
struct InNamespace<'a> {
    /// Label keys that a selector reads.
    keys: BTreeSet<&'a str>,
    /// Selectors that demand one of some values of a key, by that key and each value.
    by_label: HashMap<(&'a str, &'a str), Vec<(u32, &'a Selector)>>,
    /// All others.
    rest: Vec<(u32, &'a Selector)>,
    /// Answers by the values of `keys`.
    known: HashMap<Vec<Option<&'a str>>, u32>,
}

impl<'a> PodMatcher<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, matchers: &Matchers<'a>) -> Self {
        let mut named: HashMap<&str, Vec<_>> = HashMap::new();
        let mut matching: HashMap<&Selector, Vec<_>> = HashMap::new();
        for (number, peer) in (0..).zip(matchers.peers()) {
            let Peer::Pods { namespaces, pods } = peer else { continue };
            match namespaces {
                NamespaceMatch::Named(name) => named.entry(name).or_default().push((number, pods)),
                NamespaceMatch::Matching(selector) => {
                    matching.entry(selector).or_default().push((number, pods));
                }
            }
        }
        PodMatcher { snapshot, named, matching, namespaces: HashMap::new(), sets: Interner::default() }
    }

    /// The number of the set of pod selectors that match.
    pub(super) fn set_of(&mut self, pod: &'a Pod) -> u32 {
        let namespace = pod.key.namespace.as_str();
        if !self.namespaces.contains_key(namespace) {
            let applying = self.in_namespace(namespace);
            self.namespaces.insert(namespace, applying);
        }
        let Some(here) = self.namespaces.get_mut(namespace) else { return self.sets.number(Vec::new()) };
        let seen: Vec<_> = here.keys.iter().map(|key| pod.labels.get(*key).map(String::as_str)).collect();
        if let Some(set) = here.known.get(&seen) {
            return *set;
        }
        let by_label = here
            .keys
            .iter()
            .zip(&seen)
            .filter_map(|(key, value)| here.by_label.get(&(*key, (*value)?)))
            .flatten();
        let mut set: Vec<u32> = by_label
            .chain(&here.rest)
            .filter(|(_, selector)| selector.matches(&pod.labels))
            .map(|(number, _)| *number)
            .collect();
        set.sort_unstable();
        let number = self.sets.number(set);
        here.known.insert(seen, number);
        number
    }

    fn in_namespace(&self, namespace: &str) -> InNamespace<'a> {
        let labels = self.snapshot.namespace_labels(namespace);
        let named = self.named.get(namespace).into_iter().flatten();
        let matching = self.matching.iter().filter(|(selector, _)| selector.matches(&labels));
        let mut applying = InNamespace {
            keys: BTreeSet::new(),
            by_label: HashMap::new(),
            rest: Vec::new(),
            known: HashMap::new(),
        };
        for (number, selector) in named.chain(matching.flat_map(|(_, pods)| pods)) {
            let requirements = selector.requirements();
            applying.keys.extend(requirements.iter().map(|requirement| requirement.key.as_str()));
            let demanded = requirements.iter().find_map(|requirement| match &requirement.operator {
                Operator::In(values) => Some((requirement.key.as_str(), values)),
                _ => None,
            });
            match demanded {
                Some((key, values)) => {
                    for value in values {
                        applying.by_label.entry((key, value)).or_default().push((*number, selector));
                    }
                }
                None => applying.rest.push((*number, selector)),
            }
        }
        applying
    }
}
