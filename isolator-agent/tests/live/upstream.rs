//! E4: real packets between network namespaces, on clusters that upstream's own code has judged. An allowed flow
//! is answered, by a listener or by a refusal; a denied one never is. Not here: the other engines (the crate
//! `isolator-tests`).

use super::lab::Live;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NETWORK_POLICIES: &[u8] = include_bytes!("../../../tests/data/clusters-netpol.json.gz");
const CILIUM_POLICIES: &[u8] = include_bytes!("../../../tests/data/clusters-cnp.json.gz");
/// Clusters of each kind that are built unless `ISOLATOR_E4_CLUSTERS` says otherwise: each takes some seconds.
const CLUSTERS: usize = 6;

/// A node's addresses, by address.
fn nodes(manifests: &[Value]) -> BTreeMap<String, String> {
    let nodes = manifests.iter().filter(|object| object["kind"] == "Node");
    let named = nodes.flat_map(|node| {
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        let addresses = node["status"]["addresses"].as_array().unwrap();
        addresses.iter().map(move |entry| (entry["address"].as_str().unwrap().to_owned(), name.clone()))
    });
    named.collect()
}

/// Builds one cluster and sends every flow that this kernel has a protocol for. Returns how many.
fn replay(case: &Value) -> usize {
    let manifests = case["manifests"].as_array().unwrap();
    let nodes = nodes(manifests);
    let mut outside = BTreeSet::new();
    let mut end = |text: &str| match text.strip_prefix("ip:") {
        None => text.to_owned(),
        Some(address) => match nodes.get(address) {
            Some(node) => format!("node:{node}"),
            None => {
                outside.insert(address.to_owned());
                address.to_owned()
            }
        },
    };
    let mut flows = Vec::new();
    let mut wanted = Vec::new();
    for flow in case["flows"].as_array().unwrap() {
        // Few kernels have SCTP; its verdicts are the other engines' matter.
        if flow[2] != "SCTP" {
            let (from, to) = (end(flow[0].as_str().unwrap()), end(flow[1].as_str().unwrap()));
            let number = if flow[2] == "ICMP" { "type" } else { "port" };
            flows.push(json!({"from": from, "to": to, "protocol": flow[2], number: flow[3]}));
            wanted.push(flow[4] == 1 && flow[5] == 1);
        }
    }
    let outside = outside.into_iter().collect::<Vec<_>>().join(",");
    let mut more = Vec::new();
    if !outside.is_empty() {
        more.extend(["--external", outside.as_str()]);
    }
    let Some(live) = Live::up(manifests, &more) else { return 0 };
    let results = live.probe(&flows, "3s");
    let wrong: Vec<String> = results
        .iter()
        .zip(&wanted)
        .zip(&flows)
        .filter(|((result, wanted), _)| matches!(result.as_str(), "connected" | "refused") != **wanted)
        .map(|((result, wanted), flow)| format!("{flow}: {result}, allowed by upstream: {wanted}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "cluster {}: {} of {} flows\n{}",
        case["seed"],
        wrong.len(),
        flows.len(),
        wrong.join("\n")
    );
    flows.len()
}

/// Replays some of the clusters, spread over all of them, so that more clusters are also other clusters.
fn replay_some(data: &[u8]) {
    let cases: Vec<Value> = serde_json::from_reader(GzDecoder::new(data)).unwrap();
    let asked = std::env::var("ISOLATOR_E4_CLUSTERS").ok().map(|number| number.parse().unwrap());
    let number: usize = asked.unwrap_or(CLUSTERS);
    let step = (cases.len() / number.max(1)).max(1);
    let flows: usize = cases.iter().step_by(step).take(number).map(replay).sum();
    eprintln!("{flows} flows of {number} clusters");
}

#[test]
fn real_packets_meet_the_verdicts_that_upstream_gives() {
    replay_some(NETWORK_POLICIES);
}

#[test]
fn real_packets_meet_the_verdicts_that_cilium_gives() {
    replay_some(CILIUM_POLICIES);
}
