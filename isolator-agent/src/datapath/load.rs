//! Loads the programs and opens the maps: pinned, so that they outlive the agent, or without any trace, for
//! tests and offline judging. Not here: attaching (`attach`), writing (`store`).

use super::bpf;
use super::features::{Feature, Features};
use super::hook::Hook;
use super::maps::MapError;
use super::read::ring;
use super::store::Store;
use aya::maps::{MapData, RingBuf};
use aya::programs::{CgroupSkb, Program, ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfError, EbpfLoader};
use isolator_common::ABI_VERSION;
use isolator_common::tables;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The kernel half, as `build.rs` made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/isolator"));

/// Room of the maps, in entries (EVENTS: in bytes). The default is that of `isolator_common::tables`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacities(BTreeMap<&'static str, u32>);

impl Capacities {
    /// Another room for one map. Unknown names are refused when loading.
    #[must_use]
    pub fn with(mut self, map: &'static str, entries: u32) -> Capacities {
        self.0.insert(map, entries);
        self
    }

    /// Small maps, for tests and single judgements: about 2 MB in all. ENDPOINTS is smaller than its index
    /// mask, so high interface indexes live in ENDPOINTS_WIDE.
    #[must_use]
    pub fn small() -> Capacities {
        use tables::name;
        [
            (name::ENDPOINTS, 1 << 7),
            (name::ENDPOINTS_WIDE, 1 << 7),
            (name::BLOCKS4, 1 << 8),
            (name::BLOCKS6, 1 << 8),
            (name::BLOCK_PEERS, 1 << 14),
            (name::HOSTS, 1 << 12),
            (name::PREFIXES, 1 << 12),
            (name::CELLS, 1 << 16),
            (name::INTERVALS, 1 << 15),
            (name::ESTABLISHED4, 1 << 9),
            (name::ESTABLISHED6, 1 << 9),
            (name::HALF_OPEN4, 1 << 9),
            (name::HALF_OPEN6, 1 << 9),
            (name::FRAGMENTS, 1 << 9),
            (name::COUNTERS, 1 << 12),
            (name::EVENT_RATE, 1 << 7),
            (name::EVENTS, 1 << 16),
            (name::NAMES, 1 << 14),
        ]
        .into_iter()
        .fold(Capacities::default(), |all, (map, entries)| all.with(map, entries))
    }
}

/// Why loading failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Another agent works on the same pins.
    #[error("another agent{} works on {pin_dir}: stop it first", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Busy {
        /// Directory of the pins.
        pin_dir: PathBuf,
        /// Process that holds the lock, where this process may see it.
        pid: Option<u32>,
    },
    /// The pinned maps were written by an agent with other layouts.
    #[error(
        "the maps in {pin_dir} have ABI version {found}, this agent needs {ABI_VERSION}: run `isolator uninstall`, then start again"
    )]
    Abi {
        /// Directory of the pins.
        pin_dir: PathBuf,
        /// Version of the maps.
        found: u32,
    },
    /// A pinned map is not what the programs need.
    #[error(
        "pinned map {path}: {field} is {found}, this agent needs {wanted}: run `isolator uninstall`, then start again"
    )]
    Definition {
        /// The pin.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// Value in the kernel.
        found: u32,
        /// Value in the object and the capacities asked for.
        wanted: u32,
    },
    /// A map that does not exist was given a capacity.
    #[error("there is no map {0} to give a capacity to")]
    UnknownMap(String),
    /// The directory for pins cannot be made or locked.
    #[error("cannot use {path} for pins: {error}{}", cure(error))]
    PinDir {
        /// Directory of the pins.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The object is damaged: a fault of the build.
    #[error("the built-in object is damaged: {0}")]
    Object(String),
    /// The kernel refused a map or the object.
    #[error("cannot load: {}{}", causes(.0), cause(.0).map(cure).unwrap_or_default())]
    Load(EbpfError),
    /// The kernel refused a program.
    #[error("the kernel refuses program {name}: {error}")]
    Program {
        /// Name of the program.
        name: &'static str,
        /// What the kernel said, with the verifier's log.
        error: ProgramError,
    },
    /// A map cannot be read.
    #[error(transparent)]
    Map(#[from] MapError),
}

impl From<EbpfError> for LoadError {
    fn from(error: EbpfError) -> Self {
        LoadError::Load(error)
    }
}

/// What to do about what the kernel said of a pin or a map, where that is not plain.
pub(crate) fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory | io::ErrorKind::QuotaExceeded => {
            ". There is no room: the kernel keeps maps and pins in memory. Free some, or raise the memory limit of the agent's \
             cgroup (resources.limits.memory of its pod)"
        }
        io::ErrorKind::ReadOnlyFilesystem => ". Mount it to be written: mount -o remount,rw /sys/fs/bpf",
        io::ErrorKind::PermissionDenied => {
            ". Run as root with CAP_BPF; before Linux 5.11 with CAP_SYS_RESOURCE, too (deploy/linux-5.10)"
        }
        _ => "",
    }
}

/// An error of the loader with its causes, in one line.
fn causes(error: &EbpfError) -> String {
    let all = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut texts: Vec<String> = Vec::new();
    for text in all.map(|error| error.to_string()) {
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// What the kernel said, at the end of the causes.
fn cause(error: &EbpfError) -> Option<&io::Error> {
    let all = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    all.filter_map(|error| error.downcast_ref::<io::Error>()).last()
}

/// Name of the program for what the node itself receives.
pub(crate) const TO_HOST: &str = "to_host";

/// All programs, loaded.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    ids: [u32; Hook::ALL.len()],
    host: u32,
}

impl Programs {
    pub(crate) fn program(&self, hook: Hook) -> &SchedClassifier {
        match self.ebpf.program(hook.program()).map(TryInto::try_into) {
            Some(Ok(program)) => program,
            _ => unreachable!("`load` has loaded all"),
        }
    }

    pub(crate) fn fd(&self, hook: Hook) -> BorrowedFd<'_> {
        match self.program(hook).fd() {
            Ok(fd) => fd.as_fd(),
            Err(_) => unreachable!("`load` has loaded all"),
        }
    }

    pub(crate) fn host_fd(&self) -> BorrowedFd<'_> {
        match self.host().fd() {
            Ok(fd) => fd.as_fd(),
            Err(_) => unreachable!("`load` has loaded all"),
        }
    }

    /// The program for what the node itself receives.
    pub(crate) fn host(&self) -> &CgroupSkb {
        match self.ebpf.program(TO_HOST).map(TryInto::try_into) {
            Some(Ok(program)) => program,
            _ => unreachable!("`load` has loaded all"),
        }
    }

    /// The kernel's number of a program.
    #[must_use]
    pub fn id(&self, hook: impl Into<Hook>) -> u32 {
        self.ids[hook.into().index()]
    }

    /// The kernel's number of the program for what the node itself receives.
    #[must_use]
    pub fn host_id(&self) -> u32 {
        self.host
    }
}

/// Programs and maps of this agent.
#[derive(Debug)]
pub struct Loaded {
    /// The maps, to write.
    pub store: Store,
    /// The programs, to attach or run.
    pub programs: Programs,
    /// What the kernel can do.
    pub features: Features,
    maps: BTreeMap<&'static str, MapData>,
    _lock: Option<OwnedFd>,
}

impl Loaded {
    /// Opens the maps pinned in `pin_dir`, makes and pins those that are missing, and loads the programs.
    /// Nothing is attached. Until it is dropped no other agent can open the same directory.
    ///
    /// # Errors
    /// See [`LoadError`]; existing pins are left as they are.
    pub fn open(pin_dir: &Path, capacities: &Capacities) -> Result<Loaded, LoadError> {
        let unusable = |error| LoadError::PinDir { path: pin_dir.to_owned(), error };
        std::fs::create_dir_all(pin_dir).map_err(unusable)?;
        let lock = lock(pin_dir)?;
        check_pins(pin_dir, capacities)?;
        let loaded = Loaded::load(Some(pin_dir), capacities, Features::probe(), Some(lock))?;
        let found = loaded.store.state()?.abi_version;
        // 0: no agent has written there yet.
        if found != 0 && found != ABI_VERSION {
            return Err(LoadError::Abi { pin_dir: pin_dir.to_owned(), found });
        }
        Ok(loaded)
    }

    /// Loads programs and maps that vanish with this value.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn ephemeral(capacities: &Capacities) -> Result<Loaded, LoadError> {
        Loaded::ephemeral_with(capacities, Features::probe())
    }

    /// As [`Loaded::ephemeral`], with fewer features than the kernel has.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn ephemeral_with(capacities: &Capacities, features: Features) -> Result<Loaded, LoadError> {
        Loaded::load(None, capacities, features, None)
    }

    fn load(
        pin_dir: Option<&Path>,
        capacities: &Capacities,
        features: Features,
        lock: Option<OwnedFd>,
    ) -> Result<Loaded, LoadError> {
        // Kernels before 5.11 charge maps to this limit, whose default is too small. Newer ones ignore it, so
        // a refusal to raise it is no error here: creating the maps would say so.
        let _kernels_before_5_11 =
            rustix::process::setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        let mut loader = EbpfLoader::new();
        for (map, default, _) in tables::ALL {
            loader.map_max_entries(map, capacities.0.get(map).copied().unwrap_or(*default));
            if let Some(pin_dir) = pin_dir {
                loader.map_pin_path(map, pin_dir.join(map));
            }
        }
        if let Some(unknown) =
            capacities.0.keys().find(|map| tables::ALL.iter().all(|(name, ..)| name != *map))
        {
            return Err(LoadError::UnknownMap((*unknown).to_owned()));
        }
        let mut ebpf = loader.load(OBJECT)?;
        let mut maps = BTreeMap::new();
        for (name, ..) in tables::ALL {
            let map =
                ebpf.take_map(name).ok_or_else(|| LoadError::Object(format!("it has no map {name}")))?;
            maps.insert(*name, into_data(map).ok_or_else(|| LoadError::Object(format!("odd map {name}")))?);
        }
        let store = Store::new(&maps, features.has(Feature::Batch))?;
        let mut ids = [0; Hook::ALL.len()];
        for hook in Hook::ALL {
            let program: &mut SchedClassifier = find(&mut ebpf, hook.program())?;
            let refused = |error| LoadError::Program { name: hook.program(), error };
            program.load().map_err(refused)?;
            ids[hook.index()] = program.info().map_err(refused)?.id();
        }
        let program: &mut CgroupSkb = find(&mut ebpf, TO_HOST)?;
        let refused = |error| LoadError::Program { name: TO_HOST, error };
        program.load().map_err(refused)?;
        let host = program.info().map_err(refused)?.id();
        let programs = Programs { ebpf, ids, host };
        Ok(Loaded { store, programs, features, maps, _lock: lock })
    }

    /// Whether a map is not where it was pinned: `Some(true)` where another is instead.
    ///
    /// # Errors
    /// When the pin cannot be read.
    pub(crate) fn misses_pin(&self, pin_dir: &Path, map: &'static str) -> Result<Option<bool>, LoadError> {
        let Some(own) = self.maps.get(map) else { return Ok(None) };
        let path = pin_dir.join(map);
        let unusable = |error| LoadError::PinDir { path: path.clone(), error };
        let id = |data: &MapData| -> Result<u32, LoadError> {
            Ok(data.info().map_err(|error| unusable(io::Error::other(error)))?.id())
        };
        let there = match bpf::pinned(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(false)),
            Err(error) => return Err(unusable(error)),
        };
        let there = MapData::from_fd(there).map_err(|error| unusable(io::Error::other(error)))?;
        Ok((id(&there)? != id(own)?).then_some(true))
    }

    /// Pins a map again where nothing is pinned any more.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn pin(&self, pin_dir: &Path, map: &'static str) -> Result<(), LoadError> {
        let Some(own) = self.maps.get(map) else { return Ok(()) };
        let path = pin_dir.join(map);
        bpf::pin(own.fd().as_fd(), &path).map_err(|error| LoadError::PinDir { path, error })
    }

    /// The ring buffer of events, once. It has one read position for all who read.
    ///
    /// # Errors
    /// When it was taken before, or the kernel does not let this process map it.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>, LoadError> {
        let taken = || LoadError::Object("the ring buffer was taken before".to_owned());
        Ok(ring(self.maps.remove(tables::name::EVENTS).ok_or_else(taken)?)?)
    }
}

/// A program of the object, not loaded yet.
fn find<'e, P>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut P, LoadError>
where
    &'e mut P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    let program =
        ebpf.program_mut(name).ok_or_else(|| LoadError::Object(format!("it has no program {name}")))?;
    program.try_into().map_err(|error| LoadError::Object(format!("program {name}: {error}")))
}

/// The map itself, of whatever kind.
fn into_data(map: aya::maps::Map) -> Option<MapData> {
    use aya::maps::Map;
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::LpmTrie(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// Locks the directory itself, so that agents with other settings but the same pins meet, too.
pub(crate) fn lock(pin_dir: &Path) -> Result<OwnedFd, LoadError> {
    let unusable =
        |error: rustix::io::Errno| LoadError::PinDir { path: pin_dir.to_owned(), error: error.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(pin_dir, flags, Mode::empty()).map_err(unusable)?;
    match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(dir),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(LoadError::Busy { pin_dir: pin_dir.to_owned(), pid: lock_holder(pin_dir) })
        }
        Err(error) => Err(unusable(error)),
    }
}

/// The process that holds a lock on a directory, if this process can see it.
#[must_use]
pub fn lock_holder(pin_dir: &Path) -> Option<u32> {
    let inode = std::fs::metadata(pin_dir).ok()?;
    let device = inode.dev();
    let place =
        format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), inode.ino());
    // A line is: number, FLOCK, ADVISORY, WRITE, pid, device and inode, range. Waiting ones have an arrow.
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>).find_map(
        |line| match line[..] {
            [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok(),
            _ => None,
        },
    )
}

/// Compares pinned maps with what the object and the capacities ask for: the loader takes any map of the name.
fn check_pins(pin_dir: &Path, capacities: &Capacities) -> Result<(), LoadError> {
    let object = aya_obj::Object::parse(OBJECT).map_err(|error| LoadError::Object(error.to_string()))?;
    for (name, default, _) in tables::ALL {
        let path = pin_dir.join(name);
        let pin = match bpf::pinned(&path) {
            Ok(pin) => pin,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LoadError::PinDir { path, error }),
        };
        let info = MapData::from_fd(pin)
            .and_then(|map| map.info())
            .map_err(|error| LoadError::PinDir { path: path.clone(), error: io::Error::other(error) })?;
        let Some(wanted) = object.maps.get(*name) else {
            return Err(LoadError::Object(format!("it has no map {name}")));
        };
        let entries = capacities.0.get(name).copied().unwrap_or(*default);
        let kind = info.map_type().map_or(0, |kind| kind as u32);
        // Ring buffers have neither keys nor values, whatever the object says.
        let ring = *name == tables::name::EVENTS;
        let fields = [
            ("type", kind, wanted.map_type()),
            ("size of a key", info.key_size(), if ring { 0 } else { wanted.key_size() }),
            ("size of a value", info.value_size(), if ring { 0 } else { wanted.value_size() }),
            ("capacity", info.max_entries(), entries),
            ("flags", info.map_flags(), wanted.map_flags()),
        ];
        for (field, found, wanted) in fields {
            if found != wanted {
                return Err(LoadError::Definition { path, field, found, wanted });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::maps;

    #[test]
    fn the_programs_name_no_folder_of_the_machine_that_built_them() {
        let built_in = env!("CARGO_MANIFEST_DIR").trim_end_matches("agent");
        let named = |path: &str| OBJECT.windows(path.len()).any(|bytes| bytes == path.as_bytes());
        assert!(!named(built_in), "{built_in}");
        assert!(named("isolator-ebpf/src/"), "lines of the source, for whoever reads what the verifier says");
    }

    #[test]
    fn a_bpf_file_system_or_memory_without_room_is_said_in_one_line_with_the_cure() {
        let no_room = |code| io::Error::from_raw_os_error(code);
        let pin = LoadError::PinDir { path: "/sys/fs/bpf/isolator".into(), error: no_room(libc::ENOSPC) };
        let map =
            maps::MapError::CreateError { name: tables::name::CELLS.into(), io_error: no_room(libc::ENOMEM) };
        for said in [pin.to_string(), LoadError::from(EbpfError::MapError(map)).to_string()] {
            assert!(said.contains("no room") && said.contains("memory limit"), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
        let map =
            maps::MapError::CreateError { name: tables::name::CELLS.into(), io_error: no_room(libc::EPERM) };
        let said = LoadError::from(EbpfError::MapError(map)).to_string();
        assert!(said.contains(tables::name::CELLS) && said.contains("CAP_SYS_RESOURCE"), "{said}");
    }
}
