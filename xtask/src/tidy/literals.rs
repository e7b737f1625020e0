//! Rules about string literals: log messages are constant, and the names of maps are written once.

use super::{File, Finding};
use isolator_common::tables;

/// Facts go into fields, so that messages can be counted and searched for.
pub(crate) fn log_messages(file: &File) -> Vec<Finding> {
    let Some(rust) = &file.rust else { return Vec::new() };
    if !file.path.starts_with("isolator-agent/src/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for literal in &rust.literals {
        let has_hole = literal.text.replace("{{", "").contains('{');
        if has_hole && is_log_message(&rust.code[..literal.at]) {
            let line = rust.line(literal.at);
            found.push(Finding::new(file, line, "a log message is constant: put the fact into a field"));
        }
    }
    found
}

/// Whether what comes before a literal is `info!(` or another log macro, fields in between included.
fn is_log_message(before: &[char]) -> bool {
    let mut depth = 0;
    let mut message = None;
    for (i, c) in before.iter().enumerate().rev() {
        match c {
            ')' | ']' | '}' => depth += 1,
            '(' if depth == 0 => {
                let head: String = before[..i].iter().collect();
                let is_log = ["info!", "warn!", "error!", "debug!", "trace!"].iter().any(|name| {
                    head.strip_suffix(name)
                        .is_some_and(|rest| !rest.ends_with(|c: char| c == '_' || c.is_alphanumeric()))
                });
                // A literal after `=` is the value of a field.
                return is_log && message.is_none_or(|c| c == ',');
            }
            '(' | '[' | '{' if depth == 0 => return false,
            '(' | '[' | '{' => depth -= 1,
            ';' if depth == 0 => return false,
            c if !c.is_whitespace() && message.is_none() => message = Some(*c),
            _ => {}
        }
    }
    false
}

/// Where a map's name may be written: its table, its declaration, and headings that people read.
const NAMING: [&str; 4] =
    ["isolator-common/", "isolator-ebpf/", "isolator-agent/src/cli/", "isolator-agent/src/lab/"];

/// No second copy of a map's name.
pub(crate) fn map_names(file: &File) -> Vec<Finding> {
    let Some(rust) = &file.rust else { return Vec::new() };
    if NAMING.iter().any(|allowed| file.path.starts_with(allowed)) {
        return Vec::new();
    }
    let copies = rust.literals.iter().filter(|literal| tables::ALL.iter().any(|map| map.0 == literal.text));
    copies
        .map(|literal| {
            let (line, name) = (rust.line(literal.at), &literal.text);
            Finding::new(file, line, format!("write isolator_common::tables::name::{name}, not a copy of it"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_message_with_a_hole_is_found() {
        let lines = |text: &str| {
            let found = log_messages(&File::new("isolator-agent/src/controller.rs", text));
            found.into_iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(lines("\ninfo!(\"loaded {n}\");"), [2]);
        assert_eq!(lines("tracing::warn!(pod = %pod.name(), count, \"lost {}\", n);"), [1]);
        assert_eq!(lines("info!(n, \"loaded\"); let s = format!(\"{n}\");"), []);
        assert_eq!(lines("info!(text = format!(\"{n}\"), \"loaded {{}}\");"), []);
        assert_eq!(lines("#[error(\"no {0}\")]\nstruct E; my_error!(\"{n}\")"), []);
    }

    #[test]
    fn a_copy_of_a_map_name_is_found() {
        let text = format!("let map = open({:?});", tables::name::HOSTS);
        assert_eq!(map_names(&File::new("isolator-agent/src/datapath/store.rs", &text)).len(), 1);
        assert_eq!(map_names(&File::new("isolator-ebpf/src/maps.rs", &text)).len(), 0);
        assert_eq!(map_names(&File::new("tests/src/a.rs", "open(name::HOSTS); // \"HOSTS\"")).len(), 0);
    }
}
