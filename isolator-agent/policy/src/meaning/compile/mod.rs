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
mod columns;
mod groups;
mod identity;
mod intern;
mod peers;
mod ports;
mod rows;
mod select;
mod state;

use crate::cluster::snapshot::Snapshot;
use crate::datapath::compiled::Compiled;
use crate::model::{Place, Problem, Severity};
use state::State;
use std::sync::Arc;

/// Compiles what `node` enforces, from nothing. Equal snapshots give equal values. The empty name compiles the
/// pods that are on no node, as the oracle judges them.
///
/// The compiled form does not know an endpoint's talk to itself: such packets do not leave the pod.
#[must_use]
pub fn compile(snapshot: &Snapshot, node: &str) -> Compiled {
    let compiled = Compiler::new(node).compile(&Arc::new(snapshot.clone()));
    Arc::unwrap_or_clone(compiled)
}

/// Compiles one node again and again. Where only pods and policies have changed, it looks at what they concern
/// alone; everything else, and what adds up over time, it does from nothing. What comes out is what [`compile`]
/// gives, but for the numbers that it deals out: groups, rows and reasons keep theirs, and a group that nobody
/// is in any more may stay.
#[derive(Debug)]
pub struct Compiler {
    node: String,
    known: Option<(State, Arc<Compiled>)>,
}

impl Compiler {
    /// A compiler that knows nothing yet.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Compiler { node: node.to_owned(), known: None }
    }

    /// What the node enforces.
    pub fn compile(&mut self, snapshot: &Arc<Snapshot>) -> Arc<Compiled> {
        if let Some((mut state, mut compiled)) = self.known.take()
            && state.update(snapshot, &self.node, Arc::make_mut(&mut compiled)).is_some()
        {
            self.known = Some((state, Arc::clone(&compiled)));
            return compiled;
        }
        let (state, compiled) = State::new(snapshot, &self.node);
        let compiled = Arc::new(compiled);
        self.known = Some((state, Arc::clone(&compiled)));
        compiled
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
        place: Place::Unknown,
        object: format!("Node {node}"),
        field: "status.addresses".to_owned(),
        message: "no address of this node is known, so it cannot reach its isolated pods; declare the Node"
            .to_owned(),
    }]
}
