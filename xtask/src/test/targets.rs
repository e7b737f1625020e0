//! Which integration test belongs to which tier, by the name of its file: `kernel*.rs` to kernel,
//! `lab*.rs` to lab, any other to unit.

use super::Tier;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Packages with integration tests, by folder.
const PACKAGES: [&str; 5] = ["isolator-common", "isolator-agent", "isolator-agent/policy", "xtask", "tests"];

/// The tier of an integration test.
fn tier(target: &str) -> Tier {
    [Tier::Kernel, Tier::Lab].into_iter().find(|tier| target.starts_with(tier.name())).unwrap_or(Tier::Unit)
}

/// The integration tests of a tier, by name, in order.
pub(crate) fn of(wanted: Tier, root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in PACKAGES {
        let folder = root.join(package).join("tests");
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = file?.path();
            // What cargo discovers: a file, or a folder with a main file.
            let is_test = path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file();
            if is_test && let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) {
                found.push(name.to_owned());
            }
        }
    }
    found.retain(|name| tier(name) == wanted);
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_goes_to_the_tier_that_its_name_begins_with() {
        let names = ["kernel", "kernel_progrun", "lab_matrix", "semantics", "label"];
        let tiers = [Tier::Kernel, Tier::Kernel, Tier::Lab, Tier::Unit, Tier::Lab];
        assert_eq!(names.map(tier), tiers);
    }
}
