//! Makes the lab what the plan says, and later changes what differs: namespaces, links, addresses, routes,
//! listeners.
//!
//! The fabric is a router: each node, and the host outside, is at the other end of a link of its own. It knows the
//! way to every address, so that nodes need nothing but a default route, whatever addresses they have.
//!
//! Not here: who gets which address (`plan`), what listeners answer (`serve`).

use super::addresses::Range;
use super::cgroups::Cgroups;
use super::netlink::{End, HOST_MAC, Links, ROUTER_MAC};
use super::netns::Netns;
use super::plan::{Network, NodePlan, Plan, PodPlan, alone};
use super::record::{Place, PodRecord, RunDir};
use super::serve::{Listeners, Server};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;

/// The only interface of a pod, and the one of a node that leads to the fabric.
const UPLINK: &str = "eth0";
/// The bridge of a node.
const BRIDGE: &str = "cni0";

/// Addresses are usable at once, packets may come from anywhere, and nothing is configured by the network.
const HOST: &[(&str, &str)] = &[
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
];
/// Link-local addresses are given, because the kernel's own come a little later.
const FABRIC: &[(&str, &str)] = &[("ipv6/conf/default/addr_gen_mode", "1")];
/// A router forwards as well, and says so of every unknown address at once.
const ROUTER: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv6/icmp/ratelimit", "0"),
];

/// A lab as it is.
pub(crate) struct Lab {
    dir: RunDir,
    cgroups: Option<Cgroups>,
    network: Network,
    server: Server,
    fabric: Links,
    outside: Netns,
    /// What is there.
    pub(crate) plan: Plan,
    nodes: BTreeMap<String, NodeParts>,
    pods: BTreeMap<String, PodParts>,
    /// Counts interfaces, so that no name is used twice.
    made: u32,
    _outside_listeners: Listeners,
}

struct NodeParts {
    netns: Netns,
    links: Links,
    /// Its interface in the fabric.
    port: u32,
    bridge: Option<u32>,
}

struct PodParts {
    /// `None` where the pod lives in its node's.
    netns: Option<Netns>,
    /// Its interface at the node.
    port: Option<u32>,
    _listeners: Listeners,
}

impl Lab {
    /// Makes the fabric, which is the calling process's own namespace, and the host outside.
    pub(crate) async fn create(
        dir: RunDir,
        cgroups: Option<Cgroups>,
        network: Network,
        server: Server,
        plan: &Plan,
        ports: &[(u8, u16)],
    ) -> Result<Self> {
        let own = Netns::current()?;
        own.set_parameters(HOST)?;
        own.set_parameters(FABRIC)?;
        own.set_parameters(ROUTER)?;
        let fabric = Links::connect(&own)?;
        let loopback = fabric.index("lo").await?;
        fabric.set_up(loopback).await?;
        for address in &plan.fabric {
            fabric.add_address(loopback, *address, alone(*address).bits).await?;
        }
        let (outside, _, _) = connect_host(&fabric, "outside", &plan.outside).await?;
        let listeners = server.listen(&outside, None, "outside", &plan.outside, ports)?;
        let empty = Plan { outside: plan.outside.clone(), fabric: plan.fabric.clone(), ..Plan::default() };
        let (nodes, pods) = (BTreeMap::new(), BTreeMap::new());
        Ok(Lab {
            dir,
            cgroups,
            network,
            server,
            fabric,
            outside,
            plan: empty,
            nodes,
            pods,
            made: 0,
            _outside_listeners: listeners,
        })
    }

    /// Changes what differs from `plan`. After an error, what was not reached is as it was.
    pub(crate) async fn become_like(&mut self, plan: &Plan) -> Result<()> {
        let gone = |name: &String, node: &NodePlan| plan.nodes.get(name) != Some(node);
        let leaving: Vec<String> = self
            .plan
            .nodes
            .iter()
            .filter(|(name, node)| gone(name, node))
            .map(|(name, _)| name.clone())
            .collect();
        let moved =
            |key: &String, pod: &PodPlan| plan.pods.get(key) != Some(pod) || leaving.contains(&pod.node);
        let stale: Vec<String> =
            self.plan.pods.iter().filter(|(key, pod)| moved(key, pod)).map(|(key, _)| key.clone()).collect();
        for key in stale {
            self.remove_pod(&key).await.with_context(|| format!("pod {key}"))?;
        }
        for name in leaving {
            self.remove_node(&name).await.with_context(|| format!("node {name}"))?;
        }
        for (name, node) in &plan.nodes {
            if !self.nodes.contains_key(name) {
                self.add_node(name, node).await.with_context(|| format!("node {name}"))?;
            }
        }
        for (key, pod) in &plan.pods {
            if !self.pods.contains_key(key) {
                self.add_pod(key, pod).await.with_context(|| format!("pod {key}"))?;
            }
        }
        Ok(())
    }

    /// The network namespace of a node.
    pub(crate) fn node(&self, name: &str) -> Option<&Netns> {
        self.nodes.get(name).map(|node| &node.netns)
    }

    /// Where the nodes are, for other processes.
    pub(crate) fn nodes(&self) -> BTreeMap<String, Place> {
        let place = |(name, node): (&String, &NodeParts)| {
            (
                name.clone(),
                Place { netns: node.netns.fd(), addresses: self.plan.nodes[name].addresses.clone() },
            )
        };
        self.nodes.iter().map(place).collect()
    }

    /// Where the pods are, for other processes.
    pub(crate) fn pods(&self) -> BTreeMap<String, PodRecord> {
        let place = |(key, parts): (&String, &PodParts)| {
            let pod = &self.plan.pods[key];
            let netns = parts.netns.as_ref().unwrap_or(&self.nodes[&pod.node].netns).fd();
            let place = Place { netns, addresses: pod.addresses.clone() };
            let (node, ports) = (pod.node.clone(), pod.ports.clone());
            (key.clone(), PodRecord { place, node, host_network: pod.host_network, ports })
        };
        self.pods.iter().map(place).collect()
    }

    /// Where the host outside is, for other processes.
    pub(crate) fn outside(&self) -> Place {
        Place { netns: self.outside.fd(), addresses: self.plan.outside.clone() }
    }

    async fn add_node(&mut self, name: &str, plan: &NodePlan) -> Result<()> {
        self.made += 1;
        let (netns, links, port) =
            connect_host(&self.fabric, &format!("node{}", self.made), &plan.addresses).await?;
        netns.set_parameters(ROUTER)?;
        let mut bridge = None;
        if self.network == Network::Bridged {
            let index = links.add_bridge(BRIDGE, ROUTER_MAC).await?;
            links.be_router(index).await?;
            for range in &plan.ranges {
                if let Some(gateway) = range.gateway() {
                    links.add_address(index, gateway, range.bits).await?;
                }
            }
            bridge = Some(index);
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.add(name)?;
        }
        let sandboxes = self.dir.sandboxes(name);
        fs::create_dir_all(&sandboxes).with_context(|| format!("cannot make {}", sandboxes.display()))?;
        self.nodes.insert(name.to_string(), NodeParts { netns, links, port, bridge });
        self.plan.nodes.insert(name.to_string(), plan.clone());
        Ok(())
    }

    async fn remove_node(&mut self, name: &str) -> Result<()> {
        self.plan.nodes.remove(name);
        if let Some(node) = self.nodes.remove(name) {
            // Its routes go with the link, the rest with the namespace.
            self.fabric.remove(node.port).await?;
        }
        let _ = fs::remove_dir_all(self.dir.sandboxes(name));
        self.cgroups.as_ref().map_or(Ok(()), |cgroups| cgroups.remove_node(name))
    }

    async fn add_pod(&mut self, key: &str, plan: &PodPlan) -> Result<()> {
        let node = self.nodes.get(&plan.node).with_context(|| format!("there is no node {}", plan.node))?;
        let parts = if plan.host_network {
            let cgroup = self.cgroups.as_ref().map(|cgroups| cgroups.node(&plan.node));
            let (addresses, ports) = (&plan.addresses, &plan.ports);
            let listeners = self.server.listen(&node.netns, cgroup.as_deref(), key, addresses, ports)?;
            PodParts { netns: None, port: None, _listeners: listeners }
        } else {
            self.made += 1;
            let netns = new_host()?;
            let name = format!("veth{}", self.made);
            let node_plan = &self.plan.nodes[&plan.node];
            let port = connect_pod(node, &name, &netns, plan, node_plan).await?;
            for address in &plan.addresses {
                self.fabric.route_to_host(alone(*address), node.port).await?;
            }
            let listeners = self.server.listen(&netns, None, key, &plan.addresses, &plan.ports)?;
            let link = self.sandbox(key, &plan.node);
            let target = format!("/proc/{}/fd/{}", std::process::id(), netns.fd());
            symlink(target, &link).with_context(|| format!("cannot make {}", link.display()))?;
            PodParts { netns: Some(netns), port: Some(port), _listeners: listeners }
        };
        self.pods.insert(key.to_string(), parts);
        self.plan.pods.insert(key.to_string(), plan.clone());
        Ok(())
    }

    async fn remove_pod(&mut self, key: &str) -> Result<()> {
        let (Some(plan), Some(parts)) = (self.plan.pods.remove(key), self.pods.remove(key)) else {
            return Ok(());
        };
        let (Some(port), Some(node)) = (parts.port, self.nodes.get(&plan.node)) else { return Ok(()) };
        let _ = fs::remove_file(self.sandbox(key, &plan.node));
        for address in &plan.addresses {
            self.fabric.remove_route(alone(*address)).await?;
            if node.bridge.is_some() && !covered(&self.plan.nodes[&plan.node].ranges, *address) {
                node.links.remove_route(alone(*address)).await?;
            }
        }
        node.links.remove(port).await
    }

    /// The link to a pod's namespace. Neither a namespace's name nor a pod's contains an underscore.
    fn sandbox(&self, key: &str, node: &str) -> std::path::PathBuf {
        self.dir.sandboxes(node).join(key.replace('/', "_"))
    }
}

/// A namespace with nothing but its loopback interface.
fn new_host() -> Result<Netns> {
    let netns = Netns::create()?;
    netns.set_parameters(HOST)?;
    Ok(netns)
}

/// Makes a host with these addresses behind a link of the fabric. Returns it and the link.
async fn connect_host(fabric: &Links, name: &str, addresses: &[IpAddr]) -> Result<(Netns, Links, u32)> {
    let netns = new_host()?;
    netns.set_parameters(FABRIC)?;
    let (here, there) = (End { name, mac: Some(ROUTER_MAC) }, End { name: UPLINK, mac: Some(HOST_MAC) });
    let port = fabric.add_pair(&here, &there, &netns).await?;
    fabric.be_router(port).await?;
    fabric.know_host(port).await?;
    for address in addresses {
        fabric.route_to_host(alone(*address), port).await?;
    }
    let links = Links::connect(&netns)?;
    let uplink = links.set_host_up(UPLINK).await?;
    links.be_host(uplink).await?;
    for address in addresses {
        links.add_address(uplink, *address, alone(*address).bits).await?;
    }
    links.know_router(uplink).await?;
    for everywhere in [Range::v4([0; 4], 0), Range::v6([0; 8], 0)] {
        let source = same_family(addresses, everywhere.base);
        links.route_to_router(everywhere, uplink, source).await?;
    }
    Ok((netns, links, port))
}

/// Connects a pod to its node and returns the index of its interface there.
async fn connect_pod(
    node: &NodeParts,
    name: &str,
    netns: &Netns,
    pod: &PodPlan,
    plan: &NodePlan,
) -> Result<u32> {
    let mac = node.bridge.is_none().then_some(ROUTER_MAC);
    let port = node.links.add_pair(&End { name, mac }, &End { name: UPLINK, mac: None }, netns).await?;
    let links = Links::connect(netns)?;
    let uplink = links.set_host_up(UPLINK).await?;
    links.know_router(uplink).await?;
    match node.bridge {
        Some(bridge) => node.links.add_port(bridge, port).await?,
        None => node.links.be_router(port).await?,
    }
    for address in &pod.addresses {
        let range = plan.ranges.iter().find(|range| node.bridge.is_some() && range.contains(*address));
        let bits = range.map_or(alone(*address).bits, |range| range.bits);
        links.add_address(uplink, *address, bits).await?;
        let everywhere = if address.is_ipv4() { Range::v4([0; 4], 0) } else { Range::v6([0; 8], 0) };
        match range.and_then(Range::gateway) {
            Some(gateway) => links.add_route(everywhere, uplink, Some(gateway), Some(*address)).await?,
            None => {
                links.route_to_router(everywhere, uplink, Some(*address)).await?;
                let device = node.bridge.unwrap_or(port);
                let source = same_family(&plan.addresses, *address);
                node.links.add_route(alone(*address), device, None, source).await?;
            }
        }
    }
    Ok(port)
}

fn covered(ranges: &[Range], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

fn same_family(addresses: &[IpAddr], like: IpAddr) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| address.is_ipv4() == like.is_ipv4())
}
