//! Tests of manifests. Not here: what the objects do to packets.

mod cilium;
mod cluster_network_policy;
mod convert;
mod documents;
mod files;
mod locate;
mod network_policy;
mod service;
mod watch;

use super::{Loaded, Manifests};
use isolator_policy::cluster::change::Object;

/// Reads a text as the file `f.yaml`.
fn load(text: &str) -> Loaded {
    load_text("f.yaml", text.as_bytes())
}

/// Reads bytes as the file `name`.
fn load_text(name: &str, bytes: &[u8]) -> Loaded {
    Manifests::of_text(name, bytes.to_vec()).load()
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

/// Asserts that a text is one good object, and returns it.
#[track_caller]
fn one(text: &str) -> Object {
    let mut loaded = load(text);
    assert!(loaded.problems.is_empty(), "{:?}", said(&loaded));
    assert_eq!(loaded.objects.len(), 1);
    loaded.objects.remove(0)
}

/// A NetworkPolicy `x/np` with this specification, indented by two.
fn policy_text(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: np, namespace: x}}\nspec:\n{spec}"
    )
}
