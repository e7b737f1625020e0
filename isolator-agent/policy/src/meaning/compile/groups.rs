//! Groups of addresses that nothing on this node tells apart: same kind of end, same tenant, same matchers,
//! same numbers behind the port names in use. Not here: what rules make of them (`cells`).

use super::blocks::Blocks;
use super::intern::Interner;
use super::peers::{Matchers, PodMatcher};
use super::select::Selection;
use crate::cluster::snapshot::{Conflict, Owner, Snapshot};
use crate::model::{Entity, Pod};
use isolator_common::addr::{Addr, Prefix};
use std::collections::{BTreeSet, HashMap};

/// The groups, and which address is in which.
pub(super) struct Groups<'a> {
    /// What each group's members have in common.
    pub(super) groups: Vec<Group<'a>>,
    /// By matcher: the groups whose members it matches, ascending.
    pub(super) members: Vec<Vec<u32>>,
    /// Addresses of pods and nodes, sorted.
    pub(super) addresses: Vec<(Addr, u32)>,
    /// Group of the addresses outside the cluster whose longest prefix this is, sorted.
    pub(super) prefixes: Vec<(Prefix, u32)>,
}

/// What the members of a group have in common.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) end: End,
    /// `None` also where no local endpoint has a tenant.
    pub(super) tenant: Option<&'a str>,
    /// Those tenants of local endpoints that the members admit.
    pub(super) accepts: Vec<&'a str>,
    /// Numbers behind the port names that egress rules use: (name, port), sorted.
    pub(super) ports: Vec<(u32, u16)>,
    /// Number of `ports` among all groups'.
    pub(super) ports_number: u32,
}

/// Kinds of ends, as rules tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Pod,
    LocalHost,
    RemoteNode,
    /// Claimed by several; by a node, too.
    Conflict {
        node: bool,
    },
    Outside,
}

impl End {
    /// Whether a rule could mean this end, or one of its claimants, by an entity.
    fn is(self, entity: Entity) -> bool {
        match entity {
            Entity::All => true,
            Entity::World => self == End::Outside,
            Entity::Cluster => self != End::Outside,
            Entity::Host => matches!(self, End::LocalHost | End::Conflict { node: true }),
            Entity::RemoteNode => matches!(self, End::RemoteNode | End::Conflict { node: true }),
        }
    }
}

/// What makes two addresses different, as numbers of distinct values.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Signature {
    end: End,
    selectors: u32,
    blocks: u32,
    tenancy: u32,
    ports: u32,
}

struct Builder<'a, 'b> {
    snapshot: &'a Snapshot,
    selection: &'b Selection<'a>,
    pods: PodMatcher<'a>,
    blocks: Interner<Vec<u32>>,
    tenancies: Interner<(Option<&'a str>, Vec<&'a str>)>,
    tenancy_of: HashMap<&'a str, u32>,
    ports: Interner<Vec<(u32, u16)>>,
    signatures: Interner<Signature>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        node: &str,
        selection: &Selection<'a>,
        matchers: &Matchers<'a>,
        blocks: &Blocks,
    ) -> Self {
        let mut builder = Builder {
            snapshot,
            selection,
            pods: PodMatcher::new(snapshot, matchers),
            blocks: Interner::default(),
            tenancies: Interner::default(),
            tenancy_of: HashMap::new(),
            ports: Interner::default(),
            signatures: Interner::default(),
        };
        let mut prefixes = Vec::with_capacity(blocks.prefixes.len());
        let mut inside_of = HashMap::with_capacity(blocks.prefixes.len());
        for prefix in &blocks.prefixes {
            let [outside, inside] = blocks.matching(*prefix);
            let outside = builder.blocks.number(outside);
            inside_of.insert(*prefix, builder.blocks.number(inside));
            prefixes.push((*prefix, builder.group(Owner::Outside, outside)));
        }
        let mut owned: Vec<Addr> = snapshot.owned_addresses().collect();
        owned.sort_unstable();
        let addresses = owned
            .into_iter()
            .map(|addr| {
                let inside = inside_of[&blocks.longest(&addr)];
                (addr, builder.group(snapshot.owner(&addr, node), inside))
            })
            .collect();
        let mut members = vec![Vec::new(); matchers.peers().len()];
        for (group, signature) in (0..).zip(builder.signatures.values()) {
            let selectors = &builder.pods.sets.values()[signature.selectors as usize];
            let blocks = &builder.blocks.values()[signature.blocks as usize];
            let entities = [Entity::All, Entity::World, Entity::Cluster, Entity::Host, Entity::RemoteNode]
                .into_iter()
                .filter(|entity| signature.end.is(*entity))
                .filter_map(|entity| matchers.entity(entity));
            for matcher in selectors.iter().chain(blocks).copied().chain(entities) {
                members[matcher as usize].push(group);
            }
        }
        Groups { groups: builder.described(), members, addresses, prefixes }
    }
}

impl<'a> Builder<'a, '_> {
    /// The group of an address with this owner and this set of blocks.
    fn group(&mut self, owner: Owner<'a>, blocks: u32) -> u32 {
        let (end, selectors, tenancy, ports) = match owner {
            Owner::Pod(pod) => {
                let ports = self.named_ports([pod]);
                (End::Pod, self.pods.set_of(pod), self.tenancy(&pod.key.namespace), ports)
            }
            Owner::LocalHost => (End::LocalHost, self.no_selectors(), self.no_tenancy(), Vec::new()),
            Owner::RemoteNode(_) => (End::RemoteNode, self.no_selectors(), self.no_tenancy(), Vec::new()),
            Owner::Outside => (End::Outside, self.no_selectors(), self.no_tenancy(), Vec::new()),
            Owner::Conflict(conflict) => {
                let ports = self.named_ports(conflict.pods.iter().map(AsRef::as_ref));
                let end = End::Conflict { node: !conflict.nodes.is_empty() };
                (end, self.any_selectors(conflict), self.no_tenancy(), ports)
            }
        };
        let ports = self.ports.number(ports);
        self.signatures.number(Signature { end, selectors, blocks, tenancy, ports })
    }

    fn no_selectors(&mut self) -> u32 {
        self.pods.sets.number(Vec::new())
    }

    fn no_tenancy(&mut self) -> u32 {
        self.tenancies.number((None, Vec::new()))
    }

    /// The selectors that match any of the pods with one address.
    fn any_selectors(&mut self, conflict: &'a Conflict) -> u32 {
        let mut union = BTreeSet::new();
        for pod in &conflict.pods {
            let set = self.pods.set_of(pod);
            union.extend(self.pods.sets.values()[set as usize].iter().copied());
        }
        self.pods.sets.number(union.into_iter().collect())
    }

    fn tenancy(&mut self, namespace: &'a str) -> u32 {
        if let Some(number) = self.tenancy_of.get(namespace) {
            return *number;
        }
        let local = &self.selection.tenants;
        let tenancy = match self.snapshot.tenant_of(namespace).filter(|_| !local.is_empty()) {
            Some(tenant) => {
                let accepts = local.iter().copied().filter(|local| self.snapshot.accepts(namespace, local));
                (Some(tenant), accepts.collect())
            }
            None => (None, Vec::new()),
        };
        let number = self.tenancies.number(tenancy);
        self.tenancy_of.insert(namespace, number);
        number
    }

    fn named_ports<'p>(&self, pods: impl IntoIterator<Item = &'p Pod>) -> Vec<(u32, u16)> {
        let names = &self.selection.names;
        if names.values().is_empty() {
            return Vec::new();
        }
        let all: BTreeSet<(u32, u16)> = pods
            .into_iter()
            .flat_map(|pod| &pod.ports)
            .filter_map(|port| Some((names.find(&(port.protocol, port.name.as_str()))?, port.port)))
            .collect();
        all.into_iter().collect()
    }

    fn described(self) -> Vec<Group<'a>> {
        let Builder { tenancies, ports, signatures, .. } = self;
        signatures
            .values()
            .iter()
            .map(|signature| {
                let (tenant, accepts) = tenancies.values()[signature.tenancy as usize].clone();
                let names = ports.values()[signature.ports as usize].clone();
                Group { end: signature.end, tenant, accepts, ports: names, ports_number: signature.ports }
            })
            .collect()
    }
}
