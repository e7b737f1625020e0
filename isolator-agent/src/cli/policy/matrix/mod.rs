//! `isolator policy matrix`: who may talk to whom, pods by pods, for each port. Not here: real packets
//! (`isolator lab probe`).

mod page;
mod table;

use crate::cli::Exit;
use crate::cli::args::{Format, Global, MatrixArgs};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{self, Screen};
use crate::cli::verdicts::Answer;
use crate::cli::words;
use crate::flows::text::protocol_name;
use anyhow::{Result, anyhow, bail};
use isolator_common::conntrack::protocol;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::meaning::oracle;
use isolator_policy::model::{Pod, PodKey};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// One field of the matrix, as JSON.
#[derive(Debug, Serialize)]
struct Field {
    from: String,
    to: String,
    protocol: String,
    /// The port, or the ICMP type.
    port: u16,
    /// Absent where the pods have no address family in common.
    #[serde(flatten)]
    answer: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints the matrix.
pub(super) fn run(args: &MatrixArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let MatrixArgs { folder, ports, namespaces } = args;
    let wanted = ports.iter().map(|port| words::protocol_and_port(port));
    let wanted: Result<BTreeSet<_>, _> =
        wanted.map(|port| port.map(|(protocol, port)| Port(protocol, port))).collect();
    let wanted = wanted.map_err(|error| anyhow!(error))?;
    let offline = load_and_warn(folder, global)?;
    let snapshot = &offline.snapshot;
    let shown =
        |pod: &&Pod| pod.is_endpoint() && (namespaces.is_empty() || namespaces.contains(&pod.key.namespace));
    let pods: Vec<&Pod> = snapshot.pods().values().map(AsRef::as_ref).filter(shown).collect();
    if pods.is_empty() {
        bail!("no pods in {}", offline.folder.display());
    }
    let ports = if wanted.is_empty() { declared(&pods) } else { wanted };
    let parts: Vec<_> = ports.into_iter().map(|port| (port, judge(snapshot, &pods, port))).collect();
    if global.output == Format::Html {
        output::text(&page::page(&offline.folder.to_string_lossy(), snapshot, &pods, &parts)?)?;
    } else if screen.for_people() {
        for (port, fields) in &parts {
            output::text(&table::table(fields, &pods, *port, screen))?;
        }
    } else {
        let fields: Vec<&Field> = parts.iter().flat_map(|(_, fields)| fields).collect();
        screen.one(&fields, |_| String::new())?;
    }
    Ok(Exit::Good)
}

/// Protocol number and port, or ICMP type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port(u8, u16);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", protocol_name(self.0), self.1)
    }
}

/// Every port that one of the pods declares; TCP/80 if none does.
fn declared(pods: &[&Pod]) -> BTreeSet<Port> {
    let mut ports: BTreeSet<_> =
        pods.iter().flat_map(|pod| &pod.ports).map(|port| Port(port.protocol, port.port)).collect();
    if ports.is_empty() {
        ports.insert(Port(protocol::TCP, 80));
    }
    ports
}

/// All fields for one port, row by row.
fn judge(snapshot: &Snapshot, pods: &[&Pod], port: Port) -> Vec<Field> {
    let Port(protocol, port) = port;
    let end = |key: &PodKey| End::Pod(key.clone());
    let pairs = pods.iter().flat_map(|from| pods.iter().map(move |to| (&from.key, &to.key)));
    let fields = pairs.map(|(from, to)| {
        let flow = FlowSpec { from: end(from), to: end(to), protocol, port };
        let (answer, error) = match oracle::judge(snapshot, &flow) {
            Ok(verdict) => (Some(verdict.into()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Field {
            from: from.to_string(),
            to: to.to_string(),
            protocol: protocol_name(protocol),
            port,
            answer,
            error,
        }
    });
    fields.collect()
}
