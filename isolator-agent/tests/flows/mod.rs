//! Flows on the shared folder and what every engine must say of them. Not here: the engines.

use super::command::isolator;

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
        r#"{"from":"192.0.2.7","to":"tc-alpha/nginx","protocol":"ICMP","type":8}"#,
        "allowed",
        "not an endpoint of this cluster",
        "NetworkPolicy tc-alpha/web ingress[1]",
    ),
    // Not a reply to the one before: each flow is judged as if it were the first.
    (
        r#"{"from":"tc-alpha/nginx","to":"192.0.2.7","protocol":"ICMP","type":8}"#,
        "allowed",
        "no policy isolates the endpoint for egress",
        "not an endpoint of this cluster",
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
