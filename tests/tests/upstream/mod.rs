//! Random clusters and their flows, judged by upstream's own code, and the comparison with an engine. Not here:
//! the engines.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use flate2::read::GzDecoder;
use isolator_agent::source::Manifests;
use isolator_common::addr::Addr;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::model::{PodKey, Severity};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Random clusters that upstream's own code has judged.
pub(crate) const NETWORK_POLICY: Set = Set {
    name: "NetworkPolicy",
    data: include_bytes!("../../data/clusters-netpol.json.gz"),
    size: (150, 30_000),
    sides: true,
};
/// The same of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.
pub(crate) const CILIUM: Set = Set {
    name: "the Cilium kinds",
    data: include_bytes!("../../data/clusters-cnp.json.gz"),
    size: (150, 30_000),
    sides: true,
};
/// The same with every field of layers 3 and 4 that the engine takes, odd selectors and IPv6 (dual stack); a good
/// part of the policies is refused.
pub(crate) const CILIUM_WIDE: Set = Set {
    name: "all fields of the Cilium kinds",
    data: include_bytes!("../../data/clusters-cnp-wide.json.gz"),
    size: (60, 11_993),
    sides: true,
};
/// The same with `toServices`, resolved as Cilium's agent does it before its engine is asked, and with odd labels and
/// selectors. What this project means on purpose otherwise (docs/policies.md) is not in it.
pub(crate) const CILIUM_SERVICES: Set = Set {
    name: "services in the Cilium kinds",
    data: include_bytes!("../../data/clusters-cnp-services.json.gz"),
    size: (54, 6_480),
    sides: true,
};
/// Every situation of the conformance tests of ClusterNetworkPolicy (sigs.k8s.io/network-policy-api v0.2.0): the
/// objects at the moment of each connection that they try, and whether it must succeed.
pub(crate) const CLUSTER_NETWORK_POLICY: Set = Set {
    name: "ClusterNetworkPolicy",
    data: include_bytes!("../../data/clusters-conformance.json.gz"),
    size: (58, 289),
    sides: false,
};

/// Clusters of one kind.
#[derive(Clone, Copy)]
pub(crate) struct Set {
    name: &'static str,
    data: &'static [u8],
    /// Clusters and flows.
    size: (usize, usize),
    /// Whether each side of a flow was judged, or only whether it passes.
    sides: bool,
}

/// A cluster and what upstream says of flows in it.
#[derive(Deserialize)]
struct Case {
    seed: u64,
    manifests: Vec<serde_json::Value>,
    flows: Vec<Judged>,
    #[serde(default)]
    invalid: Vec<Refused>,
}

/// A policy that upstream refuses as a whole.
#[derive(Deserialize)]
struct Refused {
    policy: String,
}

/// From, to, protocol, port, and whether the receiver's and the sender's side allow it.
#[derive(Deserialize)]
struct Judged(String, String, String, u16, u8, u8);

impl Case {
    /// The cluster, by way of the manifests' text. Refused must be what upstream refuses, and nothing else.
    fn snapshot(&self) -> Arc<Snapshot> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": self.manifests});
        let loaded = Manifests::of_text(&format!("{}.json", self.seed), list.to_string().into_bytes()).load();
        let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let mut refused = BTreeSet::new();
        let mut wrong = Vec::new();
        for error in errors {
            let wanted = self.invalid.iter().find(|wanted| {
                let (kind, name) = error.object.split_once(' ').unwrap();
                kind.starts_with("Cilium") && name.rsplit('/').next() == Some(&wanted.policy)
            });
            match wanted {
                Some(wanted) => _ = refused.insert(wanted.policy.as_str()),
                None => wrong.push(error.to_string()),
            }
        }
        assert!(wrong.is_empty(), "cluster {}:\n{}", self.seed, wrong.join("\n"));
        assert_eq!(refused.len(), self.invalid.len(), "cluster {}: refused are {refused:?}", self.seed);
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
            "ICMP" => 1,
            "ICMPv6" => 58,
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
/// with upstream. `ISOLATOR_EVERY_CLUSTER=n` leaves it at every n-th cluster: a machine that is emulated has no time
/// for more.
pub(crate) fn compare(set: Set, mut engine: impl FnMut(&Snapshot, &[FlowSpec]) -> Vec<(bool, bool)>) {
    let cases: Vec<Case> = serde_json::from_reader(GzDecoder::new(set.data)).unwrap();
    let flows: usize = cases.iter().map(|case| case.flows.len()).sum();
    assert_eq!((cases.len(), flows), set.size);
    let step = std::env::var("ISOLATOR_EVERY_CLUSTER").map_or(1, |step| step.parse().unwrap());
    let mut wrong = Vec::new();
    for case in cases.iter().step_by(step) {
        let asked: Vec<_> = case.flows.iter().map(Judged::flow).collect();
        let said = engine(&case.snapshot(), &asked);
        assert_eq!(said.len(), asked.len());
        for (judged, said) in case.flows.iter().zip(said) {
            let wanted = judged.wanted();
            let right = if set.sides { said == wanted } else { (said.0 && said.1) == wanted.0 };
            if !right {
                wrong.push(judged.differs(case, said));
            }
        }
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{}: {} flows are judged wrongly:\n{shown}", set.name, wrong.len());
}
