//! Who is behind a port of a service: what its EndpointSlices say; for a service with a selector and no slice, the
//! pods that it selects, as the controller would say. Not here: what is translated (`translations`).

use crate::model::{EndpointSlice, Pod, Service, ServicePort, TargetPort};
use isolator_common::addr::Addr;
use std::collections::BTreeSet;

/// Backends that are ready, by their first address, and the port there. `addresses` says which ones a pod has.
pub fn backends<'a>(
    service: &Service,
    port: &ServicePort,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    pods: impl Iterator<Item = &'a Pod>,
    addresses: impl Fn(&Pod) -> Vec<Addr>,
) -> BTreeSet<(Addr, u16)> {
    let mut found = BTreeSet::new();
    let of_service = |slice: &&EndpointSlice| {
        slice.namespace == service.key.namespace && slice.service == service.key.name
    };
    let mut slices = slices.filter(of_service).peekable();
    if slices.peek().is_none() && !service.selector.is_empty() {
        for pod in pods.filter(|pod| selects(service, pod)) {
            let Some(number) = target(port, pod) else { continue };
            found.extend(addresses(pod).into_iter().map(|addr| (addr, number)));
        }
    }
    for slice in slices {
        let own = slice.ports.iter().find(|own| own.name == port.name && own.protocol == port.protocol);
        let Some(number) = own.map(|own| own.port.unwrap_or(port.port)) else { continue };
        let ready = slice.backends.iter().filter(|backend| backend.ready);
        found.extend(ready.filter_map(|backend| Some((*backend.addresses.first()?, number))));
    }
    found
}

fn selects(service: &Service, pod: &Pod) -> bool {
    service.key.namespace == pod.key.namespace
        && !pod.finished
        && service.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

fn target(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => {
            let found = pod.ports.iter().find(|one| one.name == *name && one.protocol == port.protocol);
            found.map(|one| one.port)
        }
    }
}
