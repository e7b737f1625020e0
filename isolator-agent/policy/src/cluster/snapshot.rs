//! The cluster at one moment, as everybody but the index reads it. Not here: what policies mean.

use super::index::{Objects, Options};
use super::owners::Owners;
use super::problems::Problems;
use super::translations::{Translated, Translations};
use crate::model::{
    CidrGroup, EndpointSlice, Labels, Namespace, Node, Pod, PodKey, Policy, PolicyKey, Problem, Service,
    ServiceKey, ServiceRange,
};
use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// The label that the API server puts on every namespace.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The cluster at one moment. Cloning copies a few pointers.
#[derive(Clone, Debug)]
pub struct Snapshot {
    options: Arc<Options>,
    pub(super) namespaces: Objects<String, Namespace>,
    pub(super) nodes: Objects<String, Node>,
    pub(super) pods: Objects<PodKey, Pod>,
    pub(super) policies: Objects<PolicyKey, Policy>,
    pub(super) services: Objects<ServiceKey, Service>,
    pub(super) slices: Objects<ServiceKey, EndpointSlice>,
    pub(super) cidr_groups: Objects<String, CidrGroup>,
    pub(super) service_ranges: Objects<String, ServiceRange>,
    /// Made of `pods` and `nodes` when first asked for, and shared by all snapshots that agree in both.
    owners: Arc<OnceLock<Owners>>,
    /// Made of `slices` when first asked for.
    api_servers: Arc<OnceLock<BTreeSet<Addr>>>,
    /// Made of `services` and `service_ranges` when first asked for.
    translations: Arc<OnceLock<Translations>>,
}

/// Who is behind an address.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// A running pod with a network of its own.
    Pod(&'a Arc<Pod>),
    /// The node that judges, hostNetwork pods on it included.
    LocalHost,
    /// Another node, hostNetwork pods on it included.
    RemoteNode(&'a Node),
    /// Several ends claim the address.
    Conflict(&'a Conflict),
    /// Nobody in the cluster.
    Outside,
}

/// One object before and after; `None` where it was not or is no more.
pub type Changed<'a, K, V> = (&'a K, Option<&'a Arc<V>>, Option<&'a Arc<V>>);

/// What differs between two snapshots in which nothing that policy asks for does but pods and policies.
#[derive(Debug)]
pub struct Changes<'a> {
    /// Pods that are not the same.
    pub pods: Vec<Changed<'a, PodKey, Pod>>,
    /// Policies that are not the same.
    pub policies: Vec<Changed<'a, PolicyKey, Policy>>,
    /// Addresses whose owner may not be the same, sorted.
    pub addresses: Vec<Addr>,
}

/// Those who claim one address: two pods or more, or pods and nodes. Nobody's rights count then.
#[derive(Clone, Debug, Default)]
pub struct Conflict {
    /// The pods, sorted by name.
    pub pods: Vec<Arc<Pod>>,
    /// The nodes, sorted by name.
    pub nodes: Vec<Arc<Node>>,
}

impl Snapshot {
    pub(super) fn empty(options: Options) -> Self {
        Snapshot {
            options: Arc::new(options),
            namespaces: SharedMap::default(),
            nodes: SharedMap::default(),
            pods: SharedMap::default(),
            policies: SharedMap::default(),
            services: SharedMap::default(),
            slices: SharedMap::default(),
            cidr_groups: SharedMap::default(),
            service_ranges: SharedMap::default(),
            translations: Arc::default(),
            api_servers: Arc::default(),
            owners: Arc::default(),
        }
    }

    /// The same cluster with these pods in it, too.
    #[must_use]
    pub(crate) fn with_pods(&self, pods: Vec<Pod>) -> Self {
        let mut more = self.clone();
        more.pods.extend(pods.into_iter().map(|pod| (pod.key.clone(), Arc::new(pod))));
        more.forget_owners();
        more
    }

    /// Pods or nodes changed. Always true, to be chained.
    pub(super) fn forget_owners(&mut self) -> bool {
        self.owners = Arc::default();
        true
    }

    /// One pod changed. Always true, to be chained.
    pub(super) fn pod_changed(&mut self, before: Option<&Arc<Pod>>, after: Option<&Arc<Pod>>) -> bool {
        let of_a_node = |pod: Option<&Arc<Pod>>| pod.is_some_and(|pod| pod.host_network);
        match self.owners.get() {
            Some(owners) if !of_a_node(before) && !of_a_node(after) => {
                self.owners = Arc::new(OnceLock::from(owners.with(before, after)));
                true
            }
            _ => self.forget_owners(),
        }
    }

    /// Slices changed. Always true, to be chained.
    pub(super) fn forget_api_servers(&mut self) -> bool {
        self.api_servers = Arc::default();
        true
    }

    /// Services or their ranges changed. Always true, to be chained.
    pub(super) fn forget_translations(&mut self) -> bool {
        self.translations = Arc::default();
        true
    }

    /// The namespaces that were declared.
    #[must_use]
    pub fn namespaces(&self) -> &SharedMap<String, Arc<Namespace>> {
        &self.namespaces
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &SharedMap<String, Arc<Node>> {
        &self.nodes
    }

    /// The pods, those without a network of their own and finished ones included.
    #[must_use]
    pub fn pods(&self) -> &SharedMap<PodKey, Arc<Pod>> {
        &self.pods
    }

    /// The policies of every kind.
    #[must_use]
    pub fn policies(&self) -> &SharedMap<PolicyKey, Arc<Policy>> {
        &self.policies
    }

    /// The services.
    #[must_use]
    pub fn services(&self) -> &SharedMap<ServiceKey, Arc<Service>> {
        &self.services
    }

    /// The backends of services, by the slices' own names.
    #[must_use]
    pub fn slices(&self) -> &SharedMap<ServiceKey, Arc<EndpointSlice>> {
        &self.slices
    }

    /// The groups of ranges.
    #[must_use]
    pub fn cidr_groups(&self) -> &SharedMap<String, Arc<CidrGroup>> {
        &self.cidr_groups
    }

    /// Addresses of the API servers: the ready backends of the service `kubernetes` in `default`.
    #[must_use]
    pub fn api_servers(&self) -> &BTreeSet<Addr> {
        self.api_servers.get_or_init(|| {
            let first = |namespace: &str| ServiceKey { namespace: namespace.to_owned(), name: String::new() };
            // No namespace is named between the two.
            let slices = self.slices.range(first("default")..first("default\0")).map(|(_, slice)| slice);
            let of_api = slices.filter(|slice| is_of_api_servers(slice));
            let ready = of_api.flat_map(|slice| &slice.backends).filter(|backend| backend.ready);
            ready.flat_map(|backend| backend.addresses.iter().copied()).collect()
        })
    }

    /// What of an address is translated to backends of services, by this owner's node.
    #[must_use]
    pub fn translated(&self, addr: &Addr, owner: Owner<'_>) -> Translated {
        self.translations().of(addr, owner)
    }

    /// Whether all addresses of a prefix are in a range of service addresses.
    #[must_use]
    pub fn in_service_range(&self, prefix: Prefix) -> bool {
        self.translations().covers(prefix)
    }

    /// The ranges that service addresses come from.
    #[must_use]
    pub fn service_ranges(&self) -> &BTreeSet<Prefix> {
        self.translations().ranges()
    }

    /// Every address of a service, in no particular order.
    pub fn service_addresses(&self) -> impl Iterator<Item = Addr> + '_ {
        self.translations().addresses()
    }

    /// Whether a service has this address.
    #[must_use]
    pub fn is_service_address(&self, addr: &Addr) -> bool {
        self.translations().has(addr)
    }

    fn translations(&self) -> &Translations {
        self.translations.get_or_init(|| {
            Translations::new(&self.services, &self.service_ranges, &self.options.service_ranges)
        })
    }

    /// Key of the namespace label that names the tenant.
    #[must_use]
    pub fn tenant_label(&self) -> &str {
        &self.options.tenant_label
    }

    /// The cluster's name, as identities' labels say it.
    #[must_use]
    pub fn cluster_name(&self) -> &str {
        &self.options.cluster_name
    }

    /// The tenant of a namespace. `None` without the label, with an empty one, or if nobody declared the
    /// namespace: then tenancy does not restrict its pods.
    #[must_use]
    pub fn tenant_of(&self, namespace: &str) -> Option<&str> {
        let labels = &self.namespaces.get(namespace)?.labels;
        labels.get(self.tenant_label()).map(String::as_str).filter(|tenant| !tenant.is_empty())
    }

    /// Whether a namespace admits connections from another tenant.
    #[must_use]
    pub fn accepts(&self, namespace: &str, tenant: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|receiver| receiver.accept_tenants.contains(tenant))
    }

    /// Labels of a namespace. One that nobody declared has its name and nothing else.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> Cow<'_, Labels> {
        match self.namespaces.get(namespace) {
            Some(declared) => Cow::Borrowed(&declared.labels),
            None => Cow::Owned(Labels::from([(NAMESPACE_NAME_LABEL.to_owned(), namespace.to_owned())])),
        }
    }

    /// Labels of a node. One that nobody declared has none.
    #[must_use]
    pub fn node_labels(&self, node: &str) -> Cow<'_, Labels> {
        self.nodes.get(node).map_or(Cow::Owned(Labels::new()), |node| Cow::Borrowed(&node.labels))
    }

    /// Who is behind an address, as seen from the node `judging`.
    #[must_use]
    pub fn owner(&self, addr: &Addr, judging: &str) -> Owner<'_> {
        self.owners().of(addr, judging)
    }

    /// Every address that belongs to somebody in the cluster, in no particular order.
    pub fn owned_addresses(&self) -> impl Iterator<Item = Addr> + '_ {
        self.owners().addresses()
    }

    /// The address of a node that stands for it, of one family: the first it declares, or that of a
    /// hostNetwork pod on it. `None` if the node is unknown or has none.
    #[must_use]
    pub fn node_address(&self, node: &str, v4: bool) -> Option<Addr> {
        self.owners().node_address(node, v4)
    }

    /// Whether a node's own addresses are among those of the API servers.
    #[must_use]
    pub fn hosts_api_server(&self, node: &str) -> bool {
        self.owners().node_addresses(node).iter().any(|addr| self.api_servers().contains(addr))
    }

    /// What has changed since an earlier snapshot of the same index. `None`: more than pods, policies, and
    /// backends that no policy asks for; or the addresses of nodes with them. Looks only at what the two do not share.
    #[must_use]
    pub fn since<'a>(&'a self, before: &'a Snapshot) -> Option<Changes<'a>> {
        let Snapshot { options, namespaces, nodes, services, slices, cidr_groups, service_ranges, .. } = self;
        let same = Arc::ptr_eq(options, &before.options)
            && namespaces.is_same(&before.namespaces)
            && nodes.is_same(&before.nodes)
            && services.is_same(&before.services)
            && slices.pairs(&before.slices).all(|(_, now, then)| now == then || !self.matters(now, then))
            && cidr_groups.is_same(&before.cidr_groups)
            && service_ranges.is_same(&before.service_ranges);
        if !same {
            return None;
        }
        fn changed<'a, K: Ord, V>(
            before: &'a Objects<K, V>,
            after: &'a Objects<K, V>,
        ) -> Vec<Changed<'a, K, V>> {
            let same =
                |a: Option<&Arc<V>>, b: Option<&Arc<V>>| a.zip(b).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
            before.pairs(after).filter(|(_, a, b)| !same(*a, *b)).collect()
        }
        Some(Changes {
            pods: changed(&before.pods, &self.pods),
            policies: changed(&before.policies, &self.policies),
            addresses: self.owners().changed(before.owners())?,
        })
    }

    /// Whether policy asks for the backends in a slice as it is or was: those of API servers, and of services that select
    /// no pods. Those of other services are found by their selectors, and come and go with pods all the time.
    fn matters(&self, now: Option<&Arc<EndpointSlice>>, then: Option<&Arc<EndpointSlice>>) -> bool {
        now.into_iter().chain(then).any(|slice| {
            let key = ServiceKey { namespace: slice.namespace.clone(), name: slice.service.clone() };
            let service = self.services.get(&key);
            is_of_api_servers(slice) || service.is_some_and(|service| service.selector.is_empty())
        })
    }

    /// What looks wrong in the cluster's own objects. Sorted; equal snapshots give equal problems.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        Problems::default().of(self)
    }

    pub(super) fn owners(&self) -> &Owners {
        self.owners.get_or_init(|| Owners::new(&self.pods, &self.nodes))
    }
}

fn is_of_api_servers(slice: &EndpointSlice) -> bool {
    slice.namespace == "default" && slice.service == "kubernetes"
}
