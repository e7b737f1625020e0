//! Services on packets: what a pod sends to a Service address is judged by the real backend, whoever translates it
//! and however, also where the node itself is the backend. Not here: how addresses are translated (`lab::proxy`);
//! changes of policy meanwhile (`flips`).

use super::lab::{Live, skip};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::AsFd;
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
        "spec": {"nodeName": node, "hostNetwork": name.starts_with("host"), "containers": [{"name": "c", "image": "i", "ports": ports}]}})
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

/// The same, also at a port of every node.
fn on_nodes(mut service: Value, port: u16) -> Value {
    service["spec"]["type"] = json!("NodePort");
    service["spec"]["ports"][0]["nodePort"] = json!(port);
    service
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
        pod("a", "host-near", "n1", &[("TCP", 9001), ("TCP", 9002), ("UDP", 5354), ("UDP", 5355)]),
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
        on_nodes(service("a", "near-node", "near", 30, ("TCP", 80, 8080)), 30080),
        on_nodes(service("a", "far-node", "far", 31, ("TCP", 80, 8080)), 30081),
        on_nodes(service("a", "closed-node", "closed", 32, ("TCP", 80, 8080)), 30082),
        on_nodes(service("a", "names-node", "near", 33, ("UDP", 53, 5353)), 30053),
        on_nodes(service("a", "guarded-node", "guarded", 34, ("TCP", 80, 8080)), 30083),
        on_nodes(service("a", "host-node", "host-near", 40, ("TCP", 80, 9001)), 30090),
        on_nodes(service("a", "host-denied", "host-near", 41, ("TCP", 80, 9002)), 30091),
        on_nodes(service("a", "host-names", "host-near", 42, ("UDP", 53, 5354)), 30092),
        on_nodes(service("a", "host-names-denied", "host-near", 43, ("UDP", 53, 5355)), 30093),
    ]);
    let node = |(_, v4, v6): (&str, &str, &str)| json!([{"ipBlock": {"cidr": format!("{v4}/32")}}, {"ipBlock": {"cidr": format!("{v6}/128")}}]);
    let apps = |apps: &[&str]| -> Value {
        apps.iter().map(|app| json!({"podSelector": {"matchLabels": {"app": app}}})).collect()
    };
    objects.push(policy(
        "client",
        "client",
        json!({"policyTypes": ["Ingress", "Egress"], "egress": [
            {"to": apps(&["near", "far"]), "ports": [{"port": 8080}, {"port": 5353, "protocol": "UDP"}]},
            {"to": apps(&["guarded"])},
            {"to": node(NODES[0]), "ports": [{"port": 9001}, {"port": 5354, "protocol": "UDP"}]},
            {"to": node(NODES[1]), "ports": [{"port": 9000}]},
        ]}),
    ));
    objects.push(policy(
        "guarded",
        "guarded",
        json!({"policyTypes": ["Ingress"], "ingress": [{"from": apps(&["client"])}]}),
    ));
    objects
}

/// Where a flow goes: over IPv4 and over IPv6.
#[derive(Clone, Copy, Debug)]
enum To {
    /// The service whose addresses end so.
    Service(u8),
    /// A node.
    Node((&'static str, &'static str, &'static str)),
}

impl To {
    fn addresses(self) -> [String; 2] {
        match self {
            To::Service(last) => [format!("10.96.0.{last}"), format!("fd00:96::{last}")],
            To::Node((_, v4, v6)) => [v4.to_owned(), v6.to_owned()],
        }
    }
}

/// From, to, protocol, port, and whether it must pass.
type Flow = (&'static str, To, &'static str, u16, bool);

const FLOWS: &[Flow] = &[
    ("a/client", To::Service(10), "TCP", 80, true),
    ("a/client", To::Service(11), "TCP", 80, true),
    ("a/client", To::Service(12), "TCP", 80, true),
    ("a/client", To::Service(13), "TCP", 8080, false),
    ("a/client", To::Service(14), "TCP", 8080, false),
    ("a/client", To::Service(15), "TCP", 8080, false),
    ("a/client", To::Service(16), "UDP", 53, true),
    ("a/client", To::Service(17), "UDP", 53, true),
    ("a/client", To::Service(18), "TCP", 80, true),
    // Nobody allows anything to everybody.
    ("a/client", To::Service(99), "TCP", 80, false),
    ("a/open", To::Service(99), "TCP", 80, false),
    ("a/open", To::Service(10), "TCP", 81, false),
    ("a/open", To::Service(10), "TCP", 80, true),
    ("a/open", To::Service(11), "TCP", 80, true),
    ("a/open", To::Service(13), "TCP", 8080, true),
    ("a/open", To::Service(14), "TCP", 8080, true),
    // The backend judges its sender, not the address that the sender has by then.
    ("a/open", To::Service(18), "TCP", 80, false),
    ("a/guarded", To::Service(18), "TCP", 80, true),
    ("red/red", To::Service(20), "TCP", 80, true),
    ("red/red", To::Service(21), "TCP", 80, false),
    ("red/red", To::Service(22), "TCP", 80, false),
    ("red/red", To::Service(10), "TCP", 80, true),
    ("blue/blue", To::Service(21), "TCP", 80, true),
    ("blue/blue", To::Service(22), "TCP", 80, true),
    // In the network of the other node.
    ("a/client", To::Service(19), "TCP", 80, true),
    ("a/open", To::Service(19), "TCP", 80, true),
    ("a/client", To::Service(19), "TCP", 9000, false),
    // Ports of the sender's own node.
    ("a/client", To::Node(NODES[0]), "TCP", 30080, true),
    ("a/client", To::Node(NODES[0]), "TCP", 30081, true),
    ("a/client", To::Node(NODES[0]), "TCP", 30082, false),
    ("a/client", To::Node(NODES[0]), "UDP", 30053, true),
    ("a/client", To::Node(NODES[0]), "TCP", 30083, true),
    ("a/open", To::Node(NODES[0]), "TCP", 30082, true),
    ("a/open", To::Node(NODES[0]), "TCP", 30083, false),
    ("red/red", To::Node(NODES[0]), "TCP", 30080, true),
    // Translated there, judged here as that node.
    ("a/client", To::Node(NODES[1]), "TCP", 30081, false),
    ("a/open", To::Node(NODES[1]), "TCP", 30081, true),
];

/// Flows to backends in the network of the sender's own node.
const TO_OWN_NODE: &[Flow] = &[
    ("a/client", To::Service(40), "TCP", 80, true),
    ("a/client", To::Service(41), "TCP", 80, false),
    ("a/client", To::Service(42), "UDP", 53, true),
    ("a/client", To::Service(43), "UDP", 53, false),
    ("a/client", To::Node(NODES[0]), "TCP", 30090, true),
    ("a/client", To::Node(NODES[0]), "TCP", 30091, false),
    ("a/client", To::Node(NODES[0]), "UDP", 30092, true),
    ("a/client", To::Node(NODES[0]), "UDP", 30093, false),
    ("a/open", To::Service(41), "TCP", 80, true),
    ("a/open", To::Service(43), "UDP", 53, true),
    // Nobody translates it, and somebody listens there.
    ("a/client", To::Node(NODES[0]), "TCP", 9001, true),
    ("a/client", To::Node(NODES[0]), "TCP", 9002, false),
];

fn flow(from: &str, to: &str, protocol: &str, port: u16) -> Value {
    json!({"from": from, "to": to, "protocol": protocol, "port": port})
}

/// Sends all of `flows`, over both families.
fn try_all(live: &Live, flows: &[Flow]) {
    let (mut sent, mut wanted) = (Vec::new(), Vec::new());
    for (from, to, protocol, port, pass) in flows {
        for to in to.addresses() {
            sent.push(flow(from, &to, protocol, *port));
            wanted.push(*pass);
        }
    }
    let results = live.probe(&sent, "5s");
    let wrong: Vec<String> = results
        .iter()
        .zip(&wanted)
        .zip(&sent)
        .filter(|((result, wanted), _)| (*result == "connected") != **wanted)
        .map(|((result, wanted), flow)| format!("{flow}: {result}, must pass: {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Builds the cluster with this proxy and sends everything.
fn all(proxy: &str, more: &[&str]) {
    let Some(live) = up(&cluster(), proxy, more) else { return };
    try_all(&live, FLOWS);
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

/// The same to the sender's own node.
fn to_own_node(proxy: &str, more: &[&str]) {
    let Some(live) = up(&cluster(), proxy, more) else { return };
    if let Err(why) = live.record().cgroups {
        return skip(&format!("nodes of a lab have no cgroups here: {why}"));
    }
    try_all(&live, TO_OWN_NODE);
    for port in ["9002", "5355"] {
        let drop = dropped(&live, &["--from-pod", "a/client", "--port", port]);
        assert_eq!(
            (&drop["reason"], &drop["direction"]),
            (&json!("default-deny"), &json!("egress")),
            "{drop}"
        );
    }
}

/// A drop on the first node.
fn dropped(live: &Live, which: &[&str]) -> Value {
    let run_dir = live.agent("n1").display().to_string();
    let words = ["observe", "-o", "json", "--run-dir", &run_dir, "--history", "--count", "1"];
    let said = live.ok(&[&words[..], &["--timeout", "20", "--verdict", "dropped"], which].concat());
    serde_json::from_str::<Value>(said.lines().next().unwrap()).unwrap()["flow"].clone()
}

/// A lab with this proxy, unless the machine has not what it takes.
pub(super) fn up(objects: &[Value], proxy: &str, more: &[&str]) -> Option<Live> {
    let program = if proxy == "nftables" { "nft" } else { "iptables-restore" };
    let found =
        Command::new(program).env("PATH", super::lab::path()).arg("--version").stdout(Stdio::null()).status();
    if let Err(error) = found {
        skip(&format!("{program}: {error}; cargo xtask test fetches it"));
        return None;
    }
    let mut arguments = vec!["--kube-proxy", proxy];
    arguments.extend(more);
    Live::up(objects, &arguments)
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

#[test]
fn the_node_itself_is_a_backend_behind_nftables() {
    to_own_node("nftables", &[]);
}

#[test]
fn the_node_itself_is_a_backend_behind_iptables_on_bridges() {
    to_own_node("iptables", &["--network", "bridged", "--masquerade-all"]);
}

#[test]
fn bits_of_marks_that_somebody_else_routes_by_are_named() {
    let Some(live) = Live::up(&cluster(), &[]) else { return };
    let taken = |status: &Value| status["problems"].to_string().contains("marks-taken");
    assert!(!taken(&live.status("n1")), "{}", live.status("n1"));
    let record = live.record();
    let netns = File::open(record.netns(&record.nodes["n1"])).unwrap();
    let added = std::thread::spawn(move || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            handle.rule().add().v6().priority(100).fw_mark(0x0300_0000).execute().await.unwrap();
        });
    });
    added.join().unwrap();
    let status = live.until("n1", "the warning", taken);
    assert!(status["problems"].to_string().contains("0x3000000/0xffffffff"), "{status:#}");
}
