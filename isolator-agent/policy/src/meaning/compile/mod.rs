//! Compiles a snapshot into what one node enforces. Precedence, tenancy and selectors end here; what comes
//! out is verdicts by (row, group, port).
//!
//! ```text
//!  select   which policies speak of which local endpoints      → programs: rules in order, per direction
//!  peers    which of their pod selectors match which pods      → sets of matchers
//!  blocks   which of their prefixes hold which addresses       → sets of matchers, and the prefixes
//!  groups   addresses that no matcher tells apart              → groups
//!  cells    one program and one group: verdicts by port        → cells
//!  rows     both directions of an endpoint together            → rows, with what needs tracking
//! ```
//!
//! Work is per distinct thing, not per pod: local endpoints by (namespace, labels, ports), peers by the
//! labels that some matcher reads. Policies that select no local endpoint cost one look at their subject.
//!
//! Not here: the meaning of a single rule in words (`oracle`), map numbers (`datapath::layout`).

mod blocks;
mod cells;
mod groups;
mod identity;
mod intern;
mod peers;
mod ports;
mod rows;
mod select;

use super::flow::judging_node;
use crate::cluster::snapshot::Snapshot;
use crate::datapath::compiled::{Compiled, EndpointSpec};
use crate::model::{Problem, Severity};
use blocks::Blocks;
use groups::Groups;
use identity::Identities;
use isolator_common::policy::Direction;
use peers::Matchers;
use rows::Rows;
use select::Selection;
use std::collections::BTreeMap;

/// Compiles what `node` enforces. Equal snapshots give equal values. The empty name compiles the pods that
/// are on no node, as the oracle judges them.
///
/// The compiled form does not know an endpoint's talk to itself: such packets do not leave the pod.
#[must_use]
pub fn compile(snapshot: &Snapshot, node: &str) -> Compiled {
    let local: Vec<_> =
        snapshot.pods().values().filter(|pod| pod.is_endpoint() && judging_node(pod) == node).collect();
    let mut matchers = Matchers::default();
    let selection = Selection::new(snapshot, &local, &mut matchers);
    let blocks = Blocks::new(matchers.peers());
    let identities = Identities::new(snapshot, &blocks);
    let groups = Groups::new(snapshot, node, &selection, &matchers, &blocks);
    let mut rows = Rows::new(&selection, &groups, &matchers);

    let mut endpoints = BTreeMap::new();
    for (pod, programs) in local.iter().zip(&selection.programs_of) {
        let spec = EndpointSpec {
            identity: identities.of_pod(pod),
            tenant: snapshot.tenant_of(&pod.key.namespace).map_or(0, identity::tenant_number),
            addrs: pod.addrs(),
            rows: rows.pair(*programs),
            // What an isolated direction answers to needs entries, whatever few peers it admits freely.
            connection_first: [selection.isolates(programs[1]), selection.isolates(programs[0])],
        };
        endpoints.insert(pod.key.clone(), spec);
    }
    let startup = rows.pair(selection.startup);

    let group_of = rows.merged();
    let behind = |identity, group: u32| crate::datapath::compiled::Behind {
        identity,
        group: group_of[group as usize],
    };
    Compiled {
        groups: rows.groups(),
        addresses: groups
            .addresses
            .iter()
            .map(|(addr, group)| (*addr, behind(identities.of_owner(snapshot.owner(addr, node)), *group)))
            .collect(),
        prefixes: groups
            .prefixes
            .iter()
            .map(|(prefix, group)| (*prefix, behind(identities.of_prefix(prefix), *group)))
            .collect(),
        startup: Direction::BOTH.map(|direction| Some(startup[direction.index()])),
        endpoints,
        problems: problems(snapshot, node),
        identities: identities.names(),
        reasons: rows.reasons(),
        rows: rows.finished(),
    }
}

/// What this node cannot enforce as written. What is wrong in the cluster itself, the snapshot says.
fn problems(snapshot: &Snapshot, node: &str) -> Vec<Problem> {
    let known = [true, false].iter().any(|v4| snapshot.node_address(node, *v4).is_some());
    if known || node.is_empty() {
        return Vec::new();
    }
    vec![Problem {
        severity: Severity::Error,
        code: "local-host-unknown",
        place: String::new(),
        object: format!("Node {node}"),
        field: "status.addresses".to_owned(),
        message: "no address of this node is known, so it cannot reach its isolated pods; declare the Node"
            .to_owned(),
    }]
}
