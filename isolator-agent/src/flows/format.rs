//! A flow as one line for people, like `hubble observe -o compact`, and the records that travel over the
//! socket as JSON lines. Pure. Not here: colours of a terminal (the caller paints the verdict).

use super::enrich::{End, Flow};
use super::time::compact;
use isolator_common::reason::Reason;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// One line of `observe -o json` and of the socket: `{"flow":{…}}` or `{"lost":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "records are made one at a time and sent at once")]
pub enum Record {
    /// A verdict.
    Flow(Flow),
    /// Verdicts that were not told.
    Lost(LostEvents),
}

/// Verdicts that were not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostEvents {
    /// `rate` (a tenant caused more than its share), `ring` (the ring buffer was full) or `client` (this
    /// client read too slowly).
    pub source: String,
    /// How many.
    pub count: u64,
}

/// Details that a line may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Who, what, why.
    Compact,
    /// Also identities, flags, length and what the reason means.
    Wide,
}

/// One line of text, without its end. `paint` colours the verdict.
#[must_use]
pub fn line(record: &Record, detail: Detail, paint: impl Fn(&Flow) -> String) -> String {
    match record {
        Record::Flow(flow) => flow_line(flow, detail, &paint(flow)),
        Record::Lost(LostEvents { source, count }) => format!("EVENTS LOST: {source} {count}"),
    }
}

fn flow_line(flow: &Flow, detail: Detail, verdict: &str) -> String {
    let wide = detail == Detail::Wide;
    let mut line = format!(
        "{}: {} -> {} {} {verdict} {} ({})",
        compact(&flow.time),
        end(&flow.source, wide),
        end(&flow.destination, wide),
        what(flow, wide),
        flow.direction,
        why(flow, wide),
    );
    // Writing to a String cannot fail.
    if wide {
        let _ = write!(
            line,
            " {} bytes, interface {}, generation {}",
            flow.length, flow.interface, flow.generation
        );
    }
    line
}

/// The reason and what decided. Some texts begin with their reason: `tenancy: a and b are different tenants`.
fn why(flow: &Flow, wide: bool) -> String {
    let Flow { reason, by, .. } = flow;
    match by {
        Some(by) if by.strip_prefix(reason.as_str()).is_some_and(|rest| rest.starts_with(':')) => by.clone(),
        Some(by) => format!("{reason}: {by}"),
        None => match Reason::ALL.iter().find(|known| wide && known.name() == reason) {
            Some(known) => format!("{reason}: {}", known.help()),
            None => reason.clone(),
        },
    }
}

fn end(end: &End, wide: bool) -> String {
    let name = match (&end.pod, &end.address) {
        (Some(pod), _) => pod.clone(),
        (None, Some(address)) if address.contains(':') && end.port.is_some() => format!("[{address}]"),
        (None, Some(address)) => address.clone(),
        (None, None) => "unknown".to_owned(),
    };
    let port = end.port.map(|port| format!(":{port}")).unwrap_or_default();
    match (&end.labels, wide) {
        (Some(labels), true) => format!("{name}{port} (ID:{} {labels})", end.identity),
        (None, true) => format!("{name}{port} (ID:{})", end.identity),
        // An address alone says little; a reserved identity says whether it is inside or outside.
        (Some(labels), false) if end.pod.is_none() && labels.starts_with("reserved:") => {
            format!("{name}{port} ({})", labels.trim_start_matches("reserved:"))
        }
        _ => format!("{name}{port}"),
    }
}

fn what(flow: &Flow, wide: bool) -> String {
    let name = flow.protocol.to_lowercase();
    match flow.icmp {
        Some(icmp) if icmp.code == 0 => format!("{name} type {}", icmp.kind),
        Some(icmp) => format!("{name} type {} code {}", icmp.kind, icmp.code),
        None if wide && !flow.tcp_flags.is_empty() => format!("{name} [{}]", flow.tcp_flags),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::enrich::{enrich, tests};
    use super::*;
    use isolator_common::addr::Addr;
    use isolator_common::conntrack::protocol;
    use isolator_common::event::Event;

    fn text(event: &Event, detail: Detail) -> String {
        let record = Record::Flow(enrich(event, &tests::Known, tests::BOOT));
        line(&record, detail, |flow| flow.verdict.name().to_owned())
    }

    #[test]
    fn the_compact_line() {
        assert_eq!(
            text(&tests::dropped(), Detail::Compact),
            "Nov 21 01:02:03.004: tc-gamma/curl:40312 -> tc-alpha/nginx:80 tcp DROPPED ingress \
             (default-deny: default deny of ingress by NetworkPolicy tc-alpha/deny-cross-tenant)"
        );
    }

    #[test]
    fn the_wide_line() {
        assert_eq!(
            text(&tests::dropped(), Detail::Wide),
            "Nov 21 01:02:03.004: tc-gamma/curl:40312 (ID:99 app=curl) -> tc-alpha/nginx:80 (ID:98) tcp [SYN] \
             DROPPED ingress (default-deny: default deny of ingress by NetworkPolicy \
             tc-alpha/deny-cross-tenant) 74 bytes, interface 4, generation 5"
        );
    }

    #[test]
    fn addresses_without_a_pod_and_icmp() {
        let remote = Addr([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        let event = Event { remote, rule: 0, remote_identity: 0, ..tests::dropped() };
        assert_eq!(
            text(&event, Detail::Compact),
            "Nov 21 01:02:03.004: [fd00::9]:40312 -> tc-alpha/nginx:80 tcp DROPPED ingress (default-deny)"
        );
        let event = Event { protocol: protocol::ICMPV6, local_port: 0x8000, ..event };
        assert_eq!(
            text(&event, Detail::Compact),
            "Nov 21 01:02:03.004: fd00::9 -> tc-alpha/nginx icmpv6 type 128 DROPPED ingress (default-deny)"
        );
    }

    #[test]
    fn a_reason_is_said_once() {
        let flow = enrich(&tests::dropped(), &tests::Known, tests::BOOT);
        let by = "tenancy: a and b are different tenants".to_owned();
        let flow = Flow { reason: "tenancy".into(), by: Some(by.clone()), ..flow };
        assert_eq!(why(&flow, false), by);
        let flow = Flow { reason: "spoofed-source".into(), by: None, ..flow };
        assert_eq!(why(&flow, true), "spoofed-source: The packet claims an address that is not the pod's.");
    }

    #[test]
    fn losses_are_lines_too() {
        let record = Record::Lost(LostEvents { source: "ring".into(), count: 3 });
        assert_eq!(line(&record, Detail::Compact, |_| String::new()), "EVENTS LOST: ring 3");
        assert_eq!(serde_json::to_string(&record).unwrap(), r#"{"lost":{"source":"ring","count":3}}"#);
    }
}
