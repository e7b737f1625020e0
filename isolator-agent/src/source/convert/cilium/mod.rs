//! cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: checked as the API server (CRD schema)
//! and the agent do it, then our model. One rule that is not valid makes the whole object unacceptable.
//!
//! ```text
//!  types (serde) ─► part (subject, default deny) ─► entry ─┬─► peers ─► selector, cidr
//!                                                          ├─► ports, icmp
//!                                                          └─► unenforced ─► l7
//! ```
//!
//! Not here: what it does to packets.

mod cidr;
mod entry;
mod icmp;
mod l7;
mod part;
mod peers;
mod ports;
mod selector;
mod types;
mod unenforced;

use self::types::Document;
use super::super::node::Node as Tree;
use super::metadata::{self, Scope, is_dns_subdomain};
use super::report::Report;
use isolator_policy::model::{Part, Policy, PolicyKey, Tier};

/// Where published examples have a description that no API knows. It means nothing, so it hurts nobody.
const DESCRIPTION: &str = "metadata.description";

/// A policy of either kind; one without a namespace in its key is for the whole cluster.
pub(crate) fn policy(key: &PolicyKey, tree: &Tree, report: &mut Report<'_>) -> Option<Policy> {
    report.unknown_fields("Cilium's API server would drop it, and with it what it was meant to say");
    let Document { metadata, spec, specs, .. } = report.read(tree, &["status", DESCRIPTION])?;
    if tree.get("metadata").is_some_and(|metadata| metadata.get("description").is_some()) {
        let message = "an API server drops a description here; it belongs to `spec.description`";
        report.warning("misplaced-description", DESCRIPTION, message);
    }
    let own = Some(key.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let scope = if own.is_some() { Scope::Namespaced } else { Scope::Cluster };
    metadata::check(metadata, scope, is_dns_subdomain, report);
    if spec.is_none() && specs.is_none() {
        report.invalid("", "there is neither `spec` nor `specs`; one of them is needed");
    }
    report.refuse_null_entries(tree, "");
    let mut parts: Vec<Option<Part>> = Vec::new();
    if let Some(spec) = spec {
        parts.push(part::part(spec, own, None, report));
    }
    for (number, spec) in (0..).zip(specs.into_iter().flatten()) {
        parts.push(part::part(spec, own, Some(number), report));
    }
    let parts = parts.into_iter().flatten().collect();
    report.accept(Policy { key: key.clone(), tier: Tier::Normal, priority: 0, parts })
}
