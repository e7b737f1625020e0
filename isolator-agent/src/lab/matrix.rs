//! Every flow between the pods of a lab, and outcomes as a table. Not here: trying them (`probe`).

use super::flows::{End, Flow, protocol_name};
use super::probe::{Outcome, Verdict};
use super::record::Record;
use comfy_table::{Cell, Color, Table, presets};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Columns that are headed by names; more are numbered, with the names below the table.
const NAMED_COLUMNS: usize = 6;

/// Every pod to every port of every other pod, over each IP version that both have.
#[must_use]
pub fn every_flow(lab: &Record) -> Vec<Flow> {
    let mut flows = Vec::new();
    for (from, sender) in &lab.pods {
        for (to, receiver) in lab.pods.iter().filter(|(to, _)| *to != from) {
            for (protocol, port) in &receiver.ports {
                for v4 in [true, false] {
                    let has = |addresses: &[std::net::IpAddr]| {
                        addresses.iter().any(|address| address.is_ipv4() == v4)
                    };
                    if has(&sender.place.addresses) && has(&receiver.place.addresses) {
                        flows.push(Flow {
                            from: End::Pod(from.clone()),
                            to: End::Pod(to.clone()),
                            protocol: protocol_name(*protocol).to_string(),
                            port: Some(*port),
                            icmp_type: None,
                            ip: Some(if v4 { 4 } else { 6 }),
                        });
                    }
                }
            }
        }
    }
    flows
}

/// Outcomes as a table: a row for each sender, a column for each receiver and port. With a word and, where
/// `colour`, a colour in each cell. Outcomes that differ by IP version are both shown.
pub(crate) fn table(outcomes: &[Outcome], colour: bool) -> String {
    let mut rows: Vec<String> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    let mut cells: BTreeMap<(usize, usize), Vec<&Outcome>> = BTreeMap::new();
    let place = |names: &mut Vec<String>, name: String| {
        names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
    };
    let mut sorted: Vec<String> = outcomes.iter().map(|outcome| receiver(&outcome.flow)).collect();
    sorted.sort();
    for name in sorted {
        place(&mut columns, name);
    }
    for outcome in outcomes {
        let row = place(&mut rows, outcome.flow.from.to_string());
        let column = place(&mut columns, receiver(&outcome.flow));
        cells.entry((row, column)).or_default().push(outcome);
    }
    let wide = columns.len() > NAMED_COLUMNS;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let heading = |(index, name): (usize, &String)| if wide { (index + 1).to_string() } else { name.clone() };
    table.set_header(["from \\ to".to_string()].into_iter().chain(columns.iter().enumerate().map(heading)));
    for (row, name) in rows.iter().enumerate() {
        let cell = |column| cell(cells.get(&(row, column)).map_or(&[], Vec::as_slice), wide, colour);
        table.add_row([Cell::new(name)].into_iter().chain((0..columns.len()).map(cell)));
    }
    let mut text = format!("{table}\n");
    if wide {
        for (index, name) in columns.iter().enumerate() {
            let _ = writeln!(text, "{:>4}  {name}", index + 1);
        }
        let words = [Verdict::Connected, Verdict::Timeout, Verdict::Refused, Verdict::Error]
            .map(|v| format!("{} {}", symbol(v), word(v)));
        let _ = writeln!(text, "      {}", words.join("   "));
    }
    text
}

/// How many flows ended how, as one line.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.result).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(verdict, count)| format!("{count} {}", word(*verdict))).collect();
    format!(
        "{} flows: {}",
        outcomes.len(),
        if counts.is_empty() { "nothing to try".into() } else { counts.join(", ") }
    )
}

fn receiver(flow: &Flow) -> String {
    match (flow.protocol.as_str(), flow.port) {
        ("TCP", Some(port)) => format!("{} :{port}", flow.to),
        (protocol, Some(port)) => format!("{} :{port}/{protocol}", flow.to),
        (protocol, None) => format!("{} {protocol}", flow.to),
    }
}

fn cell(outcomes: &[&Outcome], brief: bool, colour: bool) -> Cell {
    let Some(first) = outcomes.first() else { return Cell::new("-") };
    let show = |verdict| {
        if brief { symbol(verdict).to_string() } else { format!("{} {}", symbol(verdict), word(verdict)) }
    };
    let alike = outcomes.iter().all(|outcome| outcome.result == first.result);
    let text = if alike {
        show(first.result)
    } else {
        let line = |outcome: &&Outcome| match outcome.flow.ip {
            Some(version) => format!("v{version} {}", show(outcome.result)),
            None => show(outcome.result),
        };
        outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let worst = outcomes.iter().map(|outcome| outcome.result).max().unwrap_or(Verdict::Error);
    let paint = match worst {
        Verdict::Connected => Color::Green,
        Verdict::Timeout => Color::Red,
        Verdict::Refused => Color::Yellow,
        Verdict::Error => Color::Magenta,
    };
    if colour { Cell::new(text).fg(paint) } else { Cell::new(text) }
}

fn symbol(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Connected => "✓",
        Verdict::Timeout => "✗",
        Verdict::Refused => "!",
        Verdict::Error => "?",
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Connected => "connected",
        Verdict::Timeout => "timeout",
        Verdict::Refused => "refused",
        Verdict::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_outcome(from: &str, to: &str, ip: u8, result: Verdict) -> Outcome {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let flow = Flow { from, to, protocol: "TCP".into(), port: Some(80), icmp_type: None, ip: Some(ip) };
        Outcome { flow, address: None, result, detail: String::new(), ms: 0 }
    }

    #[test]
    fn versions_that_agree_share_a_cell_and_others_do_not() {
        let outcomes = [
            mk_outcome("a/x", "b/y", 4, Verdict::Connected),
            mk_outcome("a/x", "b/y", 6, Verdict::Connected),
            mk_outcome("b/y", "a/x", 4, Verdict::Connected),
            mk_outcome("b/y", "a/x", 6, Verdict::Timeout),
        ];
        let text = table(&outcomes, false);
        assert_eq!(text.matches("✓ connected").count(), 2, "{text}");
        assert!(text.contains("v6 ✗ timeout") && text.contains("b/y :80"), "{text}");
        assert!(!text.contains('\u{1b}'), "colour where none was wanted");
        assert_eq!(summary(&outcomes), "4 flows: 3 connected, 1 timeout");
    }
}
