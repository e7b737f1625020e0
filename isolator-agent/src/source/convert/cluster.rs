//! Namespaces and nodes. Not here: pods.

use super::super::node::{Node as Tree, child, entry};
use super::metadata::{self, Scope, is_dns_label, is_dns_subdomain, is_label_value};
use super::net;
use super::report::Report;
use isolator_policy::model::{Namespace, Node};
use k8s_openapi::api::core::v1 as api;
use std::collections::BTreeSet;

/// The label that the API server gives every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The annotation that admits tenants, names with commas between them.
const ACCEPT_TENANTS: &str = "isolator.dev/accept-tenants";

/// A namespace.
pub(crate) fn namespace(name: &str, tree: &Tree, report: &mut Report<'_>) -> Option<Namespace> {
    let api::Namespace { metadata, spec: _, status: _ } = report.read(tree, &["status"])?;
    let annotation = metadata.annotations.as_ref().and_then(|annotations| annotations.get(ACCEPT_TENANTS));
    let accept_tenants = annotation.map(|names| tenants(names, report)).unwrap_or_default();
    let mut labels = metadata::check(metadata, Scope::Cluster, is_dns_label, report);
    labels.insert(NAME_LABEL.to_owned(), name.to_owned());
    report.accept(Namespace { name: name.to_owned(), labels, accept_tenants })
}

/// The names in the annotation. A name that no label can have admits nobody.
fn tenants(names: &str, report: &mut Report<'_>) -> BTreeSet<String> {
    let mut tenants = BTreeSet::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if is_label_value(name) {
            tenants.insert(name.to_owned());
        } else {
            let field = child("metadata.annotations", ACCEPT_TENANTS);
            let message = format!(
                "`{name}` cannot be a tenant, because no label can have that value; it admits nobody"
            );
            report.left_out("invalid-tenant", &field, message);
        }
    }
    tenants
}

/// A node.
pub(crate) fn node(name: &str, tree: &Tree, report: &mut Report<'_>) -> Option<Node> {
    let api::Node { metadata, spec, status } = report.read(tree, &["status"])?;
    let labels = metadata::check(metadata, Scope::Cluster, is_dns_subdomain, report);
    let mut addresses = Vec::new();
    for (index, address) in status.and_then(|status| status.addresses).unwrap_or_default().iter().enumerate()
    {
        if !matches!(address.type_.as_str(), "InternalIP" | "ExternalIP") {
            continue;
        }
        match net::address(&address.address) {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(wrong) => report.invalid(&child(&entry("status.addresses", index), "address"), wrong),
        }
    }
    let spec = spec.unwrap_or_default();
    // As the API server reads it: the single field wins where the two disagree.
    let (field, cidrs) =
        match (spec.pod_cidr.filter(|cidr| !cidr.is_empty()), spec.pod_cidrs.unwrap_or_default()) {
            (Some(first), all) if all.first() != Some(&first) => ("spec.podCIDR", vec![first]),
            (_, all) => ("spec.podCIDRs", all),
        };
    let mut pod_cidrs = Vec::new();
    for (index, cidr) in cidrs.iter().enumerate() {
        match net::prefix(cidr) {
            Ok((prefix, _)) => pod_cidrs.push(prefix),
            Err(wrong) => report.invalid(&entry(field, index), wrong),
        }
    }
    report.accept(Node { name: name.to_owned(), labels, addresses, pod_cidrs })
}
