//! CiliumCIDRGroup: ranges of addresses under a name. Not here: who speaks of them.

use super::super::node::{Node as Tree, entry};
use super::metadata::{self, Scope, is_dns_subdomain};
use super::net;
use super::report::Report;
use isolator_policy::model::CidrGroup;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// As the API has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "externalCIDRs")]
    external_cidrs: Vec<String>,
}

/// Before labels that Cilium takes from nobody.
const CILIUM_PREFIX: &str = "io.cilium.k8s";
/// Before the slash in a label that each group has, with its name behind the slash.
const NAME_LABEL: &str = "io.cilium.policy.cidrgroupname";
/// The value of that label: none that a selector can name. In Cilium, too, only its presence can be asked for.
const NO_VALUE: &str = "*";

/// A group.
pub(crate) fn group(name: &str, tree: &Tree, report: &mut Report<'_>) -> Option<CidrGroup> {
    let Document { metadata, spec, .. } = report.read(tree, &[])?;
    report.refuse_null_entries(tree, "");
    let mut labels = metadata::check(metadata, Scope::Cluster, is_dns_subdomain, report);
    labels.retain(|key, _| !key.starts_with(CILIUM_PREFIX));
    labels.insert(format!("{NAME_LABEL}/{name}"), NO_VALUE.to_owned());
    let mut cidrs = Vec::new();
    for (index, text) in spec.external_cidrs.iter().enumerate() {
        match net::prefix(text) {
            Ok((prefix, _)) => cidrs.push(prefix),
            Err(wrong) => report.invalid(&entry("spec.externalCIDRs", index), wrong),
        }
    }
    report.accept(CidrGroup { name: name.to_owned(), labels, cidrs })
}
