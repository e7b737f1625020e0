//! Rules about manifests: every crate inherits the lints, and everything comes from the public registry.

use super::{File, Finding};

/// A crate without the workspace's lints has none.
pub(crate) fn lints(file: &File) -> Option<Finding> {
    let is_crate = file.path.ends_with("Cargo.toml") && file.text.contains("[package]");
    let inherits = file.text.contains("[lints]\nworkspace = true");
    (is_crate && !inherits).then(|| Finding::new(file, 0, "add `[lints]` with `workspace = true`"))
}

/// The public registry, as cargo writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A clone must build anywhere: no registry of one machine in the lock file or in cargo's configuration.
pub(crate) fn sources(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    let foreign = |line: &str| match file.path.as_str() {
        "Cargo.lock" => line.starts_with("source = ") && !line.contains(&format!("\"{REGISTRY}\"")),
        ".cargo/config.toml" => {
            let line = line.trim_start();
            ["[source", "[registry", "[registries", "[http"].iter().any(|table| line.starts_with(table))
        }
        _ => false,
    };
    lines
        .filter(|(_, line)| foreign(line))
        .map(|(i, _)| Finding::new(file, i + 1, "only the public registry: a clone must build anywhere"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_lints_is_found() {
        assert!(lints(&File::new("a/Cargo.toml", "[package]\nname = \"a\"\n")).is_some());
        assert!(lints(&File::new("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n")).is_none());
        assert!(lints(&File::new("Cargo.toml", "[workspace]\n")).is_none());
    }

    #[test]
    fn a_private_registry_is_found() {
        let lock = "source = \"registry+https://mirror.example/index\"\n";
        assert_eq!(sources(&File::new("Cargo.lock", lock)).len(), 1);
        let config = "[source.crates-io]\nreplace-with = \"mirror\"\n";
        assert_eq!(sources(&File::new(".cargo/config.toml", config)).len(), 1);
        assert!(sources(&File::new("Cargo.lock", &format!("source = \"{REGISTRY}\"\n"))).is_empty());
    }
}
