//! Services in a lab: what kube-proxy would do on each node, by nftables or by iptables, so that service addresses
//! lead to backends. Not here: who those are (`cluster::backends` in `isolator-policy`), what policy makes of them.

use super::netns::Netns;
use super::plan::Plan;
use super::serve::{SCTP, TCP, UDP};
use crate::source::placement::addr;
use anyhow::{Context, Result, bail};
use isolator_policy::cluster::backends::backends;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{Pod, Service, ServicePort, ip};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

/// Who translates service addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KubeProxy {
    /// Nobody.
    None,
    /// Rules of nftables.
    Nftables,
    /// Rules of iptables.
    Iptables,
}

/// What is asked of the proxy of every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proxy {
    pub(crate) kind: KubeProxy,
    /// Whatever goes through a service comes from the node's address.
    pub(crate) masquerade: bool,
    /// Marks of packets whose verdict is open: the node's own sockets do not get them. 0: their verdict comes there.
    pub(crate) mark: u32,
}

/// One port at one address, and who is behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frontend {
    /// `None`: every address of the node.
    address: Option<IpAddr>,
    v4: bool,
    protocol: u8,
    port: u16,
    /// Sorted; nobody where empty.
    backends: Vec<SocketAddr>,
}

/// All that is to be translated. The same on every node.
pub(crate) fn frontends(objects: &[Object], plan: &Plan) -> Vec<Frontend> {
    let mut all = BTreeSet::new();
    for service in objects.iter().filter_map(|object| match object {
        Object::Service(service) => Some(service),
        _ => None,
    }) {
        for port in service.ports.iter().filter(|port| name(port.protocol).is_some()) {
            let backends = behind(objects, plan, service, port);
            let of = |v4: bool| backends.iter().copied().filter(|at| at.is_ipv4() == v4).collect::<Vec<_>>();
            let mut add = |address: Option<IpAddr>, v4: bool, number: u16| {
                let (protocol, backends) = (port.protocol, of(v4));
                all.insert(Frontend { address, v4, protocol, port: number, backends });
            };
            for address in service.addresses.iter().map(ip) {
                add(Some(address), address.is_ipv4(), port.port);
            }
            if let Some(number) = port.node_port {
                add(None, true, number);
                add(None, false, number);
            }
        }
    }
    all.into_iter().collect()
}

/// Who is behind a port of a service, ready, sorted. Pods have the addresses that they were given here.
fn behind(objects: &[Object], plan: &Plan, service: &Service, port: &ServicePort) -> Vec<SocketAddr> {
    let slices = objects.iter().filter_map(|object| match object {
        Object::EndpointSlice(slice) => Some(slice),
        _ => None,
    });
    let pods = objects.iter().filter_map(|object| match object {
        Object::Pod(pod) => Some(pod),
        _ => None,
    });
    let placed = |pod: &Pod| {
        let placed = plan.pods.get(&pod.key.to_string());
        placed.iter().flat_map(|placed| &placed.addresses).copied().map(addr).collect()
    };
    let found = backends(service, port, slices, pods, placed);
    found.into_iter().map(|(addr, port)| SocketAddr::new(ip(&addr), port)).collect()
}

/// What rules call a protocol; those without ports have no services.
fn name(protocol: u8) -> Option<&'static str> {
    match protocol {
        TCP => Some("tcp"),
        UDP => Some("udp"),
        SCTP => Some("sctp"),
        _ => None,
    }
}

impl Proxy {
    /// Puts the rules in force on a node, in place of earlier ones.
    pub(crate) fn program(&self, netns: &Netns, frontends: &[Frontend]) -> Result<()> {
        match self.kind {
            KubeProxy::None => Ok(()),
            KubeProxy::Nftables => feed(netns, "nft", &["-f", "-"], &self.nftables(frontends)),
            KubeProxy::Iptables => {
                feed(netns, "iptables-restore", &[], &self.iptables(frontends, true))?;
                feed(netns, "ip6tables-restore", &[], &self.iptables(frontends, false))
            }
        }
    }

    /// For `nft -f`.
    fn nftables(&self, frontends: &[Frontend]) -> String {
        let (mut nat, mut filter, mut hairpins) = (String::new(), String::new(), BTreeSet::new());
        for Frontend { address, v4, protocol, port, backends } in frontends {
            let Some(name) = name(*protocol) else { continue };
            let family = if *v4 { "ip" } else { "ip6" };
            let to = match address {
                Some(address) => format!("{family} daddr {address} {name} dport {port}"),
                None => format!(
                    "meta nfproto {} fib daddr type local {name} dport {port}",
                    if *v4 { "ipv4" } else { "ipv6" }
                ),
            };
            // Writing to a String cannot fail.
            for (index, backend) in backends.iter().enumerate() {
                let left = backends.len() - index;
                let chance = if left > 1 { format!(" numgen random mod {left} 0") } else { String::new() };
                let _ = writeln!(nat, "    {to}{chance} dnat {family} to {backend}");
                hairpins.insert((family, backend.ip()));
            }
            if backends.is_empty() && address.is_some() {
                let _ = writeln!(filter, "    {to} reject");
            }
        }
        let mut masquerade = String::new();
        if self.masquerade {
            masquerade.push_str("    ct status dnat masquerade\n");
        }
        for (family, at) in hairpins {
            let _ =
                writeln!(masquerade, "    {family} saddr {at} {family} daddr {at} ct status dnat masquerade");
        }
        let input = match self.mark {
            0 => String::new(),
            mark => format!("    meta mark & {mark:#x} != 0 drop\n"),
        };
        format!(
            "add table inet kube-proxy\ndelete table inet kube-proxy\ntable inet kube-proxy {{\n  \
             chain services {{\n{nat}  }}\n  \
             chain prerouting {{\n    type nat hook prerouting priority dstnat\n    jump services\n  }}\n  \
             chain output {{\n    type nat hook output priority -100\n    jump services\n  }}\n  \
             chain postrouting {{\n    type nat hook postrouting priority srcnat\n{masquerade}  }}\n  \
             chain forward {{\n    type filter hook forward priority filter\n{filter}  }}\n  \
             chain input {{\n    type filter hook input priority filter\n{input}  }}\n}}\n"
        )
    }

    /// For `iptables-restore` or `ip6tables-restore`.
    fn iptables(&self, frontends: &[Frontend], v4: bool) -> String {
        let mut nat = String::from(
            "*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n",
        );
        let (mut filter, mut hairpins) = (String::new(), BTreeSet::new());
        for Frontend { address, protocol, port, backends, .. } in frontends.iter().filter(|one| one.v4 == v4)
        {
            let Some(name) = name(*protocol) else { continue };
            let to = match address {
                Some(address) => format!("-d {address} -p {name} --dport {port}"),
                None => format!("-m addrtype --dst-type LOCAL -p {name} --dport {port}"),
            };
            for (index, backend) in backends.iter().enumerate() {
                let left = backends.len() - index;
                let chance = if left > 1 {
                    format!(" -m statistic --mode random --probability {:.10}", 1.0 / left as f64)
                } else {
                    String::new()
                };
                let _ = writeln!(nat, "-A KUBE-SERVICES {to}{chance} -j DNAT --to-destination {backend}");
                hairpins.insert(backend.ip());
            }
            if backends.is_empty() && address.is_some() {
                let _ = writeln!(filter, "-A FORWARD {to} -j REJECT");
            }
        }
        if self.masquerade {
            nat.push_str("-A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE\n");
        }
        for at in hairpins {
            let _ = writeln!(nat, "-A POSTROUTING -s {at} -d {at} -m conntrack --ctstate DNAT -j MASQUERADE");
        }
        if self.mark != 0 {
            let _ = writeln!(filter, "-A INPUT -m mark ! --mark 0x0/{:#x} -j DROP", self.mark);
        }
        format!("{nat}COMMIT\n*filter\n{filter}COMMIT\n")
    }
}

/// Runs a program inside a node's network, with `text` as its input.
fn feed(netns: &Netns, program: &str, arguments: &[&str], text: &str) -> Result<()> {
    netns.run(|| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child.with_context(|| {
            format!(
                "cannot run {program}, which programs services here; install it (Debian: nftables, iptables)"
            )
        })?;
        if let Some(mut input) = child.stdin.take() {
            // A program that gives up before it has read everything says why.
            let _its_own_message_follows = input.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().with_context(|| format!("cannot wait for {program}"))?;
        if !output.status.success() {
            bail!("{program}: {}\n{text}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(())
    })
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
