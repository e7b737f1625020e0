//! The labels of every end's identity, as Cilium would give them: pods, hosts, and what is outside. Not here:
//! numbers of identities (`meaning::compile::identity`), what selects by labels (`model`).

use super::snapshot::{Owner, Snapshot};
use crate::model::{IdentityLabels, LabelSource, Labels, Pod};
use isolator_common::addr::Addr;
use std::borrow::Cow;

/// Key of the label that names a pod's namespace.
pub const NAMESPACE_KEY: &str = "io.kubernetes.pod.namespace";
/// Before the keys of the labels of a pod's namespace.
pub const NAMESPACE_LABELS_PREFIX: &str = "io.cilium.k8s.namespace.labels.";
/// Key of the label that names a pod's service account.
pub const SERVICE_ACCOUNT_KEY: &str = "io.cilium.k8s.policy.serviceaccount";
/// Before the keys of labels that Cilium gives, and takes from nobody else.
const CILIUM_PREFIX: &str = "io.cilium.k8s";
/// Key of the label that names the cluster.
pub const CLUSTER_KEY: &str = "io.cilium.k8s.policy.cluster";

/// Whether a pod's label is part of its identity. Labels that differ from pod to pod are not, so that pods
/// with equal rights share an identity; nor are those that only Cilium itself gives. As Cilium's default filter
/// has it (pkg/labelsfilter): each expression is matched at the beginning of the key, and what matches none is
/// part of the identity.
#[must_use]
pub fn in_identity(key: &str) -> bool {
    const OUT: [&str; 14] = [
        "io.kubernetes",
        "kubernetes.io",
        "k8s.io",
        "pod-template-generation",
        "pod-template-hash",
        "controller-revision-hash",
        "controller-uid",
        "annotation",
        "etcd_node",
        "topology.kubernetes.io",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/controller-uid",
    ];
    if key.starts_with(CILIUM_PREFIX) {
        return false;
    }
    // A longer match that includes beats one that excludes.
    key.starts_with(NAMESPACE_KEY) || !(OUT.iter().any(|prefix| key.starts_with(prefix)) || is_beta(key))
}

/// Whether Cilium leaves a label out for being a beta one, wherever in the key it says so.
pub(crate) fn is_beta(key: &str) -> bool {
    key.contains("beta.kubernetes.io")
}

/// The labels of one end's identity.
#[derive(Clone, Debug)]
pub enum EndLabels<'a> {
    /// A pod.
    Pod {
        /// The pod.
        pod: &'a Pod,
        /// Labels of its namespace.
        namespace: Cow<'a, Labels>,
        /// Name of the cluster.
        cluster: &'a str,
    },
    /// The node that judges.
    Host {
        /// The API server is there.
        api_server: bool,
    },
    /// Another node.
    RemoteNode {
        /// The API server is there.
        api_server: bool,
    },
    /// Outside the cluster.
    Outside {
        /// The address is IPv4.
        v4: bool,
        /// The API server is there.
        api_server: bool,
    },
}

impl<'a> EndLabels<'a> {
    /// The labels of a pod.
    #[must_use]
    pub fn of_pod(snapshot: &'a Snapshot, pod: &'a Pod) -> Self {
        let namespace = snapshot.namespace_labels(&pod.key.namespace);
        EndLabels::Pod { pod, namespace, cluster: snapshot.cluster_name() }
    }

    /// The labels of whoever has an address. `None` where several claim it.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, addr: &Addr, owner: Owner<'a>, judging: &str) -> Option<Self> {
        let here = snapshot.api_servers().contains(addr);
        Some(match owner {
            Owner::Pod(pod) => EndLabels::of_pod(snapshot, pod),
            // A node has one identity for all its addresses, where it is the local host.
            Owner::LocalHost => EndLabels::Host { api_server: snapshot.hosts_api_server(judging) },
            Owner::RemoteNode(_) => EndLabels::RemoteNode { api_server: here },
            Owner::Outside => EndLabels::Outside { v4: addr.is_v4(), api_server: here },
            Owner::Conflict(_) => return None,
        })
    }

    fn kubernetes(&self, key: &str) -> Option<&str> {
        let EndLabels::Pod { pod, namespace, cluster } = self else { return None };
        if let Some(key) = key.strip_prefix(NAMESPACE_LABELS_PREFIX) {
            return namespace.get(key).filter(|_| !is_beta(key)).map(String::as_str);
        }
        match key {
            NAMESPACE_KEY => Some(&pod.key.namespace),
            SERVICE_ACCOUNT_KEY => Some(&pod.service_account),
            CLUSTER_KEY => Some(cluster),
            key if in_identity(key) => pod.labels.get(key).map(String::as_str),
            _ => None,
        }
    }

    fn reserved(&self, key: &str) -> Option<&str> {
        let has = match (self, key) {
            (EndLabels::Host { .. }, "host")
            | (EndLabels::RemoteNode { .. }, "remote-node")
            | (EndLabels::Outside { .. }, "world") => true,
            (EndLabels::Outside { v4, .. }, "world-ipv4") => *v4,
            (EndLabels::Outside { v4, .. }, "world-ipv6") => !*v4,
            (
                EndLabels::Host { api_server }
                | EndLabels::RemoteNode { api_server }
                | EndLabels::Outside { api_server, .. },
                "kube-apiserver",
            ) => *api_server,
            _ => false,
        };
        has.then_some("")
    }
}

impl IdentityLabels for EndLabels<'_> {
    fn value(&self, source: &LabelSource, key: &str) -> Option<&str> {
        match source {
            LabelSource::Any => self.kubernetes(key).or_else(|| self.reserved(key)),
            LabelSource::Kubernetes => self.kubernetes(key),
            LabelSource::Reserved => self.reserved(key),
            LabelSource::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_differ_from_pod_to_pod_are_not_in_identities() {
        for key in
            ["app", "app.kubernetes.io/name", "my.kubernetes.io/x", "io.kubernetes.pod.namespaces", "k8s-app"]
        {
            assert!(in_identity(key), "{key}");
        }
        for key in [
            "kubernetes.io/hostname",
            "io.kubernetes.container",
            "pod-template-hash",
            "annotations",
            "statefulset.kubernetes.io/pod-name",
            "topology.kubernetes.io/zone",
            "app.kubernetes.io/beta.kubernetes.io",
            "failure-domain.beta.kubernetes.io/zone",
            "io.cilium.k8s.policy.cluster",
        ] {
            assert!(!in_identity(key), "{key}");
        }
    }
}
