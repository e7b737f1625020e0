//! Runs the binary and looks at what it says. Not here: expectations.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Exit code.
    pub(crate) code: Option<i32>,
}

/// The folder of manifests that the tests share.
pub(crate) fn manifests() -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").display().to_string()
}

/// Runs `isolator` with words for arguments, `FILES` among them standing for the shared folder.
pub(crate) fn isolator(words: &str, input: &str) -> Ran {
    let folder = manifests();
    let arguments = words.split_whitespace().map(|word| if word == "FILES" { folder.as_str() } else { word });
    let mut child = Command::new(env!("CARGO_BIN_EXE_isolator"))
        .args(arguments)
        .env_remove("ISOLATOR_PIN_DIR")
        .env("ISOLATOR_RUN_DIR", "/nonexistent/isolator")
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // The command may end without reading all of it.
        let _unread = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// Flows on the shared folder, one a line, and what every engine must say: verdict, egress and ingress, as `by`.
pub(crate) const FLOWS: &[(&str, &str, &str, &str)] = &[
    (
        r#"{"from":"tc-alpha/curl","to":"tc-alpha/nginx","protocol":"TCP","port":80}"#,
        "allowed",
        "no policy isolates the endpoint for egress",
        "NetworkPolicy tc-alpha/web ingress[0]",
    ),
    (
        r#"{"from":"tc-alpha/curl","to":"tc-alpha/nginx","protocol":"TCP","port":81}"#,
        "denied",
        "no policy isolates the endpoint for egress",
        "default deny of ingress by NetworkPolicy tc-alpha/web",
    ),
    (
        r#"{"from":"tc-alpha/curl","to":"tc-alpha/nginx","protocol":"TCP","port":80,"ip":6}"#,
        "allowed",
        "no policy isolates the endpoint for egress",
        "NetworkPolicy tc-alpha/web ingress[0]",
    ),
    (
        r#"{"from":"tc-gamma/curl","to":"tc-alpha/nginx","protocol":"TCP","port":80}"#,
        "denied",
        "tenancy: gamma and alpha are different tenants",
        "tenancy: alpha and gamma are different tenants",
    ),
    (
        r#"{"from":"tc-gamma/curl","to":"dns/coredns","protocol":"UDP","port":53}"#,
        "allowed",
        "no policy isolates the endpoint for egress",
        "no policy isolates the endpoint for ingress",
    ),
    (
        r#"{"from":"192.0.2.7","to":"tc-alpha/nginx","protocol":"SCTP","port":9}"#,
        "allowed",
        "not an endpoint of this cluster",
        "NetworkPolicy tc-alpha/web ingress[1]",
    ),
    (
        r#"{"from":"192.0.2.200","to":"tc-alpha/nginx","protocol":"ICMP","type":8}"#,
        "denied",
        "not an endpoint of this cluster",
        "default deny of ingress by NetworkPolicy tc-alpha/web",
    ),
    (
        r#"{"from":"node:n1","to":"tc-alpha/nginx","protocol":"TCP","port":22}"#,
        "allowed",
        "not an endpoint of this cluster",
        "the node may always reach its own pods",
    ),
    (
        r#"{"from":"node:n2","to":"tc-alpha/nginx","protocol":"TCP","port":22}"#,
        "denied",
        "not an endpoint of this cluster",
        "default deny of ingress by NetworkPolicy tc-alpha/web",
    ),
    (
        r#"{"from":"tc-alpha/nginx","to":"10.244.1.2","protocol":"TCP","port":22}"#,
        "allowed",
        "the endpoint talks to itself",
        "the endpoint talks to itself",
    ),
    (
        r#"{"from":"tc-alpha/nginx","to":"tc-alpha/curl","protocol":"UDP","port":22}"#,
        "allowed",
        "no policy isolates the endpoint for egress",
        "no policy isolates the endpoint for ingress",
    ),
];

/// Judges [`FLOWS`] by an engine, with lines between them that cannot be judged, and compares every line.
pub(crate) fn check_verdicts(engine: &str) {
    let mut input = String::new();
    let mut wanted = Vec::new();
    for (flow, verdict, egress, ingress) in FLOWS {
        input += &format!("{flow}\n\nno flow\n");
        let word = |by: &str| {
            if by.starts_with("default deny") || by.starts_with("tenancy") { "denied" } else { "allowed" }
        };
        wanted.push(format!(
            r#"{{"verdict":"{verdict}","egress":{{"verdict":"{}","by":"{egress}"}},"ingress":{{"verdict":"{}","by":"{ingress}"}}}}"#,
            word(egress),
            word(ingress)
        ));
        wanted.push(r#"{"error":"the line is no flow: expected ident at line 1 column 2"}"#.to_owned());
    }
    let ran = isolator(&format!("policy verdicts -f FILES --flows - --engine {engine} -o json"), &input);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines, wanted, "{engine}: {}", ran.err);
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), ""));
}
