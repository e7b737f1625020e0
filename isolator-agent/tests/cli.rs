//! The binary as people and tools use it, offline: help, errors, exit codes, listings, verdicts. Not here: what
//! needs a kernel (`kernel_verdicts`).

mod command;
mod flows;

use command::isolator;
use flows::{FLOWS, check_apart, check_verdicts};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn every_command_has_help_with_an_example() {
    let words = [
        "run",
        "status",
        "identity list",
        "identity get",
        "endpoint list",
        "endpoint get",
        "map list",
        "map dump",
        "policy list",
        "policy get",
        "policy lint",
        "policy explain",
        "policy matrix",
        "policy verdicts",
        "observe",
        "verify",
        "uninstall",
        "completion",
    ];
    for words in words {
        let ran = isolator(&format!("{words} --help"), "");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{words}");
        assert!(ran.out.contains("Example"), "{words}:\n{}", ran.out);
        assert!(ran.out.contains(&format!("isolator {words}")), "{words}:\n{}", ran.out);
    }
    let ran = isolator("--help", "");
    assert!(ran.out.contains("Exit codes:"), "{}", ran.out);
}

#[test]
fn errors_are_one_line_and_exit_code_2() {
    for (words, wanted) in [
        (
            "policy list",
            "error: no manifests: name a folder with -f DIR (no daemon has left its folder in /nonexistent/isolator)\n",
        ),
        (
            "policy list -f /nonexistent/manifests",
            "error: cannot read /nonexistent/manifests: No such file or directory (os error 2)\n",
        ),
        ("policy get tc-alpha/nothing -f FILES", "error: no policy tc-alpha/nothing in "),
        (
            "policy explain tc-alpha/curl nginx -f FILES",
            "error: `nginx` is no end of a flow: write namespace/pod, an address or node:NAME\n",
        ),
        ("policy explain tc-alpha/curl tc-alpha/web -f FILES", "error: no pod tc-alpha/web\n"),
        (
            "policy explain tc-alpha/curl tc-alpha/nginx 80 -f FILES",
            "error: `80` is no port: write PROTOCOL/PORT, as TCP/80, or ICMP/TYPE\n",
        ),
        (
            "policy verdicts -f FILES --flows /nonexistent",
            "error: cannot open the flows /nonexistent: No such file or directory (os error 2)\n",
        ),
    ] {
        let ran = isolator(words, "");
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{words}");
        assert!(ran.err.starts_with(wanted), "{words}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{words}: {}", ran.err);
    }
    let ran = isolator("policy list --nonsense", "");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("unexpected argument '--nonsense'"), "{}", ran.err);
}

#[test]
fn the_reading_judges_flows() {
    check_verdicts("reading");
}

#[test]
fn the_compiled_form_judges_flows() {
    check_verdicts("compiled");
}

#[test]
fn each_flow_is_judged_by_itself() {
    check_apart("reading");
    check_apart("compiled");
}

#[test]
fn verdicts_come_while_the_input_is_still_open_and_exit_0_when_all_were_judged() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_isolator"))
        .args(["policy", "verdicts", "-f", &command::manifests(), "--flows", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, answers) = mpsc::channel();
    let reader = std::thread::spawn(move || output.lines().try_for_each(|line| sender.send(line.unwrap())));
    for (flow, verdict, ..) in FLOWS {
        writeln!(input, "{flow}").unwrap();
        input.flush().unwrap();
        let Ok(line) = answers.recv_timeout(Duration::from_secs(20)) else {
            child.kill().unwrap();
            panic!("no answer while the input is open");
        };
        assert!(line.starts_with(&format!(r#"{{"verdict":"{verdict}""#)), "{line}");
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    reader.join().unwrap().unwrap();
}

#[test]
fn explain_says_why_in_prose_and_in_json() {
    let ran = isolator("policy explain tc-alpha/curl tc-alpha/nginx TCP/81 -f FILES", "");
    let wanted = "\
tc-alpha/curl -> tc-alpha/nginx TCP/81: DENIED

egress ALLOWED: no policy isolates the endpoint for egress
  judged at   tc-alpha/curl (tenant alpha)
  to          Pod tc-alpha/nginx at 10.244.1.2 (tenant alpha)
  policies    none selects it for egress

ingress DENIED: default deny of ingress by NetworkPolicy tc-alpha/web
  judged at   tc-alpha/nginx (tenant alpha)
  from        Pod tc-alpha/curl at 10.244.2.2 (tenant alpha)
  policies    NetworkPolicy tc-alpha/web: isolates it
              ingress[0] allow: matches the peer, not the port
              ingress[1] allow: matches the port, not the peer
  allowed if  rule 0 of NetworkPolicy tc-alpha/web names this port, too
  or if       rule 1 of NetworkPolicy tc-alpha/web names this peer, too
  or if       a rule that allows it, in a new policy or in NetworkPolicy tc-alpha/web
";
    assert_eq!((ran.out.as_str(), ran.code), (wanted, Some(1)), "{}", ran.err);
    let ran = isolator("policy explain tc-gamma/curl tc-alpha/nginx TCP/80 -f FILES -o json", "");
    let view: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(view["ingress"]["by"], "tenancy: alpha and gamma are different tenants");
    assert_eq!(view["ingress"]["peer"]["tenant"], "gamma");
    assert_eq!((view["verdict"].as_str(), ran.code), (Some("denied"), Some(1)));
    let ran = isolator("policy explain tc-alpha/curl tc-alpha/nginx -f FILES", "");
    assert_eq!(ran.code, Some(0), "{}", ran.out);
}

#[test]
fn the_matrix_is_pods_by_pods() {
    let ran = isolator("policy matrix -f FILES --port tcp/80 --namespace tc-alpha,tc-gamma", "");
    let wanted = "\
TCP/80  5 of 9 allowed
FROM \\ TO        tc-alpha/curl   tc-alpha/nginx   tc-gamma/curl
tc-alpha/curl    allow           allow            deny
tc-alpha/nginx   allow           allow            deny
tc-gamma/curl    deny            deny             allow

";
    assert_eq!((ran.out.as_str(), ran.code), (wanted, Some(0)), "{}", ran.err);
    let ran = isolator("policy matrix -f FILES -o json", "");
    let fields: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    // Four pods, and the two ports that they declare.
    assert_eq!(fields.len(), 4 * 4 * 2);
    assert_eq!(fields[0]["from"], "dns/coredns");
    assert_eq!((&fields[0]["protocol"], &fields[0]["port"]), (&"TCP".into(), &80.into()));
    assert_eq!(fields[0]["egress"]["by"], "the endpoint talks to itself");
}

#[test]
fn policies_are_listed_in_every_format() {
    let ran = isolator("policy list -f FILES", "");
    let wanted = "NAMESPACE   NAME   PODS   INGRESS             EGRESS\ntc-alpha    web    1      isolated, 2 rules   -\n";
    assert_eq!((ran.out.as_str(), ran.code), (wanted, Some(0)), "{}", ran.err);
    let json = isolator("policy list -f FILES -o json", "").out;
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[0]["ingress"], serde_json::json!({ "default_deny": true, "rules": 2 }));
    assert_eq!(rows[0]["subject"], "pods with app=nginx in namespace tc-alpha");
    let yaml = isolator("policy list -f FILES -o yaml", "").out;
    assert!(yaml.starts_with("- kind: NetworkPolicy\n  namespace: tc-alpha\n  name: web\n"), "{yaml}");
    let ran = isolator("policy list -f FILES -n elsewhere -o json", "");
    assert_eq!((ran.out.as_str(), ran.code), ("[]\n", Some(0)));
    let ran = isolator("policy get web -f FILES", "");
    let wanted = "\
NetworkPolicy tc-alpha/web
tier     normal, priority 0
selects  pods with app=nginx in namespace tc-alpha: tc-alpha/nginx
ingress: what no rule allows is denied
  [0] allow from pods with app=curl in namespace tc-alpha on TCP/http
  [1] allow from 192.0.2.0/24 except 192.0.2.128/25
egress: says nothing
";
    assert_eq!((ran.out.as_str(), ran.code), (wanted, Some(0)), "{}", ran.err);
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
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.json"), policy).unwrap();
    std::fs::write(folder.join("pod.json"), r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":5}}"#)
        .unwrap();
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
        std::fs::write(folder.join(format!("{name}.json")), list).unwrap();
    }
    let ran = isolator(&format!("policy lint -o json -f {}", folder.display()), "");
    let problems: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    let codes: Vec<_> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    for code in ["selects-nothing", "peer-matches-nothing", "named-port-unknown"] {
        assert!(codes.contains(&code), "{code} is not in {codes:?}");
    }
    let deaf: Vec<_> =
        problems.iter().filter(|problem| problem["code"] == "no-dns").map(|one| &one["object"]).collect();
    assert_eq!(deaf, ["NetworkPolicy a/deaf"], "{}", ran.out);
    assert!(problems.iter().any(|problem| problem["severity"] == "error"), "{}", ran.out);
    assert_eq!(ran.code, Some(1));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = isolator(&format!("completion {shell}"), "");
        assert!(ran.out.contains("verdicts") && ran.code == Some(0), "{shell}");
    }
}
