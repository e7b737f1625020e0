//! Flows as people and tools write them, and what they mean in a lab: from which namespace, to which address. Not
//! here: sending anything (`probe`).

use super::record::{Place, Record};
use super::serve::{SCTP, TCP, UDP};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// IP protocol number of ICMP.
pub(crate) const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub(crate) const ICMPV6: u8 = 58;

/// One end of a flow, as written: `NAMESPACE/POD`, `node:NAME`, `outside` or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A pod, as `namespace/name`.
    Pod(String),
    /// A node.
    Node(String),
    /// The host outside.
    Outside,
    /// An address.
    Address(IpAddr),
}

/// A flow to try.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Who sends.
    pub from: End,
    /// Who receives.
    pub to: End,
    /// `TCP`, `UDP`, `SCTP`, `ICMP` or `ICMPv6`.
    pub protocol: String,
    /// The port, where the protocol has ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The type of an ICMP message.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// IP version, 4 or 6, where both ends have both and nothing else says which. 4 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<u8>,
}

/// A flow in a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The sender's network namespace.
    pub(crate) netns: PathBuf,
    /// The address to send from.
    pub(crate) source: Option<IpAddr>,
    /// The address to send to.
    pub(crate) target: IpAddr,
    /// The port to send to; zero for ICMP.
    pub(crate) port: u16,
    /// IP protocol number.
    pub(crate) protocol: u8,
    /// The pod that should answer, where only one can.
    pub(crate) answers: Option<String>,
}

impl Flow {
    /// What the flow means in `lab`. The error says why it means nothing there.
    pub(crate) fn resolve(&self, lab: &Record) -> Result<Route, String> {
        let protocol = protocol_number(&self.protocol)?;
        let port = match (protocol, self.port, self.icmp_type) {
            (TCP | UDP | SCTP, Some(port), None) if port > 0 => port,
            (TCP | UDP | SCTP, ..) => {
                return Err(format!("{} needs a port from 1 to 65535, and no type", self.protocol));
            }
            (ICMP, None, None | Some(8)) | (ICMPV6, None, None | Some(128)) => 0,
            (_, Some(_), _) => return Err(format!("{} has no ports", self.protocol)),
            _ => return Err("only echo requests can be sent: type 8 for ICMP, 128 for ICMPv6".to_string()),
        };
        let (from, source) = sender(lab, &self.from)?;
        let (targets, answers) = receiver(lab, &self.to)?;
        // IPv4 where both have it, unless an address or ICMP's version says otherwise.
        let wanted = |address: &&IpAddr| {
            let fits = match (protocol, self.ip) {
                (ICMP, _) | (_, Some(4)) => address.is_ipv4(),
                (ICMPV6, _) | (_, Some(6)) => address.is_ipv6(),
                _ => true,
            };
            let reachable = match source {
                Some(source) => address.is_ipv4() == source.is_ipv4(),
                None => from.addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4()),
            };
            fits && reachable
        };
        let target = targets.iter().filter(wanted).min_by_key(|address| address.is_ipv6());
        let target =
            *target.ok_or_else(|| format!("{} and {} have no IP version in common", self.from, self.to))?;
        let answers = answers.filter(|_| protocol != ICMP && protocol != ICMPV6);
        Ok(Route { netns: lab.netns(from), source, target, port, protocol, answers })
    }
}

/// The place of a sender, and its address if that was written.
pub(crate) fn sender<'a>(lab: &'a Record, end: &End) -> Result<(&'a Place, Option<IpAddr>), String> {
    match end {
        End::Pod(key) => Ok((&pod(lab, key)?.place, None)),
        End::Node(name) => Ok((node(lab, name)?, None)),
        End::Outside => Ok((&lab.outside, None)),
        End::Address(address) => {
            let pods = lab.pods.values().filter(|pod| !pod.host_network).map(|pod| &pod.place);
            let mut places = pods.chain(lab.nodes.values()).chain([&lab.outside]);
            let owner = places.find(|place| place.addresses.contains(address));
            let owner = owner.ok_or_else(|| {
                format!("nobody in the lab has the address {address}: give it to the host outside with `lab up --external`")
            })?;
            Ok((owner, Some(*address)))
        }
    }
}

/// The addresses of a receiver, and the pod that is known to answer there.
fn receiver(lab: &Record, end: &End) -> Result<(Vec<IpAddr>, Option<String>), String> {
    match end {
        End::Pod(key) => {
            let pod = pod(lab, key)?;
            Ok((pod.place.addresses.clone(), (!pod.host_network).then(|| key.clone())))
        }
        End::Node(name) => Ok((node(lab, name)?.addresses.clone(), None)),
        End::Outside => Ok((lab.outside.addresses.clone(), None)),
        End::Address(address) => Ok((vec![*address], None)),
    }
}

fn pod<'a>(lab: &'a Record, key: &str) -> Result<&'a super::record::PodRecord, String> {
    lab.pods.get(key).ok_or_else(|| format!("there is no pod {key} in lab {}", lab.name))
}

fn node<'a>(lab: &'a Record, name: &str) -> Result<&'a Place, String> {
    lab.nodes.get(name).ok_or_else(|| format!("there is no node {name} in lab {}", lab.name))
}

/// The IP protocol number behind a name.
pub(crate) fn protocol_number(name: &str) -> Result<u8, String> {
    match name {
        "TCP" => Ok(TCP),
        "UDP" => Ok(UDP),
        "SCTP" => Ok(SCTP),
        "ICMP" => Ok(ICMP),
        "ICMPv6" => Ok(ICMPV6),
        other => Err(format!("unknown protocol {other:?}: use TCP, UDP, SCTP, ICMP or ICMPv6")),
    }
}

/// The name of an IP protocol number that pods listen on.
pub(crate) fn protocol_name(number: u8) -> &'static str {
    match number {
        TCP => "TCP",
        UDP => "UDP",
        SCTP => "SCTP",
        ICMP => "ICMP",
        ICMPV6 => "ICMPv6",
        _ => "?",
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(End::Address(address));
        }
        if text == "outside" {
            return Ok(End::Outside);
        }
        if let Some(name) = text.strip_prefix("node:").filter(|name| !name.is_empty()) {
            return Ok(End::Node(name.to_string()));
        }
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(End::Pod(text.to_string()))
            }
            _ => Err(format!("{text:?} is neither NAMESPACE/POD nor node:NAME nor `outside` nor an address")),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Pod(key) => f.write_str(key),
            End::Node(name) => write!(f, "node:{name}"),
            End::Outside => f.write_str("outside"),
            End::Address(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_they_are_printed() {
        for text in ["a/b", "node:n1", "outside", "10.0.0.1", "fd00::1"] {
            assert_eq!(text.parse::<End>().unwrap().to_string(), text);
        }
        for text in ["", "a", "a/", "/b", "a/b/c", "node:"] {
            assert!(text.parse::<End>().is_err(), "{text:?} was accepted");
        }
    }
}
