//! Prints the result: a table for people, one JSON object a line for programs.

use crate::measure::{Case, Line};
use crate::shape::Shape;
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;

/// The output.
pub(crate) struct Report {
    json: bool,
    /// What a new connection costs, by the ranges of the port set that is asked; IPv4, all the live peers of it.
    port_sets: BTreeMap<u32, f64>,
}

impl Report {
    /// An output of one kind.
    pub(crate) fn new(json: bool) -> Report {
        Report { json, port_sets: BTreeMap::new() }
    }

    /// Adds what was measured in one cluster.
    pub(crate) fn add(
        &mut self,
        addresses: u32,
        policies: u32,
        shape: Shape,
        lines: Vec<Line>,
    ) -> Result<()> {
        if !self.json {
            println!("\n{addresses} addresses, {policies} policies, {}", shape.name());
            println!(
                "  {:<22} {:<5} {:>7} {:>8}   {:<7} {:>8} {:>7}",
                "", "", "live", "isolator", "floor", "", "ratio"
            );
        }
        for Line { case, v4, live, empty, ours, floor } in lines {
            let (ours, floor) = (ours - empty, floor - empty);
            let (family, ratio) = (if v4 { "IPv4" } else { "IPv6" }, ours / floor);
            if let (Shape::Ranges(ranges), Case::New, true) = (shape, case, v4) {
                self.port_sets.insert(ranges, ours);
            }
            let (case, least) = (case.name(), case.floor(shape));
            if self.json {
                let line = json!({"addresses": addresses, "policies": policies, "shape": shape.name(), "case": case, "family": family,
                    "live": live, "ns": ours, "floor": least, "floor_ns": floor, "ratio": least.map(|_| ratio)});
                println!("{line}");
            } else if let Some(least) = least {
                println!(
                    "  {case:<22} {family:<5} {live:>7} {ours:>8.1}   {least:<7} {floor:>8.1} {ratio:>7.2}"
                );
            } else {
                println!("  {case:<22} {family:<5} {live:>7} {ours:>8.1}");
            }
        }
        Ok(())
    }

    /// Says what the words mean.
    pub(crate) fn end(&mut self) -> Result<()> {
        if !self.json {
            println!(
                "\nfloor: dense = parse + address + policy; lru = parse + connection; \
                 insert = dense + miss + new entry; direct = isolator without a service"
            );
            if let (Some((short, base)), Some((long, cost))) =
                (self.port_sets.first_key_value(), self.port_sets.last_key_value())
            {
                println!(
                    "a new connection costs {:.2} x with {long} port ranges what it costs with {short}",
                    cost / base
                );
            }
        }
        Ok(())
    }
}
