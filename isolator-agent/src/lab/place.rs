//! Gives pods that have no address the node and the addresses that a lab would give them, so that manifests which
//! nobody has deployed can be judged. Not here: the rules by which they are given (`plan`).

use super::plan::{Network, Plan, Request, plan};
use crate::source::placement::addr;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{Labels, Node};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Fills in pods without addresses, and the nodes that they get. Everything else stays as it is written.
pub(crate) fn place(objects: &mut Vec<Object>) {
    let homeless = |object: &Object| match object {
        Object::Pod(pod) => !pod.finished && pod.addresses.is_empty(),
        _ => false,
    };
    if !objects.iter().any(homeless) {
        return;
    }
    let request = Request { nodes: 1, external: Vec::new(), network: Network::Routed };
    let (Plan { nodes, pods, .. }, _) = plan(objects, &request, &Plan::default());
    let addrs = |addresses: &[IpAddr]| addresses.iter().copied().map(addr).collect();
    let mut used = BTreeSet::new();
    for object in objects.iter_mut() {
        if homeless(object)
            && let Object::Pod(pod) = object
            && let Some(placed) = pods.get(&pod.key.to_string())
        {
            pod.addresses = addrs(&placed.addresses);
            pod.node.get_or_insert_with(|| placed.node.clone());
            used.insert(placed.node.clone());
        }
    }
    for (name, placed) in nodes.iter().filter(|(name, _)| used.contains(*name)) {
        let declared = objects.iter_mut().find_map(|object| match object {
            Object::Node(node) if node.name == *name => Some(node),
            _ => None,
        });
        match declared {
            Some(node) if node.addresses.is_empty() => node.addresses = addrs(&placed.addresses),
            Some(_) => {}
            None => objects.push(Object::Node(Node {
                name: name.clone(),
                labels: Labels::new(),
                addresses: addrs(&placed.addresses),
                pod_cidrs: Vec::new(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::addr::Addr;
    use isolator_policy::model::{Pod, PodKey};

    fn mk_pod(name: &str, addresses: Vec<Addr>) -> Pod {
        Pod {
            key: PodKey { namespace: "a".into(), name: name.into() },
            labels: Default::default(),
            node: None,
            addresses,
            host_network: false,
            finished: false,
            ports: Vec::new(),
            service_account: String::new(),
        }
    }

    #[test]
    fn only_what_is_missing_is_filled_in() {
        let known = mk_pod("known", vec![Addr::v4([10, 1, 1, 1])]);
        let mut objects = vec![Object::Pod(known.clone())];
        place(&mut objects);
        assert_eq!(objects, [Object::Pod(known.clone())]);
        objects.push(Object::Pod(mk_pod("new", Vec::new())));
        place(&mut objects);
        assert_eq!(objects[0], Object::Pod(known));
        let [_, Object::Pod(placed), Object::Node(node)] = objects.as_slice() else { panic!("{objects:?}") };
        assert_eq!(placed.node.as_ref(), Some(&node.name));
        assert!(!placed.addresses.is_empty() && !node.addresses.is_empty());
        assert!(!placed.addresses.iter().any(|addr| node.addresses.contains(addr)));
    }
}
