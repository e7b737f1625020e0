//! The semantic cases of `cases/`: manifests and flows as data, judged by the direct reading and by the maps in
//! memory. Not here: cases that no manifest can say (`isolator-policy`), the loaded programs.

mod memory;

use isolator_agent::source::load_text;
use isolator_common::addr::Addr;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::meaning::oracle::judge;
use isolator_policy::model::{PodKey, Severity};
use memory::Nodes;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What must hold, as a sentence.
    what: String,
    manifests: Vec<Value>,
    flows: Vec<Flow>,
}

/// A new flow, and what must become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flow {
    from: String,
    to: String,
    protocol: Protocol,
    port: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<u8>,
    egress: Wanted,
    ingress: Wanted,
    #[serde(default)]
    by: Reasons,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Protocol {
    Icmp = 1,
    Tcp = 6,
    Udp = 17,
    Icmpv6 = 58,
    Sctp = 132,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Allowed,
    Denied,
}

/// What the direct reading must name as the reason, where it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasons {
    egress: Option<String>,
    ingress: Option<String>,
}

impl Case {
    fn read(text: &str) -> Result<Case, String> {
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

    fn snapshot(&self) -> Result<Arc<Snapshot>, String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.manifests});
        let loaded = load_text("manifests.json", list.to_string().as_bytes());
        let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let errors: Vec<String> = errors.map(ToString::to_string).collect();
        if !errors.is_empty() {
            return Err(errors.join("\n"));
        }
        let mut index = Index::new(Options::default());
        index.apply(Change::Reset(loaded.objects));
        Ok(index.snapshot())
    }

    /// What is not as it is written, one line each.
    fn mismatches(&self) -> Result<Vec<String>, String> {
        let snapshot = self.snapshot()?;
        let nodes = Nodes::new(&snapshot);
        let mut wrong = Vec::new();
        for flow in &self.flows {
            let Flow { from, to, protocol, egress, ingress, by, .. } = flow;
            let shown = format!("{from} > {to} {protocol:?}/{}", flow.number()?);
            let spec = flow.spec()?;
            let read = judge(&snapshot, &spec).map_err(|error| format!("{shown}: {error}"))?;
            let compiled = nodes.judge(&snapshot, &spec);
            for (side, wanted, because, read, compiled) in [
                ("egress", egress, &by.egress, read.egress, compiled.0),
                ("ingress", ingress, &by.ingress, read.ingress, compiled.1),
            ] {
                for (engine, allowed) in [("the texts", read.allowed), ("the maps", compiled)] {
                    let said = if allowed { Wanted::Allowed } else { Wanted::Denied };
                    if said != *wanted {
                        wrong.push(format!("{shown}: {side}: wanted {wanted:?}, {engine} say {said:?}"));
                    }
                }
                let said = read.by.to_string();
                if let Some(because) = because.as_ref().filter(|because| **because != said) {
                    wrong.push(format!("{shown}: {side}: wanted by `{because}`, the texts say `{said}`"));
                }
            }
        }
        Ok(wrong)
    }
}

impl Flow {
    /// The port, or the type.
    fn number(&self) -> Result<u16, String> {
        match (self.protocol, self.port, self.kind) {
            (Protocol::Icmp | Protocol::Icmpv6, None, Some(kind)) => Ok(kind.into()),
            (Protocol::Tcp | Protocol::Udp | Protocol::Sctp, Some(port), None) => Ok(port),
            _ => Err(format!("{} > {}: ICMP has a type, the others a port", self.from, self.to)),
        }
    }

    fn spec(&self) -> Result<FlowSpec, String> {
        let (from, to) = (end(&self.from)?, end(&self.to)?);
        Ok(FlowSpec { from, to, protocol: self.protocol as u8, port: self.number()? })
    }
}

fn end(text: &str) -> Result<End, String> {
    if let Some(name) = text.strip_prefix("node:") {
        return Ok(End::Node(name.to_owned()));
    }
    match text.parse() {
        Ok(IpAddr::V4(v4)) => return Ok(End::Address(Addr::v4(v4.octets()))),
        Ok(IpAddr::V6(v6)) => return Ok(End::Address(Addr(v6.octets()))),
        Err(_) => {}
    }
    let (namespace, name) = text.split_once('/').ok_or(format!("`{text}` is no end of a flow"))?;
    Ok(End::Pod(PodKey { namespace: namespace.to_owned(), name: name.to_owned() }))
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

#[test]
fn every_case_file_holds_in_both_readings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let (mut files, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        match Case::read(&text).and_then(|case| case.mismatches()) {
            Ok(mismatches) => wrong.extend(mismatches.iter().map(|line| format!("{name}: {line}"))),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
        files += 1;
    }
    wrong.sort();
    assert!(files > 0, "no case files");
    assert!(
        wrong.is_empty(),
        "{} of what {files} files say does not hold:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_case_without_flows_or_with_an_unknown_key_is_an_error() {
    let flow = "{from: a/b, to: 10.0.0.1, protocol: TCP, port: 80, egress: allowed, ingress: denied}";
    let good = format!("what: It holds.\nmanifests: []\nflows: [{flow}]\n");
    Case::read(&good).unwrap();
    let bad = [
        good.replace(flow, ""),
        good.replace("flows", "flow"),
        format!("{good}more: 1\n"),
        good.replace("port: 80", "port: 80, ports: 1"),
        good.replace("port: 80", "port: 80, by: {egres: text}"),
        good.replace("It holds.", "''"),
    ];
    for text in bad {
        assert!(Case::read(&text).is_err(), "{text}");
    }
}
