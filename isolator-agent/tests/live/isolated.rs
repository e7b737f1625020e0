//! Connections that run when one direction of an end is isolated: what both ends may send goes on, what the opener may not
//! send any more stops, whoever sends first. Not here: flips under load (`flips`).

use super::flips::{
    NODE, SERVICES, bare, enforce, isolated, network_policy, nothing_passed, objects, observe, with_services,
};
use super::lab::Live;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The opener may not send any more: by its own rules, by those of the other end.
fn denials() -> [Value; 2] {
    [isolated("friend", "Egress"), isolated("server", "Ingress")]
}

/// What the server says late arrives, what the client says is dropped.
fn stops(live: &Live, server: &mut TcpStream, client: &mut TcpStream, why: &str) {
    let mut heard = [0; 1];
    server.write_all(b"a").unwrap();
    client.read_exact(&mut heard).unwrap();
    client.write_all(b"b").unwrap();
    // It is sent again and again.
    let observer =
        observe(live, NODE, &["--from-pod", "shop/friend", "--protocol", "tcp", "--timeout", "30"]);
    let said = String::from_utf8(observer.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("default deny"), "{why}: {said:?}");
    nothing_passed(server, why);
}

#[test]
fn a_connection_that_waits_goes_on_when_its_endpoint_becomes_isolated() {
    const PORT: u16 = 7000;
    let Some(live) = with_services("nftables", &[PORT]) else { return };
    let service = SocketAddr::new(SERVICES[0][0].parse().unwrap(), 8080);
    let mut waiting =
        [None, Some(service)].map(|through| live.connection("shop/server", "shop/friend", PORT, through));
    // From now on the friend takes nothing in but answers. It has said nothing, and goes on saying nothing.
    enforce(&live, &[NODE], &[isolated("friend", "Ingress")]);
    for (server, client) in &mut waiting {
        server.write_all(b"late answer\n").unwrap();
        let mut heard = [0; 12];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"late answer\n");
    }
}

#[test]
fn a_late_answer_does_not_keep_a_connection_whose_opener_is_denied() {
    let Some(live) = bare() else { return };
    // The first is not closed before the second is judged: its last packets would be taken for the other's.
    let mut ends = Vec::new();
    for (port, policy) in (7000..).zip(denials()) {
        let (mut server, mut client) = live.connection("shop/server", "shop/friend", port, None);
        enforce(&live, &[NODE], std::slice::from_ref(&policy));
        stops(&live, &mut server, &mut client, &policy.to_string());
        let mut heard = [0; 1];
        enforce(&live, &[NODE], &[]);
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"b", "{policy}: goes on where it stopped");
        ends.push((server, client));
    }
}

/// The server's socket has no peer, so no table shows whose flow it is; packets have.
#[test]
fn a_late_answer_does_not_keep_a_flow_whose_opener_is_denied() {
    let Some(live) = bare() else { return };
    let (server, client) = live.datagrams("shop/server", "shop/friend", 7000);
    let mut heard = [0; 8];
    let mut hear = || {
        let (length, from) = server.recv_from(&mut heard).unwrap();
        (String::from_utf8_lossy(&heard[..length]).into_owned(), from)
    };
    client.send(b"ask").unwrap();
    let (_, from) = hear();
    for policy in denials() {
        enforce(&live, &[NODE], std::slice::from_ref(&policy));
        for _ in 0..3 {
            server.send_to(b"late", from).unwrap();
            assert_eq!(client.recv(&mut [0; 8]).unwrap(), 4, "{policy}: the server may send");
            client.send(b"denied").unwrap();
        }
        enforce(&live, &[NODE], &[]);
        client.send(b"again").unwrap();
        assert_eq!(hear().0, "again", "{policy}: what was denied has not passed");
    }
}

/// The server is isolated from the start, with an opening for the friend, and may send where it likes. The opening goes.
#[test]
fn what_a_server_answers_does_not_keep_a_connection_that_it_may_not_take_any_more() {
    let Some(live) = bare() else { return };
    const PORT: u16 = 7000;
    let opening = |app: &str| {
        let ports: Vec<Value> =
            ["TCP", "UDP"].iter().map(|protocol| json!({"protocol": protocol, "port": PORT})).collect();
        let from = json!([{"podSelector": {"matchLabels": {"app": app}}}]);
        let rules = json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": from, "ports": ports}]});
        network_policy("server", rules)
    };
    enforce(&live, &[NODE], &[opening("friend")]);
    let (mut server, mut client) = live.connection("shop/server", "shop/friend", PORT, None);
    let (serves, asks) = live.datagrams("shop/server", "shop/friend", PORT);
    let mut heard = [0; 1];
    let mut asked = [0; 8];
    asks.send(b"ask").unwrap();
    let (_, from) = serves.recv_from(&mut asked).unwrap();
    for _ in 0..3 {
        client.write_all(b"a").unwrap();
        server.read_exact(&mut heard).unwrap();
        server.write_all(b"a").unwrap();
        client.read_exact(&mut heard).unwrap();
        serves.send_to(b"answer", from).unwrap();
        asks.recv(&mut asked).unwrap();
    }
    enforce(&live, &[NODE], &[opening("left")]);
    asks.send(b"denied").unwrap();
    stops(&live, &mut server, &mut client, "the opening is closed");
    enforce(&live, &[NODE], &[opening("friend")]);
    asks.send(b"again").unwrap();
    let length = serves.recv(&mut asked).unwrap();
    assert_eq!(&asked[..length], b"again", "what was denied has not passed");
}

/// The server takes in its friends alone, whatever they send. One of them is a friend no more.
#[test]
fn a_connection_of_a_peer_that_is_relabelled_stops() {
    let Some(live) = bare() else { return };
    let from = json!([{"podSelector": {"matchLabels": {"app": "friend"}}}]);
    let friends = json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": from}]});
    enforce(&live, &[NODE], &[network_policy("server", friends)]);
    let (mut server, mut client) = live.connection("shop/server", "shop/friend", 7000, None);
    let before = live.generation(NODE);
    let mut others = objects();
    let friend = others.iter_mut().find(|object| object["metadata"]["name"] == "friend").unwrap();
    friend["metadata"]["labels"]["app"] = json!("stranger");
    live.put("cluster", &others);
    live.until(NODE, "a change", |status| status["generation"].as_u64().unwrap() > before);
    stops(&live, &mut server, &mut client, "relabelled");
}

/// Connections are there before anybody enforces anything.
#[test]
fn a_connection_that_the_first_policy_denies_stops_when_an_agent_starts() {
    let Some(live) = Live::up(&objects(), &["--no-agents"]) else { return };
    let (mut server, mut client) = live.connection("shop/server", "shop/friend", 7000, None);
    live.put("policy", &[isolated("server", "Ingress")]);
    live.ok(&["lab", "agent", "restart", NODE]);
    live.until(NODE, "the policy", |status| status["synced"] == true);
    stops(&live, &mut server, &mut client, "at the start");
}
