//! Nothing leaks and nothing is lost while policy flips, an agent is killed, and another one starts: a flow that
//! both policies deny never passes, one that both allow is never lost. Not here: verdicts as such.

use super::lab::Live;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Flips unless `ISOLATOR_FLIPS` says otherwise.
const FLIPS: u64 = 1000;
const NODE: &str = "n1";
/// Flows that are tried at the same time.
const PROBES: usize = 16;

fn pod(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({"containerPort": port})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "x", "ports": ports}]}})
}

/// The server admits its friend on 80; one of two others on 81, which differs; nobody else anything.
fn policy(other: &str) -> Value {
    let from = |app: &str, port: u16| json!({"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "server", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
            "ingress": [from("friend", 80), from(other, 81)]}})
}

fn bare() -> Option<Live> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let pods =
        [pod("server", &[80, 81]), pod("friend", &[]), pod("stranger", &[]), pod("left", &[]), namespace];
    Live::up(&pods, &[])
}

fn lab() -> Option<Live> {
    let live = bare()?;
    live.put("policy", &[policy("left")]);
    live.until(NODE, "the policy", |status| status["counts"]["policies"] == 1);
    Some(live)
}

/// Probes until told to stop, while `meanwhile` does something; then both must have been seen often enough. A lost
/// first packet of TCP would come again and hide the loss, so drops of the allowed flow are watched for as well.
fn under_probes(live: &Live, observed: bool, meanwhile: impl FnOnce()) {
    let flow =
        |from: &str, port: u16| json!({"from": from, "to": "shop/server", "protocol": "TCP", "port": port});
    let (allowed, denied) = (flow("shop/friend", 80), flow("shop/stranger", 80));
    let run_dir = live.agent(NODE).display().to_string();
    let watched = ["observe", "--run-dir", &run_dir, "--verdict", "dropped", "--count", "1"];
    let lost = [&watched[..], &["--from-pod", "shop/friend", "--port", "80"]].concat();
    let mut lost = observed.then(|| live.command(&lost).stdout(Stdio::piped()).spawn().unwrap());
    let stop = AtomicBool::new(false);
    let (passed, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let many = vec![allowed.clone(); PROBES];
                let results = live.probe(&many, "10s");
                assert!(
                    results.iter().all(|result| result == "connected"),
                    "an allowed flow was lost: {results:?}"
                );
                passed.fetch_add(PROBES as u64, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let many = vec![denied.clone(); PROBES];
                let results = live.probe(&many, "100ms");
                assert!(
                    results.iter().all(|result| result == "timeout"),
                    "a denied flow passed: {results:?}"
                );
                dropped.fetch_add(PROBES as u64, Ordering::Relaxed);
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
    if let Some(observer) = &mut lost {
        let ended = observer.try_wait().unwrap();
        let _ended_already = observer.kill();
        let mut said = String::new();
        observer.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(ended.is_none(), "a packet of the allowed flow was dropped: {said}");
    }
}

#[test]
fn flipping_between_two_policies_never_leaks_and_never_loses() {
    let Some(live) = lab() else { return };
    let flips: u64 = std::env::var("ISOLATOR_FLIPS").ok().map_or(FLIPS, |number| number.parse().unwrap());
    under_probes(&live, true, || {
        for flip in 0..flips {
            let before = live.generation(NODE);
            live.put("policy", &[policy(if flip % 2 == 0 { "stranger" } else { "left" })]);
            live.until(NODE, "a flip", |status| status["generation"].as_u64().unwrap() > before);
        }
    });
}

#[test]
fn killing_and_restarting_the_agent_never_leaks_and_never_loses() {
    let Some(live) = lab() else { return };
    // The agent serves the observers, so none can watch while it is killed.
    under_probes(&live, false, || {
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
fn a_connection_that_waits_goes_on_when_its_endpoint_becomes_isolated() {
    let Some(live) = bare() else { return };
    let (mut server, mut client) = live.connection("shop/server", "shop/friend", 7000);
    // From now on the friend takes nothing in but answers. It has said nothing, and goes on saying nothing.
    let isolate = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "friend", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "friend"}}, "policyTypes": ["Ingress"]}});
    let before = live.generation(NODE);
    live.put("policy", &[isolate]);
    live.until(NODE, "the isolation", |status| status["generation"].as_u64().unwrap() > before);
    server.write_all(b"late answer\n").unwrap();
    let mut heard = [0; 12];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"late answer\n");
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
