//! What this kernel and this process can do: optional features, found by trying them once, and what must be
//! there before the agent can start, each with its cure. Not here: loading itself.

use super::bpf;
use super::grace::Grace;
use super::hook::Hook;
use super::table::Table;
use aya::maps::MapData;
use rustix::thread::CapabilitySet;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// The oldest kernel that is supported, as (major, minor).
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// Type information of the running kernel.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// Something that not every supported kernel has. Without it the agent does the same in another way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Feature {
    /// TCX links (6.6): programs are attached without a qdisc. Otherwise: clsact and filters.
    Tcx,
    /// Batch operations on arrays and hashes (5.6). Otherwise: one call per entry.
    Batch,
    /// `membarrier` as a grace period. Otherwise: a write to an array of maps.
    Membarrier,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 3] = [Feature::Tcx, Feature::Batch, Feature::Membarrier];

    /// A short stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Feature::Tcx => "tcx",
            Feature::Batch => "batch",
            Feature::Membarrier => "membarrier",
        }
    }

    fn works(self) -> bool {
        match self {
            Feature::Tcx => bpf::tcx_programs(LOOPBACK, Hook::ToPod).is_ok(),
            Feature::Batch => bpf::small_array(None)
                .ok()
                .and_then(|map| MapData::from_fd(map).ok())
                .and_then(|map| Table::<u32, u32>::new(&map, true).ok())
                .is_some_and(|table| table.try_batch().is_ok()),
            Feature::Membarrier => Grace::Membarrier.wait().is_ok(),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Release of the running kernel, as `uname -r` prints it.
    pub kernel: String,
    present: BTreeSet<Feature>,
}

impl Features {
    /// Tries each feature once. Leaves no trace.
    #[must_use]
    pub fn probe() -> Features {
        Features { kernel: release(), present: Feature::ALL.into_iter().filter(|f| f.works()).collect() }
    }

    /// Whether the kernel has it.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.present.contains(&feature)
    }

    /// The same kernel without a feature, to use or test the other way.
    #[must_use]
    pub fn without(mut self, feature: Feature) -> Features {
        self.present.remove(&feature);
        self
    }
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Something without which the agent cannot work. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cure)
    }
}

/// What is missing to load programs, and, where `pin_dir` is given, to pin them there. Empty: all is well.
#[must_use]
pub fn missing(pin_dir: Option<&Path>) -> Vec<Missing> {
    [old_kernel(&release()), capabilities(), btf(), pin_dir.and_then(bpffs)].into_iter().flatten().collect()
}

fn old_kernel(release: &str) -> Option<Missing> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < OLDEST_KERNEL).then(|| Missing {
        what: format!("kernel {release} is too old"),
        cure: format!("boot {}.{} or newer", OLDEST_KERNEL.0, OLDEST_KERNEL.1),
    })
}

fn capabilities() -> Option<Missing> {
    let effective = rustix::thread::capabilities(None).map(|sets| sets.effective).ok()?;
    let all = effective.contains(CapabilitySet::SYS_ADMIN);
    let wanted = [
        ("CAP_NET_ADMIN", effective.contains(CapabilitySet::NET_ADMIN)),
        ("CAP_BPF", all || effective.contains(CapabilitySet::BPF)),
        ("CAP_PERFMON", all || effective.contains(CapabilitySet::PERFMON)),
    ];
    let lacking: Vec<&str> = wanted.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    (!lacking.is_empty()).then(|| Missing {
        what: format!("not allowed to load programs, {} missing", lacking.join(", ")),
        cure: "run as root (sudo), or grant these capabilities".to_owned(),
    })
}

fn btf() -> Option<Missing> {
    (!Path::new(BTF).exists()).then(|| Missing {
        what: format!("no type information of the kernel at {BTF}"),
        cure: "boot a kernel with CONFIG_DEBUG_INFO_BTF=y and mount sysfs".to_owned(),
    })
}

fn bpffs(pin_dir: &Path) -> Option<Missing> {
    let mut existing: PathBuf = pin_dir.to_owned();
    while !existing.exists() {
        if !existing.pop() {
            break;
        }
    }
    let kind = rustix::fs::statfs(&existing).ok()?.f_type;
    (kind as u64 & 0xffff_ffff != BPF_FS_MAGIC).then(|| Missing {
        what: format!("{} is not on a BPF file system", pin_dir.display()),
        cure: "mount -t bpf bpf /sys/fs/bpf, or choose another directory for pins".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_as_numbers() {
        assert!(old_kernel("5.9.16-generic").is_some());
        assert!(old_kernel("4.19.0").is_some());
        assert_eq!(old_kernel("5.10.0-30-amd64"), None);
        assert_eq!(old_kernel("6.18.5+"), None);
        assert_eq!(old_kernel("10.0-rc1"), None);
    }

    #[test]
    fn an_ordinary_directory_is_no_place_for_pins() {
        let missing = bpffs(&std::env::temp_dir().join("not/there/yet")).expect("is not bpffs");
        assert!(missing.to_string().contains("mount -t bpf"), "{missing}");
    }
}
