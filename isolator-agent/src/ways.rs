//! Ways to the backends of services: every device by which a marked packet can leave the stack, and the node
//! itself. Marking is open while each of them is judged, and closed otherwise: what pods send to Service addresses
//! is dropped then. Not here: pods' own interfaces, writing.

use crate::config::HostBackends;
use crate::datapath::attach::{AttachError, Attacher};
use crate::datapath::discover::Device;
use crate::datapath::hook::Hook;
use crate::datapath::host;
use crate::datapath::load::Programs;
use isolator_common::endpoint::Marking;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tracing::info;

/// What is judged, and what is not.
pub(crate) struct Ways {
    pin_dir: PathBuf,
    marking: Marking,
    backends: HostBackends,
    /// Whether the node itself is judged.
    host: bool,
    attached: BTreeMap<u32, Hook>,
    /// As found last.
    devices: Vec<Device>,
}

impl Ways {
    pub(crate) fn new(pin_dir: &Path, marking: Option<Marking>, backends: HostBackends) -> Ways {
        Ways {
            pin_dir: pin_dir.to_owned(),
            marking: marking.unwrap_or_default(),
            backends,
            host: false,
            attached: BTreeMap::new(),
            devices: Vec::new(),
        }
    }

    /// Replaces the devices of the node, those of pods included.
    pub(crate) fn found(&mut self, devices: Vec<Device>) {
        self.attached.retain(|ifindex, _| devices.iter().any(|device| device.ifindex == *ifindex));
        self.devices = devices;
    }

    /// What is wrong where the node's rules of routing look for marks (value and mask) with bits of ours.
    pub(crate) fn collision(&self, marks: &BTreeSet<(u32, u32)>) -> Option<String> {
        let ours = self.marking.mask;
        let (value, mask) = marks.iter().find(|(value, mask)| value & mask & ours != 0)?;
        Some(format!(
            "a rule of routing (ip rule) looks for mark {value:#x}/{mask:#x}: somebody sets bits of --service-mark \
             {ours:#010x}. Their packets are taken for those of pods, and dropped; give --service-mark other bits"
        ))
    }

    /// Which program judges at which device.
    pub(crate) fn programs(&self) -> &BTreeMap<u32, Hook> {
        &self.attached
    }

    /// Looks at a device anew when ways are next judged.
    pub(crate) fn forget(&mut self, ifindex: u32) {
        self.attached.remove(&ifindex);
    }

    /// Devices that are judged.
    pub(crate) fn attached(&self) -> impl Iterator<Item = u32> + '_ {
        self.attached.keys().copied()
    }

    /// Judges every way that is not one of `pods`. Answers how to mark, and why marking is closed.
    pub(crate) fn judge(
        &mut self,
        attacher: &Attacher,
        programs: &Programs,
        pods: &BTreeSet<u32>,
    ) -> (Marking, Vec<String>) {
        let mut failures = Vec::new();
        if self.marking.mask == 0 {
            return (self.marking, failures);
        }
        self.attached.retain(|ifindex, _| !pods.contains(ifindex));
        for device in self.devices.iter().filter(|device| !pods.contains(&device.ifindex)) {
            let Device { ifindex, name, hook } = device;
            if self.attached.get(ifindex) == Some(hook) {
                continue;
            }
            match attacher.attach_way(programs, *ifindex, *hook) {
                Ok(()) => {
                    self.attached.insert(*ifindex, *hook);
                    info!(device = name, ifindex, program = hook.program(), "judges what leaves the node");
                }
                // The next look will not find it.
                Err(AttachError::Gone(_)) => {}
                Err(refused) => failures.push(format!("device {name}: {refused}")),
            }
        }
        if !self.host {
            match &self.backends {
                HostBackends::Dropped => self.host = true,
                HostBackends::Cgroup(cgroup) => match host::attach(&self.pin_dir, programs, cgroup) {
                    Ok(()) => {
                        self.host = true;
                        info!(cgroup = %cgroup.display(), "judges what the node itself receives");
                    }
                    Err(refused) => failures.push(format!("the node itself: {refused}")),
                },
            }
        }
        (if failures.is_empty() { self.marking } else { self.marking.closed() }, failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_looks_for_our_bits_is_a_collision_and_no_other_is() {
        let ways = Ways::new(Path::new(""), Marking::new(0xff00_0000), HostBackends::Dropped);
        let said = |value, mask| ways.collision(&BTreeSet::from([(0, u32::MAX), (value, mask)]));
        let text = said(0x0100_0000, 0x0f00_0000).unwrap();
        assert!(text.contains("mark 0x1000000/0xf000000") && text.contains("0xff000000"), "{text}");
        // Whole marks of others, in which ours are absent; bits that are not looked at.
        assert_eq!(said(0xca6c, u32::MAX), None);
        assert_eq!(said(0xff0c_0000, 0x00ff_0000), None);
        assert_eq!(
            Ways::new(Path::new(""), None, HostBackends::Dropped).collision(&BTreeSet::from([(1, 1)])),
            None
        );
    }
}
