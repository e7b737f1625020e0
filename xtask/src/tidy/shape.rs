//! Rules about whole files: how they begin and how long they are.

use super::{File, Finding};

/// Longest file, in lines, whatever it holds.
const LIMIT: usize = 600;
/// `main.rs` of the agent only starts things.
const MAIN: (&str, usize) = ("isolator-agent/src/main.rs", 40);

/// Each file of Rust begins with what it does and what it does not.
pub(crate) fn head(file: &File) -> Option<Finding> {
    let missing = file.rust.is_some() && !file.text.starts_with("//! ");
    missing.then(|| Finding::new(file, 1, "begin the file with `//! `: what it does and what it does not"))
}

/// No file grows beyond what one reads in a sitting.
pub(crate) fn size(file: &File) -> Option<Finding> {
    file.rust.as_ref()?;
    let lines = file.text.lines().count();
    let limit = if file.path == MAIN.0 { MAIN.1 } else { LIMIT };
    (lines > limit)
        .then(|| Finding::new(file, lines, format!("{lines} lines; split it, the limit is {limit}")))
}

/// Median and 90th percentile of the lengths, for the person who watches the budget.
pub(crate) fn distribution(files: &[File]) -> String {
    let mut lines: Vec<usize> =
        files.iter().filter(|file| file.rust.is_some()).map(|file| file.text.lines().count()).collect();
    lines.sort_unstable();
    let at = |part: usize| lines.get((lines.len() * part / 100).min(lines.len().saturating_sub(1)));
    let (median, p90) = (at(50).copied().unwrap_or(0), at(90).copied().unwrap_or(0));
    format!("{} files of Rust, median {median} lines, p90 {p90}", lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_head_is_found() {
        assert!(head(&File::new("a/src/lib.rs", "use std::fs;\n")).is_some());
        assert!(head(&File::new("a/src/lib.rs", "//! Reads. Not here: writing.\n")).is_none());
        assert!(head(&File::new("a/README.md", "text")).is_none());
    }

    #[test]
    fn a_long_file_is_found() {
        let lines = |count: usize| "//! a\n".repeat(count);
        assert!(size(&File::new("a/src/b.rs", &lines(601))).is_some());
        assert!(size(&File::new("a/src/b.rs", &lines(600))).is_none());
        assert!(size(&File::new("a/tests/b.rs", &lines(601))).is_some());
        assert!(size(&File::new("isolator-agent/src/main.rs", &lines(41))).is_some());
    }

    #[test]
    fn the_distribution_counts_rust_only() {
        let files = [File::new("a.rs", "1\n2\n"), File::new("b.rs", "1\n2\n3\n"), File::new("c.md", "1\n")];
        assert_eq!(distribution(&files), "2 files of Rust, median 3 lines, p90 3");
    }
}
