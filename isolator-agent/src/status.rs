//! The daemon's account of itself: written to `status.json` in the run folder after every change, read by
//! `isolator status`. It is only an account; what is enforced is in the kernel. Not here: how it looks on a
//! screen (`cli::status`).

use crate::cut_off::CutOff;
use isolator_policy::model::{FilePlace, Place, Problem, Severity};
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
    /// Kind of source: `manifests` or `kubernetes`.
    pub source: String,
    /// How fresh the news of each kind of object is, where a cluster is watched.
    pub watches: Vec<WatchStatus>,
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
    /// Ranges of Service addresses, beside those that objects declare.
    pub service_ranges: Vec<String>,
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
    /// Where the time of that change went.
    pub took: Phases,
    /// What was found by comparing the kernel with the plan, all the time.
    pub drift: Drift,
    /// What is known of the cluster, and how much of it is enforced here.
    pub counts: Counts,
    /// Interfaces on which everything is dropped, because nobody finds the pod behind them.
    pub cut_off: Vec<CutOff>,
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

/// A change from the first sign of an edit to the switch that puts it in force, and the cleaning up after it. Times in
/// microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// Waiting for what belongs together.
    pub wait_us: u64,
    /// Finding and reading files.
    pub read_us: u64,
    /// From text to objects.
    pub convert_us: u64,
    /// Taking them into the index.
    pub index_us: u64,
    /// From objects to rows and groups.
    pub compile_us: u64,
    /// Dealing out numbers.
    pub layout_us: u64,
    /// Finding the difference.
    pub diff_us: u64,
    /// Writing it to the maps, until the switch.
    pub write_us: u64,
    /// Waiting for packets that were under way at the switch, and removing what they were judged by.
    pub settle_us: u64,
    /// When the switch was, since 1970, UTC: every packet that arrives after it is judged by the change.
    pub in_force_us: u64,
    /// When the last map write was done, since 1970, UTC.
    pub done_us: u64,
}

/// The watch of one kind of objects. Times are milliseconds since 1970, UTC; 0: never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchStatus {
    /// The kind.
    pub kind: String,
    /// Whether all of them were read since the start.
    pub synced: bool,
    /// How many count.
    pub objects: u64,
    /// When the API server last said something of them, or that nothing happened.
    pub heard_ms: u64,
    /// Since when the watch fails; 0: it does not.
    pub away_ms: u64,
    /// How often all of them were read.
    pub lists: u64,
    /// How often the watch failed, and began again.
    pub restarts: u64,
}

/// Differences between the kernel and what was written to it, since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drift {
    /// How often everything was compared.
    pub rounds: u64,
    /// How long that took last, microseconds.
    pub round_us: u64,
    /// Differences that were found.
    pub found: u64,
    /// Those that were repaired.
    pub repaired: u64,
    /// Those that are there and left alone, because they are somebody else's.
    pub open: u64,
    /// When the last was found, milliseconds since 1970, UTC; 0: never.
    pub found_ms: u64,
    /// For how long at most it had been there, microseconds.
    pub detect_us: u64,
    /// How long the last repair took, microseconds.
    pub repair_us: u64,
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
    /// The same place for programs, where it is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// `Kind namespace/name`; empty where unknown.
    pub object: String,
    /// The field; empty where none.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A place in a file, as JSON. Numbers count from 1; 0 is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The file, as it was named.
    pub file: String,
    /// The document; 0: the file as a whole.
    pub document: u32,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl From<&FilePlace> for Position {
    fn from(place: &FilePlace) -> Self {
        let FilePlace { file, document, line, column, within: _ } = place;
        Position { file: file.clone(), document: *document, line: *line, column: *column }
    }
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
        let position = match place {
            Place::File(place) => Some(Position::from(&**place)),
            Place::Thing(_) | Place::Unknown => None,
        };
        ProblemEntry {
            severity: match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            }
            .to_owned(),
            code: (*code).to_owned(),
            place: place.to_string(),
            position,
            object: object.clone(),
            field: field.clone(),
            message: message.clone(),
        }
    }
}

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number, as it sees itself: 1 in a pod.
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
        self.pid != 0 && (start_ticks(self.pid) == Some(self.start_ticks) || self.is_alive_within())
    }

    /// Whether it runs in a namespace of processes below this one, where it has another number: the agent in its
    /// pod, asked about from the node.
    fn is_alive_within(&self) -> bool {
        let Ok(processes) = fs::read_dir("/proc") else { return false };
        processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).any(|pid: u32| {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|text| own_number(&text) == Some(self.pid))
                && start_ticks(pid) == Some(self.start_ticks)
        })
    }
}

/// The number that a process has in its own namespace, from `/proc/PID/status` (proc_pid_status(5), `NSpid`).
fn own_number(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().next_back()?.parse().ok()
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

/// Whether there is no room left where `folder` is.
#[must_use]
pub fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|room| room.f_blocks > 0 && room.f_bavail == 0)
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
    fn a_process_is_known_by_its_number_in_its_own_namespace() {
        assert_eq!(own_number("Name:\tisolator\nNSpid:\t4711\t1\nVmPeak:\t1 kB\n"), Some(1));
        assert_eq!(own_number("Name:\tisolator\nNSpid:\t4711\n"), Some(4711));
        assert_eq!(own_number("Name:\tisolator\n"), None);
        assert!(Process::own().is_alive_within());
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
