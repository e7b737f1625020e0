//! The pinned maps, read once, with names for their numbers. Works with the daemon dead or alive. Not here: what
//! is shown of them.

use crate::datapath::read::ReadOnly;
use crate::flows::enrich::Names;
use crate::flows::serve::Lookup;
use crate::status::Lost;
use anyhow::Result;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Peer};
use isolator_common::event::{NameKey, NameKind};
use isolator_policy::cluster::snapshot::{Owner, Snapshot};
use isolator_policy::datapath::image::Image;
use isolator_policy::model::{cidr, ip};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What the maps hold.
pub(super) struct Pinned {
    /// The maps themselves, for counters and connections.
    pub(super) maps: ReadOnly,
    /// What the agent wrote.
    pub(super) image: Image,
    /// The cluster, where it is known: the maps name pods of this node only.
    pods: Option<Arc<Snapshot>>,
}

impl Pinned {
    /// Reads the maps pinned in `pin_dir`.
    pub(super) fn open(pin_dir: &Path) -> Result<Self> {
        let maps = ReadOnly::open(pin_dir)?;
        let image = maps.read_image()?;
        Ok(Pinned { maps, image, pods: None })
    }

    /// The same with names for pods of other nodes.
    pub(super) fn with_pods(self, pods: Option<Arc<Snapshot>>) -> Self {
        Pinned { pods, ..self }
    }

    /// The name of a number.
    pub(super) fn name(&self, kind: NameKind, number: u32) -> Option<&str> {
        name(&self.image, kind, number)
    }

    /// `namespace/pod` of an endpoint, if its pod is known.
    pub(super) fn pod(&self, endpoint: &Endpoint) -> Option<&str> {
        self.name(NameKind::Endpoint, endpoint.id)
    }
}

/// The name of a number in an image.
pub(super) fn name(image: &Image, kind: NameKind, number: u32) -> Option<&str> {
    image.names.get(&NameKey { kind: kind as u32, number }).map(String::as_str)
}

/// Every address and prefix of the generation in force, as text, with what is behind it.
pub(super) fn peers(image: &Image) -> Vec<(String, Peer)> {
    let generation = image.state.generation;
    let blocks: BTreeMap<u32, &Addr> = image.blocks.iter().map(|(block, number)| (*number, block)).collect();
    let dense = image.block_peers.iter().filter_map(|(index, peer)| {
        let mut addr = **blocks.get(&(index >> 8))?;
        addr.0[15] = index.to_be_bytes()[3];
        Some((Prefix { addr, bits: 128 }, *peer))
    });
    let single = image.hosts.iter().map(|(addr, peer)| (Prefix { addr: *addr, bits: 128 }, *peer));
    let ranges = image.prefixes.iter().map(|(prefix, peer)| (*prefix, *peer));
    let mut all: Vec<_> = dense.chain(single).chain(ranges).collect();
    all.retain(|(_, peer)| peer.group(generation) != Peer::ABSENT);
    all.sort_by_key(|(prefix, _)| *prefix);
    all.into_iter().map(|(prefix, peer)| (prefix_text(&prefix), peer)).collect()
}

/// An address without a length, anything else in CIDR notation.
pub(super) fn prefix_text(prefix: &Prefix) -> String {
    if prefix.bits == 128 { ip(&prefix.addr).to_string() } else { cidr(prefix) }
}

impl Names for Pinned {
    fn rule(&self, number: u32) -> Option<String> {
        self.name(NameKind::Rule, number).map(str::to_owned)
    }

    fn identity(&self, number: u32) -> Option<String> {
        self.name(NameKind::Identity, number).map(str::to_owned)
    }

    fn endpoint(&self, ifindex: u32) -> Option<String> {
        self.pod(self.image.endpoints.get(&ifindex)?).map(str::to_owned)
    }

    fn pod_at(&self, addr: &Addr) -> Option<String> {
        if let Some(Owner::Pod(pod)) = self.pods.as_ref().map(|pods| pods.owner(addr, "")) {
            return Some(pod.key.to_string());
        }
        let owner = self.image.endpoints.values().find(|endpoint| endpoint.owns(addr))?;
        self.pod(owner).map(str::to_owned)
    }
}

impl Lookup for Pinned {
    fn lost(&self) -> Lost {
        match self.maps.lost() {
            Ok(lost) => Lost { over_rate: lost.over_rate, ring_full: lost.ring_full },
            Err(_) => Lost::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_blocks_hosts_and_prefixes_are_listed_if_they_are_in_force() {
        let peer = |identity, groups| Peer { identity, groups };
        let mut image = Image::default();
        image.state.generation = 3;
        image.blocks.insert(Addr::v4([10, 0, 0, 0]), 2);
        image.block_peers.insert(2 * 256 + 7, peer(300, [0, 1]));
        image.block_peers.insert(2 * 256 + 8, peer(301, [1, 0]));
        image.hosts.insert(Addr::v4([10, 9, 0, 1]), peer(302, [1, 1]));
        image.prefixes.insert(Prefix::ALL_V4, peer(9, [1, 1]));
        let listed: Vec<_> = peers(&image).into_iter().map(|(text, peer)| (text, peer.identity)).collect();
        let wanted = [("0.0.0.0/0", 9), ("10.0.0.7", 300), ("10.9.0.1", 302)];
        assert_eq!(listed, wanted.map(|(text, identity)| (text.to_owned(), identity)));
    }
}
