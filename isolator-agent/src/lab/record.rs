//! The run directory of a lab: who owns it, and what is in the lab for other processes to read. Not here: the
//! processes themselves.

use super::cgroups::Cgroups;
use super::flows::End;
use super::plan::{Network, Plan};
use super::process::ProcessId;
use crate::source::placement::{Placement, Placements};
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where labs live unless `--run-dir` says otherwise.
const ROOT: &str = "/run/isolator/lab";
/// The process that makes the lab; gone once the lab is ready.
const LAUNCHER: &str = "launcher.json";
/// The process that is the lab.
const SUPERVISOR: &str = "supervisor.json";
/// What is in the lab; written once it is ready, and after each change.
const LAB: &str = "lab.json";
/// What agents are told beside the manifests.
const PLACEMENT: &str = "placement.json";
/// Where the lab's cgroups are, if it has any.
const CGROUPS: &str = "cgroups.json";

/// What is in a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The process that holds it.
    pub supervisor: ProcessId,
    /// The folder it was made from.
    pub manifests: PathBuf,
    /// How pods are connected.
    pub network: Network,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Place>,
    /// Pods by `namespace/name`.
    pub pods: BTreeMap<String, PodRecord>,
    /// The host outside.
    pub outside: Place,
    /// Where the nodes' cgroups are, or why there are none; then nodes drop what pods send to services of the node
    /// itself.
    pub cgroups: Result<PathBuf, String>,
}

/// A network namespace of the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The number of its file in the supervisor: `/proc/PID/fd/N` leads there.
    pub netns: i32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A pod of the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodRecord {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// Its node.
    pub node: String,
    /// Whether it lives in its node's network.
    pub host_network: bool,
    /// Protocol number and port of each listener.
    pub ports: Vec<(u8, u16)>,
}

impl Record {
    /// The node that a place is on or is.
    pub(crate) fn node_of(&self, end: &End) -> Option<&str> {
        let has = |place: &Place, address| place.addresses.contains(address);
        match end {
            End::Pod(key) => self.pods.get(key).map(|pod| pod.node.as_str()),
            End::Node(name) => Some(self.nodes.get_key_value(name)?.0),
            End::Outside => None,
            End::Address(ip) => {
                let node = self.nodes.iter().find(|(_, place)| has(place, ip)).map(|(name, _)| name.as_str());
                node.or_else(|| {
                    self.pods.values().find(|pod| has(&pod.place, ip)).map(|pod| pod.node.as_str())
                })
            }
        }
    }

    /// A path that leads to the network namespace of `place`.
    #[must_use]
    pub fn netns(&self, place: &Place) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", self.supervisor.pid, place.netns))
    }
}

/// The run directory of one lab.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    name: String,
}

/// Who holds a run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A lab that is being made, by this process.
    Starting(ProcessId),
    /// A lab.
    Running(ProcessId),
    /// Nobody: the process was killed.
    Dead,
}

impl RunDir {
    /// The directory of the lab `name`, which need not exist.
    pub(crate) fn new(root: &Path, name: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(fits) || name.starts_with('-') {
            bail!("{name:?} cannot be the name of a lab: use 1 to 40 of a-z, 0-9 and -");
        }
        Ok(RunDir { path: root.join(name), name: name.to_string() })
    }

    /// The lab's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the supervisor has to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("lab.log")
    }

    /// Where the lab in `folder` has its own bpffs, seen from inside the lab only.
    pub(crate) fn bpffs(folder: &Path) -> PathBuf {
        folder.join("bpf")
    }

    /// Where the agents of the lab in `folder` keep their folders and logs.
    pub(crate) fn agents(folder: &Path) -> PathBuf {
        folder.join("agents")
    }

    /// One link for each pod of the node, to its network namespace.
    pub(crate) fn sandboxes(&self, node: &str) -> PathBuf {
        self.path.join("sandboxes").join(node)
    }

    /// Where the agent of the node keeps its status.
    pub(crate) fn agent(&self, node: &str) -> PathBuf {
        RunDir::agents(&self.path).join(node)
    }

    /// What the agent of the node has to say.
    pub(crate) fn agent_log(&self, node: &str) -> PathBuf {
        RunDir::agents(&self.path).join(format!("{node}.log"))
    }

    /// The pins of the node, seen from inside the lab only.
    pub(crate) fn pins(&self, node: &str) -> PathBuf {
        RunDir::bpffs(&self.path).join(node)
    }

    /// Where orders are given to the supervisor.
    pub(crate) fn orders(path: &Path) -> PathBuf {
        path.join("orders.sock")
    }

    /// The file that tells agents the nodes and addresses that manifests do not give.
    pub(crate) fn placement(&self) -> PathBuf {
        self.path.join(PLACEMENT)
    }

    /// Takes the directory for a lab that the calling process makes. A dead lab of the same name is removed.
    pub(crate) fn claim(&self) -> Result<()> {
        let root = self.path.parent().context("the run directory has no parent")?;
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let lock = File::open(root).with_context(|| format!("cannot open {}", root.display()))?;
        // Held for as long as the few calls below take.
        flock(&lock, FlockOperation::LockExclusive).context("cannot lock the run directory")?;
        match self.owner() {
            None => {}
            Some(Owner::Dead) => self.remove()?,
            Some(Owner::Starting(process) | Owner::Running(process)) => bail!(
                "lab {} exists already (process {}): choose another --name, or end it with `isolator lab down {}`",
                self.name,
                process.pid,
                self.name
            ),
        }
        fs::create_dir(&self.path).with_context(|| format!("cannot make {}", self.path.display()))?;
        self.write(LAUNCHER, &ProcessId::own()?)?;
        for folder in ["bpf", "sandboxes", "agents"] {
            let folder = self.path.join(folder);
            fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// Records that the calling process is the lab.
    pub(crate) fn occupy(&self) -> Result<()> {
        self.write(SUPERVISOR, &ProcessId::own()?)
    }

    /// Records where the lab's cgroups will be.
    pub(crate) fn separate(&self, cgroups: &Cgroups) -> Result<()> {
        self.write(CGROUPS, &cgroups.top())
    }

    /// The lab's cgroups, if it has any.
    pub(crate) fn cgroups(&self) -> Option<Cgroups> {
        self.read(CGROUPS).ok().map(Cgroups::at)
    }

    /// Records that the process that made the lab is done.
    pub(crate) fn release(&self) -> Result<()> {
        let path = self.path.join(LAUNCHER);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Records what is in the lab.
    pub(crate) fn publish(&self, record: &Record) -> Result<()> {
        self.write(LAB, record)
    }

    /// Records for the agents which node and addresses each pod has.
    pub(crate) fn place(&self, plan: &Plan) -> Result<()> {
        let pods = plan.pods.iter().map(|(key, pod)| {
            (key.clone(), Placement { node: pod.node.clone(), addresses: pod.addresses.clone() })
        });
        let nodes = plan.nodes.iter().map(|(name, node)| (name.clone(), node.addresses.clone()));
        self.write(PLACEMENT, &Placements { pods: pods.collect(), nodes: nodes.collect() })
    }

    /// Who holds the directory; `None` where there is none.
    pub(crate) fn owner(&self) -> Option<Owner> {
        if !self.path.is_dir() {
            return None;
        }
        let alive = |file| self.read::<ProcessId>(file).ok().filter(ProcessId::is_alive);
        let owner = match (alive(SUPERVISOR), alive(LAUNCHER)) {
            (Some(supervisor), _) if self.path.join(LAB).exists() => Owner::Running(supervisor),
            (Some(process), _) | (None, Some(process)) => Owner::Starting(process),
            (None, None) => Owner::Dead,
        };
        Some(owner)
    }

    /// Every process that holds the directory and still runs.
    pub(crate) fn holders(&self) -> Vec<ProcessId> {
        let alive = |file| self.read::<ProcessId>(file).ok().filter(ProcessId::is_alive);
        [LAUNCHER, SUPERVISOR].into_iter().filter_map(alive).collect()
    }

    /// What is in the lab, dead or alive.
    pub(crate) fn record(&self) -> Result<Record> {
        self.read(LAB)
    }

    /// Removes the directory and the lab's cgroups. Whoever held it must be gone.
    pub(crate) fn remove(&self) -> Result<()> {
        if let Some(cgroups) = self.cgroups() {
            cgroups.remove()?;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, file: &str, value: &impl Serialize) -> Result<()> {
        let (path, draft) = (self.path.join(file), self.path.join(format!(".{file}")));
        fs::write(&draft, serde_json::to_vec(value)?)
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let path = self.path.join(file);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not what a lab writes", path.display()))
    }
}

/// The folder that holds the run directories: what was asked for, or the first that can be written.
pub(crate) fn root(asked: Option<&Path>) -> PathBuf {
    if let Some(asked) = asked {
        return std::path::absolute(asked).unwrap_or_else(|_| asked.to_path_buf());
    }
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    if writable(Path::new("/run")) {
        return PathBuf::from(ROOT);
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| writable(path)) {
        Some(own) => own.join("isolator/lab"),
        None => PathBuf::from("/tmp/isolator/lab"),
    }
}

/// All labs below `root`, by name.
pub(crate) fn all(root: &Path) -> Result<Vec<RunDir>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", root.display())),
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names.iter().filter_map(|name| RunDir::new(root, name).ok()).filter(|dir| dir.path.is_dir()).collect())
}

/// What is in the running lab `name` below `root`, or in the only one where no name is given.
///
/// # Errors
/// There is no such lab, it is not running, or there are several to choose from.
pub fn load(root_asked: Option<&Path>, name: Option<&str>) -> Result<(PathBuf, Record)> {
    let root = root(root_asked);
    let dir = match name {
        Some(name) => RunDir::new(&root, name)?,
        None => {
            let mut running = all(&root)?;
            running.retain(|dir| matches!(dir.owner(), Some(Owner::Running(_))));
            match running.as_slice() {
                [] => bail!("no lab is running: make one with `isolator lab up -f DIR`"),
                [one] => one.clone(),
                several => {
                    let names: Vec<&str> = several.iter().map(RunDir::name).collect();
                    bail!("several labs are running ({}): choose one with --lab", names.join(", "))
                }
            }
        }
    };
    match dir.owner() {
        Some(Owner::Running(_)) => Ok((dir.path().to_path_buf(), dir.record()?)),
        Some(Owner::Starting(_)) => {
            bail!("lab {} is still being made: see {}", dir.name(), dir.log().display())
        }
        Some(Owner::Dead) => bail!(
            "lab {} is dead: remove what is left with `isolator lab down {}`, or make it again with `lab up`",
            dir.name(),
            dir.name()
        ),
        None => bail!("there is no lab {}: `isolator lab list` shows what there is", dir.name()),
    }
}
