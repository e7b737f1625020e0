//! The matrix as one HTML page that loads nothing else. Not here: what the page does with it (`page.html`).

use super::{Field, Port};
use crate::cli::verdicts::{SideAnswer, word};
use anyhow::Result;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::Pod;
use serde::Serialize;
use std::collections::HashMap;

const PAGE: &str = include_str!("page.html");

/// What the page shows. Equal answers are there once: most fields of a matrix are alike.
#[derive(Debug, Serialize)]
struct Data<'a> {
    /// What was read.
    folder: String,
    pods: Vec<PodData<'a>>,
    /// `TCP/80`.
    ports: Vec<String>,
    /// For each port the number of the answer of each field, row by row.
    cells: Vec<Vec<usize>>,
    answers: Vec<AnswerData<'a>>,
    /// Texts of what decided.
    reasons: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct PodData<'a> {
    namespace: &'a str,
    name: &'a str,
    tenant: Option<&'a str>,
    /// `app=web`.
    labels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
enum AnswerData<'a> {
    Judged { egress: SideData, ingress: SideData },
    Not { error: &'a str },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
struct SideData {
    allowed: bool,
    /// Number of the reason.
    by: usize,
}

/// The page of these fields; of each port all pods by all pods, row by row.
pub(super) fn page(
    folder: &str,
    snapshot: &Snapshot,
    pods: &[&Pod],
    parts: &[(Port, Vec<Field>)],
) -> Result<String> {
    let mut reasons = Numbered::default();
    let mut answers = Numbered::default();
    let mut cells = Vec::with_capacity(parts.len());
    for (_, fields) in parts {
        let mut numbers = Vec::with_capacity(fields.len());
        for Field { answer, error, .. } in fields {
            let mut side = |side: &'_ SideAnswer| SideData {
                allowed: side.verdict == word(true),
                by: reasons.number(side.by.clone()),
            };
            let data = match answer {
                Some(answer) => {
                    AnswerData::Judged { egress: side(&answer.egress), ingress: side(&answer.ingress) }
                }
                None => AnswerData::Not { error: error.as_deref().unwrap_or_default() },
            };
            numbers.push(answers.number(data));
        }
        cells.push(numbers);
    }
    let pods = pods.iter().map(|pod| PodData {
        namespace: &pod.key.namespace,
        name: &pod.key.name,
        tenant: snapshot.tenant_of(&pod.key.namespace),
        labels: pod.labels.iter().map(|(key, value)| format!("{key}={value}")).collect(),
    });
    let data = Data {
        folder: folder.to_owned(),
        pods: pods.collect(),
        ports: parts.iter().map(|(port, _)| port.to_string()).collect(),
        cells,
        answers: answers.all,
        reasons: reasons.all.iter().map(String::as_str).collect(),
    };
    Ok(PAGE.replacen("@DATA@", &embedded(&data)?, 1))
}

/// JSON that can stand inside an element of a page: no text in it can end the element.
fn embedded<T: Serialize>(data: &T) -> Result<String> {
    Ok(serde_json::to_string(data)?.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// Values, each once, by number.
struct Numbered<T> {
    numbers: HashMap<T, usize>,
    all: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered { numbers: HashMap::new(), all: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn number(&mut self, value: T) -> usize {
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.all.push(value.clone());
            self.all.len() - 1
        })
    }
}
