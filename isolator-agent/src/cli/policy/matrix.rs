//! `isolator policy matrix`: who may talk to whom, pods by pods, for each port. Not here: real packets
//! (`isolator lab probe`).

use crate::cli::Exit;
use crate::cli::args::{Global, MatrixArgs};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{self, Cell, Screen, Tone, grid};
use crate::cli::verdicts::{Answer, word};
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
    let wanted: Result<BTreeSet<_>, _> = ports.iter().map(|port| words::protocol_and_port(port)).collect();
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
    let mut fields = Vec::new();
    for (protocol, port) in ports {
        let part = judge(snapshot, &pods, protocol, port);
        if screen.for_people() {
            output::text(&table(&part, &pods, protocol, port, screen))?;
        }
        fields.extend(part);
    }
    if !screen.for_people() {
        screen.one(&fields, |_| String::new())?;
    }
    Ok(Exit::Good)
}

/// Every port that one of the pods declares; TCP/80 if none does.
fn declared(pods: &[&Pod]) -> BTreeSet<(u8, u16)> {
    let mut ports: BTreeSet<_> =
        pods.iter().flat_map(|pod| &pod.ports).map(|port| (port.protocol, port.port)).collect();
    if ports.is_empty() {
        ports.insert((protocol::TCP, 80));
    }
    ports
}

/// All fields for one port, row by row.
fn judge(snapshot: &Snapshot, pods: &[&Pod], protocol: u8, port: u16) -> Vec<Field> {
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

/// Rows are senders, columns receivers. Columns have the names of the pods where they fit, and otherwise
/// the numbers that the rows have.
fn table(fields: &[Field], pods: &[&Pod], protocol: u8, port: u16, screen: &Screen) -> String {
    let names: Vec<_> = pods.iter().map(|pod| pod.key.to_string()).collect();
    let longest = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let width: usize = longest + 3 + names.iter().map(|name| name.len() + 3).sum::<usize>();
    let named = width <= usize::from(screen.width.unwrap_or(160));
    let numbered =
        |i: usize, name: &str| if named { name.to_owned() } else { format!("{:>3} {name}", i + 1) };
    let columns =
        names.iter().enumerate().map(|(i, name)| if named { name.clone() } else { (i + 1).to_string() });
    let head = std::iter::once("FROM \\ TO".to_owned()).chain(columns);
    let body = names.iter().enumerate().zip(fields.chunks(pods.len())).map(|((i, name), row)| {
        let cells = row.iter().map(|field| cell(field, named));
        std::iter::once(Cell::of(numbered(i, name))).chain(cells).collect()
    });
    let allowed = fields.iter().filter(|field| is_allowed(field) == Some(true)).count();
    let title = screen.paint(Tone::Strong, &format!("{}/{port}", protocol_name(protocol)));
    // A table that is too wide even so is better cut by the terminal than wrapped by us.
    let grid = grid(head.collect(), body.collect(), screen.color, None);
    format!("{title}  {allowed} of {} allowed\n{grid}\n", fields.len())
}

fn is_allowed(field: &Field) -> Option<bool> {
    field.answer.as_ref().map(|answer| answer.verdict == word(true))
}

fn cell(field: &Field, named: bool) -> Cell {
    match (is_allowed(field), named) {
        (Some(true), true) => Cell::toned(Tone::Good, "allow"),
        (Some(true), false) => Cell::toned(Tone::Good, "+"),
        (Some(false), true) => Cell::toned(Tone::Bad, "deny"),
        (Some(false), false) => Cell::toned(Tone::Bad, "."),
        (None, _) => Cell::toned(Tone::Faint, "?"),
    }
}
