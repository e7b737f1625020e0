//! `isolator endpoint …`: the pods' interfaces that this node enforces, with counters. Not here: how they are found.

use super::Exit;
use super::args::{EndpointCommand, Global};
use super::output::{Cell, Column, Row, Screen, Tone, grid, short};
use super::pinned::Pinned;
use crate::datapath::read::Counter;
use anyhow::{Result, bail};
use isolator_common::addr::Addr;
use isolator_common::endpoint::Endpoint;
use isolator_common::event::NameKind;
use isolator_common::policy::{Direction, Interval, Kind, Word};
use isolator_policy::datapath::image::Image;
use isolator_policy::model::ip;
use serde::Serialize;
use std::fmt::Write;

/// An endpoint.
#[derive(Debug, Serialize)]
struct EndpointRow {
    /// `namespace/pod`; absent while the pod is not known.
    endpoint: Option<String>,
    interface: u32,
    /// Name of the interface in this network namespace.
    interface_name: Option<String>,
    id: u32,
    identity: u32,
    labels: Option<String>,
    tenant: u32,
    ingress: Enforcement,
    egress: Enforcement,
    ipv4: Option<String>,
    ipv6: Option<String>,
    /// Packets that passed and that were dropped, in both directions.
    allowed: u64,
    dropped: u64,
    counters: Vec<CounterRow>,
}

/// What an endpoint's rules amount to in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Enforcement {
    /// Only what a rule allows passes.
    Isolated,
    /// Some rule denies; everything else passes.
    Denies,
    /// Only other tenants are kept out.
    Tenancy,
    /// Everything passes.
    Open,
    /// The pod is not known yet: only the local host may talk to it.
    Startup,
}

/// Packets of one outcome.
#[derive(Debug, Serialize)]
struct CounterRow {
    direction: &'static str,
    reason: &'static str,
    packets: u64,
    bytes: u64,
}

impl Enforcement {
    const fn name(self) -> &'static str {
        match self {
            Enforcement::Isolated => "isolated",
            Enforcement::Denies => "denies",
            Enforcement::Tenancy => "tenancy",
            Enforcement::Open => "open",
            Enforcement::Startup => "startup",
        }
    }
}

impl Row for EndpointRow {
    const COLUMNS: &'static [Column] = &[
        Column::always("ENDPOINT"),
        Column::always("INTERFACE"),
        Column::always("IDENTITY"),
        Column::always("INGRESS"),
        Column::always("EGRESS"),
        Column::always("IPV4"),
        Column::always("IPV6"),
        Column::always("ALLOWED"),
        Column::always("DROPPED"),
        Column::wide("ID"),
        Column::wide("TENANT"),
        Column::wide("LABELS"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let dropped = if self.dropped > 0 { Tone::Warn } else { Tone::Plain };
        vec![
            Cell::of(self.endpoint.as_deref().unwrap_or("unknown")),
            Cell::of(self.interface_name.clone().unwrap_or_else(|| self.interface.to_string())),
            Cell::of(self.identity),
            Cell::of(self.ingress.name()),
            Cell::of(self.egress.name()),
            Cell::of(self.ipv4.as_deref().unwrap_or_default()),
            Cell::of(self.ipv6.as_deref().unwrap_or_default()),
            Cell::of(short(self.allowed)),
            Cell::toned(dropped, short(self.dropped)),
            Cell::of(self.id),
            Cell::of(if self.tenant == 0 { String::new() } else { format!("{:08x}", self.tenant) }),
            Cell::of(self.labels.as_deref().unwrap_or_default()),
        ]
    }
}

/// Runs the command.
pub(super) fn run(command: &EndpointCommand, global: &Global, screen: &Screen) -> Result<Exit> {
    let pinned = Pinned::open(&global.pin_dir)?;
    let names = InterfaceNames::new();
    let row = |endpoint: &Endpoint| row(&pinned, endpoint, &names);
    match command {
        EndpointCommand::List => {
            let mut rows = pinned.image.endpoints.values().map(row).collect::<Result<Vec<_>>>()?;
            rows.sort_by(|a, b| (&a.endpoint, a.interface).cmp(&(&b.endpoint, b.interface)));
            screen.list(&rows, "no endpoints on this node")?;
        }
        EndpointCommand::Get { endpoint: wanted } => {
            let is_it = |endpoint: &&Endpoint| {
                pinned.pod(endpoint) == Some(wanted.as_str()) || endpoint.ifindex.to_string() == *wanted
            };
            let Some(endpoint) = pinned.image.endpoints.values().find(is_it) else {
                bail!("no endpoint {wanted} on this node");
            };
            let row = row(endpoint)?;
            screen.one(&row, |screen| prose(&row, screen))?;
        }
    }
    Ok(Exit::Good)
}

fn row(pinned: &Pinned, endpoint: &Endpoint, names: &InterfaceNames) -> Result<EndpointRow> {
    let counters = pinned.maps.counters(endpoint.slot)?;
    let sum = |passes: bool| {
        counters
            .iter()
            .filter(|counter| counter.reason.passes() == passes)
            .map(|counter| counter.packets)
            .sum()
    };
    let [ipv4, ipv6] = endpoint.addrs.map(|addr| (addr != Addr::UNSPECIFIED).then(|| ip(&addr).to_string()));
    Ok(EndpointRow {
        endpoint: pinned.pod(endpoint).map(str::to_owned),
        interface: endpoint.ifindex,
        interface_name: names.of(endpoint.ifindex),
        id: endpoint.id,
        identity: endpoint.identity,
        labels: pinned.name(NameKind::Identity, endpoint.identity).map(str::to_owned),
        tenant: endpoint.tenant,
        ingress: enforcement(&pinned.image, endpoint, Direction::Ingress),
        egress: enforcement(&pinned.image, endpoint, Direction::Egress),
        ipv4,
        ipv6,
        allowed: sum(true),
        dropped: sum(false),
        counters: counters.into_iter().map(counter_row).collect(),
    })
}

fn counter_row(counter: Counter) -> CounterRow {
    let Counter { direction, reason, packets, bytes } = counter;
    CounterRow { direction: direction.name(), reason: reason.name(), packets, bytes }
}

/// What the row in force amounts to.
fn enforcement(image: &Image, endpoint: &Endpoint, direction: Direction) -> Enforcement {
    if endpoint.flags & Endpoint::KNOWN == 0 {
        return Enforcement::Startup;
    }
    let row = endpoint.row(image.state.generation, direction);
    let mut strictest = Enforcement::Open;
    for (_, word) in image.cells.range(row.base..row.base.saturating_add(row.len)) {
        for word in words(image, *word) {
            match (word.kind(), strictest) {
                (Kind::DefaultDeny, _) => return Enforcement::Isolated,
                (Kind::Deny, _) => strictest = Enforcement::Denies,
                (Kind::Tenancy, Enforcement::Open) => strictest = Enforcement::Tenancy,
                _ => {}
            }
        }
    }
    strictest
}

/// The verdicts that a cell stands for.
fn words(image: &Image, word: Word) -> Vec<Word> {
    if word.kind() != Kind::Ports {
        return vec![word];
    }
    let header = word.number();
    let len = image.intervals.get(&header).map_or(0, |raw| *raw as u32);
    let range = header.saturating_add(1)..header.saturating_add(1).saturating_add(len);
    image.intervals.range(range).map(|(_, raw)| Interval::unpack(*raw).word).collect()
}

fn prose(row: &EndpointRow, screen: &Screen) -> String {
    let mut text = screen.paint(Tone::Strong, row.endpoint.as_deref().unwrap_or("unknown pod"));
    text.push('\n');
    let interface = match &row.interface_name {
        Some(name) => format!("{name} ({})", row.interface),
        None => row.interface.to_string(),
    };
    let identity = match &row.labels {
        Some(labels) => format!("{} ({labels})", row.identity),
        None => row.identity.to_string(),
    };
    let addresses: Vec<_> = [&row.ipv4, &row.ipv6].into_iter().flatten().cloned().collect();
    for (key, value) in [
        ("interface", interface),
        ("addresses", addresses.join(", ")),
        ("identity", identity),
        ("ingress", row.ingress.name().to_owned()),
        ("egress", row.egress.name().to_owned()),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:<10} {value}");
    }
    text.push('\n');
    let head = ["DIRECTION", "REASON", "PACKETS", "BYTES"].map(str::to_owned).to_vec();
    let body = row.counters.iter().map(|counter| {
        let CounterRow { direction, reason, packets, bytes } = counter;
        vec![Cell::of(direction), Cell::of(reason), Cell::of(short(*packets)), Cell::of(short(*bytes))]
    });
    text.push_str(&grid(head, body.collect(), screen.color, screen.width));
    text
}

/// Names of interfaces in this network namespace.
struct InterfaceNames(Option<rustix::fd::OwnedFd>);

impl InterfaceNames {
    fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, socket};
        InterfaceNames(socket(AddressFamily::INET, SocketType::DGRAM, None).ok())
    }

    fn of(&self, ifindex: u32) -> Option<String> {
        rustix::net::netdevice::index_to_name(self.0.as_ref()?, ifindex).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::endpoint::Row as Cells;

    fn image(words: &[Word]) -> (Image, Endpoint) {
        let mut image = Image::default();
        image.state.generation = 1;
        image.cells.extend((8..).zip(words.iter().copied()));
        image.intervals.insert(20, 2);
        image.intervals.insert(21, Interval { start: 0, word: Word::new(Kind::DefaultDeny, 1) }.pack());
        image.intervals.insert(22, Interval { start: 9, word: Word::new(Kind::Allow, 1) }.pack());
        let row = Cells { base: 8, len: words.len() as u32, flags: 0 };
        let rows = [[Cells::default(); 2], [row; 2]];
        (image, Endpoint { flags: Endpoint::KNOWN, rows, ..Endpoint::default() })
    }

    #[test]
    fn the_list_shows_the_number_of_each_identity() {
        let row = EndpointRow {
            endpoint: Some("shop/web".to_owned()),
            interface: 7,
            interface_name: None,
            id: 3,
            identity: 12345,
            labels: None,
            tenant: 0,
            ingress: Enforcement::Open,
            egress: Enforcement::Open,
            ipv4: None,
            ipv6: None,
            allowed: 0,
            dropped: 0,
            counters: Vec::new(),
        };
        let number = row.cells().into_iter().position(|cell| cell == Cell::of(12345)).unwrap();
        let Column { name, wide } = EndpointRow::COLUMNS[number];
        assert_eq!((name, wide), ("IDENTITY", false));
    }

    #[test]
    fn the_strictest_word_of_a_row_says_what_is_enforced() {
        let word = |kind| Word::new(kind, 20);
        for (words, wanted) in [
            (vec![word(Kind::Allow), word(Kind::AllowTracked)], Enforcement::Open),
            (vec![word(Kind::Allow), word(Kind::Tenancy)], Enforcement::Tenancy),
            (vec![word(Kind::Deny), word(Kind::Tenancy)], Enforcement::Denies),
            (vec![word(Kind::Tenancy), word(Kind::DefaultDeny)], Enforcement::Isolated),
            (vec![word(Kind::Allow), word(Kind::Ports)], Enforcement::Isolated),
        ] {
            let (image, endpoint) = image(&words);
            assert_eq!(enforcement(&image, &endpoint, Direction::Ingress), wanted, "{words:?}");
        }
        let (image, endpoint) = image(&[]);
        let unknown = Endpoint { flags: 0, ..endpoint };
        assert_eq!(enforcement(&image, &unknown, Direction::Egress), Enforcement::Startup);
    }
}
