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
            "run --manifests FILES --service-mark 0x0000ff00",
            "error: --service-mark 0x0000ff00: kube-proxy uses 0x0000c000 (to masquerade and to drop); give other bits\n",
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
    let wanted = "NAMESPACE   NAME   STATE      PODS   INGRESS             EGRESS\ntc-alpha    web    enforced   1      isolated, 2 rules   -\n";
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
state    enforced
tier     normal, priority 0
selects  pods with app=nginx in namespace tc-alpha: tc-alpha/nginx
ingress: what no rule allows is denied
  ingress[0] allow from pods with app=curl in namespace tc-alpha on TCP/http
  ingress[1] allow from 192.0.2.0/24 except 192.0.2.128/25
egress: says nothing
";
    assert_eq!((ran.out.as_str(), ran.code), (wanted, Some(0)), "{}", ran.err);
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = isolator(&format!("completion {shell}"), "");
        assert!(ran.out.contains("verdicts") && ran.code == Some(0), "{shell}");
    }
}

#[test]
fn a_full_disk_under_standard_error_ends_nothing() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut lint = Command::new(env!("CARGO_BIN_EXE_isolator"));
    lint.args(["policy", "lint", "-f", "/nonexistent/folder"]).stderr(full());
    assert_eq!(lint.output().unwrap().status.code(), Some(2));
    // Nor is an answer lost silently.
    let mut answer = Command::new(env!("CARGO_BIN_EXE_isolator"));
    let said = answer.args(["completion", "bash"]).stdout(full()).output().unwrap();
    let error = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(2), "{error}");
    assert!(error.contains("standard output takes nothing more: No space left"), "{error}");
    // The supervisor of a lab logs why it ends, and says it to the one who waits all the same.
    let wanted = serde_json::json!({
        "root": "/proc/nonexistent", "name": "full", "manifests": "/", "nodes": 1, "external": [],
        "network": "routed", "agents": false, "proxy": {"kind": "none", "masquerade": false, "mark": 0}, "limit": {"secs": 1, "nanos": 0}
    });
    let mut supervisor = Command::new(env!("CARGO_BIN_EXE_isolator"))
        .args(["lab", "supervise"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(full())
        .spawn()
        .unwrap();
    serde_json::to_writer(supervisor.stdin.take().unwrap(), &wanted).unwrap();
    let output = supervisor.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Failed") && output.status.code() == Some(2), "{said:?} {:?}", output.status);
}

#[test]
fn a_flow_to_a_service_is_refused_with_the_backends_to_ask_about() {
    let manifests = r#"
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "client"},
 "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "c"}]}, "status": {"podIP": "10.0.0.1"}}
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
 "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}}
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"},
 "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.3"}]}}
{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web"},
 "spec": {"type": "NodePort", "clusterIP": "10.96.0.7",
  "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]}}
{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
 "metadata": {"namespace": "a", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
 "endpoints": [{"addresses": ["10.0.0.5"]}, {"addresses": ["10.0.0.6"], "conditions": {"ready": false}}],
 "ports": [{"name": "http", "port": 8080}]}
"#;
    let file = std::env::temp_dir().join(format!("isolator-cli-service-{}.json", std::process::id()));
    std::fs::write(&file, manifests).unwrap();
    let verdict = |to: &str, port: u16| {
        let flow = format!(r#"{{"from":"a/client","to":"{to}","protocol":"TCP","port":{port}}}"#);
        isolator(&format!("policy verdicts -f {} --flows - -o json", file.display()), &flow)
    };
    let service = verdict("10.96.0.7", 80);
    let wanted = "10.96.0.7 is a service's address, whose backend decides: ask about 10.0.0.5 at TCP/8080";
    assert_eq!(
        (service.out.as_str(), service.code),
        (format!("{{\"error\":\"{wanted}\"}}\n").as_str(), Some(2))
    );
    // A port of the pod's own node is the service's, that of another node is that node's.
    let own = verdict("node:n1", 30080);
    assert!(own.code == Some(2) && own.out.contains("ask about 10.0.0.5 at TCP/8080"), "{own:?}");
    let other = verdict("node:n2", 30080);
    assert!(other.code == Some(0) && other.out.contains("allowed"), "{other:?}");
    let nobody = verdict("10.96.0.7", 81);
    assert!(nobody.out.contains("no ready backend is behind TCP/81"), "{nobody:?}");
    let backend = verdict("10.0.0.5", 8080);
    assert!(backend.code == Some(0) && backend.out.contains("allowed"), "{backend:?}");
    std::fs::remove_file(file).unwrap();
}
