//! `isolator policy list`. Not here: what is wrong with them (`lint`).

use super::phrase;
use crate::cli::Exit;
use crate::cli::args::{Global, ListPoliciesArgs};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{Cell, Column, Row, Screen, count};
use anyhow::Result;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{NamespaceMatch, Pod, Policy, Rules};
use serde::Serialize;

/// A policy in a listing.
#[derive(Debug, Serialize)]
struct PolicyRow {
    kind: String,
    namespace: String,
    name: String,
    tier: &'static str,
    priority: u32,
    /// What it selects, in words.
    subject: String,
    /// Pods that it selects now.
    pods: usize,
    /// Absent where it does not speak of this direction.
    ingress: Option<Section>,
    egress: Option<Section>,
}

/// What a policy says of one direction.
#[derive(Debug, Serialize)]
struct Section {
    default_deny: bool,
    rules: usize,
}

impl Row for PolicyRow {
    const COLUMNS: &'static [Column] = &[
        Column::always("NAMESPACE"),
        Column::always("NAME"),
        Column::wide("KIND"),
        Column::wide("TIER"),
        Column::wide("PRIORITY"),
        Column::always("PODS"),
        Column::always("INGRESS"),
        Column::always("EGRESS"),
        Column::wide("SELECTS"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let PolicyRow { kind, namespace, name, tier, priority, subject, pods, ingress, egress } = self;
        vec![
            Cell::of(namespace),
            Cell::of(name),
            Cell::of(kind),
            Cell::of(tier),
            Cell::of(priority),
            Cell::of(pods),
            section(ingress.as_ref()),
            section(egress.as_ref()),
            Cell::of(subject),
        ]
    }
}

fn section(section: Option<&Section>) -> Cell {
    match section {
        None => Cell::of(""),
        Some(Section { default_deny: true, rules: 0 }) => Cell::of("deny all"),
        Some(Section { default_deny, rules }) => {
            let rules = count(*rules as u64, "rule", "rules");
            Cell::of(if *default_deny { format!("isolated, {rules}") } else { rules })
        }
    }
}

/// Prints all policies.
pub(super) fn run(args: &ListPoliciesArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let ListPoliciesArgs { folder, namespace } = args;
    let offline = load_and_warn(folder, global)?;
    let wanted =
        |policy: &Policy| namespace.as_ref().is_none_or(|namespace| *namespace == policy.key.namespace);
    let policies = offline.snapshot.policies().values().filter(|policy| wanted(policy));
    let rows: Vec<_> = policies.map(|policy| row(&offline.snapshot, policy)).collect();
    screen.list(&rows, &format!("no policies in {}", offline.folder.display()))?;
    Ok(Exit::Good)
}

fn row(snapshot: &Snapshot, policy: &Policy) -> PolicyRow {
    let section = |rules: &Option<Rules>| {
        rules.as_ref().map(|rules| Section { default_deny: rules.default_deny, rules: rules.rules.len() })
    };
    PolicyRow {
        kind: policy.key.kind.to_string(),
        namespace: policy.key.namespace.clone(),
        name: policy.key.name.clone(),
        tier: phrase::tier(policy.tier),
        priority: policy.priority,
        subject: phrase::subject(&policy.subject),
        pods: selected(snapshot, policy).count(),
        ingress: section(&policy.ingress),
        egress: section(&policy.egress),
    }
}

/// The endpoints that a policy selects.
pub(super) fn selected<'a>(snapshot: &'a Snapshot, policy: &'a Policy) -> impl Iterator<Item = &'a Pod> {
    let endpoints = snapshot.pods().values().filter(|pod| pod.is_endpoint());
    endpoints.map(AsRef::as_ref).filter(|pod| {
        in_namespaces(snapshot, &policy.subject.namespaces, &pod.key.namespace)
            && policy.subject.pods.matches(&pod.labels)
    })
}

/// Whether a namespace is meant.
pub(super) fn in_namespaces(snapshot: &Snapshot, which: &NamespaceMatch, namespace: &str) -> bool {
    match which {
        NamespaceMatch::Named(name) => name == namespace,
        NamespaceMatch::Matching(selector) => selector.matches(&snapshot.namespace_labels(namespace)),
    }
}
