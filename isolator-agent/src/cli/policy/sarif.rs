//! Findings as SARIF 2.1.0, which code review tools show beside the lines they are about. Not here: what is
//! found.

use crate::status::{Position, ProblemEntry};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The published schema of the format.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log of one run.
#[derive(Debug, Serialize)]
pub(super) struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    /// Our columns count characters.
    column_kind: &'static str,
    results: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Kind>,
}

/// A kind of finding.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    id: String,
    short_description: Text,
    default_configuration: Configuration,
}

#[derive(Debug, Serialize)]
struct Configuration {
    level: String,
}

#[derive(Debug, Serialize)]
struct Text {
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    rule_id: String,
    rule_index: usize,
    level: String,
    message: Text,
    locations: [Location; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<Logical>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Debug, Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Logical {
    fully_qualified_name: String,
}

/// The log of these problems. `about` says what a code means in one sentence, where it is known. What is in no file is put
/// at `input` as a whole: some readers refuse results without a place.
pub(super) fn log(
    problems: &[ProblemEntry],
    input: &str,
    about: impl Fn(&str) -> Option<&'static str>,
) -> Log {
    let levels: BTreeMap<&str, &str> =
        problems.iter().map(|problem| (problem.code.as_str(), problem.severity.as_str())).collect();
    let codes: Vec<&str> = levels.keys().copied().collect();
    let kind = |(code, level): (&&str, &&str)| Kind {
        id: (*code).to_owned(),
        short_description: Text { text: about(code).map_or_else(|| code.replace('-', " "), str::to_owned) },
        default_configuration: Configuration { level: (*level).to_owned() },
    };
    let driver = Driver {
        name: "isolator",
        semantic_version: env!("CARGO_PKG_VERSION"),
        rules: levels.iter().map(kind).collect(),
    };
    let results = problems.iter().map(|problem| finding(problem, input, &codes)).collect();
    Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", results }],
    }
}

fn finding(problem: &ProblemEntry, input: &str, codes: &[&str]) -> Finding {
    let ProblemEntry { severity, code, place: _, position, object, field, message } = problem;
    let parts = [object, field, message].into_iter().filter(|part| !part.is_empty());
    let name = [object, field].into_iter().filter(|part| !part.is_empty());
    let name: Vec<_> = name.map(String::as_str).collect();
    let logical = Logical { fully_qualified_name: name.join(": ") };
    let location = Location {
        physical_location: position.as_ref().map_or_else(|| whole(input), physical),
        logical_locations: if name.is_empty() { Vec::new() } else { vec![logical] },
    };
    Finding {
        rule_id: code.clone(),
        rule_index: codes.binary_search(&code.as_str()).unwrap_or_default(),
        level: severity.clone(),
        message: Text { text: parts.map(String::as_str).collect::<Vec<_>>().join(": ") },
        locations: [location],
    }
}

fn whole(file: &str) -> Physical {
    Physical { artifact_location: Artifact { uri: uri(file) }, region: None }
}

fn physical(position: &Position) -> Physical {
    let Position { file, document: _, line, column } = position;
    let region = Region { start_line: *line, start_column: (*column > 0).then_some(*column) };
    Physical { artifact_location: Artifact { uri: uri(file) }, region: (*line > 0).then_some(region) }
}

/// A file's name as a reference: relative names stay relative, so that they mean the same in a checkout.
fn uri(file: &str) -> String {
    let mut uri = if file.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in file.strip_prefix("./").unwrap_or(file).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn problem(code: &str, severity: &str, position: Option<Position>) -> ProblemEntry {
        ProblemEntry {
            severity: severity.to_owned(),
            code: code.to_owned(),
            place: "not used".to_owned(),
            position,
            object: "NetworkPolicy a/b".to_owned(),
            field: "spec.egress".to_owned(),
            message: "it is wrong".to_owned(),
        }
    }

    fn position(file: &str, line: u32, column: u32) -> Option<Position> {
        Some(Position { file: file.to_owned(), document: 2, line, column })
    }

    #[test]
    fn a_log_has_all_that_the_schema_requires() {
        let problems = [
            problem("no-dns", "warning", position("./dir/a b.yaml", 12, 3)),
            problem("invalid-field", "error", position("/etc/ü.yaml", 7, 0)),
            problem("no-dns", "warning", None),
        ];
        let about = |code: &str| (code == "no-dns").then_some("It cannot ask for names.");
        let log = serde_json::to_value(log(&problems, "dir", about)).unwrap();
        let name = json!([{ "fullyQualifiedName": "NetworkPolicy a/b: spec.egress" }]);
        let text = json!({ "text": "NetworkPolicy a/b: spec.egress: it is wrong" });
        let kind = |id: &str, text: &str, level: &str| json!({ "id": id, "shortDescription": { "text": text }, "defaultConfiguration": { "level": level } });
        let wanted = json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "isolator",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": [
                        kind("invalid-field", "invalid field", "error"),
                        kind("no-dns", "It cannot ask for names.", "warning"),
                    ],
                } },
                "columnKind": "unicodeCodePoints",
                "results": [
                    { "ruleId": "no-dns", "ruleIndex": 1, "level": "warning", "message": text, "locations": [{
                        "physicalLocation": {
                            "artifactLocation": { "uri": "dir/a%20b.yaml" },
                            "region": { "startLine": 12, "startColumn": 3 },
                        },
                        "logicalLocations": name,
                    }] },
                    { "ruleId": "invalid-field", "ruleIndex": 0, "level": "error", "message": text, "locations": [{
                        "physicalLocation": {
                            "artifactLocation": { "uri": "file:///etc/%C3%BC.yaml" },
                            "region": { "startLine": 7 },
                        },
                        "logicalLocations": name,
                    }] },
                    { "ruleId": "no-dns", "ruleIndex": 1, "level": "warning", "message": text,
                      "locations": [{
                        "physicalLocation": { "artifactLocation": { "uri": "dir" } },
                        "logicalLocations": name,
                    }] },
                ],
            }],
        });
        assert_eq!(log, wanted);
    }

    #[test]
    fn an_empty_log_has_no_results() {
        let log = serde_json::to_value(log(&[], "dir", |_| None)).unwrap();
        assert_eq!(log["runs"][0]["results"], Value::Array(Vec::new()));
    }
}
