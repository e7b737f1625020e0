//! Where pods really are, when their manifests do not say: a manifest folder has no scheduler and no
//! kubelet, so whoever builds the pods (the lab) writes a small file with nodes and addresses, and this
//! fills them in. Also adds what only the running node knows: its own addresses. Pure.
//! Not here: watching the file, inventing addresses.

use isolator_common::addr::Addr;
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::{Labels, Node, Pod, PodKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The placement file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placements {
    /// By `namespace/name`.
    #[serde(default)]
    pub pods: BTreeMap<String, Placement>,
    /// Addresses of nodes by name.
    #[serde(default)]
    pub nodes: BTreeMap<String, Vec<IpAddr>>,
}

/// Where one pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// An address in our form.
#[must_use]
pub fn addr(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(v4) => Addr::v4(v4.octets()),
        IpAddr::V6(v6) => Addr(v6.octets()),
    }
}

/// Fills changes in on their way to the index.
#[derive(Debug, Default)]
pub struct Overlay {
    placements: Placements,
    own_node: String,
    own_addresses: Vec<Addr>,
    /// Whether a placement file may come.
    places: bool,
    pods: BTreeMap<PodKey, Pod>,
    nodes: BTreeMap<String, Node>,
}

impl Overlay {
    /// For the agent of this node, whose namespace has these addresses.
    #[must_use]
    pub fn new(own_node: &str, own_addresses: Vec<Addr>) -> Self {
        Overlay { own_node: own_node.to_owned(), own_addresses, places: true, ..Overlay::default() }
    }

    /// No placement file will come, so pods need not be kept for it.
    #[must_use]
    pub fn without_placements(self) -> Self {
        Overlay { places: false, ..self }
    }

    /// The changes to pass on for one change.
    pub fn change(&mut self, change: Change) -> Vec<Change> {
        match change {
            Change::Reset(objects) => {
                self.pods.clear();
                self.nodes.clear();
                let mut all: Vec<Object> =
                    objects.into_iter().filter_map(|object| self.keep(object)).collect();
                all.extend(self.everything());
                vec![Change::Reset(all)]
            }
            Change::Apply(object) => match self.keep(object) {
                Some(object) => vec![Change::Apply(object)],
                None => self.nodes_seen().map(|node| Change::Apply(Object::Node(node))).collect(),
            },
            Change::Delete(key) => {
                match &key {
                    ObjectKey::Pod(pod) => drop(self.pods.remove(pod)),
                    ObjectKey::Node(name) => drop(self.nodes.remove(name)),
                    ObjectKey::Namespace(_)
                    | ObjectKey::Policy(_)
                    | ObjectKey::Service(_)
                    | ObjectKey::EndpointSlice(_)
                    | ObjectKey::CidrGroup(_)
                    | ObjectKey::ServiceRange(_) => {}
                }
                let mut changes = vec![Change::Delete(key)];
                changes.extend(self.nodes_seen().map(|node| Change::Apply(Object::Node(node))));
                changes
            }
        }
    }

    /// The changes that a new placement file makes.
    pub fn place(&mut self, placements: Placements) -> Vec<Change> {
        if placements == self.placements {
            return Vec::new();
        }
        self.placements = placements;
        self.everything().into_iter().map(Change::Apply).collect()
    }

    /// The changes to pass on when our own node has these addresses: a CNI gives it more with its first pod.
    pub fn own(&mut self, addresses: Vec<Addr>) -> Vec<Change> {
        if addresses == self.own_addresses {
            return Vec::new();
        }
        self.own_addresses = addresses;
        let own = self.nodes_seen().filter(|node| node.name == self.own_node);
        own.map(|node| Change::Apply(Object::Node(node))).collect()
    }

    /// Sets pods and nodes aside, hands the rest back.
    fn keep(&mut self, object: Object) -> Option<Object> {
        match object {
            Object::Pod(pod) if !self.places => Some(Object::Pod(pod)),
            Object::Pod(pod) => {
                self.pods.insert(pod.key.clone(), pod.clone());
                Some(Object::Pod(self.filled(pod)))
            }
            Object::Node(node) => {
                self.nodes.insert(node.name.clone(), node);
                None
            }
            other => Some(other),
        }
    }

    fn filled(&self, mut pod: Pod) -> Pod {
        if let Some(placement) = self.placements.pods.get(&pod.key.to_string()) {
            if pod.node.is_none() {
                pod.node = Some(placement.node.clone());
            }
            if pod.addresses.is_empty() {
                pod.addresses = placement.addresses.iter().copied().map(addr).collect();
            }
        }
        pod
    }

    fn everything(&self) -> Vec<Object> {
        let pods = self.pods.values().map(|pod| Object::Pod(self.filled(pod.clone())));
        pods.chain(self.nodes_seen().map(Object::Node)).collect()
    }

    /// Declared and placed nodes, our own with the addresses that it really has.
    fn nodes_seen(&self) -> impl Iterator<Item = Node> + '_ {
        let mut nodes = self.nodes.clone();
        let empty = |name: &str| Node {
            name: name.to_owned(),
            labels: Labels::new(),
            addresses: Vec::new(),
            pod_cidrs: Vec::new(),
        };
        for (name, addresses) in &self.placements.nodes {
            let node = nodes.entry(name.clone()).or_insert_with(|| empty(name));
            extend(&mut node.addresses, addresses.iter().copied().map(addr));
        }
        let own = nodes.entry(self.own_node.clone()).or_insert_with(|| empty(&self.own_node));
        extend(&mut own.addresses, self.own_addresses.iter().copied());
        nodes.into_values()
    }
}

fn extend(addresses: &mut Vec<Addr>, more: impl Iterator<Item = Addr>) {
    for addr in more {
        if !addresses.contains(&addr) {
            addresses.push(addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn pod(name: &str) -> Pod {
        Pod {
            key: PodKey { namespace: "ns".into(), name: name.into() },
            labels: Default::default(),
            node: None,
            addresses: Vec::new(),
            host_network: false,
            finished: false,
            ports: Vec::new(),
            service_account: "default".into(),
        }
    }

    fn placed(name: &str, last: u8) -> Placements {
        let placement =
            Placement { node: "n1".into(), addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))] };
        Placements { pods: BTreeMap::from([(format!("ns/{name}"), placement)]), nodes: BTreeMap::new() }
    }

    fn pods(changes: &[Change]) -> Vec<&Pod> {
        let objects = changes.iter().flat_map(|change| match change {
            Change::Apply(object) => std::slice::from_ref(object),
            Change::Reset(objects) => objects,
            Change::Delete(_) => &[],
        });
        objects.filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None }).collect()
    }

    #[test]
    fn a_pod_without_an_address_gets_the_placed_one_whichever_comes_first() {
        let mut overlay = Overlay::new("n1", Vec::new());
        let before = overlay.change(Change::Apply(Object::Pod(pod("a"))));
        assert!(pods(&before)[0].addresses.is_empty());
        let after = overlay.place(placed("a", 7));
        assert_eq!(pods(&after)[0].addresses, [Addr::v4([10, 0, 0, 7])]);
        assert_eq!(pods(&after)[0].node.as_deref(), Some("n1"));
        assert!(overlay.place(placed("a", 7)).is_empty(), "the same file says nothing new");
    }

    #[test]
    fn what_the_manifest_says_wins() {
        let mut overlay = Overlay::new("n1", Vec::new());
        overlay.place(placed("a", 7));
        let declared = Pod { addresses: vec![Addr::v4([10, 9, 9, 9])], node: Some("n2".into()), ..pod("a") };
        assert_eq!(pods(&overlay.change(Change::Apply(Object::Pod(declared.clone())))), [&declared]);
    }

    #[test]
    fn an_address_that_our_own_node_gets_later_is_the_local_hosts_too() {
        let (uplink, bridge) = (Addr::v4([172, 30, 0, 1]), Addr::v4([10, 244, 1, 1]));
        let mut overlay = Overlay::new("n1", vec![uplink]);
        overlay.change(Change::Reset(Vec::new()));
        assert!(overlay.own(vec![uplink]).is_empty(), "nothing is new");
        let changes = overlay.own(vec![bridge, uplink]);
        let [Change::Apply(Object::Node(node))] = changes.as_slice() else { panic!("one node") };
        assert_eq!(node.addresses, [bridge, uplink]);
    }

    #[test]
    fn our_own_node_exists_with_its_real_addresses_even_if_nobody_declares_it() {
        let own = Addr::v4([172, 30, 0, 1]);
        let mut overlay = Overlay::new("n1", vec![own]);
        let changes = overlay.change(Change::Reset(Vec::new()));
        let [Change::Reset(objects)] = changes.as_slice() else { panic!("one reset") };
        let [Object::Node(node)] = objects.as_slice() else { panic!("one node") };
        assert_eq!((node.name.as_str(), node.addresses.as_slice()), ("n1", [own].as_slice()));
    }
}
