//! 150 random clusters with 30,000 flows, judged by upstream's own code: manifests go in, and both the direct
//! reading and the maps in memory must say what upstream said, for each side of each flow. Not here: the loaded
//! programs, which are compared with the maps in memory elsewhere.

use flate2::read::GzDecoder;
use isolator_agent::source::load_text;
use isolator_common::addr::Addr;
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{Attachment, Capacities, Params, layout};
use isolator_policy::datapath::memory::{Memory, judge_frame};
use isolator_policy::meaning::compile::compile;
use isolator_policy::meaning::flow::{End, FlowSpec, Found, find, judging_node};
use isolator_policy::meaning::oracle::judge;
use isolator_policy::model::{PodKey, Severity};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

const DATA: &[u8] = include_bytes!("../data/clusters-netpol.json.gz");

/// A cluster and what upstream says of flows in it.
#[derive(Deserialize)]
struct Case {
    seed: u64,
    manifests: Vec<serde_json::Value>,
    flows: Vec<Judged>,
}

/// From, to, protocol, port, and whether the receiver's and the sender's side allow it.
#[derive(Deserialize)]
struct Judged(String, String, String, u16, u8, u8);

impl Case {
    /// The cluster, by way of the manifests' text. None of the manifests may be refused.
    fn snapshot(&self) -> Arc<Snapshot> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": self.manifests});
        let loaded = load_text(&format!("{}.json", self.seed), list.to_string().as_bytes());
        let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let errors: Vec<String> = errors.map(ToString::to_string).collect();
        assert!(errors.is_empty(), "cluster {}:\n{}", self.seed, errors.join("\n"));
        let mut index = Index::new(Options::default());
        index.apply(Change::Reset(loaded.objects));
        index.snapshot()
    }
}

impl Judged {
    fn flow(&self) -> FlowSpec {
        let protocol = match self.2.as_str() {
            "TCP" => 6,
            "UDP" => 17,
            "SCTP" => 132,
            other => panic!("protocol {other}"),
        };
        FlowSpec { from: end(&self.0), to: end(&self.1), protocol, port: self.3 }
    }

    /// Egress, ingress.
    fn wanted(&self) -> (bool, bool) {
        (self.5 == 1, self.4 == 1)
    }

    /// The line that a person reads when an engine says something else.
    fn differs(&self, case: &Case, said: (bool, bool)) -> String {
        let Judged(from, to, protocol, port, ..) = self;
        let wanted = self.wanted();
        format!(
            "cluster {}: {from} -> {to} {protocol}/{port}: (egress, ingress) {said:?}, wanted {wanted:?}",
            case.seed
        )
    }
}

fn end(text: &str) -> End {
    match text.strip_prefix("ip:") {
        Some(ip) => match ip.parse().unwrap() {
            IpAddr::V4(v4) => End::Address(Addr::v4(v4.octets())),
            IpAddr::V6(v6) => End::Address(Addr(v6.octets())),
        },
        None => {
            let (namespace, name) = text.split_once('/').unwrap();
            End::Pod(PodKey { namespace: namespace.to_owned(), name: name.to_owned() })
        }
    }
}

/// Every node's maps, and each pod's node and interface there.
struct Nodes {
    memories: BTreeMap<String, Memory>,
    interfaces: BTreeMap<PodKey, (String, u32)>,
}

impl Nodes {
    fn new(snapshot: &Snapshot) -> Self {
        let pods: Vec<_> = snapshot.pods().values().filter(|pod| pod.is_endpoint()).collect();
        let names: BTreeSet<&str> = pods.iter().map(|pod| judging_node(pod)).collect();
        let params =
            Params { ticks_per_second: 100, events_per_second: 100, capacities: Capacities::default() };
        let (mut memories, mut interfaces) = (BTreeMap::new(), BTreeMap::new());
        for node in names {
            let mut attachments = BTreeMap::new();
            for (pod, ifindex) in pods.iter().filter(|pod| judging_node(pod) == node).zip(2..) {
                attachments.insert(ifindex, Attachment { pod: Some(pod.key.clone()) });
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
}

/// Runs an engine over every flow and asserts that it agrees with upstream.
fn compare<E>(engine: impl Fn(&Snapshot) -> E, says: impl Fn(&E, &Snapshot, &FlowSpec) -> (bool, bool)) {
    let cases: Vec<Case> = serde_json::from_reader(GzDecoder::new(DATA)).unwrap();
    let (mut flows, mut wrong) = (0, Vec::new());
    for case in &cases {
        let snapshot = case.snapshot();
        let engine = engine(&snapshot);
        for judged in &case.flows {
            let said = says(&engine, &snapshot, &judged.flow());
            if said != judged.wanted() {
                wrong.push(judged.differs(case, said));
            }
            flows += 1;
        }
    }
    assert_eq!((cases.len(), flows), (150, 30_000));
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} flows are judged wrongly:\n{shown}", wrong.len());
}

#[test]
fn the_direct_reading_says_what_upstream_says() {
    compare(
        |_| (),
        |(), snapshot, flow| {
            let verdict = judge(snapshot, flow).unwrap();
            (verdict.egress.allowed, verdict.ingress.allowed)
        },
    );
}

#[test]
fn the_compiled_maps_say_what_upstream_says() {
    compare(Nodes::new, |nodes, snapshot, flow| {
        let (from, to) = find(snapshot, flow).unwrap();
        // What a pod says to itself does not leave it, so no program sees it.
        if from.pod.is_some() && from.pod.map(|pod| &pod.key) == to.pod.map(|pod| &pod.key) {
            return (true, true);
        }
        let frame = Frame::flow(from.addr, to.addr, flow.protocol, flow.port).bytes();
        (nodes.passes(&from, &frame, Direction::Egress), nodes.passes(&to, &frame, Direction::Ingress))
    });
}
