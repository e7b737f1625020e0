//! An event and what is known of its numbers make a flow. Pure. Not here: where events and names come from.

use super::text::{addr_text, protocol_name, tcp_flags};
use super::time::rfc3339;
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use isolator_common::event::Event;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use serde::{Deserialize, Serialize};

/// What the numbers in events mean. The daemon answers from memory, `observe` from the pinned maps.
pub trait Names {
    /// The text of a rule number.
    fn rule(&self, number: u32) -> Option<String>;
    /// The labels of an identity number.
    fn identity(&self, number: u32) -> Option<String>;
    /// The pod behind an interface of this node, `namespace/pod`.
    fn endpoint(&self, ifindex: u32) -> Option<String>;
    /// The pod that has an address, `namespace/pod`.
    fn pod_at(&self, addr: &Addr) -> Option<String>;
}

/// A verdict on a packet, with names. The field names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// RFC 3339, UTC.
    pub time: String,
    /// `FORWARDED` or `DROPPED`.
    pub verdict: Verdict,
    /// `egress` or `ingress`, as the endpoint that judged sees it.
    pub direction: String,
    /// Stable name of the reason, as `default-deny`.
    pub reason: String,
    /// What decided: policy and rule, or why none was needed. Absent where policy was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Who sent the packet.
    pub source: End,
    /// Who was to receive it.
    pub destination: End,
    /// Name of the protocol, or its number.
    pub protocol: String,
    /// Type and code, for ICMP and ICMPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// TCP flags of the packet, `SYN, ACK`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub tcp_flags: String,
    /// Length of the packet, bytes.
    pub length: u32,
    /// Interface of the endpoint that judged.
    pub interface: u32,
    /// Generation of the policy that judged.
    pub generation: u32,
}

/// What became of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It passed.
    Forwarded,
    /// It was dropped.
    Dropped,
}

impl Verdict {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Forwarded => "FORWARDED",
            Verdict::Dropped => "DROPPED",
        }
    }
}

/// One end of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `namespace/pod`, where a pod has the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The address in the packet; absent where none could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port; absent for protocols without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Identity number; 0 unknown.
    pub identity: u32,
    /// What the identity means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

/// What an ICMP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Its code.
    pub code: u8,
}

/// Gives an event its names. `boot` is the wall-clock time, nanoseconds since 1970, at which the clock of
/// the events (`CLOCK_MONOTONIC`) stood at 0.
#[must_use]
pub fn enrich(event: &Event, names: &impl Names, boot: u64) -> Flow {
    let egress = event.direction == Direction::Egress as u8;
    let reason = Reason::from_number(event.reason);
    let is_icmp = matches!(event.protocol, protocol::ICMP | protocol::ICMPV6);
    let has_ports = matches!(event.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let end = |addr: &Addr, port: u16, identity: u32, pod: Option<String>| End {
        pod,
        address: (*addr != Addr::UNSPECIFIED).then(|| addr_text(addr)),
        port: has_ports.then_some(port),
        identity,
        labels: names.identity(identity),
    };
    // The interface says who the endpoint is; an address is only claimed.
    let local = end(&event.local, event.local_port, event.local_identity, names.endpoint(event.ifindex));
    let remote = end(&event.remote, event.remote_port, event.remote_identity, names.pod_at(&event.remote));
    let (source, destination) = if egress { (local, remote) } else { (remote, local) };
    let [kind, code] = event.local_port.to_be_bytes();
    Flow {
        time: rfc3339(boot.saturating_add(event.time)),
        verdict: if reason.is_some_and(Reason::passes) { Verdict::Forwarded } else { Verdict::Dropped },
        direction: if egress { Direction::Egress } else { Direction::Ingress }.name().to_owned(),
        reason: reason.map_or_else(|| format!("reason-{}", event.reason), |reason| reason.name().to_owned()),
        by: if event.rule == 0 { None } else { Some(rule_text(names, event.rule)) },
        source,
        destination,
        protocol: protocol_name(event.protocol),
        icmp: is_icmp.then_some(Icmp { kind, code }),
        tcp_flags: tcp_flags(event.tcp_flags),
        length: event.length,
        interface: event.ifindex,
        generation: event.generation,
    }
}

fn rule_text(names: &impl Names, number: u32) -> String {
    names.rule(number).unwrap_or_else(|| format!("rule {number}, which nothing names any more"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::flows) struct Known;

    impl Names for Known {
        fn rule(&self, number: u32) -> Option<String> {
            (number == 7)
                .then(|| "default deny of ingress by NetworkPolicy tc-alpha/deny-cross-tenant".to_owned())
        }
        fn identity(&self, number: u32) -> Option<String> {
            (number == 99).then(|| "app=curl".to_owned())
        }
        fn endpoint(&self, ifindex: u32) -> Option<String> {
            (ifindex == 4).then(|| "tc-alpha/nginx".to_owned())
        }
        fn pod_at(&self, addr: &Addr) -> Option<String> {
            (*addr == Addr::v4([10, 0, 0, 3])).then(|| "tc-gamma/curl".to_owned())
        }
    }

    pub(in crate::flows) fn dropped() -> Event {
        Event {
            time: 1_000_000_000,
            local: Addr::v4([10, 0, 0, 1]),
            remote: Addr::v4([10, 0, 0, 3]),
            ifindex: 4,
            remote_identity: 99,
            local_identity: 98,
            rule: 7,
            length: 74,
            local_port: 80,
            remote_port: 40312,
            protocol: protocol::TCP,
            direction: Direction::Ingress as u8,
            reason: Reason::DefaultDeny as u8,
            tcp_flags: 2,
            generation: 5,
        }
    }

    /// Wall-clock time of the tests' boot.
    pub(in crate::flows) const BOOT: u64 = 1_763_686_922_004_005_006;

    #[test]
    fn a_drop_at_ingress_names_both_ends_the_right_way_round() {
        let flow = enrich(&dropped(), &Known, BOOT);
        let wanted = Flow {
            time: "2025-11-21T01:02:03.004005006Z".into(),
            verdict: Verdict::Dropped,
            direction: "ingress".into(),
            reason: "default-deny".into(),
            by: Some("default deny of ingress by NetworkPolicy tc-alpha/deny-cross-tenant".into()),
            source: End {
                pod: Some("tc-gamma/curl".into()),
                address: Some("10.0.0.3".into()),
                port: Some(40312),
                identity: 99,
                labels: Some("app=curl".into()),
            },
            destination: End {
                pod: Some("tc-alpha/nginx".into()),
                address: Some("10.0.0.1".into()),
                port: Some(80),
                identity: 98,
                labels: None,
            },
            protocol: "TCP".into(),
            icmp: None,
            tcp_flags: "SYN".into(),
            length: 74,
            interface: 4,
            generation: 5,
        };
        assert_eq!(flow, wanted);
        let back: Flow = serde_json::from_str(&serde_json::to_string(&flow).unwrap()).unwrap();
        assert_eq!(back, flow);
    }

    #[test]
    fn egress_turns_the_ends_round_and_a_claimed_address_does_not_name_the_endpoint() {
        let event = Event {
            direction: Direction::Egress as u8,
            reason: Reason::Spoofed as u8,
            local: Addr::v4([10, 0, 0, 3]),
            remote: Addr::v4([192, 0, 2, 1]),
            rule: 0,
            ..dropped()
        };
        let flow = enrich(&event, &Known, BOOT);
        assert_eq!(flow.source.pod.as_deref(), Some("tc-alpha/nginx"));
        assert_eq!(flow.source.address.as_deref(), Some("10.0.0.3"));
        assert_eq!(flow.destination.pod, None);
        assert_eq!((flow.by, flow.reason.as_str()), (None, "spoofed-source"));
    }

    #[test]
    fn icmp_has_a_type_and_no_ports_and_a_forgotten_rule_says_so() {
        let event = Event { protocol: protocol::ICMP, local_port: 0x0800, rule: 8, ..dropped() };
        let flow = enrich(&event, &Known, BOOT);
        assert_eq!(flow.icmp, Some(Icmp { kind: 8, code: 0 }));
        assert_eq!((flow.source.port, flow.destination.port), (None, None));
        assert_eq!(flow.by.as_deref(), Some("rule 8, which nothing names any more"));
    }
}
