//! Which labs there are, and ending them. Not here: making them (`launch`).

use super::record::{Owner, RunDir, all};
use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How long a supervisor may take to end its agents.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lab as `list` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    nodes: usize,
    pods: usize,
    manifests: String,
    directory: String,
}

/// All labs below `root`.
pub(crate) fn entries(root: &Path) -> Result<Vec<Entry>> {
    let entry = |dir: RunDir| {
        let (state, pid) = match dir.owner()? {
            Owner::Running(process) => ("running", Some(process.pid)),
            Owner::Starting(process) => ("starting", Some(process.pid)),
            Owner::Dead => ("dead", None),
        };
        let record = dir.record().ok();
        let (nodes, pods) = record.as_ref().map_or((0, 0), |record| (record.nodes.len(), record.pods.len()));
        let manifests = record.map(|record| record.manifests.display().to_string()).unwrap_or_default();
        let (name, directory) = (dir.name().to_string(), dir.path().display().to_string());
        Some(Entry { name, state, pid, nodes, pods, manifests, directory })
    };
    Ok(all(root)?.into_iter().filter_map(entry).collect())
}

/// The same as a table.
pub(crate) fn table(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["NAME", "STATE", "PID", "NODES", "PODS", "MANIFESTS"]);
    for entry in entries {
        let Entry { name, state, pid, nodes, pods, manifests, directory: _ } = entry;
        let pid = pid.map_or("-".to_string(), |pid| pid.to_string());
        table.add_row([name, *state, &pid, &nodes.to_string(), &pods.to_string(), manifests]);
    }
    format!("{}\n", table.trim_fmt())
}

/// Ends a lab, dead or alive, and removes its directory.
pub(crate) fn down(dir: &RunDir) -> Result<()> {
    if dir.owner().is_none() {
        bail!("there is no lab {}: `isolator lab list` shows what there is", dir.name());
    }
    for process in dir.holders() {
        process.end(PATIENCE)?;
    }
    dir.remove()
}
