//! E4 on the semantic cases: every case file is built in a lab, and its flows are sent. An allowed flow is answered,
//! by a listener or by a refusal; a denied one never is. Not here: the other engines (`unit_cases`).

use super::lab::Live;
use isolator_tests::cases::{self, Case, Protocol, Wanted};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Mutex;

/// Labs that are built side by side.
const LABS: usize = 3;
/// The type of an echo request, in ICMP and in ICMPv6: the only one that is answered.
const ECHO: [u16; 2] = [8, 128];

/// The flows that can be seen to pass, and whether they must.
fn flows(case: &Case) -> Vec<(Value, bool)> {
    let sendable = case.flows.iter().filter(|flow| match flow.protocol {
        // Few kernels have SCTP.
        Protocol::Sctp => false,
        Protocol::Icmp | Protocol::Icmpv6 => flow.number().is_ok_and(|kind| ECHO.contains(&kind)),
        Protocol::Tcp | Protocol::Udp => true,
    });
    sendable
        .map(|flow| {
            let key = if flow.protocol.has_ports() { "port" } else { "type" };
            let sent = json!({
                "from": flow.from, "to": flow.to, "protocol": flow.protocol.name(), key: flow.number().unwrap()
            });
            (sent, flow.egress == Wanted::Allowed && flow.ingress == Wanted::Allowed)
        })
        .collect()
}

/// What is not as it is written, one line each.
fn mismatches(name: &str, case: &Case) -> Vec<String> {
    let (flows, wanted): (Vec<Value>, Vec<bool>) = flows(case).into_iter().unzip();
    let ends = case.flows.iter().flat_map(|flow| [&flow.from, &flow.to]);
    let inside: BTreeSet<&str> = case.manifests.iter().flat_map(addresses).collect();
    let outside: BTreeSet<&str> = ends
        .map(String::as_str)
        .filter(|end| end.parse::<IpAddr>().is_ok() && !inside.contains(end))
        .collect();
    let outside = outside.into_iter().collect::<Vec<_>>().join(",");
    let mut more = Vec::new();
    if !outside.is_empty() {
        more.extend(["--external", outside.as_str()]);
    }
    let Some(live) = Live::up(&case.manifests, &more) else { return Vec::new() };
    let results = live.probe(&flows, "3s");
    results
        .iter()
        .zip(&wanted)
        .zip(&flows)
        .filter(|((result, wanted), _)| matches!(result.as_str(), "connected" | "refused") != **wanted)
        .map(|((result, wanted), flow)| format!("{name}: {flow}: {result}, must pass: {wanted}"))
        .collect()
}

/// Addresses of a pod or a node.
fn addresses(object: &Value) -> Vec<&str> {
    let status = &object["status"];
    let list = |list: &'static str, key: &'static str| {
        status[list].as_array().into_iter().flatten().filter_map(move |entry| entry[key].as_str())
    };
    status["podIP"]
        .as_str()
        .into_iter()
        .chain(list("podIPs", "ip"))
        .chain(list("addresses", "address"))
        .collect()
}

#[test]
fn real_packets_meet_what_every_case_file_says() {
    let waiting = Mutex::new(cases::all());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(|| {
                loop {
                    let Some((name, case)) = waiting.lock().unwrap().pop() else { return };
                    let found = mismatches(&name, &case.unwrap());
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
