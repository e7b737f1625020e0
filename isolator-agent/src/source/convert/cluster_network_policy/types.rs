//! ClusterNetworkPolicy as policy.networking.k8s.io/v1alpha2 has it. Not here: what is valid.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<Spec>,
}

#[derive(Deserialize)]
pub(super) struct Spec {
    pub(super) tier: Option<String>,
    pub(super) priority: Option<i64>,
    pub(super) subject: Option<Subject>,
    pub(super) ingress: Option<Vec<IngressRule>>,
    pub(super) egress: Option<Vec<EgressRule>>,
}

#[derive(Deserialize)]
pub(super) struct Subject {
    pub(super) namespaces: Option<LabelSelector>,
    pub(super) pods: Option<NamespacedPod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamespacedPod {
    pub(super) namespace_selector: Option<LabelSelector>,
    pub(super) pod_selector: Option<LabelSelector>,
}

#[derive(Deserialize)]
pub(super) struct IngressRule {
    pub(super) name: Option<String>,
    pub(super) action: Option<String>,
    pub(super) from: Option<Vec<IngressPeer>>,
    pub(super) protocols: Option<Vec<Protocol>>,
}

#[derive(Deserialize)]
pub(super) struct EgressRule {
    pub(super) name: Option<String>,
    pub(super) action: Option<String>,
    pub(super) to: Option<Vec<EgressPeer>>,
    pub(super) protocols: Option<Vec<Protocol>>,
}

#[derive(Deserialize)]
pub(super) struct IngressPeer {
    pub(super) namespaces: Option<LabelSelector>,
    pub(super) pods: Option<NamespacedPod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EgressPeer {
    pub(super) namespaces: Option<LabelSelector>,
    pub(super) pods: Option<NamespacedPod>,
    pub(super) nodes: Option<LabelSelector>,
    pub(super) networks: Option<Vec<String>>,
    pub(super) domain_names: Option<Vec<String>>,
}

impl From<IngressPeer> for EgressPeer {
    fn from(peer: IngressPeer) -> Self {
        let IngressPeer { namespaces, pods } = peer;
        EgressPeer { namespaces, pods, nodes: None, networks: None, domain_names: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) tcp: Option<PortMatch>,
    pub(super) udp: Option<PortMatch>,
    pub(super) sctp: Option<PortMatch>,
    pub(super) destination_named_port: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMatch {
    pub(super) destination_port: Option<Port>,
}

#[derive(Deserialize)]
pub(super) struct Port {
    pub(super) number: Option<i32>,
    pub(super) range: Option<PortRange>,
}

#[derive(Deserialize)]
pub(super) struct PortRange {
    pub(super) start: Option<i32>,
    pub(super) end: Option<i32>,
}
