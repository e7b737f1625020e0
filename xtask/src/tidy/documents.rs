//! Rules about documents: links lead somewhere, and each promise names its test.

use super::{File, Finding};

/// Each relative link of a document resolves.
pub(crate) fn links(file: &File, files: &[File]) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, target) in targets(&file.text) {
        let target = target.split('#').next().unwrap_or_default();
        if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let resolved = resolve(&file.path, target);
        let folder = format!("{resolved}/");
        if !files.iter().any(|other| other.path == resolved || other.path.starts_with(&folder)) {
            found.push(Finding::new(
                file,
                line,
                format!("the link to `{target}` leads nowhere ({resolved})"),
            ));
        }
    }
    found
}

/// Targets of `[text](target)` with their lines, fenced blocks left out.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in line.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push((i + 1, target));
            }
        }
    }
    found
}

/// A link relative to the file that contains it, from the root of the repository.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The document of promises.
const SPECIFICATION: &str = "SPECIFICATION.md";

/// Each row of SPECIFICATION.md ends with the names of tests that exist, or with `pending`.
pub(crate) fn specification(files: &[File]) -> Vec<Finding> {
    let Some(file) = files.iter().find(|file| file.path == SPECIFICATION) else { return Vec::new() };
    let mut found = Vec::new();
    for (i, line) in file.text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let is_row = line.starts_with('|') && !line.starts_with("|-") && !line.starts_with("| promise");
        let Some(last) = cells.last().filter(|_| is_row) else { continue };
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !last.starts_with("pending") {
            found.push(Finding::new(
                file,
                i + 1,
                "end the row with a test's name in backquotes, or with `pending`",
            ));
        }
        for name in names {
            if !files.iter().any(|other| has_test(other, name) || is_check(other, name)) {
                found.push(Finding::new(
                    file,
                    i + 1,
                    format!("there is no test `{name}`: correct it, or say pending"),
                ));
            }
        }
    }
    found
}

/// Whether a file is the script of that path, which is run on a real cluster.
fn is_check(file: &File, path: &str) -> bool {
    file.path == path && path.starts_with("tests/cluster/") && path.ends_with(".sh")
}

/// Whether a file has a test function of that name.
fn has_test(file: &File, name: &str) -> bool {
    let Some(rust) = &file.rust else { return false };
    if !file.text.contains(name) {
        return false;
    }
    let code: String = rust.code.iter().collect();
    let lines: Vec<&str> = code.lines().collect();
    let function = format!("fn {name}(");
    let is_test = |line: &str| {
        let line = line.trim_start();
        line.starts_with("#[test]") || line.starts_with("#[tokio::test")
    };
    // Between the attribute and the function there are only further attributes and comments.
    let attributes = |i: usize| {
        lines[..i].iter().rev().take_while(|line| {
            let line = line.trim_start();
            line.is_empty() || line.starts_with("#[")
        })
    };
    lines
        .iter()
        .enumerate()
        .any(|(i, line)| line.contains(&function) && attributes(i).any(|line| is_test(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(specification: &str) -> Vec<File> {
        vec![
            File::new(SPECIFICATION, specification),
            File::new(
                "docs/adr/0001-a.md",
                "see [b](../b.md#part) and [src](../../src) and [web](https://c.d)",
            ),
            File::new("tests/cluster/checks/reboot.sh", "#!/bin/sh\n"),
            File::new("docs/b.md", "[gone](c.md)\n```\n[not](a-link.md)\n```\n"),
            File::new("src/a.rs", "#[test]\nfn holds() {}\n\nfn not_a_test() {}\n// fn holds_not() {}\n"),
        ]
    }

    #[test]
    fn a_broken_link_is_found() {
        let files = tree("");
        assert!(links(&files[1], &files).is_empty());
        let found = links(&files[3], &files);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("docs/c.md"), "{found:?}");
    }

    #[test]
    fn a_promise_without_its_test_is_found() {
        let head = "| promise | test |\n|---|---|\n";
        for (row, findings) in [
            ("| a | `holds` |", 0),
            ("| a | pending |", 0),
            ("| a | pending: needs a cluster |", 0),
            ("| a | `tests/cluster/checks/reboot.sh` |", 0),
            ("| a | `tests/cluster/checks/away.sh` |", 1),
            ("| a | `docs/b.md` |", 1),
            ("| a | `not_a_test` |", 1),
            ("| a | `holds`, `gone` |", 1),
            ("| a | |", 1),
            ("| a | soon |", 1),
        ] {
            assert_eq!(specification(&tree(&format!("{head}{row}\n"))).len(), findings, "{row}");
        }
    }
}
