//! Prints the result: a table for people, one JSON object a line for programs. Not here: what is measured.

use crate::cluster::Cluster;
use crate::measure::Line;
use serde_json::json;

/// The output.
pub(crate) struct Report {
    json: bool,
}

impl Report {
    /// An output of one kind.
    pub(crate) fn new(json: bool) -> Report {
        Report { json }
    }

    /// Adds what was measured in clusters that took turns, the smallest first.
    pub(crate) fn add(&mut self, clusters: &[Cluster], measured: &[Vec<Line>]) {
        for (cluster, lines) in clusters.iter().zip(measured) {
            self.cluster(*cluster, lines);
        }
        if let ([small, .., large], [few, .., many]) = (clusters, measured) {
            self.growth([*small, *large], few, many);
        }
    }

    fn cluster(&self, cluster: Cluster, lines: &[Line]) {
        let Cluster { addresses, policies, shape } = cluster;
        if !self.json {
            println!("\n{}", named(cluster));
            println!(
                "  {:<22} {:<5} {:>7} {:>8}   {:<7} {:>8} {:>7}",
                "", "", "live", "isolator", "floor", "", "ratio"
            );
        }
        for line in lines {
            let Line { case, v4, live, empty, floor, .. } = *line;
            let (ours, floor, family) = (line.cost(), floor - empty, if v4 { "IPv4" } else { "IPv6" });
            let (case, least) = (case.name(), case.floor(shape));
            let ratio = least.map(|_| ours / floor);
            if self.json {
                let line = json!({"addresses": addresses, "policies": policies, "shape": shape.name(), "case": case, "family": family,
                    "live": live, "ns": ours, "floor": least, "floor_ns": floor, "ratio": ratio});
                println!("{line}");
            } else if let (Some(least), Some(ratio)) = (least, ratio) {
                println!(
                    "  {case:<22} {family:<5} {live:>7} {ours:>8.1}   {least:<7} {floor:>8.1} {ratio:>7.2}"
                );
            } else {
                println!("  {case:<22} {family:<5} {live:>7} {ours:>8.1}");
            }
        }
    }

    /// What the same packets cost in the largest cluster, as a multiple of what they cost in the smallest.
    fn growth(&self, [small, large]: [Cluster; 2], few: &[Line], many: &[Line]) {
        if !self.json {
            println!("\n{} → {}", named(small), named(large));
        }
        for line in few {
            let same = |other: &&Line| (other.case, other.v4, other.live) == (line.case, line.v4, line.live);
            let Some(other) = many.iter().find(same) else { continue };
            let (case, live, growth) = (line.case.name(), line.live, other.cost() / line.cost());
            let family = if line.v4 { "IPv4" } else { "IPv6" };
            if self.json {
                let line = json!({"from": named(small), "to": named(large), "case": case, "family": family, "live": live,
                    "growth": growth});
                println!("{line}");
            } else {
                println!("  {case:<22} {family:<5} {live:>7} {growth:>8.2} ×");
            }
        }
    }

    /// Says what the words mean.
    pub(crate) fn end(&self) {
        if !self.json {
            println!(
                "\nfloor: dense = parse + address + policy; lru = parse + connection; \
                 insert = dense + miss + new entry; direct = isolator without a service"
            );
        }
    }
}

fn named(cluster: Cluster) -> String {
    let Cluster { addresses, policies, shape } = cluster;
    format!("{addresses} addresses, {policies} policies, {}", shape.name())
}
