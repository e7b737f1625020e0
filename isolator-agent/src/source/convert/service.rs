//! Services and their backends. Not here: who programs service addresses, what policy makes of them.

use super::super::node::{Node as Tree, child, entry};
use super::metadata::{self, Scope, is_dns_label, is_dns_subdomain};
use super::net;
use super::report::Report;
use isolator_common::addr::Addr;
use isolator_policy::model::{
    Backend, BackendPort, EndpointSlice, PodKey, Service, ServiceKey, ServicePort, ServiceRange, TargetPort,
};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// What a headless service has in place of an address.
const HEADLESS: &str = "None";

/// A service.
pub(crate) fn service(key: &ServiceKey, tree: &Tree, report: &mut Report<'_>) -> Option<Service> {
    let core::Service { metadata, spec, status } = report.read(tree, &["status"])?;
    let labels = metadata::check(metadata, Scope::Namespaced, is_dns_label, report);
    let spec = spec.unwrap_or_default();
    let mut addresses = Vec::new();
    let mut take = |field: String, text: &str, report: &mut Report<'_>| match net::address(text) {
        Ok(addr) => addresses.push(addr),
        Err(wrong) => report.invalid(&field, wrong),
    };
    let usable = |text: &&String| !text.is_empty() && *text != HEADLESS;
    if let Some(text) = spec.cluster_ip.as_ref().filter(usable) {
        take("spec.clusterIP".to_owned(), text, report);
    }
    for (index, text) in spec.cluster_ips.iter().flatten().enumerate().filter(|(_, text)| usable(text)) {
        take(entry("spec.clusterIPs", index), text, report);
    }
    for (index, text) in spec.external_ips.iter().flatten().enumerate() {
        take(entry("spec.externalIPs", index), text, report);
    }
    let balancer = status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    for (index, ingress) in balancer.iter().flatten().enumerate() {
        if let Some(text) = ingress.ip.as_ref().filter(usable) {
            take(child(&entry("status.loadBalancer.ingress", index), "ip"), text, report);
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    let ports = spec.ports.unwrap_or_default().into_iter().enumerate();
    let ports = ports.filter_map(|(index, port)| service_port(port, &entry("spec.ports", index), report));
    let ports = ports.collect();
    report.accept(Service {
        key: key.clone(),
        labels,
        selector: spec.selector.unwrap_or_default(),
        addresses,
        ports,
    })
}

/// Ranges of service addresses.
pub(crate) fn range(name: &str, tree: &Tree, report: &mut Report<'_>) -> Option<ServiceRange> {
    let networking::ServiceCIDR { metadata, spec, .. } = report.read(tree, &["status"])?;
    metadata::check(metadata, Scope::Cluster, is_dns_subdomain, report);
    let texts = spec.unwrap_or_default().cidrs;
    let cidrs = texts.iter().flatten().enumerate();
    let cidrs =
        cidrs.filter_map(|(index, text)| checked(net::prefix(text), &entry("spec.cidrs", index), report));
    let cidrs = cidrs.map(|(prefix, _)| prefix).collect();
    report.accept(ServiceRange { name: name.to_owned(), cidrs })
}

fn service_port(port: core::ServicePort, field: &str, report: &mut Report<'_>) -> Option<ServicePort> {
    let number = checked(net::port_number(port.port), &child(field, "port"), report)?;
    let target = match port.target_port {
        None => TargetPort::Number(number),
        Some(IntOrString::Int(target)) => {
            TargetPort::Number(checked(net::port_number(target), &child(field, "targetPort"), report)?)
        }
        Some(IntOrString::String(name)) => {
            checked(net::port_name(&name), &child(field, "targetPort"), report)?;
            TargetPort::Named(name)
        }
    };
    let node_port = match port.node_port {
        None | Some(0) => None,
        Some(number) => Some(checked(net::port_number(number), &child(field, "nodePort"), report)?),
    };
    let protocol = protocol(port.protocol, field, report)?;
    Some(ServicePort { name: port.name.unwrap_or_default(), protocol, port: number, target, node_port })
}

/// A slice of backends.
pub(crate) fn slice(key: &ServiceKey, tree: &Tree, report: &mut Report<'_>) -> Option<EndpointSlice> {
    let discovery::EndpointSlice { address_type, endpoints, metadata, ports } = report.read(tree, &[])?;
    let mut labels = metadata::check(metadata, Scope::Namespaced, is_dns_subdomain, report);
    let v4 = match address_type.as_str() {
        "IPv4" => Some(true),
        "IPv6" => Some(false),
        // Backends by name are nobody that could be judged.
        "FQDN" => None,
        other => {
            let message = format!("`{other}` is not a type of address; it is IPv4, IPv6 or FQDN");
            report.invalid("addressType", message);
            None
        }
    };
    let mut backends = Vec::new();
    for (index, endpoint) in endpoints.unwrap_or_default().into_iter().enumerate().filter(|_| v4.is_some()) {
        let field = child(&entry("endpoints", index), "addresses");
        let mut addresses: Vec<Addr> = Vec::new();
        for (index, text) in endpoint.addresses.iter().enumerate() {
            match net::address(text) {
                Ok(addr) if Some(addr.is_v4()) == v4 => addresses.push(addr),
                Ok(_) => {
                    let message = format!("`{text}` is not of the addressType {address_type}");
                    report.invalid(&entry(&field, index), message);
                }
                Err(wrong) => report.invalid(&entry(&field, index), wrong),
            }
        }
        let target = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = target.and_then(|target| {
            let namespace = target.namespace.unwrap_or_else(|| key.namespace.clone());
            Some(PodKey { namespace, name: target.name? })
        });
        // Unknown is to be read as ready, says the API.
        let ready = endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        backends.push(Backend { addresses, ready, pod });
    }
    let ports = ports.unwrap_or_default().into_iter().enumerate().filter_map(|(index, port)| {
        let field = entry("ports", index);
        let number = match port.port {
            None => None,
            Some(number) => Some(checked(net::port_number(number), &child(&field, "port"), report)?),
        };
        let protocol = protocol(port.protocol, &field, report)?;
        Some(BackendPort { name: port.name.unwrap_or_default(), protocol, port: number })
    });
    let ports = ports.collect();
    report.accept(EndpointSlice {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        service: labels.remove(SERVICE_NAME).unwrap_or_default(),
        backends,
        ports,
    })
}

fn protocol(name: Option<String>, field: &str, report: &mut Report<'_>) -> Option<u8> {
    match name.as_deref() {
        None | Some("") => Some(net::TCP),
        Some(name) => checked(net::protocol(name), &child(field, "protocol"), report),
    }
}

fn checked<T>(result: Result<T, String>, field: &str, report: &mut Report<'_>) -> Option<T> {
    result.map_err(|wrong| report.invalid(field, wrong)).ok()
}
