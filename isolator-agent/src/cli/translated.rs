//! Flows to services: which backends are behind them. What passes depends on the backend that the node's service proxy
//! picks, so such a flow has no verdict of its own. Not here: how packets to services are judged (ADR 0006).

use anyhow::{Result, bail};
use isolator_common::addr::Addr;
use isolator_policy::cluster::backends::backends;
use isolator_policy::cluster::snapshot::{Owner, Snapshot};
use isolator_policy::meaning::flow::{End, FlowSpec, judging_node};
use isolator_policy::model::{Service, ServiceKey, ServicePort, ip, protocol_name};
use std::collections::BTreeSet;

/// A flow to a service: where it can end.
pub(super) struct Target {
    /// The services that it means.
    pub(super) services: BTreeSet<ServiceKey>,
    /// Backends that are ready, and the port there. At least one.
    pub(super) backends: BTreeSet<(Addr, u16)>,
}

/// Where a pod's flow ends that is translated on the pod's node; `None` where it is not.
///
/// # Errors
/// Nothing answers there.
pub(super) fn find(snapshot: &Snapshot, flow: &FlowSpec) -> Result<Option<Target>> {
    let addr = match &flow.to {
        End::Address(addr) => *addr,
        End::Node(name) => match snapshot.node_address(name, true).or(snapshot.node_address(name, false)) {
            Some(addr) => addr,
            None => return Ok(None),
        },
        End::Pod(_) => return Ok(None),
    };
    let by_pod = match &flow.from {
        End::Pod(key) => snapshot.pods().get(key),
        End::Address(from) => match snapshot.owner(from, "") {
            Owner::Pod(pod) => Some(pod),
            _ => None,
        },
        End::Node(_) => None,
    };
    // As its node sees it: node ports of others are translated there.
    let Some(node) = by_pod.map(|pod| judging_node(pod)) else { return Ok(None) };
    if !snapshot.translated(&addr, snapshot.owner(&addr, node)).has(flow.protocol, flow.port) {
        return Ok(None);
    }
    // A port of the service's address, or one of every node's.
    let means = |service: &Service, port: &ServicePort| {
        let at_service = service.addresses.contains(&addr) && port.port == flow.port;
        port.protocol == flow.protocol && (at_service || port.node_port == Some(flow.port))
    };
    let target = behind(snapshot, snapshot.services().values().map(AsRef::as_ref), means);
    if target.backends.is_empty() {
        let (addr, protocol, port) = (ip(&addr), protocol_name(flow.protocol), flow.port);
        bail!(
            "{addr} is an address for services and no ready backend is behind {protocol}/{port}: nothing answers there"
        );
    }
    Ok(Some(target))
}

/// Where flows to a port of a service end.
///
/// # Errors
/// There is no such service, it has no such port, or nothing answers there.
pub(super) fn named(snapshot: &Snapshot, key: &ServiceKey, protocol: u8, port: u16) -> Result<Target> {
    let Some(service) = snapshot.services().get(key) else { bail!("no service {key}") };
    let asked = |one: &ServicePort| one.protocol == protocol && one.port == port;
    let name = |protocol, port| format!("{}/{port}", protocol_name(protocol));
    if !service.ports.iter().any(asked) {
        let ports: Vec<String> = service.ports.iter().map(|one| name(one.protocol, one.port)).collect();
        bail!("service {key} has no port {}; it has {}", name(protocol, port), ports.join(", "));
    }
    let target = behind(snapshot, std::iter::once(service.as_ref()), |_, one| asked(one));
    if target.backends.is_empty() {
        bail!("service {key} has no ready backend behind {}: nothing answers there", name(protocol, port));
    }
    Ok(target)
}

fn behind<'a>(
    snapshot: &Snapshot,
    services: impl Iterator<Item = &'a Service>,
    means: impl Fn(&Service, &ServicePort) -> bool,
) -> Target {
    let mut target = Target { services: BTreeSet::new(), backends: BTreeSet::new() };
    for service in services {
        for port in service.ports.iter().filter(|port| means(service, port)) {
            let slices = snapshot.slices().values().map(AsRef::as_ref);
            let pods = snapshot.pods().values().map(AsRef::as_ref);
            target.services.insert(service.key.clone());
            target.backends.extend(backends(service, port, slices, pods, |pod| pod.addresses.clone()));
        }
    }
    target
}

/// Refuses a pod's flow to a service.
///
/// # Errors
/// The flow goes to a service: which ends could be asked about instead.
pub(super) fn refuse(snapshot: &Snapshot, flow: &FlowSpec) -> Result<()> {
    let Some(Target { backends, .. }) = find(snapshot, flow)? else { return Ok(()) };
    let at = |(addr, port): &(Addr, u16)| format!("{} at {}/{port}", ip(addr), protocol_name(flow.protocol));
    let ends: Vec<String> = backends.iter().map(at).collect();
    bail!("{} is a service's address, whose backend decides: ask about {}", flow.to, ends.join(" or "))
}
