//! One line of input as a flow. Not here: verdicts.

use crate::cli::{translated, words};
use crate::flows::text::{protocol_name, protocol_number};
use anyhow::{Context, Result, anyhow, bail};
use isolator_common::conntrack::protocol;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::{End, FlowError, FlowSpec};
use serde::Deserialize;

/// A flow as it is written. Fields that are not known do not matter: they cannot change a verdict.
#[derive(Debug, Deserialize)]
struct Line {
    from: String,
    to: String,
    protocol: String,
    port: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<u8>,
    /// 4 or 6, where both ends have both. Otherwise ICMP is IPv4, ICMPv6 is IPv6 and all else IPv4.
    ip: Option<u8>,
}

/// Reads a line.
pub(super) fn parse(line: &[u8], snapshot: &Snapshot) -> Result<FlowSpec> {
    let Line { from, to, protocol, port, kind, ip } =
        serde_json::from_slice(line).context("the line is no flow")?;
    let number = protocol_number(&protocol).ok_or_else(|| anyhow!(words::unknown_protocol(&protocol)))?;
    let name = protocol_name(number);
    let port = match (matches!(number, protocol::ICMP | protocol::ICMPV6), port, kind) {
        (true, None, Some(kind)) => u16::from(kind),
        (true, _, None) => bail!("{name} needs a type"),
        (true, Some(_), _) => bail!("{name} has no ports"),
        (false, Some(port), None) => port,
        (false, None, _) => bail!("{name} needs a port"),
        (false, _, Some(_)) => bail!("{name} has no types"),
    };
    let (number, port) = words::checked_port(number, port).map_err(|error| anyhow!(error))?;
    words::opens_a_flow(number, port).map_err(|error| anyhow!(error))?;
    let end = |text: &str| {
        let end = words::end(text).map_err(|error| anyhow!(error))?;
        match ip {
            None => Ok(end),
            Some(4) => of_family(end, true, snapshot),
            Some(6) => of_family(end, false, snapshot),
            Some(other) => bail!("there is no IP version {other}"),
        }
    };
    let (from, to) = (end(&from).context("from")?, end(&to).context("to")?);
    let flow = FlowSpec { from, to, protocol: number, port };
    translated::refuse(snapshot, &flow)?;
    Ok(flow)
}

/// The same end by its address of one family.
fn of_family(end: End, v4: bool, snapshot: &Snapshot) -> Result<End> {
    let addr = match &end {
        End::Pod(key) => match snapshot.pods().get(key) {
            Some(pod) => pod.addrs()[usize::from(!v4)],
            None => bail!(FlowError::UnknownPod(key.clone())),
        },
        End::Node(name) => snapshot.node_address(name, v4),
        End::Address(addr) => (addr.is_v4() == v4).then_some(*addr),
    };
    addr.map(End::Address).ok_or_else(|| FlowError::NoAddress(end).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::addr::Addr;
    use isolator_policy::cluster::index::{Index, Options};

    fn read(line: &str) -> Result<FlowSpec, String> {
        let snapshot = Index::new(Options::default()).snapshot();
        parse(line.as_bytes(), &snapshot).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_documented_forms_are_read() {
        let flow = read(r#"{"from":"node:n1","to":"10.0.0.1","protocol":"TCP","port":80}"#).unwrap();
        let (from, to) = (End::Node("n1".into()), End::Address(Addr::v4([10, 0, 0, 1])));
        assert_eq!(flow, FlowSpec { from, to, protocol: protocol::TCP, port: 80 });
        let flow = read(r#"{"from":"::1","to":"fd00::1","protocol":"ICMPv6","type":128,"id":7}"#).unwrap();
        assert_eq!((flow.protocol, flow.port), (protocol::ICMPV6, 128));
    }

    #[test]
    fn what_cannot_be_judged_says_why() {
        for (line, wanted) in [
            (r#"{"from":"a/b"}"#, "missing field `to`"),
            (r#"{"from":"a/b","to":"c/d","protocol":"TCP"}"#, "TCP needs a port"),
            (r#"{"from":"a/b","to":"c/d","protocol":"TCP","port":0}"#, "TCP has no port 0"),
            (r#"{"from":"a/b","to":"c/d","protocol":"TCP","port":65536}"#, "65536"),
            (r#"{"from":"a/b","to":"c/d","protocol":"TCP","port":80,"type":8}"#, "TCP has no types"),
            (r#"{"from":"a/b","to":"c/d","protocol":"ICMP","port":8}"#, "ICMP needs a type"),
            (r#"{"from":"a/b","to":"c/d","protocol":"ICMP","port":8,"type":8}"#, "ICMP has no ports"),
            (r#"{"from":"a/b","to":"c/d","protocol":"ICMP","type":3}"#, "an error about another packet"),
            (r#"{"from":"a/b","to":"c/d","protocol":"ICMPv6","type":135}"#, "never leaves"),
            (r#"{"from":"a/b","to":"c/d","protocol":"GRE","port":8}"#, "`GRE` is no protocol"),
            (r#"{"from":"a/b","to":"d","protocol":"TCP","port":8}"#, "to: `d` is no end"),
            (r#"{"from":"a/b","to":"c/d","protocol":"TCP","port":8,"ip":6}"#, "no pod a/b"),
            (r#"{"from":"::1","to":"::2","protocol":"TCP","port":8,"ip":4}"#, "::1 has no address"),
            ("[]", "the line is no flow"),
            ("{", "the line is no flow"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
