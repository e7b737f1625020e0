//! From manifests to a plan: which nodes, which pods on them, which addresses. Pure, and the same input gives the
//! same plan; what an earlier plan has given to somebody stays with them. Not here: making any of it (`build`).

use super::addresses::{Range, usable, width};
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{ContainerPort, Node, Place, Pod, Problem, Severity, ip};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Nodes that a lab may have: the second byte from the right of a pod's address counts them.
pub(crate) const MOST_NODES: usize = 250;
/// Pods that a lab builds: each is a network namespace, and they come one after the other.
pub(crate) const MOST_PODS: usize = 5_000;

/// How pods are connected to their node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A route for each pod and no address on the node's side, as Calico and the ptp plugin do.
    Routed,
    /// A bridge for each node with the gateway's address, as the bridge plugin does.
    Bridged,
}

/// What was asked for, beside the manifests.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Nodes at least.
    pub(crate) nodes: usize,
    /// Addresses of the host outside.
    pub(crate) external: Vec<IpAddr>,
    /// How pods are connected.
    pub(crate) network: Network,
}

/// A lab as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The nodes.
    pub(crate) nodes: BTreeMap<String, NodePlan>,
    /// The pods by `namespace/name`.
    pub(crate) pods: BTreeMap<String, PodPlan>,
    /// Addresses of the host outside.
    pub(crate) outside: Vec<IpAddr>,
    /// Addresses that the fabric answers from.
    pub(crate) fabric: Vec<IpAddr>,
}

/// A node as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Ranges that its pods get addresses from, at most one of each family.
    pub(crate) ranges: Vec<Range>,
    /// No manifest declares it.
    pub(crate) invented: bool,
}

/// A pod as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodPlan {
    /// The name of its node.
    pub(crate) node: String,
    /// Its addresses. Those of its node where `host_network`.
    pub(crate) addresses: Vec<IpAddr>,
    /// It lives in the network of its node.
    pub(crate) host_network: bool,
    /// Where it listens: protocol number and port, sorted, each once.
    pub(crate) ports: Vec<(u8, u16)>,
}

/// Makes the plan. Problems say what will be missing from it, and why.
pub(crate) fn plan(objects: &[Object], request: &Request, earlier: &Plan) -> (Plan, Vec<Problem>) {
    let mut planner = Planner { plan: Plan::default(), taken: BTreeSet::new(), problems: Vec::new() };
    let mut nodes: BTreeMap<String, Option<&Node>> = BTreeMap::new();
    let mut pods: BTreeMap<String, &Pod> = BTreeMap::new();
    for object in objects {
        match object {
            Object::Node(node) => {
                nodes.insert(node.name.clone(), Some(node));
            }
            Object::Pod(pod) if !pod.finished => {
                pods.insert(pod.key.to_string(), pod);
            }
            Object::Pod(_)
            | Object::Namespace(_)
            | Object::Policy(_)
            | Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::CidrGroup(_)
            | Object::ServiceRange(_) => {}
        }
    }
    for name in pods.values().filter_map(|pod| pod.node.clone()) {
        nodes.entry(name).or_insert(None);
    }
    let mut number = 1;
    while nodes.len() < request.nodes.max(1) {
        nodes.entry(format!("node-{number}")).or_insert(None);
        number += 1;
    }

    // Addresses that somebody wrote down come first, so that none of them is given away.
    planner.taken.extend(&request.external);
    planner.taken.extend(nodes.values().flatten().flat_map(|node| node.addresses.iter().map(ip)));
    planner
        .taken
        .extend(pods.values().filter(|pod| !pod.host_network).flat_map(|pod| pod.addresses.iter().map(ip)));
    let kept =
        earlier.pods.iter().filter(|(name, _)| pods.contains_key(*name)).flat_map(|(_, pod)| &pod.addresses);
    planner.taken.extend(kept.chain(earlier.nodes.values().flat_map(|node| &node.addresses)));

    planner.place_outside(request, earlier);
    planner.place_nodes(&nodes, earlier);
    planner.place_pods(&pods, earlier, request.network);
    (planner.plan, planner.problems)
}

struct Planner {
    plan: Plan,
    taken: BTreeSet<IpAddr>,
    problems: Vec<Problem>,
}

impl Planner {
    fn place_outside(&mut self, request: &Request, earlier: &Plan) {
        if !earlier.outside.is_empty() {
            self.plan.outside.clone_from(&earlier.outside);
            self.plan.fabric.clone_from(&earlier.fabric);
            self.taken.extend(earlier.outside.iter().chain(&earlier.fabric));
            return;
        }
        self.plan.outside.clone_from(&request.external);
        let beyond =
            [Range::v4([172, 30, 255, 0], 24), Range::v6([0xfd00, 0x172, 0x30, 0xff, 0, 0, 0, 0], 64)];
        for range in beyond {
            let (fabric, outside) = (self.take(&range), self.take(&range));
            self.plan.fabric.extend(fabric);
            self.plan.outside.extend(outside);
        }
    }

    fn place_nodes(&mut self, nodes: &BTreeMap<String, Option<&Node>>, earlier: &Plan) {
        let given = |node: &&Node| node.pod_cidrs.iter().map(Range::from).collect::<Vec<_>>();
        let mut ranges: Vec<Range> = nodes.values().flatten().flat_map(given).collect();
        ranges.extend(earlier.nodes.values().flat_map(|node| node.ranges.iter().copied()));
        for (name, declared) in nodes {
            if self.plan.nodes.len() >= MOST_NODES {
                let text =
                    format!("a lab has at most {MOST_NODES} nodes; this one and its pods are not built");
                self.problem(Severity::Error, "too-many-nodes", format!("Node {name}"), text);
                continue;
            }
            let before = earlier.nodes.get(name);
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in declared.iter().flat_map(|node| node.addresses.iter().map(ip)) {
                let owner = self.plan.nodes.iter().find(|(_, other)| other.addresses.contains(&address));
                if let Some((owner, _)) = owner {
                    let text = format!("address {address} belongs to node {owner} already; it is left out");
                    self.problem(Severity::Error, "duplicate-address", format!("Node {name}"), text);
                } else if self.plan.outside.contains(&address) || !usable(address) {
                    let text = format!("{address} cannot be the address of a node here; it is left out");
                    self.problem(Severity::Error, "invalid-address", format!("Node {name}"), text);
                } else if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                addresses = match before {
                    Some(before) => before.addresses.clone(),
                    None => NODES.iter().filter_map(|range| self.take(&range())).collect(),
                };
            }
            let mut own: Vec<Range> = declared.iter().flat_map(given).collect();
            if own.is_empty() {
                own = before.map(|before| before.ranges.clone()).unwrap_or_else(|| invent_ranges(&ranges));
                ranges.extend(&own);
            }
            let mut families = BTreeSet::new();
            own.retain(|range| families.insert(range.base.is_ipv4()));
            let node = NodePlan { addresses, ranges: own, invented: declared.is_none() };
            self.plan.nodes.insert(name.clone(), node);
        }
    }

    fn place_pods(&mut self, pods: &BTreeMap<String, &Pod>, earlier: &Plan, network: Network) {
        let mut load: BTreeMap<String, usize> =
            self.plan.nodes.keys().map(|name| (name.clone(), 0)).collect();
        let placed = |pod: &Pod, key: &String| {
            let before = earlier.pods.get(key).map(|before| before.node.clone());
            pod.node.clone().or(before.filter(|node| self.plan.nodes.contains_key(node)))
        };
        let mut homes: BTreeMap<&String, Option<String>> = BTreeMap::new();
        for (key, pod) in pods {
            let home = placed(pod, key);
            if let Some(count) = home.as_ref().and_then(|home| load.get_mut(home)) {
                *count += 1;
            }
            homes.insert(key, home);
        }
        let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
        owners.extend(
            self.plan.outside.iter().chain(&self.plan.fabric).map(|ip| (*ip, "the outside".to_string())),
        );
        for (name, node) in &self.plan.nodes {
            owners.extend(node.addresses.iter().map(|ip| (*ip, format!("node {name}"))));
            if network == Network::Bridged {
                owners.extend(
                    node.ranges.iter().filter_map(Range::gateway).map(|ip| (ip, format!("bridge of {name}"))),
                );
            }
        }
        let mut left_out: Vec<&String> = Vec::new();
        for (key, pod) in pods {
            let home = homes.remove(key).flatten().or_else(|| {
                let emptiest = load.iter_mut().min_by_key(|(_, count)| **count)?;
                *emptiest.1 += 1;
                Some(emptiest.0.clone())
            });
            let Some(home) = home.filter(|home| self.plan.nodes.contains_key(home)) else { continue };
            if self.plan.pods.len() >= MOST_PODS {
                left_out.push(key);
                continue;
            }
            match self.place_pod(key, pod, &home, earlier, &owners) {
                Ok(placed) => {
                    if !placed.host_network {
                        owners.extend(placed.addresses.iter().map(|ip| (*ip, format!("pod {key}"))));
                    }
                    self.plan.pods.insert(key.clone(), placed);
                }
                Err((code, text)) => {
                    let text = format!("{text}; the pod is not built");
                    self.problem(Severity::Error, code, format!("Pod {key}"), text);
                }
            }
        }
        if let Some(first) = left_out.first() {
            let text = format!(
                "a lab has at most {MOST_PODS} pods; this one and {} more are not built",
                left_out.len() - 1
            );
            self.problem(Severity::Error, "too-many-pods", format!("Pod {first}"), text);
        }
    }

    fn place_pod(
        &mut self,
        key: &str,
        pod: &Pod,
        home: &str,
        earlier: &Plan,
        owners: &BTreeMap<IpAddr, String>,
    ) -> Result<PodPlan, (&'static str, String)> {
        let node = &self.plan.nodes[home];
        let ports = ports(&pod.ports);
        if pod.host_network {
            let addresses = node.addresses.clone();
            return Ok(PodPlan { node: home.to_string(), addresses, host_network: true, ports });
        }
        let (ranges, invented) = (node.ranges.clone(), node.invented);
        let mut addresses: Vec<IpAddr> = pod.addresses.iter().map(ip).collect();
        for address in &addresses {
            if let Some(owner) = owners.get(address) {
                return Err(("duplicate-address", format!("address {address} belongs to {owner} already")));
            }
            if !usable(*address) {
                return Err(("invalid-address", format!("{address} cannot be the address of a pod")));
            }
            let mut family =
                ranges.iter().filter(|range| range.base.is_ipv4() == address.is_ipv4()).peekable();
            if family.peek().is_some() && !family.any(|range| range.contains(*address)) && !invented {
                let text = format!(
                    "address {address} is outside of the pod ranges of node {home}; it is routed alone"
                );
                self.problem(Severity::Warning, "address-outside-range", format!("Pod {key}"), text);
            }
        }
        if addresses.is_empty() {
            let before = earlier.pods.get(key).filter(|before| before.node == home && !before.host_network);
            addresses = match before {
                Some(before) => before.addresses.clone(),
                None => ranges.iter().filter_map(|range| self.take(range)).collect(),
            };
            if addresses.iter().any(|address| owners.contains_key(address)) {
                addresses = ranges.iter().filter_map(|range| self.take(range)).collect();
            }
        }
        if addresses.is_empty() {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            let text = format!(
                "no free address is left in {} of node {home}: give the node a larger podCIDR",
                ranges.join(", ")
            );
            return Err(("no-address", text));
        }
        Ok(PodPlan { node: home.to_string(), addresses, host_network: false, ports })
    }

    fn take(&mut self, range: &Range) -> Option<IpAddr> {
        let address = range.free(&self.taken)?;
        self.taken.insert(address);
        Some(address)
    }

    fn problem(&mut self, severity: Severity, code: &'static str, object: String, message: String) {
        let (place, field) = (Place::Unknown, String::new());
        self.problems.push(Problem { severity, code, place, object, field, message });
    }
}

/// Ranges of nodes whose address nobody wrote down.
const NODES: [fn() -> Range; 2] =
    [|| Range::v4([172, 30, 0, 0], 24), || Range::v6([0xfd00, 0x172, 0x30, 0, 0, 0, 0, 0], 64)];

/// Ranges for the pods of a node that declares none: the first that overlap no other.
fn invent_ranges(others: &[Range]) -> Vec<Range> {
    let apart =
        |range: &Range| !others.iter().any(|other| range.contains(other.base) || other.contains(range.base));
    let v4 = (0..=255).map(|n| Range::v4([10, 244, n, 0], 24)).find(apart);
    let v6 = (0..=255).map(|n| Range::v6([0xfd00, 0x10, 0x244, n, 0, 0, 0, 0], 64)).find(apart);
    v4.into_iter().chain(v6).collect()
}

fn ports(declared: &[ContainerPort]) -> Vec<(u8, u16)> {
    let ports: BTreeSet<(u8, u16)> = declared.iter().map(|port| (port.protocol, port.port)).collect();
    ports.into_iter().collect()
}

/// The whole address as a range of one.
pub(crate) fn alone(address: IpAddr) -> Range {
    Range { base: address, bits: width(address) as u8 }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
