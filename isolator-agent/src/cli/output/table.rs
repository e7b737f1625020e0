//! Aligned columns without borders, as `kubectl` prints them. Not here: what is in them.

use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// A column of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head, in capitals.
    pub name: &'static str,
    /// Shown with `-o wide` only.
    pub wide: bool,
}

impl Column {
    /// A column that is always shown.
    #[must_use]
    pub const fn always(name: &'static str) -> Self {
        Column { name, wide: false }
    }

    /// A column that `-o wide` shows.
    #[must_use]
    pub const fn wide(name: &'static str) -> Self {
        Column { name, wide: true }
    }
}

/// What a text is to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be, or allowed.
    Good,
    /// Wrong, or denied.
    Bad,
    /// To be looked at.
    Warn,
    /// Of little weight.
    Faint,
    /// A heading.
    Strong,
}

/// A text and its tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone.
    #[must_use]
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Cell { text: text.into(), tone }
    }

    /// A cell; nothing is shown as `-`, so that columns stay columns for `awk`.
    #[must_use]
    pub fn of(text: impl ToString) -> Self {
        let text = text.to_string();
        Cell { text: if text.is_empty() { "-".to_owned() } else { text }, tone: Tone::Plain }
    }
}

/// Lays cells out. Where the terminal is too narrow, long cells wrap between words inside their columns; where
/// even that is not enough, and without a terminal, lines are as long as they are: a broken name is worse than
/// a broken line.
#[must_use]
pub fn grid(head: Vec<String>, body: Vec<Vec<Cell>>, color: bool, width: Option<u16>) -> String {
    let mut texts: Vec<Vec<&str>> = vec![head.iter().map(String::as_str).collect()];
    texts.extend(body.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()));
    let words = widths(&texts, |text| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0));
    let whole = widths(&texts, |text| text.chars().count());
    let fits = |columns: &[usize], gap: usize| {
        width.is_none_or(|width| {
            columns.iter().map(|column| column + gap).sum::<usize>() <= usize::from(width) + gap
        })
    };
    let gap = if fits(&whole, GAP) { GAP } else { NARROW_GAP };

    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(head);
    table.add_rows(body.into_iter().map(|row| row.into_iter().map(styled)));
    for (column, word) in table.column_iter_mut().zip(words.iter()) {
        column.set_padding((0, gap as u16));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed((word + gap) as u16)));
    }
    match width {
        // The last column's gap may lie beyond the edge: it is blank.
        Some(width) if fits(&words, gap) && !fits(&whole, gap) => {
            table.set_width(width + gap as u16);
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        _ => drop(table.set_content_arrangement(ContentArrangement::Disabled)),
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Blanks between columns.
const GAP: usize = 3;
/// Blanks between columns where it is narrow.
const NARROW_GAP: usize = 2;

/// The widest text of each column.
fn widths(texts: &[Vec<&str>], of: impl Fn(&str) -> usize) -> Vec<usize> {
    let columns = texts.first().map_or(0, Vec::len);
    (0..columns)
        .map(|i| texts.iter().filter_map(|row| row.get(i)).map(|text| of(text)).max().unwrap_or(0))
        .collect()
}

fn styled(cell: Cell) -> comfy_table::Cell {
    let text = comfy_table::Cell::new(cell.text);
    match cell.tone {
        Tone::Plain => text,
        Tone::Good => text.fg(Color::DarkGreen),
        Tone::Bad => text.fg(Color::DarkRed),
        Tone::Warn => text.fg(Color::DarkYellow),
        Tone::Faint => text.add_attribute(Attribute::Dim),
        Tone::Strong => text.add_attribute(Attribute::Bold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![Cell::of("a/b"), Cell::of("some words that may wrap")],
            vec![Cell::of(""), Cell::toned(Tone::Bad, "denied")],
        ]
    }

    fn head() -> Vec<String> {
        vec!["NAME".into(), "WHY".into()]
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let wanted = "NAME   WHY\na/b    some words that may wrap\n-      denied\n";
        assert_eq!(grid(head(), rows(), false, None), wanted);
    }

    #[test]
    fn a_narrow_terminal_wraps_inside_the_column() {
        let text = grid(head(), rows(), false, Some(24));
        assert!(text.lines().all(|line| line.chars().count() <= 24), "{text}");
        assert!(text.lines().count() > 3, "{text}");
    }

    #[test]
    fn no_word_is_ever_broken() {
        let text = grid(head(), rows(), false, Some(8));
        assert_eq!(text, "NAME  WHY\na/b   some words that may wrap\n-     denied\n");
    }

    #[test]
    fn colours_are_there_when_wanted_only() {
        assert!(grid(head(), rows(), true, None).contains('\x1b'));
        assert!(!grid(head(), rows(), false, None).contains('\x1b'));
    }
}
