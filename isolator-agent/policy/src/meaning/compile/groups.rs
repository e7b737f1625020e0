//! Groups of addresses that nothing on this node tells apart: same kind of end, same tenant, same matchers,
//! same numbers behind the port names in use. A group that has no members any more stays, so that numbers do.
//! Not here: what rules make of them (`cells`).

use super::blocks::Blocks;
use super::intern::Interner;
use super::peers::{Matchers, PodMatcher};
use super::select::Selection;
use crate::cluster::ends::EndLabels;
use crate::cluster::snapshot::{Conflict, Owner, Snapshot};
use crate::cluster::translations::Translated;
use crate::model::{Entity, Labels, Peer, Pod};
use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The groups, and which address is in which.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What each group's members have in common.
    pub(super) groups: Vec<Group>,
    /// By group: how many addresses and prefixes are in it.
    pub(super) counts: Vec<u32>,
    /// By matcher: the groups whose members it matches, ascending.
    pub(super) members: Vec<Vec<u32>>,
    /// Groups of the addresses of pods, nodes and API servers.
    pub(super) addresses: SharedMap<Addr, u32>,
    /// Groups of the addresses outside the cluster whose longest prefix this is.
    pub(super) prefixes: BTreeMap<Prefix, u32>,
    pods: PodMatcher,
    /// Matchers of ends that are no pods, by the end and, of a remote node, its name.
    ends: HashMap<(End, String), u32>,
    /// By prefix: sets of blocks that hold addresses there, outside of the cluster and inside.
    around: HashMap<Prefix, [u32; 2]>,
    blocks: Interner<Vec<u32>>,
    tenancies: Interner<(Option<String>, Vec<String>)>,
    tenancy_of: HashMap<String, u32>,
    ports: Interner<Vec<(u32, u16)>>,
    translated: Interner<Vec<u32>>,
    plain: Interner<(End, u32, u32)>,
    signatures: Interner<Signature>,
}

/// What the members of a group have in common.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) end: End,
    /// `None` also where no local endpoint has a tenant.
    pub(super) tenant: Option<String>,
    /// Those tenants of local endpoints that the members admit.
    pub(super) accepts: Vec<String>,
    /// Number of the end, the tenancy and what is translated among all groups': no more matters where no rule is asked.
    pub(super) plain_number: u32,
    /// Numbers behind the port names that egress rules use: (name, port), sorted.
    pub(super) ports: Vec<(u32, u16)>,
    /// Number of `ports` among all groups'.
    pub(super) ports_number: u32,
    /// Ports that are translated before policy is asked, as port keys, sorted.
    pub(super) translated: Vec<u32>,
    /// Number of `translated` among all groups'.
    pub(super) translated_number: u32,
}

/// Kinds of ends, as rules tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Pod,
    LocalHost {
        api_server: bool,
    },
    RemoteNode {
        api_server: bool,
    },
    /// Claimed by several; by a node, too.
    Conflict {
        node: bool,
        api_server: bool,
    },
    Outside {
        v4: bool,
        api_server: bool,
    },
    /// A Service address: nobody's until it is translated.
    Service,
}

impl End {
    /// Whether a rule could mean this end, or one of its claimants, by an entity.
    fn is(self, entity: Entity) -> bool {
        match entity {
            Entity::All => true,
            _ if self == End::Service => false,
            Entity::World => matches!(self, End::Outside { .. }),
            Entity::WorldIpv4 => matches!(self, End::Outside { v4: true, .. }),
            Entity::WorldIpv6 => matches!(self, End::Outside { v4: false, .. }),
            Entity::Cluster => !matches!(self, End::Outside { api_server: false, .. }),
            Entity::Host => matches!(self, End::LocalHost { .. } | End::Conflict { node: true, .. }),
            Entity::RemoteNode => matches!(self, End::RemoteNode { .. } | End::Conflict { node: true, .. }),
            Entity::KubeApiserver => match self {
                End::Pod | End::Service => false,
                End::LocalHost { api_server }
                | End::RemoteNode { api_server }
                | End::Conflict { api_server, .. }
                | End::Outside { api_server, .. } => api_server,
            },
            Entity::Health | Entity::Init | Entity::Unmanaged | Entity::Ingress => false,
        }
    }

    pub(super) fn is_local_host(self) -> bool {
        matches!(self, End::LocalHost { .. })
    }

    pub(super) fn is_conflict(self) -> bool {
        matches!(self, End::Conflict { .. })
    }
}

/// What makes two addresses different, as numbers of distinct values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Signature {
    end: End,
    selectors: u32,
    blocks: u32,
    tenancy: u32,
    ports: u32,
    translated: u32,
}

/// What groups are made from.
#[derive(Clone, Copy)]
pub(super) struct Ground<'s> {
    pub(super) snapshot: &'s Snapshot,
    /// The node that judges.
    pub(super) node: &'s str,
    pub(super) matchers: &'s Matchers,
    pub(super) selection: &'s Selection,
    pub(super) blocks: &'s Blocks,
}

impl Groups {
    pub(super) fn new(ground: Ground<'_>) -> Self {
        let mut groups = Groups::default();
        let numbered = || (0..).zip(ground.matchers.peers());
        for (number, peer) in numbered() {
            groups.pods.add(ground.snapshot, number, peer);
        }
        for prefix in ground.blocks.prefixes().chain(ground.snapshot.service_ranges().iter().copied()) {
            groups.place_prefix(ground, prefix);
        }
        let api_servers = ground.snapshot.api_servers();
        let known = ground.snapshot.owned_addresses().chain(api_servers.iter().copied());
        let known: BTreeSet<Addr> = known.chain(ground.snapshot.service_addresses()).collect();
        groups.addresses = known.into_iter().map(|addr| (addr, groups.count(ground, addr))).collect();
        groups
    }

    /// Takes new matchers in, which no group knows yet. Answers whose groups may differ by them.
    pub(super) fn learn(&mut self, ground: Ground<'_>, first: u32) -> (BTreeSet<Addr>, BTreeSet<Prefix>) {
        let (mut addresses, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        let snapshot = ground.snapshot;
        for (number, peer) in (first..).zip(&ground.matchers.peers()[first as usize..]) {
            self.pods.add(snapshot, number, peer);
            let matched = self.pods.matched(snapshot, peer);
            addresses.extend(matched.iter().flat_map(|pod| pod.addrs()).flatten());
            match &**peer {
                Peer::Labelled(_) | Peer::Nodes { .. } => {
                    self.ends.clear();
                    let is_pod = |addr: &Addr| matches!(snapshot.owner(addr, ground.node), Owner::Pod(_));
                    addresses.extend(self.addresses.keys().filter(|addr| !is_pod(addr)));
                    prefixes.extend(ground.blocks.prefixes());
                }
                Peer::Entity(entity) => {
                    let meant = (0..).zip(&self.groups).filter(|(_, group)| group.end.is(*entity));
                    *self.members_of(number) = meant.map(|(number, _)| number).collect();
                }
                Peer::Pods { .. } | Peer::Block { .. } | Peer::CidrGroups { .. } | Peer::Services { .. } => {}
            }
            for prefix in ground.blocks.of(number) {
                prefixes.extend(ground.blocks.inside(*prefix));
                let outside = snapshot.api_servers().iter().copied().filter(|addr| prefix.contains(addr));
                addresses.extend(outside);
                if matches!(**peer, Peer::Block { inside: true, .. }) {
                    let from = self.addresses.range(prefix.addr..).map(|(addr, _)| *addr);
                    let covered = from.take_while(|addr| addr.truncate(prefix.bits) == prefix.addr);
                    addresses.extend(covered.filter(|addr| prefix.contains(addr)));
                }
            }
        }
        for prefix in &prefixes {
            self.around.remove(prefix);
        }
        (addresses, prefixes)
    }

    /// Finds the group of an address again. Answers whether it is another now; `None` in `addresses` if nobody
    /// has it.
    pub(super) fn place(&mut self, ground: Ground<'_>, addr: Addr) {
        let owner = ground.snapshot.owner(&addr, ground.node);
        let known = ground.snapshot.api_servers().contains(&addr)
            || !matches!(owner, Owner::Outside)
            || ground.snapshot.is_service_address(&addr);
        let before = if known {
            let group = self.count(ground, addr);
            self.addresses.insert(addr, group)
        } else {
            self.addresses.remove(&addr)
        };
        if let Some(before) = before {
            self.counts[before as usize] -= 1;
        }
    }

    /// Finds the group of a prefix again.
    pub(super) fn place_prefix(&mut self, ground: Ground<'_>, prefix: Prefix) {
        let group = if ground.snapshot.in_service_range(prefix) {
            self.service(ground)
        } else {
            let [outside, _] = self.around(ground, prefix);
            self.group(ground, prefix.addr, false, Owner::Outside, outside, Vec::new())
        };
        self.counts[group as usize] += 1;
        if let Some(before) = self.prefixes.insert(prefix, group) {
            self.counts[before as usize] -= 1;
        }
    }

    /// The group of an address, with one member more.
    fn count(&mut self, ground: Ground<'_>, addr: Addr) -> u32 {
        let api_server = ground.snapshot.api_servers().contains(&addr);
        let owner = ground.snapshot.owner(&addr, ground.node);
        let [outside, inside] = self.around(ground, ground.blocks.longest(&addr));
        let blocks = if matches!(owner, Owner::Outside) { outside } else { inside };
        let translated = match ground.snapshot.translated(&addr, owner) {
            Translated::Everything => None,
            Translated::Ports(ports) => Some(ports),
            Translated::Nothing => Some(Vec::new()),
        };
        let group = match translated {
            None => self.service(ground),
            Some(ports) => self.group(ground, addr, api_server, owner, blocks, ports),
        };
        self.counts[group as usize] += 1;
        group
    }

    fn around(&mut self, ground: Ground<'_>, prefix: Prefix) -> [u32; 2] {
        let Groups { around, blocks, .. } = self;
        *around.entry(prefix).or_insert_with(|| ground.blocks.matching(prefix).map(|set| blocks.number(set)))
    }

    fn members_of(&mut self, matcher: u32) -> &mut Vec<u32> {
        let matcher = matcher as usize;
        if self.members.len() <= matcher {
            self.members.resize_with(matcher + 1, Vec::new);
        }
        &mut self.members[matcher]
    }

    /// The group of an address with this owner and this set of blocks. Of a prefix, its first address stands
    /// for all.
    fn group(
        &mut self,
        ground: Ground<'_>,
        addr: Addr,
        api_server: bool,
        owner: Owner<'_>,
        blocks: u32,
        translated: Vec<u32>,
    ) -> u32 {
        let Ground { snapshot, node, .. } = ground;
        let (end, selectors, tenancy, ports) = match owner {
            Owner::Pod(pod) => {
                let ports = named_ports(ground.selection, [pod]);
                (End::Pod, self.pods.set_of(snapshot, pod), self.tenancy(ground, &pod.key.namespace), ports)
            }
            Owner::Conflict(conflict) => {
                let ports = named_ports(ground.selection, &conflict.pods);
                let of_node = !conflict.nodes.is_empty();
                let api_server = of_node && (api_server || snapshot.hosts_api_server(node));
                let end = End::Conflict { node: of_node, api_server };
                (end, self.any_selectors(ground, conflict, addr), self.no_tenancy(), ports)
            }
            Owner::LocalHost | Owner::RemoteNode(_) | Owner::Outside => {
                let end = match owner {
                    Owner::Outside => End::Outside { v4: addr.is_v4(), api_server },
                    Owner::RemoteNode(_) => End::RemoteNode { api_server },
                    _ => End::LocalHost { api_server: snapshot.hosts_api_server(node) },
                };
                (end, self.selectors_of_end(ground, end, addr, owner), self.no_tenancy(), Vec::new())
            }
        };
        let (ports, translated) = (self.ports.number(ports), self.translated.number(translated));
        self.signed(ground, Signature { end, selectors, blocks, tenancy, ports, translated })
    }

    /// The group of all Service addresses.
    fn service(&mut self, ground: Ground<'_>) -> u32 {
        let (selectors, tenancy) = (self.pods.sets.number(Vec::new()), self.no_tenancy());
        let (blocks, ports) = (self.blocks.number(Vec::new()), self.ports.number(Vec::new()));
        let translated = self.translated.number(Vec::new());
        let end = End::Service;
        self.signed(ground, Signature { end, selectors, blocks, tenancy, ports, translated })
    }

    fn signed(&mut self, ground: Ground<'_>, signature: Signature) -> u32 {
        let number = self.signatures.number(signature);
        if number as usize == self.groups.len() {
            self.describe(ground.matchers, number, signature);
        }
        number
    }

    /// Writes down what a new group is.
    fn describe(&mut self, matchers: &Matchers, number: u32, signature: Signature) {
        let Signature { end, selectors, blocks, tenancy, ports, translated } = signature;
        let (tenant, accepts) = self.tenancies.values()[tenancy as usize].clone();
        let names = self.ports.values()[ports as usize].clone();
        self.groups.push(Group {
            end,
            tenant,
            accepts,
            plain_number: self.plain.number((end, tenancy, translated)),
            ports: names,
            ports_number: ports,
            translated: self.translated.values()[translated as usize].clone(),
            translated_number: translated,
        });
        self.counts.push(0);
        let entities = Entity::ALL
            .into_iter()
            .filter(|entity| end.is(*entity))
            .filter_map(|entity| matchers.entity(entity));
        let selectors = self.pods.sets.values()[selectors as usize].iter();
        let blocks = self.blocks.values()[blocks as usize].iter();
        let matching: Vec<u32> = selectors.chain(blocks).copied().chain(entities).collect();
        for matcher in matching {
            self.members_of(matcher).push(number);
        }
    }

    fn no_tenancy(&mut self) -> u32 {
        self.tenancies.number((None, Vec::new()))
    }

    /// The selectors that match an end which is no pod.
    fn selectors_of_end(&mut self, ground: Ground<'_>, end: End, addr: Addr, owner: Owner<'_>) -> u32 {
        let node = match owner {
            Owner::RemoteNode(node) => node.name.clone(),
            _ => String::new(),
        };
        let key = (end, node);
        if let Some(set) = self.ends.get(&key) {
            return *set;
        }
        let set = match EndLabels::of(ground.snapshot, &addr, owner, ground.node) {
            Some(labels) => {
                let node = node_labels(ground.snapshot, owner, ground.node);
                ground.matchers.of_end(&labels, node.as_deref())
            }
            None => Vec::new(),
        };
        let number = self.pods.sets.number(set);
        self.ends.insert(key, number);
        number
    }

    /// The selectors that match any of those who claim an address. A node may be the local host or not.
    fn any_selectors(&mut self, ground: Ground<'_>, conflict: &Conflict, addr: Addr) -> u32 {
        let mut union = BTreeSet::new();
        for pod in &conflict.pods {
            let set = self.pods.set_of(ground.snapshot, pod);
            union.extend(self.pods.sets.values()[set as usize].iter().copied());
        }
        for node in &conflict.nodes {
            for owner in [Owner::RemoteNode(node), Owner::LocalHost] {
                if let Some(labels) = EndLabels::of(ground.snapshot, &addr, owner, ground.node) {
                    let node = node_labels(ground.snapshot, owner, ground.node);
                    union.extend(ground.matchers.of_end(&labels, node.as_deref()));
                }
            }
        }
        self.pods.sets.number(union.into_iter().collect())
    }

    fn tenancy(&mut self, ground: Ground<'_>, namespace: &str) -> u32 {
        if let Some(number) = self.tenancy_of.get(namespace) {
            return *number;
        }
        let local = &ground.selection.tenants;
        let tenancy = match ground.snapshot.tenant_of(namespace).filter(|_| !local.is_empty()) {
            Some(tenant) => {
                let accepts = local.iter().filter(|local| ground.snapshot.accepts(namespace, local));
                (Some(tenant.to_owned()), accepts.cloned().collect())
            }
            None => (None, Vec::new()),
        };
        let number = self.tenancies.number(tenancy);
        self.tenancy_of.insert(namespace.to_owned(), number);
        number
    }
}

fn named_ports<'p>(selection: &Selection, pods: impl IntoIterator<Item = &'p Arc<Pod>>) -> Vec<(u32, u16)> {
    let names = &selection.names;
    if names.values().is_empty() {
        return Vec::new();
    }
    let all: BTreeSet<(u32, u16)> = pods
        .into_iter()
        .flat_map(|pod| &pod.ports)
        .filter_map(|port| Some((names.find(&(port.protocol, port.name.clone()))?, port.port)))
        .collect();
    all.into_iter().collect()
}

/// The own labels of an end that is a node, as seen from the node `judging`.
fn node_labels<'a>(snapshot: &'a Snapshot, owner: Owner<'a>, judging: &str) -> Option<Cow<'a, Labels>> {
    match owner {
        Owner::RemoteNode(node) => Some(Cow::Borrowed(&node.labels)),
        Owner::LocalHost => Some(snapshot.node_labels(judging)),
        Owner::Pod(_) | Owner::Conflict(_) | Owner::Outside => None,
    }
}
