//! `isolator policy list`. Not here: what is wrong with them (`lint`).

use super::standing::{Standings, State};
use crate::cli::Exit;
use crate::cli::args::{Global, ListPoliciesArgs};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{Cell, Column, Row, Screen, count};
use anyhow::Result;
use isolator_common::policy::Direction;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::reading::selects;
use isolator_policy::model::{Part, Pod, Policy, PolicyKey};
use isolator_policy::phrase;
use serde::Serialize;

/// A policy in a listing.
#[derive(Debug, Serialize)]
struct PolicyRow {
    kind: String,
    namespace: String,
    name: String,
    /// How much of it is enforced.
    state: State,
    /// What is not, field by field.
    not_enforced: Vec<String>,
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
        Column::always("STATE"),
        Column::wide("KIND"),
        Column::wide("TIER"),
        Column::wide("PRIORITY"),
        Column::always("PODS"),
        Column::always("INGRESS"),
        Column::always("EGRESS"),
        Column::wide("SELECTS"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let PolicyRow {
            kind,
            namespace,
            name,
            state,
            not_enforced: _,
            tier,
            priority,
            subject,
            pods,
            ingress,
            egress,
        } = self;
        vec![
            Cell::of(namespace),
            Cell::of(name),
            Cell::of(state.name()),
            Cell::of(kind),
            Cell::of(tier),
            Cell::of(priority),
            Cell::of(pods),
            cell(ingress.as_ref()),
            cell(egress.as_ref()),
            Cell::of(subject),
        ]
    }
}

fn cell(section: Option<&Section>) -> Cell {
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
    let wanted = |key: &PolicyKey| namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
    let standings = Standings::new(&offline.problems);
    let policies = offline.snapshot.policies().values().filter(|policy| wanted(&policy.key));
    let refused = standings.refused().filter(|key| wanted(key));
    let mut rows: Vec<_> = policies
        .map(|policy| row(&offline.snapshot, policy, &standings))
        .chain(refused.map(|key| without_good_version(&key, &standings)))
        .collect();
    rows.sort_by(|one, other| {
        (&one.namespace, &one.name, &one.kind).cmp(&(&other.namespace, &other.name, &other.kind))
    });
    screen.list(&rows, &format!("no policies in {}", offline.folder.display()))?;
    Ok(Exit::Good)
}

fn row(snapshot: &Snapshot, policy: &Policy, standings: &Standings<'_>) -> PolicyRow {
    PolicyRow {
        kind: policy.key.kind.to_string(),
        namespace: policy.key.namespace.clone(),
        name: policy.key.name.clone(),
        state: standings.of(&policy.key),
        not_enforced: standings.not_enforced(&policy.key),
        tier: phrase::tier(policy.tier),
        priority: policy.priority,
        subject: subjects(policy),
        pods: selected(snapshot, policy).count(),
        ingress: section(policy, Direction::Ingress),
        egress: section(policy, Direction::Egress),
    }
}

fn without_good_version(key: &PolicyKey, standings: &Standings<'_>) -> PolicyRow {
    PolicyRow {
        kind: key.kind.to_string(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        state: State::Refused,
        not_enforced: standings.not_enforced(key),
        tier: "",
        priority: 0,
        subject: String::new(),
        pods: 0,
        ingress: None,
        egress: None,
    }
}

/// All parts of a policy together.
fn section(policy: &Policy, direction: Direction) -> Option<Section> {
    let sections = policy.parts.iter().filter_map(|part| part.section(direction));
    sections.fold(None, |all: Option<Section>, rules| {
        let (default_deny, count) = all.map_or((false, 0), |all| (all.default_deny, all.rules));
        Some(Section { default_deny: default_deny || rules.default_deny, rules: count + rules.rules.len() })
    })
}

/// What the parts of a policy select, in words.
pub(super) fn subjects(policy: &Policy) -> String {
    let words: Vec<_> = policy.parts.iter().map(|part| phrase::subject(&part.subject)).collect();
    words.join("; ")
}

/// The endpoints that a part of a policy selects.
pub(super) fn selected_by<'a>(snapshot: &'a Snapshot, part: &'a Part) -> impl Iterator<Item = &'a Pod> {
    let endpoints = snapshot.pods().values().filter(|pod| pod.is_endpoint());
    endpoints.map(AsRef::as_ref).filter(|pod| selects(snapshot, &part.subject, pod))
}

/// The endpoints that a policy selects.
pub(super) fn selected<'a>(snapshot: &'a Snapshot, policy: &'a Policy) -> impl Iterator<Item = &'a Pod> {
    let endpoints = snapshot.pods().values().filter(|pod| pod.is_endpoint());
    endpoints
        .map(AsRef::as_ref)
        .filter(|pod| policy.parts.iter().any(|part| selects(snapshot, &part.subject, pod)))
}
