//! Selectors of every kind as conditions on labels, each by itself, so that one can be compared with another without
//! looking at a single pod. What is said of inclusion is never wrong; that nothing is said proves nothing.
//! Not here: rules (`cover`).

use crate::cluster::ends::{
    CLUSTER_KEY, NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX, SERVICE_ACCOUNT_KEY, in_identity, is_beta,
};
use crate::cluster::snapshot::{NAMESPACE_NAME_LABEL, Snapshot};
use crate::model::{IdentitySelector, LabelSource, NamespaceMatch, Operator, Selector, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// Values that a label may have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    /// It may be absent.
    absent: bool,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

/// No condition.
static ANYTHING: Allowed = Allowed { absent: true, values: Values::AllBut(BTreeSet::new()) };

impl Allowed {
    fn of(operator: &Operator) -> Self {
        match operator {
            Operator::In(values) => Allowed { absent: false, values: Values::Only(values.clone()) },
            Operator::NotIn(values) => Allowed { absent: true, values: Values::AllBut(values.clone()) },
            Operator::Exists => Allowed { absent: false, ..ANYTHING.clone() },
            Operator::DoesNotExist => Allowed { absent: true, values: Values::Only(BTreeSet::new()) },
        }
    }

    fn and(&self, other: &Allowed) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Only(a), Values::Only(b)) => Values::Only(a & b),
            (Values::Only(a), Values::AllBut(b)) | (Values::AllBut(b), Values::Only(a)) => {
                Values::Only(a - b)
            }
            (Values::AllBut(a), Values::AllBut(b)) => Values::AllBut(a | b),
        };
        Allowed { absent: self.absent && other.absent, values }
    }

    fn is_impossible(&self) -> bool {
        !self.absent && self.values == Values::Only(BTreeSet::new())
    }

    fn is_within(&self, other: &Allowed) -> bool {
        let values = match (&self.values, &other.values) {
            (Values::Only(a), Values::Only(b)) => a.is_subset(b),
            (Values::Only(a), Values::AllBut(b)) => a.is_disjoint(b),
            (Values::AllBut(_), Values::Only(_)) => false,
            (Values::AllBut(a), Values::AllBut(b)) => b.is_subset(a),
        };
        (other.absent || !self.absent) && values
    }

    fn holds(&self, value: Option<&str>) -> bool {
        match (value, &self.values) {
            (None, _) => self.absent,
            (Some(value), Values::Only(values)) => values.contains(value),
            (Some(value), Values::AllBut(values)) => !values.contains(value),
        }
    }
}

/// A label that a condition is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// Of an identity.
    Identity(LabelSource, String),
    /// Of a pod, and not of its identity.
    Pod(String),
    /// Of a pod's namespace, and not of its identity.
    Namespace(String),
}

/// Conditions on one end; all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// It is a pod, whatever its labels.
    is_pod: bool,
    labels: BTreeMap<Label, Allowed>,
}

impl Facts {
    pub(super) fn of_subject(subject: &Subject) -> Self {
        match subject {
            Subject::Pods { namespaces, pods } => Facts::of_pods(namespaces, pods),
            Subject::Labelled { namespace, identity } => {
                let mut facts = Facts { is_pod: true, ..Facts::of_identity(identity) };
                if let Some(name) = namespace {
                    facts.add(namespace_name(), &only(name));
                }
                facts
            }
        }
    }

    pub(super) fn of_pods(namespaces: &NamespaceMatch, pods: &Selector) -> Self {
        let mut facts = Facts { is_pod: true, ..Facts::default() };
        for wanted in pods.requirements() {
            // These mean other things in identities than on pods.
            let taken = [NAMESPACE_KEY, SERVICE_ACCOUNT_KEY, CLUSTER_KEY].contains(&wanted.key.as_str())
                || wanted.key.starts_with(NAMESPACE_LABELS_PREFIX);
            let label = if in_identity(&wanted.key) && !taken {
                Label::Identity(LabelSource::Kubernetes, wanted.key.clone())
            } else {
                Label::Pod(wanted.key.clone())
            };
            facts.add(label, &wanted.operator);
        }
        match namespaces {
            NamespaceMatch::Named(name) => facts.add(namespace_name(), &only(name)),
            NamespaceMatch::Matching(labels) => {
                for wanted in labels.requirements() {
                    facts.add(namespace_label(&wanted.key), &wanted.operator);
                    if wanted.key == NAMESPACE_NAME_LABEL {
                        facts.add(namespace_name(), &wanted.operator);
                    }
                }
            }
        }
        facts
    }

    pub(super) fn of_identity(identity: &IdentitySelector) -> Self {
        let mut facts = Facts::default();
        for wanted in identity.requirements() {
            facts.add(Label::Identity(wanted.source.clone(), wanted.key.clone()), &wanted.operator);
        }
        facts
    }

    fn add(&mut self, label: Label, operator: &Operator) {
        let allowed = self.labels.entry(label).or_insert_with(|| ANYTHING.clone());
        *allowed = allowed.and(&Allowed::of(operator));
    }

    /// What both demand.
    pub(super) fn and(&self, other: &Facts) -> Facts {
        let mut both = self.clone();
        both.is_pod |= other.is_pod;
        for (label, allowed) in &other.labels {
            let entry = both.labels.entry(label.clone()).or_insert_with(|| ANYTHING.clone());
            *entry = entry.and(allowed);
        }
        both
    }

    /// Whether nothing can be like that.
    pub(super) fn are_impossible(&self) -> bool {
        self.labels.values().any(Allowed::is_impossible)
    }

    /// Whether only pods can be like that: nothing else has labels from Kubernetes.
    pub(super) fn mean_pods(&self) -> bool {
        let from_kubernetes = |(label, allowed): (&Label, &Allowed)| {
            let of_pods = !matches!(label, Label::Identity(source, _) if *source != LabelSource::Kubernetes);
            of_pods && !allowed.absent
        };
        self.is_pod || self.labels.iter().any(from_kubernetes)
    }

    /// Whether all that is like that is like `other`, too, with the labels that namespaces have now.
    pub(super) fn are_within(&self, other: &Facts, snapshot: &Snapshot) -> bool {
        if self.are_impossible() {
            return true;
        }
        (!other.is_pod || self.mean_pods())
            && other.labels.iter().all(|(label, wanted)| {
                let own = self.labels.get(label).unwrap_or(&ANYTHING);
                own.is_within(wanted) || self.namespaces_have(label, wanted, snapshot)
            })
    }

    /// Whether the namespaces that are meant are known, and all have a label as wanted.
    fn namespaces_have(&self, label: &Label, wanted: &Allowed, snapshot: &Snapshot) -> bool {
        let key = match label {
            Label::Namespace(key) => Some(key.as_str()),
            Label::Identity(LabelSource::Kubernetes, key) => {
                key.strip_prefix(NAMESPACE_LABELS_PREFIX).filter(|key| !is_beta(key))
            }
            Label::Identity(..) | Label::Pod(_) => None,
        };
        let Some(key) = key else { return false };
        let Some(Allowed { absent: false, values: Values::Only(names) }) = self.labels.get(&namespace_name())
        else {
            return false;
        };
        names.iter().all(|name| wanted.holds(snapshot.namespace_labels(name).get(key).map(String::as_str)))
    }
}

fn namespace_name() -> Label {
    Label::Identity(LabelSource::Kubernetes, NAMESPACE_KEY.to_owned())
}

fn namespace_label(key: &str) -> Label {
    if is_beta(key) {
        return Label::Namespace(key.to_owned());
    }
    Label::Identity(LabelSource::Kubernetes, format!("{NAMESPACE_LABELS_PREFIX}{key}"))
}

fn only(value: &str) -> Operator {
    Operator::In(BTreeSet::from([value.to_owned()]))
}
