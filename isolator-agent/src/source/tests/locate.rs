//! Places of fields. Not here: places in problems of single texts (`documents`).

use super::Manifests;
use isolator_policy::model::{Place, Problem, Severity};

const TEXT: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: x}
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Namespace
    metadata: {name: z}
  - apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: np, namespace: x}
    spec:
      podSelector: {}
      ingress:
        - ports: [{port: 80}]
        - from: [{podSelector: {}}]
";

fn located(manifests: &Manifests, object: &str, field: &str) -> String {
    let mut problems = [Problem {
        severity: Severity::Warning,
        code: "code",
        place: Place::Unknown,
        object: object.to_owned(),
        field: field.to_owned(),
        message: String::new(),
    }];
    manifests.locate(&mut problems);
    problems[0].place.to_string()
}

#[test]
fn a_field_has_the_line_and_column_of_its_key_or_entry() {
    let manifests = Manifests::of_text("f.yaml", TEXT.as_bytes().to_vec());
    for (object, field, wanted) in [
        ("Namespace x", "", "f.yaml:1:1 (document 1)"),
        ("Namespace x", "metadata", "f.yaml:3:1 (document 1)"),
        ("Namespace x", "metadata.labels", "f.yaml:3:1 (document 1)"),
        ("Namespace z", "", "f.yaml:8:5 (document 2, items[0])"),
        ("NetworkPolicy x/np", "spec.podSelector", "f.yaml:15:7 (document 2, items[1])"),
        ("NetworkPolicy x/np", "spec.ingress[1].from", "f.yaml:18:11 (document 2, items[1])"),
        ("NetworkPolicy x/np", "spec.ingress[1].from[0]", "f.yaml:18:18 (document 2, items[1])"),
        ("NetworkPolicy x/np", "spec.egress", "f.yaml:14:5 (document 2, items[1])"),
        ("NetworkPolicy x/other", "spec", ""),
    ] {
        assert_eq!(located(&manifests, object, field), wanted, "{object} {field}");
    }
}

#[test]
fn fields_in_json_have_their_line_and_column_too() {
    let text = "{\"kind\": \"Namespace\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"ä\\\"}\"}}\n\
                {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [null, {\"apiVersion\": \"v1\",\n\
                \"kind\": \"Namespace\", \"metadata\" :{\"annotations\": {}, \"name\": \"z\"}}]} ";
    // The same as a document of YAML that only JSON's reader takes.
    let yaml = format!(
        "---\n{}",
        text.lines().skip(1).collect::<Vec<_>>().join("\n").replace("{}", "{\"a\":\t\"\\ud83d\\ude00\"}")
    );
    for (name, text, object, field, wanted) in [
        ("f.json", text, "Namespace z", "", "f.json:2:54 (document 2, items[1])"),
        ("f.json", text, "Namespace z", "metadata", "f.json:3:22 (document 2, items[1])"),
        ("f.json", text, "Namespace z", "metadata.name", "f.json:3:54 (document 2, items[1])"),
        ("f.yaml", &yaml, "Namespace z", "metadata", "f.yaml:3:22 (document 1, items[1])"),
    ] {
        let manifests = Manifests::of_text(name, text.as_bytes().to_vec());
        assert_eq!(located(&manifests, object, field), wanted, "{text} {field}");
    }
}

#[test]
fn of_an_object_that_is_there_twice_the_one_that_counts_is_found() {
    let bad = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, labels: {a: [1]}}\n---\n\n\n";
    let manifests = Manifests::of_text("f.yaml", format!("{bad}{TEXT}---\n{TEXT}").into_bytes());
    assert_eq!(located(&manifests, "Namespace x", "metadata"), "f.yaml:9:1 (document 2)");
}

#[test]
fn a_place_that_is_known_stays() {
    let manifests = Manifests::of_text("f.yaml", TEXT.as_bytes().to_vec());
    let place = Place::Thing("node n1".to_owned());
    let mut problems = manifests.load().problems;
    problems.push(Problem {
        severity: Severity::Error,
        code: "code",
        place: place.clone(),
        object: "Namespace x".to_owned(),
        field: String::new(),
        message: String::new(),
    });
    manifests.locate(&mut problems);
    assert_eq!(problems.last().unwrap().place, place);
}
