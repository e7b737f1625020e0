//! The kernel against what is wanted, without changing it; and the removal of everything that is ours. Not here:
//! what is wanted (`isolator_policy`), repairing (the agent does, from what it reads).

use super::attach::{AttachError, Attacher, Attachment, attachments};
use super::hook::Hook;
use super::load::{LoadError, lock};
use super::read::{ReadError, ReadOnly};
use compare::{Extent, Round};
use isolator_common::tables::{self, name};
use isolator_policy::datapath::image::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod compare;
mod patrol;

pub use patrol::{Found, Patrol, Wanted};

/// Maps that every program of ours uses, so that a program that does not has been loaded with other maps.
const USED_BY_ALL: [&str; 3] = [name::STATE, name::ENDPOINTS, name::CELLS];

/// One difference between the kernel and what is wanted. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A map entry.
    Entry {
        /// Name of the map.
        map: &'static str,
        /// The key.
        key: String,
        /// What the kernel has.
        kernel: Option<String>,
        /// What it should have.
        wanted: Option<String>,
    },
    /// A program does not run on an interface of a pod: nothing is enforced there.
    NotAttached {
        /// The interface.
        ifindex: u32,
        /// Which program.
        hook: Hook,
    },
    /// A program runs on an interface that belongs to no pod.
    NotWanted(Attachment),
    /// The same program runs twice on an interface.
    Twice(Attachment),
    /// A program of somebody else runs before ours and may let packets pass it.
    NotFirst(Attachment),
    /// A map is not where every other process looks for it.
    NotPinned {
        /// The map.
        map: &'static str,
        /// Another map is there instead.
        other: bool,
    },
    /// A program uses other maps than the pinned ones, so that no change of policy reaches it.
    OtherMaps {
        /// The program, where it runs.
        attachment: Attachment,
        /// The map that it does not use.
        map: &'static str,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place =
            |a: &Attachment| format!("{} on {} ({}, {})", a.hook.program(), a.name, a.ifindex, a.mode);
        match self {
            Difference::Entry { map, key, kernel, wanted } => {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                write!(f, "{map}[{key}] is {}, should be {}", text(kernel), text(wanted))
            }
            Difference::NotAttached { ifindex, hook } => {
                write!(f, "{} is not attached to interface {ifindex}", hook.program())
            }
            Difference::NotWanted(a) => write!(f, "{} is attached, but belongs to no pod", place(a)),
            Difference::Twice(a) => write!(f, "{} is attached more than once", place(a)),
            Difference::NotFirst(a) => write!(f, "{} runs after a program of somebody else", place(a)),
            Difference::NotPinned { map, other: false } => write!(f, "map {map} is not pinned"),
            Difference::NotPinned { map, other: true } => {
                write!(f, "where map {map} should be pinned there is another map")
            }
            Difference::OtherMaps { attachment, map } => {
                write!(f, "{} does not use the pinned map {map}", place(attachment))
            }
        }
    }
}

impl Difference {
    /// Its kind, in a few words that do not change. There is one for each variant.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Difference::Entry { .. } => "entry",
            Difference::NotAttached { .. } => "not-attached",
            Difference::NotWanted(_) => "not-wanted",
            Difference::Twice(_) => "twice",
            Difference::NotFirst(_) => "not-first",
            Difference::NotPinned { .. } => "not-pinned",
            Difference::OtherMaps { .. } => "other-maps",
        }
    }

    /// Whether the agent mends it. What is somebody else's stays.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(self, Difference::NotFirst(_) | Difference::NotPinned { other: true, .. })
    }
}

/// Why the kernel could not be compared or cleaned.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The maps cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The attachments cannot be read or removed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The program for the node itself cannot be removed.
    #[error(transparent)]
    Host(#[from] super::host::HostError),
    /// An agent is at work, or the directory cannot be used.
    #[error(transparent)]
    Lock(#[from] LoadError),
    /// A program cannot be looked at.
    #[error("cannot read program {id}: {error}")]
    Program {
        /// The kernel's number.
        id: u32,
        /// What the kernel said.
        error: io::Error,
    },
    /// A pin cannot be removed.
    #[error("cannot remove {path}: {error}")]
    Remove {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Every difference between the kernel and `wanted`, with both programs on each of `interfaces`.
///
/// # Errors
/// When the kernel cannot be read; that is no difference.
pub fn verify(
    pin_dir: &Path,
    wanted: &Image,
    interfaces: &BTreeSet<u32>,
) -> Result<Vec<Difference>, AuditError> {
    let maps = ReadOnly::open(pin_dir)?;
    let mut all = Vec::new();
    // The switch, and endpoints that are wanted, are in every look.
    let mut round = Round::new(Extent::Whole);
    loop {
        let mut found = Vec::new();
        let over = round.look(maps.maps(), wanted, &mut found).map_err(ReadError::from)?;
        for difference in found {
            if !all.contains(&difference) {
                all.push(difference);
            }
        }
        if over {
            break;
        }
    }
    let ids: BTreeMap<&str, u32> = maps.summaries()?.iter().map(|map| (map.name, map.id)).collect();
    let attached = attachments(pin_dir)?;
    let mut uses: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for attachment in &attached {
        if let std::collections::btree_map::Entry::Vacant(entry) = uses.entry(attachment.program) {
            entry.insert(maps_of(attachment.program)?);
        }
    }
    let other_maps = |_, program| USED_BY_ALL.into_iter().find(|map| !uses[&program].contains(&ids[map]));
    all.extend(programs(&attached, interfaces, &other_maps));
    Ok(all)
}

/// What is not as it should be of `attached`, which is all that runs on `interfaces` and perhaps on others.
/// `other_maps`: a map of ours that a program does not use.
fn programs(
    attached: &[Attachment],
    interfaces: &BTreeSet<u32>,
    other_maps: &dyn Fn(Hook, u32) -> Option<&'static str>,
) -> Vec<Difference> {
    let mut all = Vec::new();
    for ifindex in interfaces {
        for hook in Hook::POD {
            if !attached.iter().any(|a| (a.ifindex, a.hook) == (*ifindex, hook)) {
                all.push(Difference::NotAttached { ifindex: *ifindex, hook });
            }
        }
    }
    let mut seen = BTreeSet::new();
    for attachment in attached {
        if let Some(map) = other_maps(attachment.hook, attachment.program) {
            all.push(Difference::OtherMaps { attachment: attachment.clone(), map });
        }
        if !attachment.first {
            all.push(Difference::NotFirst(attachment.clone()));
        }
        if attachment.hook.of_pod() && !interfaces.contains(&attachment.ifindex) {
            all.push(Difference::NotWanted(attachment.clone()));
        }
        if !seen.insert((attachment.ifindex, attachment.hook)) {
            all.push(Difference::Twice(attachment.clone()));
        }
    }
    all
}

/// The maps that a program uses.
fn maps_of(id: u32) -> Result<BTreeSet<u32>, AuditError> {
    let failed = |error| AuditError::Program { id, error };
    for program in aya::programs::loaded_programs() {
        let Ok(program) = program else { continue };
        if program.id() == id {
            let maps = program.map_ids().map_err(|error| failed(io::Error::other(error)))?;
            return Ok(maps.unwrap_or_default().into_iter().collect());
        }
    }
    Err(failed(io::Error::from(io::ErrorKind::NotFound)))
}

/// What [`uninstall`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Interfaces that our programs were taken off; also those that were gone already.
    pub interfaces: BTreeSet<u32>,
    /// Maps.
    pub maps: Vec<&'static str>,
}

/// Removes every link, filter, pin and map of ours: those pinned in `pin_dir`, and filters in this thread's
/// network namespace. clsact qdiscs stay, others may use them. Traffic is not restricted any more.
///
/// # Errors
/// When an agent is at work, or the kernel refuses; what was removed until then stays removed.
pub fn uninstall(pin_dir: &Path) -> Result<Removed, AuditError> {
    let there = pin_dir.exists();
    let _lock = if there { Some(lock(pin_dir)?) } else { None };
    let attacher = Attacher::any(pin_dir);
    let mut removed = Removed { interfaces: attacher.sweep(&BTreeSet::new())?, maps: Vec::new() };
    super::host::detach(pin_dir)?;
    if !there {
        return Ok(removed);
    }
    for (map, ..) in tables::ALL {
        if remove(&pin_dir.join(map), |path| std::fs::remove_file(path))? {
            removed.maps.push(map);
        }
    }
    remove(&super::attach::links_dir(pin_dir), |path| std::fs::remove_dir(path))?;
    remove(pin_dir, |path| std::fs::remove_dir(path))?;
    Ok(removed)
}

/// Whether something was removed. A directory that holds what is not ours stays.
fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<bool, AuditError> {
    match how(path) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Ok(false)
        }
        Err(error) => Err(AuditError::Remove { path: path.to_owned(), error }),
    }
}
