//! The kinds of objects that are watched, and which of them a cluster must have. Not here: how they are read
//! (`convert`), which of them a cluster has (`crds`).

use std::fmt;

/// One kind of objects, as the API serves it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Resource {
    /// The API group; empty for the core group.
    pub(super) group: &'static str,
    /// The version that is read.
    pub(super) version: &'static str,
    /// The name in paths and in RBAC rules.
    pub(super) plural: &'static str,
    /// The kind.
    pub(super) kind: &'static str,
    /// How much of it there must be.
    pub(super) need: Need,
}

/// Whether a cluster must have a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Need {
    /// Every cluster has it.
    Always,
    /// Newer ones have it; one that does not serve it has none of it.
    WhereServed,
    /// Only where its CustomResourceDefinition is.
    WhereDefined,
}

/// A kind by reference to its only description.
pub(super) type Kind = &'static Resource;

/// Definitions of custom kinds. They say which of the others there are, and become no object.
pub(super) static DEFINITIONS: Resource =
    always("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

/// The kinds that become objects.
pub(super) static RESOURCES: [Resource; 11] = [
    always("", "v1", "namespaces", "Namespace"),
    always("", "v1", "nodes", "Node"),
    always("", "v1", "pods", "Pod"),
    always("", "v1", "services", "Service"),
    always("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    always("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    new(Need::WhereServed, "networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR"),
    cilium("ciliumnetworkpolicies", "CiliumNetworkPolicy"),
    cilium("ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy"),
    cilium("ciliumcidrgroups", "CiliumCIDRGroup"),
    new(
        Need::WhereDefined,
        "policy.networking.k8s.io",
        "v1alpha2",
        "clusternetworkpolicies",
        "ClusterNetworkPolicy",
    ),
];

const fn new(
    need: Need,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Resource {
    Resource { group, version, plural, kind, need }
}

const fn always(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Resource {
    new(Need::Always, group, version, plural, kind)
}

const fn cilium(plural: &'static str, kind: &'static str) -> Resource {
    new(Need::WhereDefined, "cilium.io", "v2", plural, kind)
}

/// The kinds that are watched in every cluster, the definitions among them.
pub(super) fn required() -> impl Iterator<Item = Kind> {
    let all = std::iter::once(&DEFINITIONS).chain(RESOURCES.iter());
    all.filter(|resource| resource.need != Need::WhereDefined)
}

/// The kinds that are watched where they are defined.
pub(super) fn optional() -> impl Iterator<Item = Kind> {
    RESOURCES.iter().filter(|resource| resource.need == Need::WhereDefined)
}

/// The description of a kind that becomes objects.
pub(crate) fn of(kind: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.kind == kind)
}

impl Resource {
    /// The path of all its objects.
    pub(super) fn path(&self) -> String {
        self.path_in("")
    }

    /// The path of its objects in a namespace; of all where that is empty.
    pub(crate) fn path_in(&self, namespace: &str) -> String {
        let Resource { group, version, plural, .. } = self;
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        if namespace.is_empty() {
            format!("{root}/{plural}")
        } else {
            format!("{root}/namespaces/{namespace}/{plural}")
        }
    }

    /// What its objects say as `apiVersion`.
    pub(crate) fn api_version(&self) -> String {
        let Resource { group, version, .. } = self;
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }

    /// The name of its CustomResourceDefinition, and how RBAC rules name it.
    pub(super) fn full_name(&self) -> String {
        let Resource { group, plural, .. } = self;
        if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::convert;
    use super::*;
    use crate::publish::WRITES;
    use saphyr::{LoadableYamlNode, Yaml};
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_watched_in_the_version_that_is_read() {
        for resource in &RESOURCES {
            let wanted = convert::version_of(resource.kind).unwrap();
            assert_eq!(resource.api_version(), wanted, "{resource}");
        }
    }

    /// API group, resource and verb of everything that the DaemonSet's role permits.
    fn permitted() -> BTreeSet<(String, String, String)> {
        let text = include_str!("../../../../deploy/rbac.yaml");
        let documents = Yaml::load_from_str(text).unwrap();
        let role =
            documents.iter().find(|document| document["kind"].as_str() == Some("ClusterRole")).unwrap();
        let texts = |list: &Yaml| -> Vec<String> {
            list.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut permitted = BTreeSet::new();
        for rule in role["rules"].as_sequence().unwrap() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        permitted.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
        permitted
    }

    #[test]
    fn the_role_of_the_daemonset_permits_what_is_watched_and_written_and_nothing_else() {
        let watched = std::iter::once(&DEFINITIONS).chain(&RESOURCES);
        let mut wanted: BTreeSet<(&str, &str, &str)> =
            watched.flat_map(|one| ["list", "watch"].map(|verb| (one.group, one.plural, verb))).collect();
        wanted.extend(WRITES);
        let permitted = permitted();
        let permitted: BTreeSet<(&str, &str, &str)> =
            permitted.iter().map(|(group, resource, verb)| (&**group, &**resource, &**verb)).collect();
        assert_eq!(permitted, wanted);
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |kind| of(kind).unwrap().path();
        assert_eq!(path("Pod"), "/api/v1/pods");
        assert_eq!(path("CiliumCIDRGroup"), "/apis/cilium.io/v2/ciliumcidrgroups");
        assert_eq!(
            of("NetworkPolicy").unwrap().path_in("a"),
            "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies"
        );
        assert_eq!(DEFINITIONS.full_name(), "customresourcedefinitions.apiextensions.k8s.io");
    }
}
