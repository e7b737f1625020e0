//! The daemon's account of itself: written to `status.json` in the run folder after every change, read by
//! `isolator status`. It is only an account; what is enforced is in the kernel. Not here: how it looks on a
//! screen (`cli::status`).

use isolator_policy::model::{Problem, Severity};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the file in the run folder.
pub const FILE: &str = "status.json";

/// What the daemon says of itself. The names are stable; times are milliseconds since 1970, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Name of this node.
    pub node: String,
    /// Kind of source: `manifests`.
    pub source: String,
    /// The folder that is watched, absolute; empty where the source is none.
    pub manifests: PathBuf,
    /// File that says where pods are when their manifests do not, absolute; absent where there is none.
    pub placements: Option<PathBuf>,
    /// Folder of the pods' network namespaces, absolute.
    pub sandboxes: PathBuf,
    /// Whether interfaces without a known pod are left alone.
    pub permissive: bool,
    /// Namespace label that names the tenant.
    pub tenant_label: String,
    /// The process that wrote this.
    pub process: Process,
    /// When it started.
    pub started_ms: u64,
    /// Whether everything was read and programmed at least once since then.
    pub synced: bool,
    /// Generation in force.
    pub generation: u32,
    /// When something last changed in the kernel.
    pub last_change_ms: u64,
    /// How long the last compilation took, microseconds.
    pub compile_us: u64,
    /// How long writing its differences took, microseconds.
    pub apply_us: u64,
    /// Map writes that it took.
    pub writes: u64,
    /// What is known of the cluster, and how much of it is enforced here.
    pub counts: Counts,
    /// What is not as written or not as wanted.
    pub problems: Vec<ProblemEntry>,
    /// `tcx` or `clsact`.
    pub attach_mode: String,
    /// Optional kernel features that are in use.
    pub features: Vec<String>,
    /// Kernel release.
    pub kernel: String,
    /// Occupancy of the pinned maps.
    pub maps: Vec<MapUse>,
    /// Events that nobody will ever see.
    pub lost: Lost,
}

/// Numbers of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Namespaces.
    pub namespaces: u64,
    /// Nodes.
    pub nodes: u64,
    /// Pods of the whole cluster.
    pub pods: u64,
    /// Policies of all kinds.
    pub policies: u64,
    /// Pods of this node that have an interface which is enforced.
    pub endpoints: u64,
    /// Interfaces of pod sandboxes whose pod is not known yet.
    pub unknown_interfaces: u64,
}

/// How full a map is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapUse {
    /// Its name.
    pub map: String,
    /// Entries in use.
    pub entries: u64,
    /// Entries that it has room for.
    pub capacity: u64,
}

/// Events that were not delivered, since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// A tenant caused more than its share.
    pub over_rate: u64,
    /// The ring was full.
    pub ring_full: u64,
}

/// A problem, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProblemEntry {
    /// `error` or `warning`.
    pub severity: String,
    /// Stable name of the kind of problem.
    pub code: String,
    /// File, document and line; empty where unknown.
    pub place: String,
    /// `Kind namespace/name`; empty where unknown.
    pub object: String,
    /// The field; empty where none.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl ProblemEntry {
    /// Whether something is not enforced as written.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }
}

impl From<&Problem> for ProblemEntry {
    fn from(problem: &Problem) -> Self {
        let Problem { severity, code, place, object, field, message } = problem;
        ProblemEntry {
            severity: match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            }
            .to_owned(),
            code: (*code).to_owned(),
            place: place.clone(),
            object: object.clone(),
            field: field.clone(),
            message: message.clone(),
        }
    }
}

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, kernel ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

impl Process {
    /// This process.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        Process { pid, start_ticks: start_ticks(pid).unwrap_or_default() }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid != 0 && start_ticks(self.pid) == Some(self.start_ticks)
    }
}

/// When a process started; `None` when there is none of this number, or it has ended and only waits to be reaped.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}

impl Status {
    /// Replaces the file in `run_dir` at once: a reader sees the old one or the new one.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, run_dir: &Path) -> io::Result<()> {
        let temporary = run_dir.join(format!(".{FILE}.{}", std::process::id()));
        let mut file = fs::File::create(&temporary)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        fs::rename(&temporary, run_dir.join(FILE))
    }

    /// Reads the file in `run_dir`; `None` when no daemon has written one.
    ///
    /// # Errors
    /// When the file cannot be read, or was written by a version that this one does not understand.
    pub fn read(run_dir: &Path) -> io::Result<Option<Status>> {
        let text = match fs::read(run_dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(serde_json::from_slice(&text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_an_earlier_one_of_its_number_is_not() {
        let own = Process::own();
        assert!(own.is_alive());
        assert!(!Process { start_ticks: own.start_ticks + 1, ..own }.is_alive());
        assert!(!Process::default().is_alive());
    }

    #[test]
    fn what_is_written_reads_back_and_unknown_fields_do_not_matter() {
        let folder = std::env::temp_dir().join(format!("isolator-status-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(Status::read(&folder).unwrap(), None);
        let status = Status { node: "n1".into(), process: Process::own(), ..Status::default() };
        status.write(&folder).unwrap();
        assert_eq!(Status::read(&folder).unwrap(), Some(status));
        fs::write(folder.join(FILE), br#"{"node":"n2","later":1}"#).unwrap();
        assert_eq!(Status::read(&folder).unwrap().unwrap().node, "n2");
        fs::remove_dir_all(&folder).unwrap();
    }
}
