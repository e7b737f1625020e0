//! Flows to addresses of services: what passes depends on the backend that the service's proxy picks, so such a flow
//! is refused with the backends to ask about. Not here: how packets to services are judged (ADR 0006).

use anyhow::{Result, bail};
use isolator_common::addr::Addr;
use isolator_policy::cluster::snapshot::{Owner, Snapshot};
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::model::{Service, ip, protocol_name};

/// Refuses a pod's flow to a service.
///
/// # Errors
/// The flow goes to a service: which ends could be asked about instead.
pub(super) fn refuse(snapshot: &Snapshot, flow: &FlowSpec) -> Result<()> {
    let addr = match &flow.to {
        End::Address(addr) => *addr,
        End::Node(name) => match snapshot.node_address(name, true).or(snapshot.node_address(name, false)) {
            Some(addr) => addr,
            None => return Ok(()),
        },
        End::Pod(_) => return Ok(()),
    };
    let by_pod = match &flow.from {
        End::Pod(_) => true,
        End::Address(from) => matches!(snapshot.owner(from, ""), Owner::Pod(_) | Owner::Conflict(_)),
        End::Node(_) => false,
    };
    if !by_pod || !snapshot.translated(&addr, snapshot.owner(&addr, "")).has(flow.protocol, flow.port) {
        return Ok(());
    }
    let services = snapshot.services().values().filter(|service| means(service, &addr, flow));
    let mut backends: Vec<String> = services.flat_map(|service| backends(snapshot, service, flow)).collect();
    backends.sort();
    backends.dedup();
    let addr = ip(&addr);
    let port = format!("{}/{}", protocol_name(flow.protocol), flow.port);
    if backends.is_empty() {
        bail!(
            "{addr} is an address for services and no ready backend is behind {port}: nothing answers there"
        );
    }
    bail!("{addr} is a service's address, whose backend decides: ask about {}", backends.join(" or "))
}

/// Whether the service has the address, or the port at every node's addresses.
fn means(service: &Service, addr: &Addr, flow: &FlowSpec) -> bool {
    service.addresses.contains(addr)
        || service
            .ports
            .iter()
            .any(|port| port.protocol == flow.protocol && port.node_port == Some(flow.port))
}

/// The ready backends of the port that the flow asks for, as `ADDRESS at PROTOCOL/PORT`.
fn backends(snapshot: &Snapshot, service: &Service, flow: &FlowSpec) -> Vec<String> {
    let asked: Vec<&str> = service
        .ports
        .iter()
        .filter(|port| port.protocol == flow.protocol)
        .filter(|port| port.port == flow.port || port.node_port == Some(flow.port))
        .map(|port| port.name.as_str())
        .collect();
    let slices = snapshot.slices().values();
    let own =
        slices.filter(|slice| slice.namespace == service.key.namespace && slice.service == service.key.name);
    let mut found = Vec::new();
    for slice in own {
        let ports = slice.ports.iter().filter(|port| port.protocol == flow.protocol);
        for port in ports.filter(|port| asked.contains(&port.name.as_str())) {
            let number = port.port.unwrap_or(flow.port);
            let ready = slice.backends.iter().filter(|backend| backend.ready);
            found.extend(
                ready
                    .filter_map(|backend| backend.addresses.first())
                    .map(|addr| format!("{} at {}/{number}", ip(addr), protocol_name(flow.protocol))),
            );
        }
    }
    found
}
