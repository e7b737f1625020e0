//! The matrix as a table for a terminal. Not here: verdicts.

use super::{Field, Port};
use crate::cli::output::{Cell, Screen, Tone, grid};
use crate::cli::verdicts::word;
use isolator_policy::model::Pod;

/// Rows are senders, columns receivers. Columns have the names of the pods where they fit, and otherwise
/// the numbers that the rows have.
pub(super) fn table(fields: &[Field], pods: &[&Pod], port: Port, screen: &Screen) -> String {
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
    let title = screen.paint(Tone::Strong, &port.to_string());
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
