//! What a change costs to compile, as a share of compiling everything: a change costs what it concerns
//! (`docs/adr/0008-incremental-compile.md`), on the cluster that the promise speaks of. Both are processor time of
//! one thread, one after the other in one process. Not here: that the outcome is the same (`compiling_on_gives_what_compiling_from_nothing_gives`);
//! milliseconds (`cargo xtask bench compile`).

#[path = "../benches/compile/cluster.rs"]
#[expect(dead_code, reason = "the benchmark names what it prints")]
mod cluster;

use cluster::{Cluster, Kind, NODE, Shape};
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::meaning::compile::Compiler;
use rustix::time::{ClockId, clock_gettime};

/// As many as the promise speaks of.
const CLUSTER: Cluster = Cluster { shape: Shape::Mixed, pods: 100_000, policies: 10_000 };
const ROUNDS: u32 = 9;
/// 5 ms where compiling everything takes half a second.
const SHARE: f64 = 0.01;

#[test]
fn a_changed_pod_policy_or_backend_compiles_in_a_hundredth_of_everything() {
    let (mut index, mut compiler) = (Index::new(Options::default()), Compiler::new(NODE));
    let mut compile = |change: Change| {
        index.apply(change);
        let snapshot = index.snapshot();
        let before = clock_gettime(ClockId::ThreadCPUTime);
        let compiled = compiler.compile(&snapshot);
        let took = clock_gettime(ClockId::ThreadCPUTime) - before;
        (took.tv_sec as f64 + took.tv_nsec as f64 / 1e9, compiled.rows.clone())
    };
    let (everything, mut rows) = compile(Change::Reset(CLUSTER.objects()));
    for kind in [Kind::Relabelled, Kind::New, Kind::Policy, Kind::Elsewhere, Kind::Backend] {
        let mut took: Vec<f64> = Vec::new();
        for round in 0..ROUNDS {
            let (seconds, now) = compile(CLUSTER.change(kind, round));
            assert_eq!(now != rows, kind == Kind::Policy, "{} changes rows", kind.name());
            (rows, took) = (now, [took, vec![seconds]].concat());
        }
        took.sort_by(f64::total_cmp);
        let median = took[took.len() / 2];
        assert!(
            median <= SHARE * everything,
            "{}: {:.2} ms where everything takes {:.0} ms",
            kind.name(),
            median * 1e3,
            everything * 1e3
        );
    }
}
