//! Prints the result: a table for people, one JSON object a line for programs. Not here: measuring.

use crate::cluster::Cluster;
use crate::measure::{Measured, Steps};
use crate::percentile::percentile;
use serde_json::json;

/// The output.
pub(crate) struct Report {
    json: bool,
}

impl Report {
    /// An output of one kind.
    pub(crate) fn new(json: bool) -> Report {
        Report { json }
    }

    /// Adds what was measured in one cluster.
    pub(crate) fn add(&self, cluster: Cluster, measured: &Measured) {
        let Cluster { shape, pods, policies } = cluster;
        let Measured { whole, groups, rows, changes, peak_kib } = measured;
        let whole = [("from nothing".to_owned(), vec![*whole])];
        if !self.json {
            println!(
                "\n{}: {pods} pods, {policies} policies: {groups} groups, {rows} rows, peak {} MiB",
                shape.name(),
                peak_kib / 1024
            );
            println!(
                "  {:<22}{:>17}{:>17}{:>17}{:>17}{:>17} {:>8}",
                "", "index", "compile", "layout", "diff", "all", "writes"
            );
        }
        for (change, steps) in whole.iter().chain(changes) {
            let of = |field: fn(&Steps) -> f64| {
                [50, 99].map(|percent| percentile(steps.iter().map(field), percent))
            };
            let columns =
                [of(|s| s.index), of(|s| s.compile), of(|s| s.layout), of(|s| s.diff), of(|s| s.all)];
            let writes = steps.iter().map(|step| step.writes).max().unwrap_or(0);
            if self.json {
                let [index, compile, layout, diff, all] = columns;
                let line = json!({"shape": shape.name(), "pods": pods, "policies": policies, "change": change,
                    "rounds": steps.len(), "index_ms": index, "compile_ms": compile, "layout_ms": layout,
                    "diff_ms": diff, "all_ms": all, "writes": writes, "peak_kib": peak_kib});
                println!("{line}");
            } else {
                let columns = columns.map(|[half, most]| format!("{half:>8.2} /{most:>7.2}")).concat();
                println!("  {change:<22}{columns} {writes:>8}");
            }
        }
    }
}
