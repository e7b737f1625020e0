//! The cluster at one moment, as everybody but the index reads it. Not here: what policies mean.

use super::index::{Objects, Options};
use super::owners::Owners;
use crate::model::{Labels, Namespace, Node, Pod, PodKey, Policy, PolicyKey, Problem};
use isolator_common::addr::Addr;
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// Made of `pods` and `nodes` when first asked for, and shared by all snapshots that agree in both.
    owners: Arc<OnceLock<Owners>>,
}

/// Who is behind an address.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// A running pod with a network of its own.
    Pod(&'a Pod),
    /// The node that judges, hostNetwork pods on it included.
    LocalHost,
    /// Another node, hostNetwork pods on it included.
    RemoteNode(&'a Node),
    /// Several ends claim the address.
    Conflict(&'a Conflict),
    /// Nobody in the cluster.
    Outside,
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
            namespaces: Arc::default(),
            nodes: Arc::default(),
            pods: Arc::default(),
            policies: Arc::default(),
            owners: Arc::default(),
        }
    }

    /// Pods or nodes changed. Always true, to be chained.
    pub(super) fn forget_owners(&mut self) -> bool {
        self.owners = Arc::default();
        true
    }

    /// The namespaces that were declared.
    #[must_use]
    pub fn namespaces(&self) -> &BTreeMap<String, Arc<Namespace>> {
        &self.namespaces
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<String, Arc<Node>> {
        &self.nodes
    }

    /// The pods, those without a network of their own and finished ones included.
    #[must_use]
    pub fn pods(&self) -> &BTreeMap<PodKey, Arc<Pod>> {
        &self.pods
    }

    /// The policies of every kind.
    #[must_use]
    pub fn policies(&self) -> &BTreeMap<PolicyKey, Arc<Policy>> {
        &self.policies
    }

    /// Key of the namespace label that names the tenant.
    #[must_use]
    pub fn tenant_label(&self) -> &str {
        &self.options.tenant_label
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

    /// What looks wrong in the cluster's own objects. Sorted; equal snapshots give equal problems.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        super::problems::problems(self)
    }

    pub(super) fn owners(&self) -> &Owners {
        self.owners.get_or_init(|| Owners::new(&self.pods, &self.nodes))
    }
}
