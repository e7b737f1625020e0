//! Upstream's verdicts on more than 60,000 flows: manifests go in, and both the direct reading and the maps in memory must
//! say what upstream said, for each side of each flow. Not here: the loaded programs (`upstream_netpol`).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod memory;
mod upstream;

use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::FlowSpec;
use isolator_policy::meaning::oracle::judge;
use memory::Nodes;
use upstream::{CILIUM, CILIUM_SERVICES, CILIUM_WIDE, CLUSTER_NETWORK_POLICY, NETWORK_POLICY, compare};

fn read(snapshot: &Snapshot, flows: &[FlowSpec]) -> Vec<(bool, bool)> {
    let verdicts = flows.iter().map(|flow| judge(snapshot, flow).unwrap());
    verdicts.map(|verdict| (verdict.egress.allowed, verdict.ingress.allowed)).collect()
}

fn look_up(snapshot: &Snapshot, flows: &[FlowSpec]) -> Vec<(bool, bool)> {
    let nodes = Nodes::new(snapshot);
    flows.iter().map(|flow| nodes.judge(snapshot, flow)).collect()
}

#[test]
fn the_direct_reading_says_what_upstream_says() {
    compare(NETWORK_POLICY, read);
}

#[test]
fn the_compiled_maps_say_what_upstream_says() {
    compare(NETWORK_POLICY, look_up);
}

#[test]
fn the_direct_reading_says_what_cilium_says() {
    compare(CILIUM, read);
    compare(CILIUM_WIDE, read);
    compare(CILIUM_SERVICES, read);
}

#[test]
fn the_compiled_maps_say_what_cilium_says() {
    compare(CILIUM, look_up);
    compare(CILIUM_WIDE, look_up);
    compare(CILIUM_SERVICES, look_up);
}

#[test]
fn the_direct_reading_says_what_the_conformance_tests_want() {
    compare(CLUSTER_NETWORK_POLICY, read);
}

#[test]
fn the_compiled_maps_say_what_the_conformance_tests_want() {
    compare(CLUSTER_NETWORK_POLICY, look_up);
}
