//! Label selectors whose keys may name a source, and what Cilium adds to them so that they stay within a
//! namespace or a cluster. Not here: which labels an end has (`cluster::ends`).

use super::super::metadata::check_key;
use super::super::report::Report;
use super::super::selector::requirements;
use isolator_policy::cluster::ends::{CLUSTER_KEY, NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX};
use isolator_policy::cluster::index::CLUSTER_NAME;
use isolator_policy::model::{
    IdentityRequirement, IdentitySelector, LabelSource, Operator, Requirement, Selector, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeSet;

/// The label of endpoints whose labels are not known yet.
const INIT: &str = "init";
/// A source that, in a selector, is any source.
const UNSPECIFIED: &str = "unspec";

/// Whose selector it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    /// The policy's namespace; `None`: it is for the whole cluster.
    pub(super) namespace: Option<&'a str>,
    /// The policy's subject speaks of endpoints whose labels are not known yet.
    pub(super) init: bool,
}

/// A selector as it is written.
pub(super) struct Written {
    requirements: Vec<IdentityRequirement>,
    /// So many of the first requirements are its `matchLabels`.
    labels: usize,
}

/// Reads a selector that stands at `field`.
pub(super) fn read(selector: LabelSelector, field: &str, report: &mut Report<'_>) -> Written {
    let labels = selector.match_labels.as_ref().map_or(0, |labels| labels.len());
    let read = requirements(selector, field, checked, report);
    let requirements = read.into_iter().map(|(field, wanted)| {
        let (source, extended) = key_of(&wanted.key);
        // A source with a dot in it ends there, as when Cilium looks labels up.
        let (source, key) = extended.split_once('.').unwrap_or((source, ""));
        if plain(&wanted.key).is_none() {
            let better = format!("{source}:{key}");
            let cure = if plain(&better).is_some() { "; write that" } else { ", a key that no label has" };
            let message = format!(
                "Cilium 1.20 refuses the key `{}`, and 1.19 reads it as `{better}`{cure}",
                wanted.key
            );
            report.warning("odd-key", &field, message);
        }
        IdentityRequirement { source: source_of(source), key: key.to_owned(), operator: wanted.operator }
    });
    Written { requirements: requirements.collect(), labels }
}

/// What is checked of a key: the key without its source, as in Cilium 1.20, or, where that would not do, what 1.19
/// checks. A key that either takes is good.
fn checked(written: &str) -> String {
    plain(written).map_or_else(|| key_of(written).1, str::to_owned)
}

/// The key without its source, where Cilium 1.20 takes it.
fn plain(written: &str) -> Option<&str> {
    let (source, key) = written.split_once(':').unwrap_or(("any", written));
    let source = !source.is_empty() && source.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some(key).filter(|key| source && check_key(key).is_ok())
}

/// The source that a key names, and the key in the form that Cilium 1.19 validates: the source, a dot, the rest.
fn key_of(written: &str) -> (&str, String) {
    let (source, key) = match (written.strip_prefix('$'), written.split_once(':')) {
        (Some(key), _) => ("reserved", key),
        (None, Some(("", key))) => ("any", key),
        (None, Some((source, key))) => (source, key),
        (None, None) => match written.strip_prefix("reserved.") {
            Some(key) => ("reserved", key),
            None => ("any", written),
        },
    };
    let key = key.split('=').next().unwrap_or_default();
    (source, format!("{source}.{key}"))
}

fn source_of(name: &str) -> LabelSource {
    match name {
        "any" => LabelSource::Any,
        "k8s" => LabelSource::Kubernetes,
        "reserved" => LabelSource::Reserved,
        other => LabelSource::Other(other.to_owned()),
    }
}

impl Written {
    /// Whether some requirement reads a label for which `is` holds, of pods.
    fn reads(&self, is: impl Fn(&str) -> bool) -> bool {
        self.requirements
            .iter()
            .any(|wanted| wanted.source.means(&LabelSource::Kubernetes) && is(&wanted.key))
    }

    /// Whether it speaks of endpoints whose labels are not known yet.
    pub(super) fn reads_init(&self) -> bool {
        self.requirements.iter().any(|wanted| wanted.source == LabelSource::Reserved && wanted.key == INIT)
    }

    /// The ends that a peer selector means. Without a word about namespaces it stays in the policy's own, or,
    /// where there is none, with what is in a namespace; without a word about clusters in this one.
    pub(super) fn peer(mut self, owner: Owner<'_>) -> IdentitySelector {
        if self.requirements.iter().any(|wanted| wanted.source == LabelSource::Reserved) {
            return self.identity();
        }
        let kubernetes = |key: &str, operator| IdentityRequirement {
            source: LabelSource::Kubernetes,
            key: key.to_owned(),
            operator,
        };
        if !self.reads(|key| key == NAMESPACE_KEY) {
            match owner.namespace {
                None if owner.init => {}
                None => self.requirements.push(kubernetes(NAMESPACE_KEY, Operator::Exists)),
                Some(_) if self.reads(|key| key.starts_with(NAMESPACE_LABELS_PREFIX)) => {}
                Some(own) => {
                    let own = Operator::In(BTreeSet::from([own.to_owned()]));
                    self.requirements.push(kubernetes(NAMESPACE_KEY, own));
                }
            }
        }
        // One cluster is known, so its name need not be: whoever is in a cluster is in this one. All pods
        // are, so it need not be asked for where only pods are left.
        let only_pods = self
            .requirements
            .iter()
            .any(|wanted| wanted.source == LabelSource::Kubernetes && wanted.operator.demands());
        if !only_pods && !self.reads(|key| key == CLUSTER_KEY) {
            self.requirements.push(kubernetes(CLUSTER_KEY, Operator::Exists));
        }
        self.identity()
    }

    /// What it asks of an identity. Whether a selector speaks of namespaces is asked before: a key without a known
    /// source does not.
    fn identity(mut self) -> IdentitySelector {
        for wanted in &mut self.requirements {
            if wanted.source == LabelSource::Other(UNSPECIFIED.to_owned()) {
                wanted.source = LabelSource::Any;
            }
        }
        IdentitySelector::new(self.requirements)
    }

    /// The endpoints that a policy speaks of. In a namespace it is always that namespace's, whatever its
    /// `matchLabels` say.
    pub(super) fn subject(mut self, own: Option<&str>, field: &str, report: &mut Report<'_>) -> Subject {
        if let Some(own) = own {
            let mut index = 0;
            let labels = self.labels;
            self.requirements.retain(|wanted| {
                let names =
                    index < labels && wanted.source == LabelSource::Kubernetes && wanted.key == NAMESPACE_KEY;
                index += 1;
                if names && !wanted.operator.holds(Some(own)) {
                    let message = format!(
                        "a policy selects endpoints of its own namespace `{own}` alone, so this label does not count"
                    );
                    report.warning("foreign-namespace", field, message);
                }
                !names
            });
        }
        Subject::Labelled { namespace: own.map(str::to_owned), identity: self.identity() }
    }
}

/// A selector of nodes, whose labels have the source `node`. `None`: it selects none.
pub(super) fn nodes(selector: LabelSelector, field: &str, report: &mut Report<'_>) -> Option<Selector> {
    let mut own = Vec::new();
    for wanted in read(selector, field, report).requirements {
        let IdentityRequirement { source, key, operator } = wanted;
        let other = match (&source, key.as_str()) {
            (LabelSource::Reserved, "remote-node") => Some(""),
            (LabelSource::Reserved, _) => {
                let message = "nodes are selected by their own labels; use entities for `reserved:` ones";
                report.invalid(field, message);
                return None;
            }
            // The one label that nodes have and that is not their own.
            (LabelSource::Kubernetes | LabelSource::Any, CLUSTER_KEY) => Some(CLUSTER_NAME),
            (LabelSource::Kubernetes, _) => None,
            (LabelSource::Other(source), _) if source != "node" && source != UNSPECIFIED => None,
            _ => {
                own.push(Requirement { key, operator });
                continue;
            }
        };
        if !operator.holds(other) {
            return None;
        }
    }
    Some(Selector::new(own))
}

/// A selector of services by their own labels: sources do not count.
pub(super) fn services(selector: LabelSelector, field: &str, report: &mut Report<'_>) -> Selector {
    let read = requirements(selector, field, checked, report);
    let without_source = |key: &str| key.split_once(':').map_or(key, |(_, key)| key).to_owned();
    Selector::new(
        read.into_iter().map(|(_, wanted)| Requirement { key: without_source(&wanted.key), ..wanted }),
    )
}

/// A selector of CIDR groups by their labels. One that demands no label is refused: in Cilium it would select
/// everything without such a label, pods and nodes included.
pub(super) fn groups(selector: LabelSelector, field: &str, report: &mut Report<'_>) -> Selector {
    let read = requirements(selector, field, |key| format!("cidrgroup.{key}"), report);
    if !read.iter().any(|(_, wanted)| wanted.operator.demands()) {
        let message = "this selector demands no label, so it would select every address, pods and nodes \
                       included; name a label that the groups have";
        report.invalid(field, message);
    }
    Selector::new(read.into_iter().map(|(_, wanted)| wanted))
}
