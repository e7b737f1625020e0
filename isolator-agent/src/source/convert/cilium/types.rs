//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as cilium.io/v2 has them. A list that is there but
//! empty is kept apart from one that is absent, because they mean different things. Not here: what is valid.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<Spec>,
    pub(super) specs: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) endpoint_selector: Option<LabelSelector>,
    pub(super) node_selector: Option<LabelSelector>,
    pub(super) ingress: Option<Vec<IngressRule>>,
    pub(super) ingress_deny: Option<Vec<IngressDenyRule>>,
    pub(super) egress: Option<Vec<EgressRule>>,
    pub(super) egress_deny: Option<Vec<EgressDenyRule>>,
    pub(super) enable_default_deny: Option<DefaultDeny>,
    pub(super) labels: Option<Vec<RuleLabel>>,
    #[serde(rename = "description")]
    _description: Option<String>,
    pub(super) log: Option<Log>,
}

#[derive(Default, Deserialize)]
pub(super) struct RuleLabel {
    pub(super) key: Option<String>,
    #[serde(rename = "value")]
    _value: Option<String>,
    #[serde(rename = "source")]
    _source: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct DefaultDeny {
    pub(super) ingress: Option<bool>,
    pub(super) egress: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Log {
    pub(super) value: Option<String>,
}

/// A list of selectors.
pub(super) type Selectors = Option<Vec<LabelSelector>>;
/// An object that nothing here looks into.
pub(super) type Object = BTreeMap<String, Value>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IngressRule {
    pub(super) from_endpoints: Selectors,
    pub(super) from_requires: Option<Vec<Value>>,
    #[serde(rename = "fromCIDR")]
    pub(super) from_cidr: Option<Vec<String>>,
    #[serde(rename = "fromCIDRSet")]
    pub(super) from_cidr_set: Option<Vec<CidrRule>>,
    pub(super) from_entities: Option<Vec<String>>,
    pub(super) from_groups: Option<Vec<Object>>,
    pub(super) from_nodes: Selectors,
    pub(super) to_ports: Option<Vec<PortRule>>,
    pub(super) icmps: Option<Vec<IcmpRule>>,
    pub(super) authentication: Option<Authentication>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IngressDenyRule {
    pub(super) from_endpoints: Selectors,
    pub(super) from_requires: Option<Vec<Value>>,
    #[serde(rename = "fromCIDR")]
    pub(super) from_cidr: Option<Vec<String>>,
    #[serde(rename = "fromCIDRSet")]
    pub(super) from_cidr_set: Option<Vec<CidrRule>>,
    pub(super) from_entities: Option<Vec<String>>,
    pub(super) from_groups: Option<Vec<Object>>,
    pub(super) from_nodes: Selectors,
    pub(super) to_ports: Option<Vec<PortDenyRule>>,
    pub(super) icmps: Option<Vec<IcmpRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EgressRule {
    pub(super) to_endpoints: Selectors,
    pub(super) to_requires: Option<Vec<Value>>,
    #[serde(rename = "toCIDR")]
    pub(super) to_cidr: Option<Vec<String>>,
    #[serde(rename = "toCIDRSet")]
    pub(super) to_cidr_set: Option<Vec<CidrRule>>,
    pub(super) to_entities: Option<Vec<String>>,
    pub(super) to_groups: Option<Vec<Object>>,
    pub(super) to_nodes: Selectors,
    pub(super) to_services: Option<Vec<ServiceRule>>,
    #[serde(rename = "toFQDNs")]
    pub(super) to_fqdns: Option<Vec<Fqdn>>,
    pub(super) to_ports: Option<Vec<PortRule>>,
    pub(super) icmps: Option<Vec<IcmpRule>>,
    pub(super) authentication: Option<Authentication>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EgressDenyRule {
    pub(super) to_endpoints: Selectors,
    pub(super) to_requires: Option<Vec<Value>>,
    #[serde(rename = "toCIDR")]
    pub(super) to_cidr: Option<Vec<String>>,
    #[serde(rename = "toCIDRSet")]
    pub(super) to_cidr_set: Option<Vec<CidrRule>>,
    pub(super) to_entities: Option<Vec<String>>,
    pub(super) to_groups: Option<Vec<Object>>,
    pub(super) to_nodes: Selectors,
    pub(super) to_services: Option<Vec<ServiceRule>>,
    pub(super) to_ports: Option<Vec<PortDenyRule>>,
    pub(super) icmps: Option<Vec<IcmpRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CidrRule {
    pub(super) cidr: Option<String>,
    pub(super) cidr_group_ref: Option<String>,
    pub(super) cidr_group_selector: Option<LabelSelector>,
    pub(super) except: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceRule {
    pub(super) k8s_service: Option<NamedService>,
    pub(super) k8s_service_selector: Option<SelectedServices>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedService {
    pub(super) service_name: Option<String>,
    pub(super) namespace: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SelectedServices {
    pub(super) selector: Option<LabelSelector>,
    pub(super) namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fqdn {
    pub(super) match_name: Option<String>,
    pub(super) match_pattern: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Authentication {
    pub(super) mode: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortRule {
    pub(super) ports: Option<Vec<PortProtocol>>,
    #[serde(rename = "terminatingTLS")]
    pub(super) terminating_tls: Option<Tls>,
    #[serde(rename = "originatingTLS")]
    pub(super) originating_tls: Option<Tls>,
    pub(super) server_names: Option<Vec<String>>,
    pub(super) listener: Option<Listener>,
    pub(super) rules: Option<L7Rules>,
}

#[derive(Deserialize)]
pub(super) struct PortDenyRule {
    pub(super) ports: Option<Vec<PortProtocol>>,
}

impl From<PortDenyRule> for PortRule {
    fn from(rule: PortDenyRule) -> Self {
        PortRule { ports: rule.ports, ..PortRule::default() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortProtocol {
    pub(super) port: Option<String>,
    pub(super) end_port: Option<i32>,
    pub(super) protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tls {
    pub(super) secret: Option<Secret>,
    #[serde(rename = "trustedCA")]
    _trusted_ca: Option<String>,
    #[serde(rename = "certificate")]
    _certificate: Option<String>,
    #[serde(rename = "privateKey")]
    _private_key: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Secret {
    pub(super) name: Option<String>,
    #[serde(rename = "namespace")]
    _namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listener {
    pub(super) envoy_config: Option<EnvoyConfig>,
    pub(super) name: Option<String>,
    pub(super) priority: Option<i32>,
}

#[derive(Deserialize)]
pub(super) struct EnvoyConfig {
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct L7Rules {
    pub(super) http: Option<Vec<Object>>,
    pub(super) kafka: Option<Vec<Kafka>>,
    pub(super) dns: Option<Vec<Fqdn>>,
    pub(super) l7proto: Option<String>,
    pub(super) l7: Option<Vec<BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kafka {
    pub(super) role: Option<String>,
    pub(super) api_key: Option<String>,
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "clientID")]
    _client_id: Option<String>,
    #[serde(rename = "topic")]
    _topic: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct IcmpRule {
    pub(super) fields: Option<Vec<IcmpField>>,
}

#[derive(Deserialize)]
pub(super) struct IcmpField {
    pub(super) family: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<IntOrString>,
}
