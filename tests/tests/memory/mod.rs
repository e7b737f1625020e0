//! Every node's maps, in memory, and what they say of a flow at both of its ends. Not here: the direct reading,
//! the loaded programs.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use isolator_common::policy::Direction;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{Attachment, Capacities, Params, layout};
use isolator_policy::datapath::memory::{Memory, judge_frame};
use isolator_policy::meaning::compile::compile;
use isolator_policy::meaning::flow::{FlowSpec, Found, find, judging_node};
use isolator_policy::model::PodKey;
use std::collections::{BTreeMap, BTreeSet};

/// Every node's maps, and each pod's node and interface there.
pub(crate) struct Nodes {
    memories: BTreeMap<String, Memory>,
    interfaces: BTreeMap<PodKey, (String, u32)>,
}

impl Nodes {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let pods: Vec<_> = snapshot.pods().values().filter(|pod| pod.is_endpoint()).collect();
        let names: BTreeSet<&str> = pods.iter().map(|pod| judging_node(pod)).collect();
        let params =
            Params { ticks_per_second: 100, events_per_second: 100, capacities: Capacities::default() };
        let (mut memories, mut interfaces) = (BTreeMap::new(), BTreeMap::new());
        for node in names {
            let mut attachments = BTreeMap::new();
            for (pod, ifindex) in pods.iter().filter(|pod| judging_node(pod) == node).zip(2..) {
                attachments.insert(ifindex, Attachment::of(Some(pod.key.clone())));
                interfaces.insert(pod.key.clone(), (node.to_owned(), ifindex));
            }
            let image = layout(&Image::default(), &compile(snapshot, node), &attachments, &params).unwrap();
            memories.insert(node.to_owned(), Memory::new(image));
        }
        Nodes { memories, interfaces }
    }

    /// Whether the first packet of a flow passes at one end. Where no pod is, nothing judges.
    fn passes(&self, at: &Found<'_>, frame: &[u8], direction: Direction) -> bool {
        let Some((node, ifindex)) = at.pod.map(|pod| &self.interfaces[&pod.key]) else { return true };
        let memory = &self.memories[node];
        memory.forget_all();
        judge_frame(memory, *ifindex, frame, direction).reason.passes()
    }

    /// Whether the first packet of a flow passes: egress, ingress. What a pod says to itself does not leave it.
    pub(crate) fn judge(&self, snapshot: &Snapshot, flow: &FlowSpec) -> (bool, bool) {
        let (from, to) = find(snapshot, flow).unwrap();
        if from.pod.zip(to.pod).is_some_and(|(from, to)| from.key == to.key) {
            return (true, true);
        }
        let frame = Frame::flow(from.addr, to.addr, flow.protocol, flow.port).bytes();
        (self.passes(&from, &frame, Direction::Egress), self.passes(&to, &frame, Direction::Ingress))
    }
}
