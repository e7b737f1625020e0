//! Tests of manifests. Not here: what the objects do to packets.

mod documents;

use super::{Loaded, load_text};

/// Reads a text as the file `f.yaml`.
fn load(text: &str) -> Loaded {
    load_text("f.yaml", text.as_bytes())
}

/// The problems as people read them.
fn said(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(|problem| format!("{} {problem}", problem.code)).collect()
}

/// Asserts that one of the problems contains every part.
#[track_caller]
fn assert_said(loaded: &Loaded, parts: &[&str]) {
    let said = said(loaded);
    let found = said.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no problem contains {parts:?}:\n{}", said.join("\n"));
}
