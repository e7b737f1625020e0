//! The agent's metrics, asked for over HTTP inside the node's network: packets that were sent are counted there, and
//! what is not enforced is. Not here: each metric (`isolator_agent::metrics`).

use super::lab::Live;
use isolator_agent::lab::load_record;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

/// Where the lab's agents serve metrics, each in the network of its node.
const METRICS: &str = "127.0.0.1:9964";

fn ask(live: &Live, node: &str, request: &str) -> String {
    let (_, record) = load_record(Some(&live.labs()), Some(live.name())).unwrap();
    let inside = File::open(record.netns(&record.nodes[node])).unwrap();
    let request = request.to_owned();
    // The thread that has moved never comes back.
    let asked = std::thread::spawn(move || {
        move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let mut stream = TcpStream::connect(METRICS).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    asked.join().unwrap()
}

fn get(live: &Live, node: &str) -> String {
    ask(live, node, "GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n")
}

/// The value of a metric with exactly these labels; 0 where it is not there.
fn value(answer: &str, metric: &str) -> u64 {
    let line = answer.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn metrics_count_what_was_dropped_and_what_is_not_enforced() {
    let namespace = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"isolator.dev/tenant": name}}})
    };
    let pod = |namespace: &str, address: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "web"},
            "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "main"}]},
            "status": {"podIP": address}})
    };
    let unknown: Value = json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "x"}, "spec": {}});
    let objects = [namespace("a"), namespace("b"), pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), unknown];
    let Some(live) = Live::up(&objects, &[]) else { return };
    let dropped = "isolator_packets_total{direction=\"egress\",verdict=\"dropped\",reason=\"tenancy\"}";
    let before = get(&live, "n1");
    assert!(before.starts_with("HTTP/1.1 200"), "{before}");
    assert_eq!(
        value(&before, "isolator_problems{severity=\"error\",code=\"unsupported-kind\"}"),
        1,
        "{before}"
    );
    assert_eq!(value(&before, "isolator_objects{kind=\"endpoint\"}"), 2, "{before}");
    assert_eq!(value(&before, "isolator_synced"), 1, "{before}");
    assert_eq!(value(&before, dropped), 0, "{before}");

    let flow = json!({"from": "a/web", "to": "b/web", "protocol": "UDP", "port": 9});
    assert_eq!(live.probe(&[flow], "500ms"), ["timeout"]);
    let after = get(&live, "n1");
    assert!(value(&after, dropped) > 0, "{after}");
    for probe in ["/healthz", "/readyz"] {
        let answer = ask(&live, "n1", &format!("GET {probe} HTTP/1.1\r\nHost: node\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{probe}: {answer}");
    }
    assert!(ask(&live, "n1", "GET / HTTP/1.1\r\nHost: node\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(ask(&live, "n1", "POST /metrics HTTP/1.1\r\nHost: node\r\n\r\n").starts_with("HTTP/1.1 405"));
}
