//! `isolator identity …`: who is behind the addresses, by number. Not here: how numbers are dealt out.

use super::Exit;
use super::args::{Global, IdentityCommand};
use super::output::{Cell, Column, Row, Screen, Tone};
use super::pinned::{Pinned, name, peers};
use anyhow::{Result, bail};
use isolator_common::event::NameKind;
use isolator_policy::datapath::image::Image;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// An identity.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct IdentityRow {
    identity: u32,
    /// What it means: labels, a prefix or a reserved name; empty where nothing names it.
    labels: String,
    /// Addresses and prefixes that have it.
    addresses: Vec<String>,
}

impl Row for IdentityRow {
    const COLUMNS: &'static [Column] = &[
        Column::always("IDENTITY"),
        Column::always("ADDRESSES"),
        Column::always("LABELS"),
        Column::wide("WHERE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let IdentityRow { identity, labels, addresses } = self;
        vec![Cell::of(identity), Cell::of(addresses.len()), Cell::of(labels), Cell::of(addresses.join(", "))]
    }
}

/// Runs the command.
pub(super) fn run(command: &IdentityCommand, global: &Global, screen: &Screen) -> Result<Exit> {
    let pinned = Pinned::open(&global.pin_dir)?;
    let mut rows = rows(&pinned.image);
    match command {
        IdentityCommand::List => screen.list(&rows, "no identities: nothing was programmed yet")?,
        IdentityCommand::Get { number } => {
            rows.retain(|row| row.identity == *number);
            let Some(row) = rows.first() else { bail!("nothing has the identity {number}") };
            screen.one(row, |screen| prose(row, screen))?;
        }
    }
    Ok(Exit::Good)
}

fn rows(image: &Image) -> Vec<IdentityRow> {
    let mut known: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (address, peer) in peers(image) {
        known.entry(peer.identity).or_default().push(address);
    }
    for key in image.names.keys().filter(|key| key.kind == NameKind::Identity as u32) {
        known.entry(key.number).or_default();
    }
    let row = |(identity, addresses)| {
        let labels = name(image, NameKind::Identity, identity).unwrap_or_default().to_owned();
        IdentityRow { identity, labels, addresses }
    };
    known.into_iter().map(row).collect()
}

fn prose(row: &IdentityRow, screen: &Screen) -> String {
    let IdentityRow { identity, labels, addresses } = row;
    let mut text = screen.paint(Tone::Strong, &format!("identity {identity}"));
    text.push('\n');
    for label in labels.split(' ').filter(|label| !label.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {label}");
    }
    let _ = writeln!(
        text,
        "addresses: {}",
        if addresses.is_empty() { "none".into() } else { addresses.join(", ") }
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::addr::Addr;
    use isolator_common::endpoint::Peer;
    use isolator_common::event::NameKey;

    #[test]
    fn identities_without_an_address_and_without_a_name_are_listed_too() {
        let mut image = Image::default();
        let key = |number| NameKey { kind: NameKind::Identity as u32, number };
        image.names.insert(key(1), "reserved:host".into());
        image.names.insert(key(300), "k8s:app=web".into());
        image.hosts.insert(Addr::v4([10, 0, 0, 2]), Peer { identity: 300, groups: [1, 1] });
        image.hosts.insert(Addr::v4([10, 0, 0, 3]), Peer { identity: 300, groups: [1, 1] });
        image.hosts.insert(Addr::v4([10, 0, 0, 4]), Peer { identity: 301, groups: [1, 1] });
        let row = |identity, labels: &str, addresses: &[&str]| IdentityRow {
            identity,
            labels: labels.into(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
        };
        let wanted = [
            row(1, "reserved:host", &[]),
            row(300, "k8s:app=web", &["10.0.0.2", "10.0.0.3"]),
            row(301, "", &["10.0.0.4"]),
        ];
        assert_eq!(rows(&image), wanted);
    }
}
