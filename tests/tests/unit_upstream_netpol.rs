//! Upstream's verdicts on 30,000 flows: manifests go in, and both the direct reading and the maps in memory must
//! say what upstream said, for each side of each flow. Not here: the loaded programs (`upstream_netpol`).

mod memory;
mod upstream;

use isolator_policy::meaning::oracle::judge;
use memory::Nodes;
use upstream::compare;

#[test]
fn the_direct_reading_says_what_upstream_says() {
    compare(|snapshot, flows| {
        let verdicts = flows.iter().map(|flow| judge(snapshot, flow).unwrap());
        verdicts.map(|verdict| (verdict.egress.allowed, verdict.ingress.allowed)).collect()
    });
}

#[test]
fn the_compiled_maps_say_what_upstream_says() {
    compare(|snapshot, flows| {
        let nodes = Nodes::new(snapshot);
        flows.iter().map(|flow| nodes.judge(snapshot, flow)).collect()
    });
}
