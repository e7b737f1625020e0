//! `isolator map …`: the pinned maps themselves, decoded. Not here: what they mean together.

use super::Exit;
use super::args::{Global, MapCommand};
use super::output::{Cell, Column, Row, Screen, Tone, short};
use super::pinned::Pinned;
use crate::datapath::read::MapSummary;
use anyhow::{Result, bail};
use isolator_common::tables::{self, name};
use serde::Serialize;

mod decode;

/// A map.
#[derive(Debug, Serialize)]
struct MapRow {
    map: &'static str,
    /// Entries in use; absent where the kernel does not tell.
    entries: Option<u64>,
    /// Room, in entries; of EVENTS in bytes.
    capacity: u32,
    /// Kernel memory, bytes.
    memory: Option<u64>,
    /// The kernel's number.
    id: u32,
    about: &'static str,
}

impl Row for MapRow {
    const COLUMNS: &'static [Column] = &[
        Column::always("MAP"),
        Column::always("ENTRIES"),
        Column::always("CAPACITY"),
        Column::always("USED"),
        Column::always("MEMORY"),
        Column::wide("ID"),
        Column::wide("HOLDS"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let MapRow { map, entries, capacity, memory, id, about } = self;
        let percent = entries.filter(|_| *capacity > 1).map(|entries| entries * 100 / u64::from(*capacity));
        let tone = if percent.is_some_and(|percent| percent >= 90) { Tone::Bad } else { Tone::Plain };
        let used = percent.map_or("-".to_owned(), |percent| format!("{percent}%"));
        vec![
            Cell::of(map),
            Cell::of(entries.map(|entries| entries.to_string()).unwrap_or_default()),
            Cell::of(capacity),
            Cell::toned(tone, used),
            Cell::of(memory.map(|bytes| format!("{}B", short(bytes))).unwrap_or_default()),
            Cell::of(id),
            Cell::of(about),
        ]
    }
}

/// An entry of a map.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    map: &'static str,
    key: String,
    value: serde_json::Value,
}

impl Row for Entry {
    const COLUMNS: &'static [Column] =
        &[Column::always("MAP"), Column::always("KEY"), Column::always("VALUE")];

    fn cells(&self) -> Vec<Cell> {
        let Entry { map, key, value } = self;
        vec![Cell::of(map), Cell::of(key), Cell::of(decode::text(value))]
    }
}

/// Maps that hold nothing that would say anything outside the kernel.
const OPAQUE: [&str; 4] = [name::FRAGMENTS, name::SEEN, name::EVENT_RATE, name::EVENTS];

/// Runs the command.
pub(super) fn run(command: &MapCommand, global: &Global, screen: &Screen) -> Result<Exit> {
    let pinned = Pinned::open(&global.pin_dir)?;
    match command {
        MapCommand::List => {
            let rows: Vec<_> = pinned.maps.summaries()?.into_iter().map(row).collect();
            screen.list(&rows, "no maps")?;
        }
        MapCommand::Dump { map } => {
            let wanted = match map {
                None => {
                    tables::ALL.iter().map(|(map, ..)| *map).filter(|map| !OPAQUE.contains(map)).collect()
                }
                Some(map) => vec![known(map)?],
            };
            let mut entries = Vec::new();
            for map in wanted {
                decode::entries(&pinned, map, &mut entries)?;
            }
            screen.list(&entries, "nothing in it")?;
        }
    }
    Ok(Exit::Good)
}

fn known(wanted: &str) -> Result<&'static str> {
    let found = tables::ALL.iter().map(|(map, ..)| *map).find(|map| map.eq_ignore_ascii_case(wanted));
    match found {
        Some(map) if OPAQUE.contains(&map) => {
            bail!("{map} holds what only the programs need; see isolator map list, or isolator observe")
        }
        Some(map) => Ok(map),
        None => {
            let all: Vec<_> = tables::ALL.iter().map(|(map, ..)| map.to_lowercase()).collect();
            bail!("no map {wanted}; there are {}", all.join(", "))
        }
    }
}

fn row(summary: MapSummary) -> MapRow {
    let MapSummary { name, about, id, capacity, entries, memory } = summary;
    MapRow { map: name, entries, capacity, memory, id, about }
}
