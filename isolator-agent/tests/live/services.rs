//! Services on packets: what a pod sends to a Service address is judged by the real backend, whoever translates it
//! and however. Backends on the sender's own node's network are denied here, because a lab leaves the machine's
//! cgroups alone. Not here: how addresses are translated (`lab::proxy`).

use super::lab::Live;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const NODES: [(&str, &str, &str); 2] =
    [("n1", "172.30.0.21", "fd00:172:30::21"), ("n2", "172.30.0.22", "fd00:172:30::22")];

fn namespace(name: &str, tenant: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"isolator.dev/tenant": tenant}}})
}

fn pod(namespace: &str, name: &str, node: &str, ports: &[(&str, u16)]) -> Value {
    let ports: Vec<Value> =
        ports.iter().map(|(protocol, port)| json!({"containerPort": port, "protocol": protocol})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": node, "hostNetwork": name == "host", "containers": [{"name": "c", "image": "i", "ports": ports}]}})
}

/// A service of the pod of the same name, at 10.96.0.`last` and fd00:96::`last`.
fn service(
    namespace: &str,
    name: &str,
    pod: &str,
    last: u8,
    (protocol, port, target): (&str, u16, u16),
) -> Value {
    let addresses = [format!("10.96.0.{last}"), format!("fd00:96::{last}")];
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": addresses[0], "clusterIPs": addresses, "selector": {"app": pod},
            "ports": [{"protocol": protocol, "port": port, "targetPort": target}]}})
}

fn policy(name: &str, selected: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["podSelector"] = json!({"matchLabels": {"app": selected}});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "a"}, "spec": spec})
}

fn cluster() -> Vec<Value> {
    let mut objects = vec![namespace("a", ""), namespace("red", "red"), namespace("blue", "blue")];
    for (name, v4, v6) in NODES {
        objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"addresses": [
                {"type": "InternalIP", "address": v4}, {"type": "InternalIP", "address": v6}]}}));
    }
    objects.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]}}));
    let web = [("TCP", 8080), ("TCP", 9090), ("UDP", 5353)];
    objects.extend([
        pod("a", "client", "n1", &[("TCP", 7000)]),
        pod("a", "open", "n1", &[]),
        pod("a", "near", "n1", &web),
        pod("a", "far", "n2", &web),
        pod("a", "closed", "n1", &web),
        pod("a", "closed-far", "n2", &web),
        pod("a", "guarded", "n1", &web),
        pod("a", "host", "n2", &[("TCP", 9000)]),
        pod("red", "red", "n1", &web),
        pod("blue", "blue", "n1", &web),
        pod("blue", "blue-far", "n2", &web),
    ]);
    objects.extend([
        service("a", "near", "near", 10, ("TCP", 80, 8080)),
        service("a", "far", "far", 11, ("TCP", 80, 8080)),
        service("a", "self", "client", 12, ("TCP", 80, 7000)),
        // The port that is sent to is allowed, the one that is meant is not.
        service("a", "other-port", "near", 13, ("TCP", 8080, 9090)),
        service("a", "closed", "closed", 14, ("TCP", 8080, 8080)),
        service("a", "closed-far", "closed-far", 15, ("TCP", 8080, 8080)),
        service("a", "names", "near", 16, ("UDP", 53, 5353)),
        service("a", "names-far", "far", 17, ("UDP", 53, 5353)),
        service("a", "guarded", "guarded", 18, ("TCP", 80, 8080)),
        service("a", "host", "host", 19, ("TCP", 80, 9000)),
        service("red", "red", "red", 20, ("TCP", 80, 8080)),
        service("blue", "blue", "blue", 21, ("TCP", 80, 8080)),
        service("blue", "blue-far", "blue-far", 22, ("TCP", 80, 8080)),
    ]);
    let apps = |apps: &[&str]| -> Value {
        apps.iter().map(|app| json!({"podSelector": {"matchLabels": {"app": app}}})).collect()
    };
    objects.push(policy(
        "client",
        "client",
        json!({"policyTypes": ["Ingress", "Egress"], "egress": [
            {"to": apps(&["near", "far"]), "ports": [{"port": 8080}, {"port": 5353, "protocol": "UDP"}]},
            {"to": apps(&["guarded"])},
            {"to": [{"ipBlock": {"cidr": "172.30.0.22/32"}}], "ports": [{"port": 9000}]},
        ]}),
    ));
    objects.push(policy(
        "guarded",
        "guarded",
        json!({"policyTypes": ["Ingress"], "ingress": [{"from": apps(&["client"])}]}),
    ));
    objects
}

/// From, last byte of the service's address, protocol, port, and whether it must pass.
const FLOWS: &[(&str, u8, &str, u16, bool)] = &[
    ("a/client", 10, "TCP", 80, true),
    ("a/client", 11, "TCP", 80, true),
    ("a/client", 12, "TCP", 80, true),
    ("a/client", 13, "TCP", 8080, false),
    ("a/client", 14, "TCP", 8080, false),
    ("a/client", 15, "TCP", 8080, false),
    ("a/client", 16, "UDP", 53, true),
    ("a/client", 17, "UDP", 53, true),
    ("a/client", 18, "TCP", 80, true),
    // Nobody allows anything to everybody.
    ("a/client", 99, "TCP", 80, false),
    ("a/open", 99, "TCP", 80, false),
    ("a/open", 10, "TCP", 81, false),
    ("a/open", 10, "TCP", 80, true),
    ("a/open", 11, "TCP", 80, true),
    ("a/open", 13, "TCP", 8080, true),
    ("a/open", 14, "TCP", 8080, true),
    // The backend judges its sender, not the address that the sender has by then.
    ("a/open", 18, "TCP", 80, false),
    ("a/guarded", 18, "TCP", 80, true),
    ("red/red", 20, "TCP", 80, true),
    ("red/red", 21, "TCP", 80, false),
    ("red/red", 22, "TCP", 80, false),
    ("red/red", 10, "TCP", 80, true),
    ("blue/blue", 21, "TCP", 80, true),
    ("blue/blue", 22, "TCP", 80, true),
];

/// The flows to the backend in the network of the other node.
const TO_HOST: &[(&str, u8, &str, u16, bool)] = &[
    ("a/client", 19, "TCP", 80, true),
    ("a/open", 19, "TCP", 80, true),
    ("a/client", 19, "TCP", 9000, false),
];

fn flow(from: &str, to: &str, protocol: &str, port: u16) -> Value {
    json!({"from": from, "to": to, "protocol": protocol, "port": port})
}

/// Builds the cluster with this proxy and sends everything.
fn all(proxy: &str, more: &[&str]) {
    let Some(live) = up(proxy, more) else { return };
    let (mut flows, mut wanted) = (Vec::new(), Vec::new());
    for (from, last, protocol, port, pass) in FLOWS {
        for to in [format!("10.96.0.{last}"), format!("fd00:96::{last}")] {
            flows.push(flow(from, &to, protocol, *port));
            wanted.push(*pass);
        }
    }
    for (from, last, protocol, port, pass) in TO_HOST {
        flows.push(flow(from, &format!("10.96.0.{last}"), protocol, *port));
        wanted.push(*pass);
    }
    let results = live.probe(&flows, "5s");
    let wrong: Vec<String> = results
        .iter()
        .zip(&wanted)
        .zip(&flows)
        .filter(|((result, wanted), _)| (*result == "connected") != **wanted)
        .map(|((result, wanted), flow)| format!("{flow}: {result}, must pass: {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{proxy} {more:?}\n{}", wrong.join("\n"));
    // The backend and its port are named, and the rule that denies them.
    let drop = dropped(&live, &["--from-pod", "a/client", "--to-pod", "a/closed", "--port", "8080"]);
    assert_eq!(
        (&drop["by"], &drop["reason"], &drop["direction"]),
        (
            &json!("default deny of egress by NetworkPolicy a/client"),
            &json!("default-deny"),
            &json!("egress")
        )
    );
    let drop = dropped(&live, &["--from-pod", "a/client", "--to-pod", "a/near", "--port", "9090"]);
    assert_eq!(drop["reason"], "default-deny", "{drop}");
    let drop = dropped(&live, &["--from-pod", "a/open", "--port", "80"]);
    assert_eq!(drop["reason"], "no-service", "{drop}");
}

/// A drop on the first node.
fn dropped(live: &Live, which: &[&str]) -> Value {
    let run_dir = live.agent("n1").display().to_string();
    let words = ["observe", "-o", "json", "--run-dir", &run_dir, "--history", "--count", "1"];
    let said = live.ok(&[&words[..], &["--timeout", "20", "--verdict", "dropped"], which].concat());
    serde_json::from_str::<Value>(said.lines().next().unwrap()).unwrap()["flow"].clone()
}

fn up(proxy: &str, more: &[&str]) -> Option<Live> {
    let program = if proxy == "nftables" { "nft" } else { "iptables-restore" };
    let found =
        Command::new(program).env("PATH", super::lab::path()).arg("--version").stdout(Stdio::null()).status();
    if let Err(error) = found {
        eprintln!("skipped: {program}: {error}; cargo xtask test fetches it");
        return None;
    }
    let mut arguments = vec!["--kube-proxy", proxy];
    arguments.extend(more);
    Live::up(&cluster(), &arguments)
}

#[test]
fn backends_decide_behind_nftables() {
    all("nftables", &[]);
}

#[test]
fn backends_decide_behind_nftables_on_bridges() {
    all("nftables", &["--network", "bridged"]);
}

#[test]
fn senders_are_known_behind_the_address_of_their_node() {
    all("nftables", &["--masquerade-all"]);
}

#[test]
fn backends_decide_behind_iptables() {
    all("iptables", &[]);
}
