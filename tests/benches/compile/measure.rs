//! What is measured, and how: the steps from a change to the list of map writes, each by the processor time of
//! this thread, so that other work on the machine does not count. Not here: the clusters, the printing.

use crate::cluster::{Cluster, Kind, NODE};
use anyhow::{Context, Result};
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{Attachment, Layout, Params};
use isolator_policy::meaning::compile::Compiler;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// Milliseconds that the steps of one update took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Steps {
    /// To take the change in and to make a snapshot.
    pub(crate) index: f64,
    /// To compile.
    pub(crate) compile: f64,
    /// To deal out numbers.
    pub(crate) layout: f64,
    /// To find and order the writes.
    pub(crate) diff: f64,
    /// All of it, and to free what nobody needs any more.
    pub(crate) all: f64,
    /// Map writes that came of it.
    pub(crate) writes: usize,
}

/// What was measured in one cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Everything, from nothing.
    pub(crate) whole: Steps,
    /// Peer groups and rows that came of it.
    pub(crate) groups: u32,
    /// Distinct rows.
    pub(crate) rows: usize,
    /// Small changes, each by its name, round by round.
    pub(crate) changes: Vec<(String, Vec<Steps>)>,
    /// Most memory that the process ever had, KiB: with the whole cluster, and all maps' contents.
    pub(crate) peak_kib: u64,
}

/// The pipeline of one node, as the agent has it.
struct Pipeline {
    index: Index,
    compiler: Compiler,
    layout: Layout,
    /// What readers of names still look at.
    snapshot: Arc<Snapshot>,
    image: Image,
    attachments: BTreeMap<u32, Attachment>,
    params: Params,
    shape: (u32, usize),
}

impl Pipeline {
    fn update(&mut self, change: Change) -> Result<Steps> {
        let start = now();
        self.index.apply(change);
        let snapshot = self.index.snapshot();
        let indexed = now();
        let compiled = self.compiler.compile(&snapshot);
        let done = now();
        let next = self.layout.next(&self.image, &compiled, &self.attachments, &self.params)?;
        let laid = now();
        let ops = diff(&self.image, &next);
        let found = now();
        self.shape = (compiled.groups, compiled.rows.rows().len());
        self.image = next;
        let writes = ops.len();
        self.snapshot = snapshot;
        drop((compiled, ops));
        Ok(Steps {
            index: indexed - start,
            compile: done - indexed,
            layout: laid - done,
            diff: found - laid,
            all: now() - start,
            writes,
        })
    }
}

/// Measures one cluster, each kind of change for at most this many rounds and milliseconds.
pub(crate) fn measure(cluster: Cluster, rounds: u32, budget: f64) -> Result<Measured> {
    let attachments = (2..).zip(cluster.local().map(|pod| Attachment::of(Some(pod)))).collect();
    let params = Params { ticks_per_second: 100, events_per_second: 100, capacities: Default::default() };
    let index = Index::new(Options::default());
    let mut pipeline = Pipeline {
        compiler: Compiler::new(NODE),
        layout: Layout::default(),
        snapshot: index.snapshot(),
        index,
        image: Image::default(),
        attachments,
        params,
        shape: (0, 0),
    };
    let whole = pipeline.update(Change::Reset(cluster.objects()))?;
    let (groups, rows) = pipeline.shape;
    let mut changes: Vec<(String, Vec<Steps>)> =
        Kind::ALL.iter().map(|kind| (kind.name().to_owned(), Vec::new())).collect();
    // What is new in a round is deleted in the same round.
    for kinds in [0..1, 1..3, 3..4, 4..5, 5..6, 6..7] {
        let mut spent = 0.0;
        for round in 0..rounds {
            for number in kinds.clone() {
                let steps = pipeline.update(cluster.change(Kind::ALL[number], round))?;
                spent += steps.all;
                changes[number].1.push(steps);
            }
            // Three rounds at least: the first may have to make room.
            if round >= 2 && spent > budget * kinds.len() as f64 {
                break;
            }
        }
    }
    Ok(Measured { whole, groups, rows, changes, peak_kib: peak()? })
}

/// Milliseconds that this thread has run so far.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Most memory that this process ever had (`VmHWM`), KiB.
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    line.trim().trim_end_matches(" kB").parse().context("VmHWM is no number")
}
