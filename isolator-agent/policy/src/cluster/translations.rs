//! Which destinations somebody translates: the addresses and node ports of services, and the ranges that service
//! addresses come from. Not here: to which backends, what policy says of those.

use super::index::Objects;
use super::snapshot::Owner;
use crate::model::{Service, ServiceKey, ServiceRange};
use isolator_common::addr::{Addr, Prefix};
use isolator_common::policy::port_key;
use std::collections::{BTreeSet, HashMap};

/// What of an address is translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translated {
    /// Nothing.
    Nothing,
    /// These ports, as [`port_key`]s, sorted: the address is also somebody's own.
    Ports(Vec<u32>),
    /// All of it: it is a service's address or in a range of such, and nobody's own.
    Everything,
}

impl Translated {
    /// Whether a flow to this port is translated.
    #[must_use]
    pub fn has(&self, protocol: u8, port: u16) -> bool {
        match self {
            Translated::Nothing => false,
            Translated::Ports(ports) => ports.binary_search(&port_key(protocol, port)).is_ok(),
            Translated::Everything => true,
        }
    }
}

/// Everything that is translated.
#[derive(Debug, Default)]
pub(super) struct Translations {
    /// Ports by address, sorted.
    ports: HashMap<Addr, Vec<u32>>,
    /// Ports of every node, sorted.
    node_ports: Vec<u32>,
    ranges: BTreeSet<Prefix>,
}

impl Translations {
    pub(super) fn new(
        services: &Objects<ServiceKey, Service>,
        ranges: &Objects<String, ServiceRange>,
        configured: &[Prefix],
    ) -> Self {
        let mut ports: HashMap<Addr, Vec<u32>> = HashMap::new();
        let mut node_ports = BTreeSet::new();
        for service in services.values() {
            let keys = service.ports.iter().map(|port| port_key(port.protocol, port.port));
            for addr in &service.addresses {
                ports.entry(*addr).or_default().extend(keys.clone());
            }
            let node = |port: &crate::model::ServicePort| Some(port_key(port.protocol, port.node_port?));
            node_ports.extend(service.ports.iter().filter_map(node));
        }
        for keys in ports.values_mut() {
            keys.sort_unstable();
            keys.dedup();
        }
        let declared = ranges.values().flat_map(|range| range.cidrs.iter().copied());
        let ranges = declared.chain(configured.iter().copied()).collect();
        Translations { ports, node_ports: node_ports.into_iter().collect(), ranges }
    }

    pub(super) fn of(&self, addr: &Addr, owner: Owner<'_>) -> Translated {
        let ports = self.ports.get(addr);
        let more: &[u32] = match owner {
            Owner::Outside if ports.is_some() || self.covers(Prefix { addr: *addr, bits: 128 }) => {
                return Translated::Everything;
            }
            // What goes to another node's port is translated there.
            Owner::LocalHost => &self.node_ports,
            _ => &[],
        };
        let all: BTreeSet<u32> = ports.into_iter().flatten().chain(more).copied().collect();
        if all.is_empty() { Translated::Nothing } else { Translated::Ports(all.into_iter().collect()) }
    }

    pub(super) fn covers(&self, prefix: Prefix) -> bool {
        let around = |range: &&Prefix| range.bits <= prefix.bits && range.is_v4() == prefix.is_v4();
        self.ranges.iter().filter(around).any(|range| Prefix::new(prefix.addr, range.bits) == *range)
    }

    pub(super) fn ranges(&self) -> &BTreeSet<Prefix> {
        &self.ranges
    }

    pub(super) fn has(&self, addr: &Addr) -> bool {
        self.ports.contains_key(addr)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = Addr> + '_ {
        self.ports.keys().copied()
    }
}
