//! Prints the result: a table for people, one JSON object a line for programs.

use crate::measure::{Case, Line};
use crate::shape::Shape;
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;

/// The output.
pub(crate) struct Report {
    json: bool,
    /// What an established packet without an entry costs, by the ranges of its port set; IPv4, one peer.
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
            if let (Shape::Ranges(ranges), Case::Stateless, true, 1) = (shape, case, v4, live) {
                self.port_sets.insert(ranges, ours);
            }
            let (case, least) = (case.name(), case.floor());
            if self.json {
                let line = json!({"addresses": addresses, "policies": policies, "shape": shape.name(), "case": case, "family": family,
                    "live": live, "ns": ours, "floor": least, "floor_ns": floor, "ratio": ratio});
                println!("{line}");
            } else {
                println!(
                    "  {case:<22} {family:<5} {live:>7} {ours:>8.1}   {least:<7} {floor:>8.1} {ratio:>7.2}"
                );
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
                println!("a port set of {long} ranges costs {:.2} x one of {short}", cost / base);
            }
        }
        Ok(())
    }
}
