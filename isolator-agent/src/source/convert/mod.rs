//! A document becomes objects in our types: dispatch by kind, lists flattened. Not here: what happens to
//! an object whose new version is broken (`files`).

pub(crate) mod access;
mod cidr_group;
mod cilium;
mod cluster;
mod cluster_network_policy;
mod metadata;
mod net;
mod network_policy;
mod pod;
mod report;
mod selector;
mod service;

use self::metadata::Scope;
use self::report::{Origin, Report, Unknown};
use super::documents::Document;
use super::node::{Data, Node, child, entry};
use isolator_common::addr::Prefix;
use isolator_policy::cluster::change::{Object, ObjectKey};
use isolator_policy::model::{Place, PodKey, Policy, PolicyKey, PolicyKind, Problem, ServiceKey};

/// A range of addresses from its text, as every object's.
///
/// # Errors
/// What is wrong with the text.
pub fn prefix(text: &str) -> Result<Prefix, String> {
    net::prefix(text).map(|(prefix, _)| prefix)
}

/// What one object of a document turned out to be.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its name, as `Kind namespace/name`, as far as known.
    pub(crate) name: String,
    /// The object, as far as it could be read.
    pub(crate) found: Found,
    /// Where its text begins.
    pub(crate) place: Place,
    /// What is wrong with it.
    pub(crate) problems: Vec<Problem>,
}

impl Item {
    fn new(found: Found, report: Report<'_>) -> Self {
        let (name, place) = (report.name().to_owned(), report.place(""));
        Item { name, found, place, problems: report.into_problems() }
    }
}

/// How far an object could be read.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is good.
    Object(Object),
    /// Its name is known, its body is not acceptable.
    Broken(ObjectKey),
    /// It may be anything.
    Unreadable,
    /// A kind that gives us no object.
    Other,
}

/// The objects of one document of the file named `file`.
pub(crate) fn convert(file: &str, document: &Document) -> Vec<Item> {
    let mut items = Vec::new();
    match &document.content {
        Ok(root) => {
            let origin = Origin { file, document: document.number, root, begin: document.at };
            object(&origin, root, "", None, &mut items);
        }
        Err((at, message)) => {
            let place = report::place(file, document.number, *at, "");
            let problems = vec![report::unreadable(place.clone(), message)];
            items.push(Item { name: String::new(), found: Found::Unreadable, place, problems });
        }
    }
    items
}

/// An object of an API server, whose lists leave `apiVersion` and `kind` out. Unknown fields are let pass, but not in
/// what decides about packets by itself.
pub(crate) fn of_api(kind: &str, node: &Node) -> Item {
    let origin = Origin { file: "", document: 0, root: node, begin: node.at };
    let mut report = Report::new(&origin, "");
    report.name_object(kind, node);
    let found = match Ours::of(kind) {
        Some((ours, _)) => {
            report.pass(match ours {
                Ours::Policy(_) | Ours::CidrGroup => Unknown::InMetadata,
                Ours::Namespace
                | Ours::Node
                | Ours::Pod
                | Ours::Service
                | Ours::EndpointSlice
                | Ours::ServiceRange => Unknown::Passed,
            });
            ours.convert(node, &mut report)
        }
        None => {
            let message = format!("not enforced: the kind {kind} is not supported yet");
            report.error("unsupported-kind", "kind", message);
            Found::Other
        }
    };
    Item::new(found, report)
}

/// The version in which a kind is read, `group/version` or `version`; `None` where it is not read at all.
#[cfg(test)]
pub(crate) fn version_of(kind: &str) -> Option<&'static str> {
    Ours::of(kind).map(|(_, version)| version)
}

/// apiVersion and kind that the entries of a typed list (`PodList`) may leave out.
#[derive(Clone, Copy)]
struct TypeOfItems<'a> {
    api_version: &'a str,
    kind: &'a str,
}

/// One object, or all objects of a list. `prefix` is its field in the document, empty for the root.
fn object(
    origin: &Origin<'_>,
    node: &Node,
    prefix: &str,
    of: Option<TypeOfItems<'_>>,
    items: &mut Vec<Item>,
) {
    let mut report = Report::new(origin, prefix);
    let mut item = |found, report: Report<'_>| {
        items.push(Item::new(found, report));
    };
    if !matches!(node.data, Data::Mapping(_)) {
        report.error(
            "unreadable",
            "",
            "this is not a Kubernetes object, which is a mapping with apiVersion and kind",
        );
        return item(Found::Unreadable, report);
    }
    let api_version = node.get("apiVersion").and_then(Node::as_str).or(of.map(|of| of.api_version));
    let kind = node.get("kind").and_then(Node::as_str).or(of.map(|of| of.kind));
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        let missing = if kind.is_none() { "kind" } else { "apiVersion" };
        let message =
            format!("`{missing}` is missing or is not text, so what this is cannot be known; add it");
        report.error("unreadable", missing, message);
        return item(Found::Unreadable, report);
    };
    if let Some(kind_of_items) = kind.strip_suffix("List").filter(|_| node.get("items").is_some()) {
        let of = TypeOfItems { api_version, kind: kind_of_items };
        return list(origin, node, prefix, (!kind_of_items.is_empty()).then_some(of), items);
    }
    report.name_object(kind, node);
    let found = match standing(api_version, kind) {
        Standing::Ours(ours) => ours.convert(node, &mut report),
        Standing::OtherVersion(ours, wanted) => {
            let message =
                format!("{kind} is read as {wanted}, not as `{api_version}`; write `apiVersion: {wanted}`");
            report.error("wrong-api-version", "apiVersion", message);
            ours.key(node).map_or(Found::Unreadable, Found::Broken)
        }
        Standing::Unsupported => {
            report.error(
                "unsupported-kind",
                "kind",
                format!("not enforced: the kind {kind} of `{api_version}` is not supported yet"),
            );
            Found::Other
        }
        Standing::CreatesPods => {
            let message = format!("a {kind} creates pods, is not one; give the pods themselves");
            report.warning("creates-pods", "kind", message);
            Found::Other
        }
        Standing::Ignored => Found::Other,
        Standing::Unknown => {
            let message = format!("the kind {kind} of `{api_version}` is not known here and is ignored");
            report.warning("unknown-kind", "kind", message);
            Found::Other
        }
    };
    item(found, report);
}

fn list(origin: &Origin<'_>, node: &Node, prefix: &str, of: Option<TypeOfItems<'_>>, items: &mut Vec<Item>) {
    let field = child(prefix, "items");
    match node.get("items").map(|list| &list.data) {
        Some(Data::Sequence(list)) => {
            for (index, node) in list.iter().enumerate() {
                object(origin, node, &entry(&field, index), of, items);
            }
        }
        Some(Data::Scalar(serde_json::Value::Null)) => {}
        _ => {
            let mut report = Report::new(origin, prefix);
            report.error("unreadable", "items", "`items` of a list must be a list of objects");
            items.push(Item::new(Found::Unreadable, report));
        }
    }
}

/// Kinds that become objects.
#[derive(Clone, Copy)]
enum Ours {
    Namespace,
    Node,
    Pod,
    Policy(PolicyKind),
    Service,
    EndpointSlice,
    CidrGroup,
    ServiceRange,
}

impl Ours {
    fn of(kind: &str) -> Option<(Ours, &'static str)> {
        Some(match kind {
            "Namespace" => (Ours::Namespace, "v1"),
            "Node" => (Ours::Node, "v1"),
            "Pod" => (Ours::Pod, "v1"),
            "NetworkPolicy" => (Ours::Policy(PolicyKind::NetworkPolicy), "networking.k8s.io/v1"),
            "CiliumNetworkPolicy" => (Ours::Policy(PolicyKind::CiliumNetworkPolicy), "cilium.io/v2"),
            "CiliumClusterwideNetworkPolicy" => {
                (Ours::Policy(PolicyKind::CiliumClusterwideNetworkPolicy), "cilium.io/v2")
            }
            "ClusterNetworkPolicy" => {
                (Ours::Policy(PolicyKind::ClusterNetworkPolicy), "policy.networking.k8s.io/v1alpha2")
            }
            "Service" => (Ours::Service, "v1"),
            "EndpointSlice" => (Ours::EndpointSlice, "discovery.k8s.io/v1"),
            "CiliumCIDRGroup" => (Ours::CidrGroup, "cilium.io/v2"),
            "ServiceCIDR" => (Ours::ServiceRange, "networking.k8s.io/v1"),
            _ => return None,
        })
    }

    /// The object's name, where it can be read, however bad the rest is.
    fn key(self, node: &Node) -> Option<ObjectKey> {
        let scope = match self {
            Ours::Policy(PolicyKind::CiliumClusterwideNetworkPolicy | PolicyKind::ClusterNetworkPolicy)
            | Ours::Namespace
            | Ours::Node
            | Ours::CidrGroup
            | Ours::ServiceRange => Scope::Cluster,
            Ours::Pod | Ours::Policy(_) | Ours::Service | Ours::EndpointSlice => Scope::Namespaced,
        };
        let (namespace, name) = metadata::name(node, scope)?;
        Some(match self {
            Ours::Namespace => ObjectKey::Namespace(name),
            Ours::Node => ObjectKey::Node(name),
            Ours::Pod => ObjectKey::Pod(PodKey { namespace, name }),
            Ours::Policy(kind) => ObjectKey::Policy(PolicyKey { kind, namespace, name }),
            Ours::Service => ObjectKey::Service(ServiceKey { namespace, name }),
            Ours::EndpointSlice => ObjectKey::EndpointSlice(ServiceKey { namespace, name }),
            Ours::CidrGroup => ObjectKey::CidrGroup(name),
            Ours::ServiceRange => ObjectKey::ServiceRange(name),
        })
    }

    fn convert(self, node: &Node, report: &mut Report<'_>) -> Found {
        let Some(key) = self.key(node) else {
            let message = "`metadata.name` is missing or is not text; give the object a name (and quote it if it is a number or a \
                           word like `on` or `n`, which YAML reads as a boolean)";
            report.error("unreadable", "metadata.name", message);
            return Found::Unreadable;
        };
        let object = match &key {
            ObjectKey::Namespace(name) => cluster::namespace(name, node, report).map(Object::Namespace),
            ObjectKey::Node(name) => cluster::node(name, node, report).map(Object::Node),
            ObjectKey::Pod(key) => pod::pod(key, node, report).map(Object::Pod),
            ObjectKey::Policy(key) => policy(key, node, report).map(Object::Policy),
            ObjectKey::Service(key) => service::service(key, node, report).map(Object::Service),
            ObjectKey::EndpointSlice(key) => service::slice(key, node, report).map(Object::EndpointSlice),
            ObjectKey::CidrGroup(name) => cidr_group::group(name, node, report).map(Object::CidrGroup),
            ObjectKey::ServiceRange(name) => service::range(name, node, report).map(Object::ServiceRange),
        };
        object.map_or(Found::Broken(key), Found::Object)
    }
}

fn policy(key: &PolicyKey, node: &Node, report: &mut Report<'_>) -> Option<Policy> {
    match key.kind {
        PolicyKind::NetworkPolicy => network_policy::policy(key, node, report),
        PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy => {
            cilium::policy(key, node, report)
        }
        PolicyKind::ClusterNetworkPolicy => cluster_network_policy::policy(key, node, report),
    }
}

/// What a kind of an API group is to us.
enum Standing {
    /// It becomes an object.
    Ours(Ours),
    /// One of ours, in a version that is not.
    OtherVersion(Ours, &'static str),
    /// Policy that is not enforced yet. Never silent.
    Unsupported,
    /// A template of pods.
    CreatesPods,
    /// Known, and nothing to do with enforcement so far.
    Ignored,
    /// Never heard of.
    Unknown,
}

fn standing(api_version: &str, kind: &str) -> Standing {
    let (group, _) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let kubernetes = !group.contains('.') || group.ends_with(".k8s.io");
    if let Some((ours, wanted)) = Ours::of(kind) {
        // The group of CIDRs was the same object before it was v2, and Cilium serves it still.
        let older = matches!(ours, Ours::CidrGroup) && api_version == "cilium.io/v2alpha1";
        if api_version == wanted || older {
            return Standing::Ours(ours);
        }
        let same_group = wanted.rsplit_once('/').is_some_and(|(wanted, _)| wanted == group);
        if kubernetes || same_group {
            return Standing::OtherVersion(ours, wanted);
        }
    }
    // Calico's NetworkPolicy, for one, is another object that has the same kind.
    let is_policy = kind.ends_with("NetworkPolicy") || kind.ends_with("NetworkPolicySet");
    if is_policy || matches!(kind, "NetworkSet" | "GlobalNetworkSet") {
        return Standing::Unsupported;
    }
    match (group, kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job" | "CronJob")
        | ("", "ReplicationController" | "PodTemplate") => Standing::CreatesPods,
        ("", "Endpoints" | "ConfigMap" | "Secret" | "ServiceAccount" | "LimitRange" | "ResourceQuota")
        | ("", "PersistentVolume" | "PersistentVolumeClaim" | "Event")
        | ("networking.k8s.io", "Ingress" | "IngressClass" | "ServiceCIDR" | "IPAddress")
        | ("apps", "ControllerRevision")
        | (
            "kustomize.config.k8s.io"
            | "autoscaling"
            | "policy"
            | "coordination.k8s.io"
            | "events.k8s.io"
            | "storage.k8s.io",
            _,
        )
        | ("rbac.authorization.k8s.io" | "admissionregistration.k8s.io" | "scheduling.k8s.io", _)
        | (
            "apiextensions.k8s.io" | "apiregistration.k8s.io" | "node.k8s.io" | "gateway.networking.k8s.io",
            _,
        ) => Standing::Ignored,
        _ => Standing::Unknown,
    }
}
