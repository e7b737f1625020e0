//! A file's bytes become documents. YAML is split at its markers first, so that a broken document does not
//! take its neighbours along. Not here: what the documents say.

use super::node::{Mark, Node};
use super::{json, yaml};

/// Largest file that is read, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 64 << 20;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// YAML: several documents, each possibly JSON.
    Yaml,
    /// JSON: one value or several, one after the other.
    Json,
}

impl Format {
    /// What a file's name says.
    pub(crate) fn of(path: &std::path::Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// One document of a file.
pub(crate) struct Document {
    /// Counted from 1 in its file; documents that are empty count, too.
    pub(crate) number: usize,
    /// Where it begins.
    pub(crate) at: Mark,
    /// Its tree, or why there is none and where.
    pub(crate) content: Result<Node, (Mark, String)>,
}

/// Calls `each` for every document that is not empty. One at a time, so that a large file's trees need
/// not be in memory together.
pub(crate) fn read(bytes: &[u8], format: Format, mut each: impl FnMut(Document)) {
    let whole = |at: Mark, message: String| Document { number: 1, at, content: Err((at, message)) };
    if bytes.len() > MAX_FILE_BYTES {
        let limit = MAX_FILE_BYTES >> 20;
        let message = format!("the file has {} bytes; the limit is {limit} MiB. Split it", bytes.len());
        return each(whole(Mark::default(), message));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let at = Mark { line: u32::try_from(line).unwrap_or(u32::MAX), column: 0 };
            return each(whole(at, "the file is not UTF-8 text from here on".to_owned()));
        }
    };
    match format {
        Format::Json => read_json(text, &mut each),
        Format::Yaml => read_yaml(text, &mut each),
    }
}

fn read_json(text: &str, each: &mut impl FnMut(Document)) {
    let mut number = 0;
    let result = json::read(text, Mark::BEGIN, |node| {
        number += 1;
        if !node.is_null() {
            each(Document { number, at: node.at, content: Ok(node) });
        }
    });
    if let Err(json::JsonError { at, message }) = result {
        each(Document { number: number + 1, at, content: Err((at, format!("this is not JSON: {message}"))) });
    }
}

fn read_yaml(text: &str, each: &mut impl FnMut(Document)) {
    for (number, Chunk { text, first_line }) in (1..).zip(Chunks::of(text)) {
        let at = Mark { line: first_line, column: 1 };
        match yaml::read(text, first_line) {
            Ok(None) => {}
            Ok(Some(node)) if node.is_null() => {}
            Ok(Some(node)) => each(Document { number, at: node.at, content: Ok(node) }),
            Err(error) => {
                // JSON is YAML but for details (surrogate pairs, tabs): kubectl tries both, too.
                let (bare, begin) = match text.strip_prefix("---") {
                    Some(bare) => (bare, Mark { column: 4, ..at }),
                    None => (text, at),
                };
                let json = bare.trim_start().starts_with('{');
                let mut nodes = Vec::new();
                if json && json::read(bare, begin, |node| nodes.push(node)).is_ok() {
                    for node in nodes {
                        each(Document { number, at, content: Ok(node) });
                    }
                } else {
                    each(Document { number, at, content: Err((error.at, error.message)) });
                }
            }
        }
    }
}

/// The text of one document, its own `---` line included.
struct Chunk<'a> {
    text: &'a str,
    first_line: u32,
}

/// Splits at lines that begin with a document marker. In YAML such a line ends a document even inside
/// a block scalar or a quoted one, so nothing but the line itself needs to be looked at.
struct Chunks<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Chunks<'a> {
    fn of(text: &'a str) -> Self {
        Chunks { rest: text, line: 1 }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let first_line = self.line;
        let mut end = 0;
        // A chunk of directives (`%YAML 1.1`) belongs to the document after it.
        let mut content = false;
        for line in self.rest.split_inclusive('\n') {
            let begins = marker(line, "---");
            if begins && content {
                break;
            }
            end += line.len();
            self.line = self.line.saturating_add(1);
            if marker(line, "...") {
                break;
            }
            let bare = line.trim();
            content |= begins || !(bare.is_empty() || bare.starts_with('#') || line.starts_with('%'));
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Chunk { text, first_line })
    }
}

/// Whether a line is a document marker: three characters at its beginning, then space or nothing.
fn marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}
