//! Cilium selectors that ask for labels which no identity has, because Cilium's label filter drops them, or because
//! nothing here has labels of that source. They select nothing, or restrict nothing. Not here: the filter
//! (`cluster::ends`).

use super::view::View;
use super::warning;
use crate::cluster::ends::{
    CLUSTER_KEY, NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX, SERVICE_ACCOUNT_KEY, in_identity, is_beta,
};
use crate::model::{
    IdentityRequirement, IdentitySelector, LabelSource, Operator, Peer, Peers, Problem, Subject,
};

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    for part in &view.parts {
        let mut found = |identity: &IdentitySelector, field: &str| {
            for wanted in identity.requirements() {
                if let Some(why) = never_there(wanted) {
                    let message = format!("{why}; {}", consequence(&wanted.operator));
                    problems.push(warning("label-not-in-identity", &part.policy.key, field, message));
                }
            }
        };
        if let Subject::Labelled { identity, .. } = &part.part.subject {
            found(identity, &part.subject_field());
        }
        for (_, rule) in part.rules() {
            let Peers::OneOf(peers) = &rule.peers else { continue };
            for peer in peers {
                if let Peer::Labelled(identity) = peer {
                    found(identity, &rule.at.path());
                }
            }
        }
    }
}

/// Why no identity has the label, if none has.
fn never_there(wanted: &IdentityRequirement) -> Option<String> {
    let IdentityRequirement { source, key, .. } = wanted;
    let special = [NAMESPACE_KEY, SERVICE_ACCOUNT_KEY, CLUSTER_KEY].contains(&key.as_str());
    let of_namespace = key.strip_prefix(NAMESPACE_LABELS_PREFIX);
    let dropped = of_namespace.map_or(!special && !in_identity(key), is_beta);
    match source {
        LabelSource::Any | LabelSource::Kubernetes if dropped => {
            Some(format!("Cilium's label filter drops `{key}` from every identity"))
        }
        LabelSource::Other(source) => Some(format!("no identity here has labels of the source `{source}`")),
        LabelSource::Any | LabelSource::Kubernetes | LabelSource::Reserved => None,
    }
}

fn consequence(operator: &Operator) -> &'static str {
    match operator {
        Operator::In(_) | Operator::Exists => "this selects nothing. Use another label",
        Operator::NotIn(_) | Operator::DoesNotExist => "this condition always holds. Use another label",
    }
}
