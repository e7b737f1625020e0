//! Labels and label selectors as the Kubernetes API defines them. Not here: Cilium's label sources.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A condition on one label key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The condition.
    pub operator: Operator,
}

/// How a requirement judges a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// Present with one of these values.
    In(BTreeSet<String>),
    /// Absent, or present with another value. The empty value is a value, not an absence.
    NotIn(BTreeSet<String>),
    /// Present with any value.
    Exists,
    /// Absent.
    DoesNotExist,
}

impl Operator {
    /// Whether it demands that the key is there.
    #[must_use]
    pub fn demands(&self) -> bool {
        matches!(self, Operator::In(_) | Operator::Exists)
    }

    /// Whether a key with this value, or without one, is as wanted.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Operator::In(values) => value.is_some_and(|v| values.contains(v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// A label selector: all requirements must hold. Without any it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// The conditions, `matchLabels` included. Sorted, so that equal selectors are equal values.
    requirements: Vec<Requirement>,
}

impl Selector {
    /// A selector of these requirements. Keys and values are taken as they are: the door has checked them.
    #[must_use]
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let mut requirements: Vec<_> = requirements.into_iter().collect();
        requirements.sort();
        requirements.dedup();
        Selector { requirements }
    }

    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Selector::default()
    }

    /// Its requirements, sorted.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects an object with these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|wanted| wanted.operator.holds(labels.get(&wanted.key).map(String::as_str)))
    }
}
