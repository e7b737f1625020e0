//! Nothing leaks and nothing is lost while policy flips, an agent is killed, and another one starts: a flow that
//! both policies deny never passes, one that both allow is never lost, also where a service is between them. Not
//! here: verdicts as such.

use super::lab::Live;
use super::services;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Flips unless `ISOLATOR_FLIPS` says otherwise.
const FLIPS: u64 = 1000;
pub(super) const NODE: &str = "n1";
/// The other node, in labs that have two.
const OTHER: &str = "n2";
/// Flows that are tried at the same time.
const PROBES: usize = 16;

/// A pod; `app` is what policies call it, and what services do is its name.
fn pod(name: &str, app: &str, node: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({"containerPort": port})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app, "name": name}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x", "ports": ports}]}})
}

pub(super) fn network_policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

/// Servers admit their friend, and a captive, on 80; one of two others on 81, which differs; nobody else anything.
fn policy(other: &str) -> Value {
    let from = |app: &str, port: u16| json!({"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]});
    network_policy(
        "server",
        json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
            "ingress": [from("friend", 80), from("captive", 80), from(other, 81)]}),
    )
}

/// The friend may go to servers on 80, the captive to one of two others on 80, which differs, and to servers on 81.
fn leaving(other: &str) -> [Value; 2] {
    let to = |app: &str, port: u16| json!({"to": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]});
    let of = |app: &str, rules: [Value; 2]| {
        network_policy(
            app,
            json!({"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Egress"], "egress": rules}),
        )
    };
    [of("friend", [to("server", 80), to(other, 81)]), of("captive", [to(other, 80), to("server", 81)])]
}

pub(super) fn objects() -> Vec<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let client = |name: &str| pod(name, name, NODE, &[]);
    let server = pod("server", "server", NODE, &[80, 81]);
    vec![server, client("friend"), client("stranger"), client("left"), namespace]
}

pub(super) fn bare() -> Option<Live> {
    Live::up(&objects(), &[])
}

fn lab() -> Option<Live> {
    let live = bare()?;
    live.put("policy", &[policy("left")]);
    live.until(NODE, "the policy", |status| status["counts"]["policies"] == 1);
    Some(live)
}

/// Services of a server on this node and of one on the other: their addresses over both families, and port 8080.
pub(super) const SERVICES: [[&str; 2]; 2] = [["10.96.0.1", "fd00:96::1"], ["10.96.0.2", "fd00:96::2"]];
const SERVED: [&str; 2] = ["server", "distant"];

/// The same with a second node and services, without any policy; `ports` are those of the servers behind 8080 and up.
pub(super) fn with_services(proxy: &str, ports: &[u16]) -> Option<Live> {
    let mut objects = objects();
    objects.extend([pod("distant", "server", OTHER, &[80, 81]), pod("captive", "captive", NODE, &[])]);
    for (name, addresses) in SERVED.iter().zip(SERVICES) {
        let ports: Vec<Value> = ports
            .iter()
            .zip(8080..)
            .map(|(target, port)| json!({"name": format!("p{port}"), "port": port, "targetPort": target}))
            .collect();
        objects.push(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": addresses[0], "clusterIPs": addresses, "selector": {"name": name}, "ports": ports}}));
    }
    services::up(&objects, proxy, &[])
}

/// Flows of one kind, as probes take them.
fn flows(from: &str, to: &[&str], port: u16) -> Vec<Value> {
    to.iter().map(|to| json!({"from": from, "to": to, "protocol": "TCP", "port": port})).collect()
}

/// Puts a file and waits until each of these nodes enforces it.
pub(super) fn enforce(live: &Live, nodes: &[&str], policies: &[Value]) {
    let before: Vec<u64> = nodes.iter().map(|node| live.generation(node)).collect();
    live.put("policy", policies);
    for (node, before) in nodes.iter().zip(before) {
        live.until(node, "a change", |status| status["generation"].as_u64().unwrap() > before);
    }
}

/// Probes until told to stop, while `meanwhile` does something; then both must have been seen often enough. A lost
/// first packet of TCP would come again and hide the loss, so drops of what the friend sends are watched for as well,
/// on the nodes of `observed`.
fn under_probes(
    live: &Live,
    observed: &[&str],
    allowed: &[Value],
    denied: &[Value],
    meanwhile: impl FnOnce(),
) {
    let repeated = |flows: &[Value]| -> Vec<Value> {
        flows.iter().cycle().take(PROBES.max(flows.len())).cloned().collect()
    };
    let (allowed, denied) = (repeated(allowed), repeated(denied));
    let mut lost: Vec<Child> =
        observed.iter().map(|node| observe(live, node, &["--from-pod", "shop/friend"])).collect();
    let stop = AtomicBool::new(false);
    let (passed, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let results = live.probe(&allowed, "10s");
                assert!(
                    results.iter().all(|result| result == "connected"),
                    "an allowed flow was lost: {results:?}"
                );
                passed.fetch_add(results.len() as u64, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let results = live.probe(&denied, "100ms");
                assert!(
                    results.iter().all(|result| result == "timeout"),
                    "a denied flow passed: {results:?}"
                );
                dropped.fetch_add(results.len() as u64, Ordering::Relaxed);
            }
        });
        // A probe that fails ends its thread by a panic, and the scope with it; but only once this returns.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    let (passed, dropped) = (passed.into_inner(), dropped.into_inner());
    eprintln!("{passed} allowed flows all connected, {dropped} denied flows all timed out");
    assert!(passed > 0 && dropped > 0, "no probe was sent meanwhile");
    for observer in &mut lost {
        let ended = observer.try_wait().unwrap();
        let _ended_already = observer.kill();
        let mut said = String::new();
        observer.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(ended.is_none(), "a packet of the allowed flow was dropped: {said}");
    }
}

/// The pod lets nothing in, or nothing out, but answers.
pub(super) fn isolated(app: &str, way: &str) -> Value {
    network_policy(app, json!({"podSelector": {"matchLabels": {"app": app}}, "policyTypes": [way]}))
}

/// Nothing has arrived at this end.
pub(super) fn nothing_passed(end: &mut TcpStream, why: &str) {
    end.set_nonblocking(true).unwrap();
    let passed = end.read(&mut [0; 1]);
    assert!(
        passed.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{why}: what is denied has passed: {passed:?}"
    );
    end.set_nonblocking(false).unwrap();
}

/// Waits on a node for a packet that is dropped.
pub(super) fn observe(live: &Live, node: &str, which: &[&str]) -> Child {
    let run_dir = live.agent(node).display().to_string();
    let words = ["observe", "--run-dir", &run_dir, "--verdict", "dropped", "--count", "1"];
    live.command(&[&words[..], which].concat()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Does `flip` as often as wanted, with what is to be put each time.
fn flip(mut flip: impl FnMut(&str)) {
    let flips: u64 = std::env::var("ISOLATOR_FLIPS").ok().map_or(FLIPS, |number| number.parse().unwrap());
    for number in 0..flips {
        flip(if number % 2 == 0 { "stranger" } else { "left" });
    }
}

#[test]
fn flipping_between_two_policies_never_leaks_and_never_loses() {
    let Some(live) = lab() else { return };
    let allowed = flows("shop/friend", &["shop/server"], 80);
    let denied = flows("shop/stranger", &["shop/server"], 80);
    under_probes(&live, &[NODE], &allowed, &denied, || {
        flip(|other| enforce(&live, &[NODE], &[policy(other)]));
    });
}

/// Both judgements of what goes through a service flip: the sender's rules, and those of backends here and elsewhere.
#[test]
fn flipping_under_services_never_leaks_and_never_loses() {
    let Some(live) = with_services("nftables", &[80]) else { return };
    let both = |other: &str| [&leaving(other)[..], &[policy(other)]].concat();
    let nodes = [NODE, OTHER];
    enforce(&live, &nodes, &both("left"));
    let to = SERVICES.concat();
    let allowed = flows("shop/friend", &to, 8080);
    // The stranger is not admitted, the captive may not leave.
    let denied = [flows("shop/stranger", &to, 8080), flows("shop/captive", &to, 8080)].concat();
    under_probes(&live, &nodes, &allowed, &denied, || flip(|other| enforce(&live, &nodes, &both(other))));
}

/// A connection through a service stops when policy stops to allow it, at whichever end, and goes on when it allows it
/// again.
#[test]
fn connections_through_services_are_judged_again() {
    const PORT: u16 = 7000;
    let Some(live) = with_services("nftables", &[PORT]) else { return };
    // None is closed before all are judged: its last packets would be taken for another's.
    let mut open = Vec::new();
    for (server, addresses) in SERVED.iter().zip(SERVICES) {
        let through = SocketAddr::new(addresses[0].parse().unwrap(), 8080);
        let (mut there, mut here) =
            live.connection(&format!("shop/{server}"), "shop/friend", PORT, Some(through));
        let mut heard = [0; 1];
        for (number, policies) in
            [[isolated("friend", "Egress")], [isolated("server", "Ingress")]].iter().enumerate()
        {
            // Whatever this connection has sent before has been answered: what is dropped from now on is new.
            here.write_all(b"a").unwrap();
            there.read_exact(&mut heard).unwrap();
            let (judge, changed): (_, &[&str]) = match number {
                0 => (NODE, &[NODE]),
                _ => (if *server == SERVED[0] { NODE } else { OTHER }, &[NODE, OTHER]),
            };
            let mut observer = observe(&live, judge, &["--from-pod", "shop/friend", "--timeout", "30"]);
            enforce(&live, changed, policies);
            here.write_all(b"b").unwrap();
            let mut said = String::new();
            observer.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            observer.wait().unwrap();
            assert!(
                said.contains(&format!(":{PORT} ")) && said.contains("default deny"),
                "{server}, {policies:?}: {said:?}"
            );
            nothing_passed(&mut there, server);
            enforce(&live, changed, &[]);
            there.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"b", "{server}: goes on where it stopped");
        }
        open.push((there, here));
    }
}

#[test]
fn killing_and_restarting_the_agent_never_leaks_and_never_loses() {
    let Some(live) = lab() else { return };
    // The agent serves the observers, so none can watch while it is killed.
    let allowed = flows("shop/friend", &["shop/server"], 80);
    let denied = flows("shop/stranger", &["shop/server"], 80);
    under_probes(&live, &[], &allowed, &denied, || {
        for _ in 0..3 {
            let pid = live.status(NODE)["process"]["pid"].clone();
            let generation = live.generation(NODE);
            live.ok(&["lab", "agent", "kill", NODE]);
            live.ok(&["lab", "agent", "restart", NODE]);
            let status = live.until(NODE, "a restart", |status| {
                status["process"]["pid"] != pid && status["synced"] == true
            });
            assert_eq!(
                status["generation"], generation,
                "a restart that finds everything right writes nothing"
            );
        }
    });
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_says_so() {
    let Some(live) = lab() else { return };
    let mut broken = policy("left");
    broken["spec"]["ingress"][0]["ports"][0]["port"] = json!(70_000);
    live.put("policy", &[broken]);
    let status = live.until(NODE, "the problem", |status| !status["problems"].as_array().unwrap().is_empty());
    let problem = status["problems"][0].to_string();
    for part in ["policy.json", "shop/server", "port"] {
        assert!(problem.contains(part), "{problem} should name {part}");
    }
    let flow = |from: &str| json!({"from": from, "to": "shop/server", "protocol": "TCP", "port": 80});
    assert_eq!(live.probe(&[flow("shop/friend"), flow("shop/stranger")], "5s"), ["connected", "timeout"]);
    // A restart does not forget it.
    let pid = live.status(NODE)["process"]["pid"].clone();
    live.ok(&["lab", "agent", "kill", NODE]);
    live.ok(&["lab", "agent", "restart", NODE]);
    let again = |status: &Value| status["process"]["pid"] != pid && status["synced"] == true;
    let status = live.until(NODE, "a restart", again);
    assert!(status["problems"].to_string().contains("policy.json"), "still said: {status:#}");
    assert_eq!(live.probe(&[flow("shop/friend"), flow("shop/stranger")], "5s"), ["connected", "timeout"]);
    live.put("policy", &[policy("left")]);
    live.until(NODE, "the repair", |status| status["problems"].as_array().unwrap().is_empty());
}

#[test]
fn a_sandbox_that_cannot_be_found_any_more_is_no_reason_to_let_go() {
    let Some(live) = lab() else { return };
    let labs = live.agent(NODE).parent().unwrap().parent().unwrap().to_owned();
    std::fs::remove_file(labs.join("sandboxes").join(NODE).join("shop_server")).unwrap();
    live.until(NODE, "the warning", |status| status["problems"].to_string().contains("sandbox-lost"));
    let flow = |from: &str| json!({"from": from, "to": "shop/server", "protocol": "TCP", "port": 80});
    let flows = [flow("shop/friend"), flow("shop/stranger")];
    assert_eq!(live.probe(&flows, "5s"), ["connected", "timeout"]);
    // Nor is a restart, after which nothing tells whose interface it is: it drops everything.
    let pid = live.status(NODE)["process"]["pid"].clone();
    live.ok(&["lab", "agent", "kill", NODE]);
    // The lab waits in vain for its pod to be found; we do not wait for the lab.
    let mut restart = live.command(&["lab", "agent", "restart", NODE]).spawn().unwrap();
    live.until(NODE, "a restart", |status| status["process"]["pid"] != pid && status["synced"] == true);
    restart.kill().unwrap();
    restart.wait().unwrap();
    assert_eq!(live.probe(&flows, "5s"), ["timeout", "timeout"]);
    // That is said: which interface, since when.
    let status = live.status(NODE);
    let [cut_off] = status["cut_off"].as_array().unwrap().as_slice() else { panic!("{status}") };
    let name = cut_off["interface"].as_str().unwrap();
    let problem = status["problems"].as_array().unwrap().iter().find(|problem| problem["code"] == "cut-off");
    let message = problem.unwrap()["message"].as_str().unwrap();
    assert!(message.contains(name) && message.contains("is dropped since 20"), "{message}");
    assert!(cut_off["since_ms"].as_u64() >= status["started_ms"].as_u64(), "{status}");
}
