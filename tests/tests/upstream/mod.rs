//! 150 random clusters with 30,000 flows, judged by upstream's own code, and the comparison with an engine. Not
//! here: the engines.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use flate2::read::GzDecoder;
use isolator_agent::source::load_text;
use isolator_common::addr::Addr;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::model::{PodKey, Severity};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

const DATA: &[u8] = include_bytes!("../../data/clusters-netpol.json.gz");

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

/// Has an engine judge all flows of each cluster at once, (egress, ingress) for each, and asserts that it agrees
/// with upstream.
pub(crate) fn compare(mut engine: impl FnMut(&Snapshot, &[FlowSpec]) -> Vec<(bool, bool)>) {
    let cases: Vec<Case> = serde_json::from_reader(GzDecoder::new(DATA)).unwrap();
    let (mut flows, mut wrong) = (0, Vec::new());
    for case in &cases {
        let asked: Vec<_> = case.flows.iter().map(Judged::flow).collect();
        let said = engine(&case.snapshot(), &asked);
        assert_eq!(said.len(), asked.len());
        for (judged, said) in case.flows.iter().zip(said) {
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
