//! The snapshot as checks look at it: parts of policies, each with the pods that it selects. Not here: checks.

use crate::cluster::snapshot::Snapshot;
use crate::meaning::reading::selects;
use crate::model::{NamespaceMatch, Part, Pod, Policy, PolicyKind, Rule, Rules, Subject};
use isolator_common::policy::Direction;
use std::collections::BTreeMap;

/// What checks look at.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The pods that are endpoints, by name.
    pub(super) endpoints: Vec<&'a Pod>,
    /// Every part of every policy, by the policies' names.
    pub(super) parts: Vec<PartView<'a>>,
}

/// A part of a policy.
pub(super) struct PartView<'a> {
    pub(super) policy: &'a Policy,
    pub(super) part: &'a Part,
    /// The endpoints that it selects.
    pub(super) pods: Vec<&'a Pod>,
}

impl<'a> View<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let endpoints: Vec<&Pod> =
            snapshot.pods().values().map(AsRef::as_ref).filter(|pod| pod.is_endpoint()).collect();
        let mut by_namespace: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in &endpoints {
            by_namespace.entry(&pod.key.namespace).or_default().push(pod);
        }
        let mut parts = Vec::new();
        for policy in snapshot.policies().values() {
            for part in &policy.parts {
                let near = match namespace_of(&part.subject) {
                    Some(name) => by_namespace.get(name).map_or(&[][..], Vec::as_slice),
                    None => &endpoints,
                };
                let pods = near.iter().copied().filter(|pod| selects(snapshot, &part.subject, pod)).collect();
                parts.push(PartView { policy, part, pods });
            }
        }
        View { snapshot, endpoints, parts }
    }
}

/// The one namespace that a subject is in, if it is only one.
pub(super) fn namespace_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Pods { namespaces: NamespaceMatch::Named(name), .. } => Some(name),
        Subject::Labelled { namespace, .. } => namespace.as_deref(),
        Subject::Pods { namespaces: NamespaceMatch::Matching(_), .. } => None,
    }
}

impl<'a> PartView<'a> {
    /// Both sections that it has.
    pub(super) fn sections(&self) -> impl Iterator<Item = (Direction, &'a Rules)> + use<'a> {
        let part = self.part;
        Direction::BOTH.into_iter().filter_map(move |direction| Some((direction, part.section(direction)?)))
    }

    /// Its rules with their directions.
    pub(super) fn rules(&self) -> impl Iterator<Item = (Direction, &'a Rule)> + use<'a> {
        self.sections()
            .flat_map(|(direction, section)| section.rules.iter().map(move |rule| (direction, rule)))
    }

    /// The field that the part is in: `spec`, `specs[1]`.
    pub(super) fn field(&self) -> String {
        match self.rules().find_map(|(_, rule)| rule.at.spec) {
            Some(index) => format!("specs[{index}]"),
            None => "spec".to_owned(),
        }
    }

    /// The field of its subject.
    pub(super) fn subject_field(&self) -> String {
        let name = match self.policy.key.kind {
            PolicyKind::NetworkPolicy => "podSelector",
            PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy => {
                "endpointSelector"
            }
            PolicyKind::ClusterNetworkPolicy => "subject",
        };
        format!("{}.{name}", self.field())
    }
}
