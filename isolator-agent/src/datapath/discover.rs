//! Finds the host side of every pod's interface, whatever CNI made it: container runtimes keep the network
//! namespace of each sandbox as a file in one directory, and netlink says inside it which interface has its other
//! end here. No CNI is asked. Not here: which pod a sandbox belongs to (its addresses say so), attaching.

use super::hook::Hook;
use super::netlink::{Layer, Link, Owned, Route};
use isolator_common::addr::Addr;
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// This thread's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// The host side of a pod's interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// Its index in the node's namespace.
    pub ifindex: u32,
    /// Its name in the node's namespace.
    pub name: String,
    /// File name of the sandbox.
    pub sandbox: String,
    /// Addresses of the pod's side: IPv4 (mapped) and global IPv6, sorted.
    pub addresses: Vec<Addr>,
}

/// A device of the node by which packets may leave its stack; one of a pod, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// The program that judges there, if it is no pod's.
    pub hook: Hook,
}

/// A sandbox, or an interface of it, that cannot be enforced, and why. The others are not affected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unenforced {
    /// File name of the sandbox.
    pub sandbox: String,
    /// Why.
    pub why: String,
}

/// What a look around gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Sorted by index.
    pub interfaces: Vec<Interface>,
    /// Sorted by sandbox.
    pub unenforced: Vec<Unenforced>,
    /// Sorted by index.
    pub devices: Vec<Device>,
    /// Addresses of the node's own namespace: those of the host identity.
    pub own: BTreeSet<Addr>,
    /// Marks that the node's rules of routing look for: value and mask.
    pub marks: BTreeSet<(u32, u32)>,
}

/// Why nothing could be found out at all.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The directory of sandboxes cannot be read.
    #[error("cannot read sandboxes in {path}: {error}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The node's own interfaces cannot be listed or watched.
    #[error("cannot list the node's interfaces: {0}")]
    Netlink(io::Error),
    /// The directory of sandboxes cannot be watched.
    #[error("cannot watch {path}: {error}")]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: notify::Error,
    },
}

/// Looks into every sandbox in `dir`. An entry is a mounted namespace, or a symbolic link to one under `/proc`.
/// Relative to this thread's network namespace, which it does not leave.
///
/// # Errors
/// When the directory or the node's interfaces cannot be listed. What concerns one sandbox is in
/// [`Found::unenforced`].
pub fn discover(dir: &Path) -> Result<Found, DiscoverError> {
    let failed = |error| DiscoverError::Directory { path: dir.to_owned(), error };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        names.insert(entry.map_err(failed)?.file_name());
    }
    let own = File::open(OWN).map_err(DiscoverError::Netlink)?;
    let route = Route::open().map_err(DiscoverError::Netlink)?;
    let host = route.links().map_err(DiscoverError::Netlink)?;
    // A kernel without such rules knows no such question.
    let marks = route.marks().unwrap_or_default();
    let own_addresses = local_addresses()?;
    let mut seen = BTreeSet::from([identity(&own).map_err(DiscoverError::Netlink)?]);
    let devices = host.iter().filter_map(device).collect();
    let mut found = Found { devices, own: own_addresses, marks, ..Found::default() };
    for name in names {
        let sandbox = name.to_string_lossy().into_owned();
        // A FIFO would otherwise hold us up.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(dir.join(&name));
        let namespace = opened.and_then(|file| Ok((identity(&file)?, file)));
        let namespace = match namespace {
            // Pods of the node's own network, and a second name of the same sandbox.
            Ok((identity, _)) if !seen.insert(identity) => continue,
            Ok((_, file)) => file,
            // It ended between listing and opening.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.join(&name).is_symlink() => {
                continue;
            }
            Err(error) => {
                found.unenforced.push(Unenforced { sandbox, why: format!("cannot open it: {error}") });
                continue;
            }
        };
        match enter(&namespace, &own) {
            Ok(inside) => take(&host, sandbox, &inside, &mut found),
            Err(error) => {
                let why = format!("cannot look into this network namespace: {error}");
                found.unenforced.push(Unenforced { sandbox, why });
            }
        }
    }
    found.interfaces.sort();
    Ok(found)
}

/// A way out, if it is one. What leaves by a bridge leaves by one of its ports.
fn device((ifindex, link): (&u32, &Link)) -> Option<Device> {
    let hook = match link.layer {
        Layer::Loopback => return None,
        Layer::Ethernet if link.kind == "bridge" => return None,
        Layer::Ethernet => Hook::ToWire,
        Layer::Network => Hook::ToTunnel,
    };
    Some(Device { ifindex: *ifindex, name: link.name.clone(), hook })
}

/// All addresses of the node's own namespace: those of the host identity.
///
/// # Errors
/// When they cannot be listed.
pub fn local_addresses() -> Result<BTreeSet<Addr>, DiscoverError> {
    let addresses = Route::open().and_then(|route| route.addresses()).map_err(DiscoverError::Netlink)?;
    Ok(addresses.into_iter().map(|owned| owned.addr).collect())
}

/// The name of an interface of this thread's namespace; `None` where there is none with this index.
#[must_use]
pub fn name_of(ifindex: u32) -> Option<String> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::index_to_name(socket, ifindex).ok()
}

/// Device and inode tell namespaces apart.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What is inside a sandbox.
struct Inside {
    links: BTreeMap<u32, Link>,
    addresses: Vec<Owned>,
    /// Number of the node's namespace, as seen from inside.
    node: Option<i32>,
}

/// Asks inside a namespace, on a thread of its own: a thread that fails to come back must not go on.
fn enter(namespace: &File, own: &File) -> io::Result<Inside> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            let route = Route::open()?;
            Ok(Inside {
                links: route.links()?,
                addresses: route.addresses()?,
                node: route.namespace(own.as_fd())?,
            })
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread inside it has panicked")))
    })
}

/// Adds the interfaces of one sandbox.
fn take(host: &BTreeMap<u32, Link>, sandbox: String, inside: &Inside, found: &mut Found) {
    for (index, link) in &inside.links {
        // `peer_namespace` is given only where the other end is in another namespace than the sandbox.
        let (Some(peer), Some(namespace)) = (link.peer, link.peer_namespace) else { continue };
        if Some(namespace) != inside.node {
            continue;
        }
        // Others lie on an interface of the node, as macvlan does: its programs would not see the pod's packets
        // to its neighbours, and would see those of the node.
        if !matches!(link.kind.as_str(), "veth" | "netkit") {
            let why =
                format!("interface {} is of kind {}, which has no side on the node", link.name, link.kind);
            found.unenforced.push(Unenforced { sandbox: sandbox.clone(), why });
            continue;
        }
        let Some(side) = host.get(&peer) else {
            // It was made after the node's interfaces were listed; its own event makes us look again.
            continue;
        };
        let own = inside.addresses.iter().filter(|owned| owned.ifindex == *index);
        let mut addresses: Vec<Addr> =
            own.filter(|owned| owned.addr.is_v4() || owned.global).map(|owned| owned.addr).collect();
        addresses.sort_unstable();
        let (name, sandbox) = (side.name.clone(), sandbox.clone());
        found.interfaces.push(Interface { ifindex: peer, name, sandbox, addresses });
    }
}
