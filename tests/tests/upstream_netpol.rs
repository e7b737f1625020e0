//! Upstream's verdicts on 60,000 flows, and the loaded programs: every cluster's maps follow those of the cluster
//! before, as an agent would change them, and each flow's packet runs through the programs. Not here: the other
//! engines (`unit_upstream_netpol`).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod upstream;

use isolator_agent::datapath::features;
use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_common::endpoint::Endpoint;
use isolator_common::policy::Direction;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::layout::{self, Attachment, Params, layout};
use isolator_policy::meaning::compile::compile;
use isolator_policy::meaning::flow::{Found, find, judging_node};
use isolator_policy::model::PodKey;
use std::collections::{BTreeMap, BTreeSet};
use upstream::{CILIUM, CILIUM_SERVICES, CILIUM_WIDE, CLUSTER_NETWORK_POLICY, NETWORK_POLICY, Set, compare};

/// Where test runs arrive.
const INTERFACE: u32 = 1;

/// The programs, and the maps of one node at a time.
struct Kernel {
    loaded: Loaded,
    /// What the maps hold, but for the endpoint at [`INTERFACE`].
    image: Image,
    interfaces: BTreeMap<PodKey, u32>,
    /// Id of the endpoint under test, never used twice: no connection of an earlier flow is found.
    id: u32,
}

impl Kernel {
    fn new() -> Self {
        let loaded = Loaded::ephemeral(&Capacities::small()).unwrap();
        Kernel { loaded, image: Image::default(), interfaces: BTreeMap::new(), id: 0 }
    }

    /// The maps become those of `node`.
    fn become_node(&mut self, snapshot: &Snapshot, node: &str) {
        let compiled = compile(snapshot, node);
        self.interfaces = compiled.endpoints.keys().cloned().zip(2..).collect();
        let attachment = |(pod, ifindex): (&PodKey, &u32)| (*ifindex, Attachment::of(Some(pod.clone())));
        let attachments = self.interfaces.iter().map(attachment).collect();
        let capacities = layout::Capacities { cells: 1 << 16, intervals: 1 << 15, ..Default::default() };
        let params = Params { ticks_per_second: 100, events_per_second: 0, capacities };
        let next = layout(&self.image, &compiled, &attachments, &params).unwrap();
        self.loaded.store.apply(&diff(&self.image, &next)).unwrap();
        self.image = next;
    }

    /// Whether the first packet of a flow passes at one end. True where no pod of this node is.
    fn passes(&mut self, node: &str, at: &Found<'_>, frame: &[u8], direction: Direction) -> bool {
        let Some(pod) = at.pod.filter(|pod| judging_node(pod) == node) else { return true };
        self.id += 1;
        let endpoint = self.image.endpoints[&self.interfaces[&pod.key]];
        let endpoint = Endpoint { ifindex: INTERFACE, slot: 0, id: self.id, ..endpoint };
        self.loaded.store.apply(&[Op::Endpoint(INTERFACE, Some(endpoint))]).unwrap();
        self.loaded.programs.run(direction, frame, 1).unwrap().passes()
    }
}

#[test]
fn the_loaded_programs_say_what_upstream_says() {
    replay(NETWORK_POLICY);
}

#[test]
fn the_loaded_programs_say_what_cilium_says() {
    replay(CILIUM);
    replay(CILIUM_WIDE);
    replay(CILIUM_SERVICES);
}

#[test]
fn the_loaded_programs_say_what_the_conformance_tests_want() {
    replay(CLUSTER_NETWORK_POLICY);
}

fn replay(set: Set) {
    if let Some(missing) = features::missing(None).first() {
        eprintln!("skipped: {missing}");
        return;
    }
    let mut kernel = Kernel::new();
    compare(set, |snapshot, flows| {
        let mut said = vec![(true, true); flows.len()];
        let nodes: BTreeSet<_> = snapshot.pods().values().map(|pod| judging_node(pod)).collect();
        for node in nodes {
            kernel.become_node(snapshot, node);
            for (flow, said) in flows.iter().zip(&mut said) {
                let (from, to) = find(snapshot, flow).unwrap();
                if is_loopback(&from, &to) {
                    continue;
                }
                let frame = Frame::flow(from.addr, to.addr, flow.protocol, flow.port).bytes();
                said.0 &= kernel.passes(node, &from, &frame, Direction::Egress);
                said.1 &= kernel.passes(node, &to, &frame, Direction::Ingress);
            }
            let held = kernel.loaded.store.read_image().unwrap();
            let held = Image { endpoints: kernel.image.endpoints.clone(), ..held };
            assert_eq!(held, kernel.image, "the maps after the changes on {node}");
        }
        said
    });
}

/// Whether both ends are one pod. What a pod says to itself does not leave it, so no program sees it.
fn is_loopback(from: &Found<'_>, to: &Found<'_>) -> bool {
    from.pod.zip(to.pod).is_some_and(|(from, to)| from.key == to.key)
}
