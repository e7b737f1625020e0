//! Documents that are written from the code, so that they cannot go stale: `cargo xtask docs` writes them,
//! the tier `docs` compares. Not here: documents that people write.

use crate::process::root;
use anyhow::{Context as _, Result};
use isolator_common::ABI_VERSION;
use isolator_common::reason::Reason;
use isolator_common::tables;
use std::fs;

/// Each generated document: path and content.
fn all() -> [(&'static str, String); 2] {
    [("docs/maps.md", maps()), ("docs/reasons.md", reasons())]
}

/// Writes the generated documents.
pub(crate) fn write() -> Result<()> {
    for (path, text) in all() {
        fs::write(root().join(path), text).with_context(|| format!("cannot write {path}"))?;
        println!("{path} written");
    }
    Ok(())
}

/// Whether the generated documents are current; says which are not.
pub(crate) fn check() -> bool {
    let mut current = true;
    for (path, text) in all() {
        if fs::read_to_string(root().join(path)).ok().as_ref() != Some(&text) {
            println!("FAILED: {path} is not what the code says; cure: cargo xtask docs");
            current = false;
        }
    }
    current
}

/// What every generated document begins with.
fn head(title: &str, source: &str) -> String {
    format!("# {title}\n\nWritten by `cargo xtask docs` from `{source}`; change it there.\n\n")
}

fn maps() -> String {
    let mut text = head("Maps", "isolator-common/src/tables.rs");
    text.push_str(&format!(
        "Layouts of version {ABI_VERSION}. An agent refuses maps of another version.\n\n"
    ));
    text.push_str("| map | capacity | what |\n|---|---:|---|\n");
    for (name, capacity, about) in tables::ALL {
        text.push_str(&format!("| `{name}` | {capacity} | {about} |\n"));
    }
    text
}

fn reasons() -> String {
    let mut text = head("Reasons", "isolator-common/src/reason.rs");
    text.push_str("Why a packet passed or was dropped, as counters, events and commands name it.\n\n");
    text.push_str("| number | reason | packet | what it means |\n|---:|---|---|---|\n");
    for reason in Reason::ALL {
        let fate = if reason.passes() { "passes" } else { "dropped" };
        text.push_str(&format!("| {} | `{}` | {fate} | {} |\n", *reason as u8, reason.name(), reason.help()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_and_reason_has_its_row() {
        let (maps, reasons) = (maps(), reasons());
        assert!(tables::ALL.iter().all(|map| maps.contains(&format!("| `{}` | {} |", map.0, map.1))));
        assert!(Reason::ALL.iter().all(|reason| reasons.contains(&format!("| `{}` |", reason.name()))));
    }
}
