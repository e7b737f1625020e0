//! `isolator policy lint` as a team's checks run it: exit codes, formats, places. Not here: each check
//! (`isolator-policy`, tests/lint).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod command;

use command::isolator;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str, files: &[(&str, &str)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("isolator-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Folder(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Runs lint on it.
    fn lint(&self, flags: &str) -> command::Ran {
        isolator(&format!("policy lint -f {} {flags}", self.path().display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn lint_finds_what_is_suspicious_and_fails_on_errors() {
    let ran = isolator("policy lint -f FILES", "");
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.contains("warning: Namespace dns: metadata.labels: it has no tenant"), "{}", ran.out);
    assert!(ran.out.ends_with("1 policy, 0 errors, 1 warning\n"), "{}", ran.out);

    let policy = r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"x","namespace":"a"},
        "spec":{"podSelector":{"matchLabels":{"app":"none"}},"policyTypes":["Egress"],
        "egress":[{"to":[{"podSelector":{"matchLabels":{"app":"ghost"}}}],"ports":[{"port":"dns","protocol":"UDP"}]}]}}"#;
    let folder = std::env::temp_dir().join(format!("isolator-lint-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy.json"), policy).unwrap();
    fs::write(folder.join("pod.json"), r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":5}}"#).unwrap();
    for (name, port) in [("deaf", r#"{"port":443}"#), ("fine", r#"{"port":53,"protocol":"UDP"}"#)] {
        let pod = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"a","labels":{{"app":"{name}"}}}},
            "spec":{{"containers":[]}}}}"#
        );
        let policy = format!(
            r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"{name}","namespace":"a"}},
            "spec":{{"podSelector":{{"matchLabels":{{"app":"{name}"}}}},"policyTypes":["Egress"],
            "egress":[{{"ports":[{port}]}}]}}}}"#
        );
        let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{pod},{policy}]}}"#);
        fs::write(folder.join(format!("{name}.json")), list).unwrap();
    }
    let ran = isolator(&format!("policy lint -o json -f {}", folder.display()), "");
    let problems: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let codes: Vec<_> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    for code in ["selects-nothing", "peer-matches-nothing"] {
        assert!(codes.contains(&code), "{code} is not in {codes:?}");
    }
    let deaf: Vec<_> =
        problems.iter().filter(|problem| problem["code"] == "no-dns").map(|one| &one["object"]).collect();
    assert_eq!(deaf, ["NetworkPolicy a/deaf"], "{}", ran.out);
    assert!(problems.iter().any(|problem| problem["severity"] == "error"), "{}", ran.out);
    assert_eq!(ran.code, Some(1));
    fs::remove_dir_all(&folder).unwrap();
}

const POD: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: web}}
spec: {containers: []}
";

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: a}
spec:
  podSelector: {matchLabels: {app: APP}}
  policyTypes: [Ingress]
";

#[test]
fn the_exit_code_says_whether_anything_is_as_bad_as_asked() {
    let good = POLICY.replace("APP", "web");
    let warning = POLICY.replace("APP", "other");
    let error = good.replace("Ingress", "Egres");
    for (policy, flags, code) in [
        (&good, "", 0),
        (&good, "--fail-on warning", 0),
        (&warning, "", 0),
        (&warning, "--fail-on error", 0),
        (&warning, "--fail-on warning", 1),
        (&warning, "--fail-on warning -o json", 1),
        (&warning, "--fail-on warning -o sarif", 1),
        (&error, "", 1),
        (&error, "--fail-on warning", 1),
    ] {
        let folder = Folder::new("lint-codes", &[("pod.yaml", POD), ("policy.yaml", policy)]);
        let ran = folder.lint(flags);
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{policy}{flags}\n{}", ran.out);
    }
    let alone = Folder::new("lint-alone", &[("policy.yaml", &error)]).lint("");
    assert_eq!((alone.code, alone.err.as_str()), (Some(1), ""), "{}", alone.out);
}

#[test]
fn input_that_cannot_be_used_is_exit_code_2() {
    let empty = Folder::new("lint-empty", &[("notes.txt", "no manifest")]);
    let broken = Folder::new("lint-broken", &[("a.yaml", "a: [b")]);
    for (ran, out) in [
        (empty.lint(""), ""),
        (broken.lint(""), "this is not YAML"),
        (isolator("policy lint -f /nonexistent", ""), ""),
    ] {
        assert_eq!(ran.code, Some(2), "{}", ran.out);
        assert!(ran.out.contains(out), "{}", ran.out);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    assert_eq!(empty.lint("").out, "", "nothing that was read is no reason for praise");
}

#[test]
fn every_format_says_where() {
    let policy = POLICY.replace("APP", "other");
    let folder = Folder::new("lint-places", &[("pod.yaml", POD), ("policy.yaml", &policy)]);
    let file = folder.path().join("policy.yaml").display().to_string();
    let ran = folder.lint("");
    let wanted =
        format!("{file}:5:3 (document 1): warning: NetworkPolicy a/np: spec.podSelector: it selects no pod");
    assert!(ran.out.starts_with(&wanted), "{}", ran.out);
    let list: Value = serde_json::from_str(&folder.lint("-o json").out).unwrap();
    let position = json!({ "file": file, "document": 1, "line": 5, "column": 3 });
    assert_eq!((&list[0]["position"], &list[0]["code"]), (&position, &json!("selects-nothing")));
    let log: Value = serde_json::from_str(&folder.lint("-o sarif").out).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("selects-nothing"), &json!("warning")));
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], format!("file://{file}"));
    assert_eq!(location["region"], json!({ "startLine": 5, "startColumn": 3 }));
}

/// The first policy of an article on tenants, as it stands there.
const DEFAULT_DENY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: default-deny-all
  namespace: tenant-a
spec:
  podSelector: {} # Selects all pods in the namespace
  policyTypes:
  - Ingress
  - Egress
";

#[test]
fn policies_alone_can_be_checked() {
    let folder = Folder::new("lint-alone", &[("policy.yaml", DEFAULT_DENY)]);
    let file = folder.path().join("policy.yaml").display().to_string();
    let ran = folder.lint("--fail-on warning");
    let wanted = format!(
        "{file}:6:1 (document 1): warning: NetworkPolicy tenant-a/default-deny-all: spec.egress: a pod like"
    );
    assert!(ran.out.starts_with(&wanted) && ran.out.contains("(no-dns)"), "{}", ran.out);
    assert!(ran.out.ends_with("1 policy, 0 errors, 1 warning\n"), "{}", ran.out);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn what_nothing_declares_is_found_where_a_pod_speaks_of_it() {
    let pod = POD.split("---\n").nth(1).unwrap().replace("spec: {", "spec: {nodeName: n1, ");
    let pod = format!("{pod}status: {{podIP: 10.0.0.1}}\n");
    let folder = Folder::new("lint-undeclared", &[("pod.yaml", &pod)]);
    let file = folder.path().join("pod.yaml").display().to_string();
    let ran = folder.lint("");
    for wanted in [
        format!("{file}:3:23 (document 1): warning: Namespace a: "),
        format!("{file}:4:8 (document 1): warning: Node n1: "),
    ] {
        assert!(ran.out.contains(&wanted), "{wanted}\n{}", ran.out);
    }
}

const ROLES: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {isolator.dev/tenant: alpha}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: namespaces}
rules:
  - {apiGroups: [\"\"], resources: [namespaces], verbs: [VERB]}
---
apiVersion: v1
kind: List
items:
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: deployers, namespace: a}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: namespaces}
    subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: dev}]
";

#[test]
fn roles_are_read_from_manifests() {
    let lint = |text: &str| {
        let folder = Folder::new("lint-roles", &[("roles.yaml", text)]);
        let list: Vec<Value> = serde_json::from_str(&folder.lint("-o json").out).unwrap();
        let brief = |problem: &Value| {
            let text = |key: &str| problem[key].as_str().unwrap().to_owned();
            (text("code"), text("object"), problem["position"]["line"].as_u64().unwrap())
        };
        list.iter().map(brief).collect::<Vec<_>>()
    };
    let one = |code: &str, object: &str, line| vec![(code.to_owned(), object.to_owned(), line)];
    let relabels = one("tenant-can-relabel", "RoleBinding a/deployers", 17);
    assert_eq!(lint(&ROLES.replace("VERB", "patch")), relabels);
    assert_eq!(lint(&ROLES.replace("VERB", "get")), []);
    let unknown = one("role-unknown", "RoleBinding a/deployers", 17);
    assert_eq!(lint(&ROLES.replace("name: namespaces}\nrules", "name: others}\nrules")), unknown);
    let unreadable = one("role-unreadable", "ClusterRole namespaces", 5);
    assert_eq!(lint(&ROLES.replace("[VERB]", "[{}]")), [unreadable, unknown].concat());
}

#[test]
fn formats_of_one_command_are_refused_by_the_others() {
    for (words, wanted) in [
        ("policy list -f FILES -o sarif", "error: only `isolator policy lint` prints SARIF; use -o json\n"),
        ("policy lint -f FILES -o html", "error: only `isolator policy matrix` prints HTML; use -o json\n"),
    ] {
        let ran = isolator(words, "");
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(2), "", wanted));
    }
}

#[test]
fn the_document_lists_every_check() {
    let document = include_str!("../../docs/lint.md");
    let rows: Vec<(&str, &str)> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .collect();
    assert_eq!(rows, isolator_policy::lint::CODES);
}
