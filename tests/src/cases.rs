//! Semantic cases as data: a file says a sentence, manifests, and what must become of some flows. Not here: who
//! judges them.

use isolator_agent::source::Manifests;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::Severity;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What must hold, as a sentence.
    pub what: String,
    /// The objects, as JSON.
    pub manifests: Vec<Value>,
    /// What is asked.
    pub flows: Vec<Flow>,
    /// Everything that must be said of the manifests as an error, as `code field`.
    #[serde(default)]
    errors: Vec<String>,
}

/// A new flow, and what must become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// `ns/pod`, `node:NAME` or an address.
    pub from: String,
    /// As `from`.
    pub to: String,
    /// The protocol.
    pub protocol: Protocol,
    port: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<u8>,
    /// What the sender's side must say.
    pub egress: Wanted,
    /// What the receiver's side must say.
    pub ingress: Wanted,
    /// Why.
    #[serde(default)]
    pub by: Reasons,
}

/// Protocols of flows, by IP protocol number.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Icmp = 1,
    Tcp = 6,
    Udp = 17,
    Icmpv6 = 58,
    Sctp = 132,
}

impl Protocol {
    /// As flows name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Icmp => "ICMP",
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Icmpv6 => "ICMPv6",
            Protocol::Sctp => "SCTP",
        }
    }

    /// Whether its flows have ports; the others have types.
    #[must_use]
    pub fn has_ports(self) -> bool {
        !matches!(self, Protocol::Icmp | Protocol::Icmpv6)
    }
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It passes.
    Allowed,
    /// It is dropped.
    Denied,
}

/// What the direct reading must name as the reason, where it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reasons {
    /// At the sender.
    pub egress: Option<String>,
    /// At the receiver.
    pub ingress: Option<String>,
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no case: what is wrong with it.
    pub fn read(text: &str) -> Result<Case, String> {
        let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
        let [document] = documents.as_slice() else {
            return Err(format!("{} documents, wanted one", documents.len()));
        };
        let case: Case = serde_json::from_value(to_json(document)?).map_err(|error| error.to_string())?;
        if case.what.is_empty() || case.flows.is_empty() {
            return Err("a case needs a sentence in `what` and at least one flow".to_owned());
        }
        Ok(case)
    }

    /// The cluster of the case, whose manifests have the errors that it names and no others.
    ///
    /// # Errors
    /// Other things are wrong with the manifests.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.manifests});
        let loaded = Manifests::of_text("manifests.json", list.to_string().into_bytes()).load();
        let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let said: Vec<String> = errors.map(|error| format!("{} {}", error.code, error.field)).collect();
        if said != self.errors {
            let all: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
            return Err(format!("wanted the errors {:?}, got {said:?}:\n{}", self.errors, all.join("\n")));
        }
        let mut index = Index::new(Options::default());
        index.apply(Change::Reset(loaded.objects));
        Ok(index.snapshot())
    }
}

impl Flow {
    /// The port, or the type.
    ///
    /// # Errors
    /// The flow has what its protocol has not.
    pub fn number(&self) -> Result<u16, String> {
        match (self.protocol, self.port, self.kind) {
            (Protocol::Icmp | Protocol::Icmpv6, None, Some(kind)) => Ok(kind.into()),
            (Protocol::Tcp | Protocol::Udp | Protocol::Sctp, Some(port), None) => Ok(port),
            _ => Err(format!("{} > {}: ICMP has a type, the others a port", self.from, self.to)),
        }
    }
}

/// Every file of `tests/cases`: its name and what it says.
#[must_use]
pub fn all() -> Vec<(String, Result<Case, String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let Ok(files) = std::fs::read_dir(&folder) else {
        return vec![(folder.display().to_string(), Err("there is no such folder".to_owned()))];
    };
    let mut cases: Vec<_> = files
        .filter_map(Result::ok)
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string());
            (entry.file_name().to_string_lossy().into_owned(), text.and_then(|text| Case::read(&text)))
        })
        .collect();
    cases.sort_by(|(one, _), (other, _)| one.cmp(other));
    cases
}

fn to_json(yaml: &Yaml<'_>) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Sequence(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| match key.as_str() {
                Some(key) => Ok((key.to_owned(), to_json(value)?)),
                None => Err(format!("a key must be text: {key:?}")),
            });
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
        other => return Err(format!("a case cannot hold {other:?}")),
    })
}
