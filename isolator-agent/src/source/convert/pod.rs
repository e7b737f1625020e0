//! Pods, as far as enforcement needs them. Not here: the rest of their specification, which is only
//! checked for its shape.

use super::super::node::{Node as Tree, child, entry};
use super::metadata::{self, Scope, is_dns_subdomain};
use super::net;
use super::report::Report;
use isolator_common::addr::Addr;
use isolator_policy::model::{ContainerPort, Pod, PodKey};
use k8s_openapi::api::core::v1 as api;
use std::collections::HashSet;

/// A pod.
pub(crate) fn pod(key: &PodKey, tree: &Tree, report: &mut Report<'_>) -> Option<Pod> {
    let api::Pod { metadata, spec, status } = report.read(tree, &["status"])?;
    let labels = metadata::check(metadata, Scope::Namespaced, is_dns_subdomain, report);
    let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
    let finished = match status.phase.as_deref() {
        Some("Succeeded" | "Failed") => true,
        None | Some("" | "Pending" | "Running" | "Unknown") => false,
        Some(other) => {
            let message = format!("`{other}` is not a phase: Pending, Running, Succeeded, Failed or Unknown");
            report.invalid("status.phase", message);
            false
        }
    };
    let addresses = addresses(status.pod_ip, status.pod_ips, report);
    let mut ports = Vec::new();
    for (index, container) in spec.containers.iter().enumerate() {
        container_ports(container, &entry("spec.containers", index), &mut ports, report);
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        // An init container that is restarted always runs beside the others: a sidecar.
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let mut others = Vec::new();
        let ports = if sidecar { &mut ports } else { &mut others };
        container_ports(container, &entry("spec.initContainers", index), ports, report);
    }
    let name = |name: Option<String>| name.filter(|name| !name.is_empty());
    let service_account = name(spec.service_account_name).or(name(spec.service_account));
    report.accept(Pod {
        key: key.clone(),
        labels: labels.into(),
        node: name(spec.node_name),
        addresses,
        host_network: spec.host_network == Some(true),
        finished,
        ports,
        service_account: service_account.unwrap_or_else(|| "default".to_owned()),
    })
}

/// The pod's addresses: one of each family at most. `podIP` wins where it disagrees with `podIPs`, as in
/// the API server.
fn addresses(one: Option<String>, all: Option<Vec<api::PodIP>>, report: &mut Report<'_>) -> Vec<Addr> {
    let all: Vec<String> = all.unwrap_or_default().into_iter().map(|ip| ip.ip).collect();
    let texts = match one.filter(|ip| !ip.is_empty()) {
        Some(one) if all.first() != Some(&one) => vec![("status.podIP".to_owned(), one)],
        _ => {
            let field = |index| child(&entry("status.podIPs", index), "ip");
            all.into_iter().enumerate().map(|(index, ip)| (field(index), ip)).collect()
        }
    };
    let mut addresses: Vec<Addr> = Vec::new();
    for (field, text) in texts {
        match net::address(&text) {
            Ok(addr) if addresses.iter().any(|other| other.is_v4() == addr.is_v4()) => {
                report.invalid(
                    &field,
                    format!("`{text}` is a second address of its family; a pod has one of each"),
                );
            }
            Ok(addr) => addresses.push(addr),
            Err(wrong) => report.invalid(&field, wrong),
        }
    }
    addresses
}

fn container_ports(
    container: &api::Container,
    field: &str,
    ports: &mut Vec<ContainerPort>,
    report: &mut Report<'_>,
) {
    let mut names = HashSet::new();
    let field = child(field, "ports");
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let field = entry(&field, index);
        let name = port.name.clone().unwrap_or_default();
        if !name.is_empty() {
            if let Err(wrong) = net::port_name(&name) {
                report.invalid(&child(&field, "name"), wrong);
            } else if !names.insert(name.clone()) {
                report.invalid(
                    &child(&field, "name"),
                    format!("the name `{name}` is there twice in one container"),
                );
            }
        }
        let protocol = match port.protocol.as_deref() {
            None | Some("") => Ok(net::TCP),
            Some(protocol) => net::protocol(protocol),
        };
        match (protocol, net::port_number(port.container_port)) {
            (Ok(protocol), Ok(port)) => ports.push(ContainerPort { name, protocol, port }),
            (protocol, number) => {
                if let Err(wrong) = protocol {
                    report.invalid(&child(&field, "protocol"), wrong);
                }
                if let Err(wrong) = number {
                    report.invalid(&child(&field, "containerPort"), wrong);
                }
            }
        }
    }
}
