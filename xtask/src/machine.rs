//! What this machine can do: privileges and kernel features, each missing one with its cure in one
//! line. Not here: which command needs what.

use std::fs;

/// Something that a tier or command needs from the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// The capabilities to load programs and to make namespaces.
    Root,
    /// Linux 5.10 or newer.
    Kernel,
    /// The kernel's own type information.
    Btf,
    /// The filesystem for pinned maps.
    Bpffs,
}

impl Need {
    /// Everything that loading programs takes.
    pub(crate) const DATAPATH: &[Need] = &[Need::Root, Need::Kernel, Need::Btf, Need::Bpffs];

    /// What is missing and its cure; `None` when nothing is.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Need::Root => without_capabilities(&read("/proc/self/status")),
            Need::Kernel => too_old(&read("/proc/sys/kernel/osrelease")),
            Need::Btf => (!fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false)).then(|| {
                "the kernel has no BTF (/sys/kernel/btf/vmlinux); cure: use a kernel built with \
                 CONFIG_DEBUG_INFO_BTF, as distributions build it"
                    .to_owned()
            }),
            Need::Bpffs => without_bpffs(&read("/proc/filesystems")),
        }
    }
}

fn read(path: &str) -> String {
    // An unreadable file reads as a machine that can do nothing, which the cure then explains.
    fs::read_to_string(path).unwrap_or_default()
}

/// Capabilities by name and bit number.
const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

fn without_capabilities(status: &str) -> Option<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "not privileged ({} missing); cure: run as root, outside of a container",
        missing.join(", ")
    ))
}

fn too_old(release: &str) -> Option<String> {
    let mut numbers = release.trim().split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version < (5, 10))
        .then(|| format!("kernel {} is too old; cure: boot Linux 5.10 or newer", release.trim()))
}

fn without_bpffs(filesystems: &str) -> Option<String> {
    let known = filesystems.lines().any(|line| line.split_whitespace().last() == Some("bpf"));
    (!known).then(|| "the kernel does not know bpffs; cure: use a kernel with CONFIG_BPF_SYSCALL".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(without_capabilities("CapInh:\t0\nCapEff:\t000001ffffffffff\n"), None);
        let said = without_capabilities("CapEff:\t0000003fffffffff\n").unwrap();
        assert!(said.contains("CAP_PERFMON, CAP_BPF") && !said.contains("NET"), "{said}");
        assert!(without_capabilities("").unwrap().contains("CAP_NET_ADMIN"));
    }

    #[test]
    fn old_kernels_are_told_from_new_ones() {
        for fine in ["5.10.0-30-amd64", "5.15.167.4-microsoft", "6.1.0", "10.0+"] {
            assert_eq!(too_old(fine), None, "{fine}");
        }
        for old in ["5.4.0-190-generic", "4.19.0", "", "5"] {
            assert!(too_old(old).is_some(), "{old}");
        }
    }

    #[test]
    fn bpffs_is_looked_up_as_a_whole_word() {
        assert_eq!(without_bpffs("nodev\tsysfs\nnodev\tbpf\n\text4\n"), None);
        assert!(without_bpffs("nodev\tsysfs\nnodev\tebpf\n").is_some());
    }
}
