//! Flows on the shared folder and what every engine must say of them. Not here: the engines.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

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

/// Each flow is judged as if it were the first: what one opens lets no other pass as its reply.
pub(crate) fn check_apart(engine: &str) {
    let pod = |name: &str, addr: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"a","labels":{{"app":"{name}"}}}},
            "spec":{{"nodeName":"n","containers":[]}},"status":{{"podIPs":[{{"ip":"{addr}"}}]}}}}"#
        )
    };
    let policy = r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"a"},
        "spec":{"podSelector":{"matchLabels":{"app":"server"}},"policyTypes":["Ingress","Egress"],"ingress":[{}]}}"#;
    let folder = std::env::temp_dir().join(format!("isolator-apart-{engine}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let objects = [pod("client", "10.0.0.1"), pod("server", "10.0.0.2"), policy.to_owned()].join(",");
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{objects}]}}"#);
    std::fs::write(folder.join("all.json"), list).unwrap();
    let ping = |from: &str, to: &str| {
        format!("{{\"from\":\"a/{from}\",\"to\":\"a/{to}\",\"protocol\":\"ICMP\",\"type\":8}}\n")
    };
    let (there, back) = (ping("client", "server"), ping("server", "client"));
    let words = format!("policy verdicts -f {} --flows - --engine {engine} -o json", folder.display());
    let ran = isolator(&words, &[there.as_str(), &back, &there, &back].concat());
    let verdicts: Vec<_> = ran.out.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(verdicts, ["allowed", "denied", "allowed", "denied"], "{engine}: {}{}", ran.out, ran.err);
    std::fs::remove_dir_all(&folder).unwrap();
}
