//! Puts the programs on the host side of pods' interfaces and on the ways out of the node, in this thread's network namespace: by pinned TCX
//! links, or by clsact filters where the kernel has no TCX. What others attached stays and runs. Not here:
//! which interfaces (`discover`), comparison with what is wanted (`audit`).

use super::bpf;
use super::features::{Feature, Features};
use super::filter;
use super::hook::Hook;
use super::load::Programs;
use super::netlink::Route;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// How a program hangs on an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// A TCX link, pinned.
    Tcx,
    /// A filter on the clsact qdisc.
    Clsact,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Tcx => "tcx",
            Mode::Clsact => "clsact",
        })
    }
}

/// A program of ours on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// Interface in this network namespace.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Which program.
    pub hook: Hook,
    /// How.
    pub mode: Mode,
    /// The kernel's number of the program.
    pub program: u32,
    /// No program of somebody else runs before it.
    pub first: bool,
}

/// Why attaching, detaching or listing failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The interface vanished meanwhile: nothing to do.
    #[error("interface {0} is gone")]
    Gone(u32),
    /// The kernel refused.
    #[error("interface {ifindex}, program {}: {step}: {error}", .hook.program())]
    Refused {
        /// Interface in this network namespace.
        ifindex: u32,
        /// Which program.
        hook: Hook,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The directory of the links cannot be used.
    #[error("{path}: {error}{}", super::load::cure(error))]
    Pins {
        /// The directory or the pin.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel does not answer questions about interfaces.
    #[error("cannot list interfaces: {0}")]
    List(io::Error),
}

/// Attaches and detaches on behalf of the owner of a pin directory.
#[derive(Clone, Debug)]
pub struct Attacher {
    links: PathBuf,
    mode: Mode,
}

/// Directory of the links.
pub(crate) fn links_dir(pin_dir: &Path) -> PathBuf {
    pin_dir.join("links")
}

fn pin_name(ifindex: u32, hook: Hook) -> String {
    format!("{ifindex}-{}", hook.program())
}

fn parse_pin_name(name: &str) -> Option<(u32, Hook)> {
    let (ifindex, program) = name.split_once('-')?;
    let hook = Hook::ALL.into_iter().find(|hook| hook.program() == program)?;
    Some((ifindex.parse().ok()?, hook))
}

impl Attacher {
    /// Uses TCX where the kernel has it, unless `force_clsact`.
    #[must_use]
    pub fn new(pin_dir: &Path, features: &Features, force_clsact: bool) -> Attacher {
        let mode = if features.has(Feature::Tcx) && !force_clsact { Mode::Tcx } else { Mode::Clsact };
        Attacher { links: links_dir(pin_dir), mode }
    }

    /// Only to detach, which does not depend on the mode.
    pub(crate) fn any(pin_dir: &Path) -> Attacher {
        Attacher { links: links_dir(pin_dir), mode: Mode::Tcx }
    }

    /// How this attacher attaches.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes sure that exactly the programs for a pod run on the interface, each once. What an earlier agent
    /// attached is replaced without a gap.
    ///
    /// # Errors
    /// [`AttachError::Gone`] when the interface vanished; otherwise what the kernel refused.
    pub fn attach(&self, programs: &Programs, ifindex: u32) -> Result<(), AttachError> {
        self.put(programs, ifindex, &Hook::POD)?;
        // It may have been taken for a way out of the node before its pod was found.
        let route = Route::open().map_err(AttachError::List)?;
        for hook in Hook::WAY {
            self.unpin(ifindex, hook)?;
            remove_filter(&route, ifindex, hook)?;
        }
        Ok(())
    }

    /// Makes sure that `hook`, one of [`Hook::WAY`], runs on an interface that is no pod's, once.
    ///
    /// # Errors
    /// As [`Attacher::attach`].
    pub fn attach_way(&self, programs: &Programs, ifindex: u32, hook: Hook) -> Result<(), AttachError> {
        self.put(programs, ifindex, &[hook])
    }

    fn put(&self, programs: &Programs, ifindex: u32, hooks: &[Hook]) -> Result<(), AttachError> {
        let route = Route::open().map_err(AttachError::List)?;
        for hook in hooks.iter().copied() {
            match self.mode {
                Mode::Tcx => {
                    self.attach_tcx(programs, ifindex, hook)?;
                    remove_filter(&route, ifindex, hook)?;
                }
                Mode::Clsact => {
                    let there =
                        filter::get(&route, ifindex, hook).map_err(refused(ifindex, hook, "list filters"))?;
                    if there.is_none_or(|there| there.program != programs.id(hook)) {
                        filter::put(&route, ifindex, hook, programs.fd(hook)).map_err(refused(
                            ifindex,
                            hook,
                            "add a filter",
                        ))?;
                    }
                    self.unpin(ifindex, hook)?;
                }
            }
        }
        Ok(())
    }

    fn attach_tcx(&self, programs: &Programs, ifindex: u32, hook: Hook) -> Result<(), AttachError> {
        std::fs::create_dir_all(&self.links)
            .map_err(|error| AttachError::Pins { path: self.links.clone(), error })?;
        let pin = self.links.join(pin_name(ifindex, hook));
        match bpf::pinned(&pin) {
            Ok(link) => {
                let info = bpf::link_info(link.as_fd()).map_err(refused(ifindex, hook, "read the link"))?;
                if (info.ifindex, info.arriving) == (ifindex, Some(hook.arriving())) {
                    if info.program == programs.id(hook) {
                        return Ok(());
                    }
                    return bpf::update_link(link.as_fd(), programs.fd(hook)).map_err(refused(
                        ifindex,
                        hook,
                        "replace the program of the link",
                    ));
                }
                // The interface that the link was for is gone, and another has its index now.
                self.unpin(ifindex, hook)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(AttachError::Pins { path: pin, error }),
        }
        let link = bpf::tcx_link(programs.fd(hook), ifindex, hook).map_err(refused(
            ifindex,
            hook,
            "attach by TCX",
        ))?;
        // Until it is pinned the link ends with this process; so a crash here leaves nothing behind.
        bpf::pin(link.as_fd(), &pin).map_err(|error| AttachError::Pins { path: pin, error })
    }

    fn unpin(&self, ifindex: u32, hook: Hook) -> Result<(), AttachError> {
        let path = self.links.join(pin_name(ifindex, hook));
        let link = match bpf::pinned(&path) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(AttachError::Pins { path, error }),
        };
        let info = bpf::link_info(link.as_fd()).map_err(refused(ifindex, hook, "read the link"))?;
        if info.ifindex != 0 {
            bpf::detach_link(link.as_fd()).map_err(refused(ifindex, hook, "detach the link"))?;
        }
        std::fs::remove_file(&path).map_err(|error| AttachError::Pins { path, error })
    }

    /// Whether this agent's program runs on an interface, where one call tells; `None` where it takes more than that.
    #[must_use]
    pub fn runs(&self, programs: &Programs, ifindex: u32, hook: Hook) -> Option<bool> {
        match self.mode {
            // An interface that is gone is no difference: the next look at the sandboxes will not find it.
            Mode::Tcx => Some(bpf::tcx_programs(ifindex, hook).ok()?.contains(&programs.id(hook))),
            Mode::Clsact => None,
        }
    }

    /// Removes all programs from an interface, however they were attached. Fine when there are none.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn detach(&self, ifindex: u32) -> Result<(), AttachError> {
        let route = Route::open().map_err(AttachError::List)?;
        for hook in Hook::ALL {
            self.unpin(ifindex, hook)?;
            remove_filter(&route, ifindex, hook)?;
        }
        Ok(())
    }

    /// Detaches from every interface that is not in `keep`, those that vanished included. Returns them.
    ///
    /// # Errors
    /// What the kernel refused; the rest is left for the next time.
    pub fn sweep(&self, keep: &BTreeSet<u32>) -> Result<BTreeSet<u32>, AttachError> {
        let pinned = pinned_links(&self.links)?.into_keys().map(|(ifindex, _)| ifindex);
        let route = Route::open().map_err(AttachError::List)?;
        let filtered = filters(&route)?.into_iter().map(|found| found.ifindex);
        let stale: BTreeSet<u32> = pinned.chain(filtered).filter(|ifindex| !keep.contains(ifindex)).collect();
        for ifindex in &stale {
            self.detach(*ifindex)?;
        }
        Ok(stale)
    }
}

fn refused(ifindex: u32, hook: Hook, step: &'static str) -> impl FnOnce(io::Error) -> AttachError {
    move |error| match error.raw_os_error() {
        Some(libc::ENODEV) => AttachError::Gone(ifindex),
        _ => AttachError::Refused { ifindex, hook, step, error },
    }
}

fn remove_filter(route: &Route, ifindex: u32, hook: Hook) -> Result<(), AttachError> {
    let there = match filter::get(route, ifindex, hook) {
        Ok(there) => there,
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        Err(error) => return Err(refused(ifindex, hook, "list filters")(error)),
    };
    if there.is_some() {
        filter::remove(route, ifindex, hook).map_err(refused(ifindex, hook, "remove the filter"))?;
    }
    Ok(())
}

/// What the kernel says of every pinned link.
fn pinned_links(links: &Path) -> Result<BTreeMap<(u32, Hook), bpf::LinkInfo>, AttachError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |error| AttachError::Pins { path, error }
    };
    let entries = match std::fs::read_dir(links) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(links)(error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed(links))?;
        let Some(key) = entry.file_name().to_str().and_then(parse_pin_name) else { continue };
        let path = entry.path();
        let info = bpf::pinned(&path).and_then(|link| bpf::link_info(link.as_fd())).map_err(failed(&path))?;
        found.insert(key, info);
    }
    Ok(found)
}

/// Our filters on the interfaces of this network namespace.
fn filters(route: &Route) -> Result<Vec<Attachment>, AttachError> {
    let mut found = Vec::new();
    for (ifindex, link) in route.links().map_err(AttachError::List)? {
        found.extend(filters_at(route, ifindex, &link.name)?);
    }
    Ok(found)
}

fn filters_at(route: &Route, ifindex: u32, name: &str) -> Result<Vec<Attachment>, AttachError> {
    let mut found = Vec::new();
    for hook in Hook::ALL {
        let filter = match filter::get(route, ifindex, hook) {
            Ok(filter) => filter,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => None,
            Err(error) => return Err(refused(ifindex, hook, "list filters")(error)),
        };
        if let Some(filter::Filter { hook, program, first }) = filter {
            let name = name.to_owned();
            found.push(Attachment { ifindex, name, hook, mode: Mode::Clsact, program, first });
        }
    }
    Ok(found)
}

/// The attachment by a link, if it hangs where its pin says.
fn linked((ifindex, hook): (u32, Hook), name: &str, info: bpf::LinkInfo) -> Option<Attachment> {
    if info.ifindex != ifindex || info.arriving != Some(hook.arriving()) {
        return None;
    }
    let order = bpf::tcx_programs(ifindex, hook).unwrap_or_default();
    let first = order.first() == Some(&info.program);
    Some(Attachment { ifindex, name: name.to_owned(), hook, mode: Mode::Tcx, program: info.program, first })
}

/// As [`attachments`], of some interfaces.
///
/// # Errors
/// When pins or interfaces cannot be read.
pub(crate) fn attachments_at(
    pin_dir: &Path,
    interfaces: &BTreeSet<u32>,
) -> Result<Vec<Attachment>, AttachError> {
    let route = Route::open().map_err(AttachError::List)?;
    let links = links_dir(pin_dir);
    let mut found = Vec::new();
    for ifindex in interfaces.iter().copied() {
        let name = super::discover::name_of(ifindex).unwrap_or_default();
        found.extend(filters_at(&route, ifindex, &name)?);
        for hook in Hook::ALL {
            let path = links.join(pin_name(ifindex, hook));
            match bpf::pinned(&path).and_then(|link| bpf::link_info(link.as_fd())) {
                Ok(info) => found.extend(linked((ifindex, hook), &name, info)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(AttachError::Pins { path, error }),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Everything of ours that is attached, sorted: by links pinned under `pin_dir`, and by filters in this network
/// namespace. Links whose interface is gone are left out.
///
/// # Errors
/// When pins or interfaces cannot be read.
pub fn attachments(pin_dir: &Path) -> Result<Vec<Attachment>, AttachError> {
    let route = Route::open().map_err(AttachError::List)?;
    let names = route.links().map_err(AttachError::List)?;
    let mut found = filters(&route)?;
    for ((ifindex, hook), info) in pinned_links(&links_dir(pin_dir))? {
        let name = names.get(&ifindex).map(|link| link.name.clone()).unwrap_or_default();
        found.extend(linked((ifindex, hook), &name, info));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pins_are_read_as_they_are_written() {
        for hook in Hook::ALL {
            assert_eq!(parse_pin_name(&pin_name(17, hook)), Some((17, hook)));
        }
        assert_eq!(parse_pin_name("17-other"), None);
        assert_eq!(parse_pin_name("x-from_pod"), None);
    }
}
