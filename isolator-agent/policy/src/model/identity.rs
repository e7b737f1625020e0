//! Selectors over the labels of identities, in Cilium's terms: every label has a source, and every end of a
//! flow has labels, hosts and the world included. Not here: which labels an end has (`cluster::ends`).

use super::Operator;

/// Where a label comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelSource {
    /// In a selector: wherever the label comes from. No label has it.
    Any,
    /// Kubernetes objects: pods' labels, their namespaces', names of namespace, service account and cluster.
    Kubernetes,
    /// Classes of ends: `reserved:host`, `reserved:world` and so on.
    Reserved,
    /// A source that no identity here has labels of.
    Other(String),
}

impl LabelSource {
    /// Whether a label of `source` is meant.
    #[must_use]
    pub fn means(&self, source: &LabelSource) -> bool {
        *self == LabelSource::Any || self == source
    }
}

/// A condition on one label of an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityRequirement {
    /// Where the label comes from.
    pub source: LabelSource,
    /// Its key, without the source.
    pub key: String,
    /// The condition.
    pub operator: Operator,
}

/// A selector over labels of identities: all requirements must hold. Without any it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentitySelector {
    /// Sorted, so that equal selectors are equal values.
    requirements: Vec<IdentityRequirement>,
}

/// The labels of an end's identity.
pub trait IdentityLabels {
    /// The value of the label `key` of this source. For [`LabelSource::Any`]: of any source.
    fn value(&self, source: &LabelSource, key: &str) -> Option<&str>;
}

impl IdentitySelector {
    /// A selector of these requirements. Keys and values are taken as they are: the door has checked them.
    #[must_use]
    pub fn new(requirements: impl IntoIterator<Item = IdentityRequirement>) -> Self {
        let mut requirements: Vec<_> = requirements.into_iter().collect();
        requirements.sort();
        requirements.dedup();
        IdentitySelector { requirements }
    }

    /// Its requirements, sorted.
    #[must_use]
    pub fn requirements(&self) -> &[IdentityRequirement] {
        &self.requirements
    }

    /// Whether it selects an end with these labels.
    #[must_use]
    pub fn matches(&self, labels: &impl IdentityLabels) -> bool {
        self.requirements
            .iter()
            .all(|wanted| wanted.operator.holds(labels.value(&wanted.source, &wanted.key)))
    }
}
