//! One way to print for all commands: a listing is rows with a fixed set of columns, and the same rows are
//! its JSON and YAML. The names in JSON are the fields of the row types; they are stable. Not here: what
//! is listed.

mod table;
mod yaml;

pub use table::{Cell, Column, Tone, grid};

use super::args::{Color, Format, Global};
use anyhow::Result;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// One line of a listing.
pub trait Row: Serialize {
    /// The columns, in order.
    const COLUMNS: &'static [Column];
    /// A cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

/// Where and how this run prints.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// The format asked for.
    pub format: Format,
    /// Whether to colour.
    pub color: bool,
    /// Columns of the terminal; `None` where standard output is none: lines are then as long as they are.
    pub width: Option<u16>,
}

impl Screen {
    /// The screen that the flags and the terminal make.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !super::args::plain_wanted(),
        };
        let size = if terminal { rustix::termios::tcgetwinsize(&stdout).ok() } else { None };
        Screen {
            format: global.output,
            color,
            width: size.map(|size| size.ws_col).filter(|width| *width > 0),
        }
    }

    /// Whether a person reads, not a program.
    #[must_use]
    pub fn for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Prints a listing. In JSON and YAML it is a list, also when it is empty.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn list<R: Row>(&self, rows: &[R], none: &str) -> Result<()> {
        if self.for_people() {
            if rows.is_empty() {
                return line(none);
            }
            let wide = self.format == Format::Wide;
            let shown = |column: &Column| wide || !column.wide;
            let head = R::COLUMNS.iter().filter(|column| shown(column)).map(|column| column.name.to_owned());
            let body = rows.iter().map(|row| {
                let cells = row.cells().into_iter().zip(R::COLUMNS);
                cells.filter(|(_, column)| shown(column)).map(|(cell, _)| cell).collect()
            });
            text(&grid(head.collect(), body.collect(), self.color, self.width))
        } else {
            self.data(&rows)
        }
    }

    /// Prints one thing: `prose` for people, the value for programs.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn one<T: Serialize>(&self, value: &T, prose: impl FnOnce(&Screen) -> String) -> Result<()> {
        if self.for_people() { text(&prose(self)) } else { self.data(value) }
    }

    /// Prints a value for programs, in YAML if asked for and else in JSON.
    fn data<T: Serialize>(&self, value: &T) -> Result<()> {
        if self.format == Format::Yaml {
            text(&yaml::write(value)?)
        } else {
            line(&serde_json::to_string_pretty(value)?)
        }
    }

    /// A text in a tone, if colours are wanted.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.color => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes a line to standard output.
///
/// # Errors
/// When standard output takes no more.
pub fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// Writes text to standard output at once.
///
/// # Errors
/// When standard output takes no more.
pub fn text(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// A value as one line of JSON.
///
/// # Errors
/// When the value cannot be JSON, which none of ours is.
pub fn json_line<T: Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// A value as one YAML document that can follow another.
///
/// # Errors
/// When the value cannot be JSON, which none of ours is.
pub fn yaml_document<T: Serialize>(value: &T) -> Result<String> {
    Ok(format!("---\n{}", yaml::write(value)?))
}

/// A number of things: `1 policy`, `2 policies`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A number of bytes or packets as people read it: `1234`, `56.7k`, `8.90M`.
#[must_use]
pub fn short(number: u64) -> String {
    const STEPS: [(u64, &str); 4] =
        [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if number < 10_000 {
        return number.to_string();
    }
    for (step, unit) in STEPS {
        if number >= step {
            let scaled = number as f64 / step as f64;
            let digits = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
            return format!("{scaled:.digits$}{unit}");
        }
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_short() {
        assert_eq!(short(0), "0");
        assert_eq!(short(9_999), "9999");
        assert_eq!(short(56_700), "56.7k");
        assert_eq!(short(8_900_000), "8.90M");
        assert_eq!(short(123_400_000_000), "123G");
    }
}
