//! Which integration test belongs to which tier. The package `tests` is for what needs the kernel: a file
//! there is of the tier kernel, unless its name begins with another tier's. In the other packages a file
//! is of the tier unit, with the same exception.

use super::Tier;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Packages with integration tests, by folder, and the tier that is meant where the name does not say.
const PACKAGES: [(&str, Tier); 5] = [
    ("isolator-common", Tier::Unit),
    ("isolator-agent", Tier::Unit),
    ("isolator-agent/policy", Tier::Unit),
    ("xtask", Tier::Unit),
    ("tests", Tier::Kernel),
];

/// The tier of an integration test.
fn tier(target: &str, otherwise: Tier) -> Tier {
    let named = [Tier::Unit, Tier::Kernel, Tier::Lab];
    named.into_iter().find(|tier| target.starts_with(tier.name())).unwrap_or(otherwise)
}

/// The integration tests of a tier, by name, in order.
pub(crate) fn of(wanted: Tier, root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (package, otherwise) in PACKAGES {
        let folder = root.join(package).join("tests");
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = file?.path();
            // What cargo discovers: a file, or a folder with a main file.
            let is_test = path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file();
            if is_test
                && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
                && tier(name, otherwise) == wanted
            {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_goes_to_the_tier_of_its_name_or_of_its_package() {
        let names = ["kernel_progrun", "lab_matrix", "store", "unit_cases"];
        assert_eq!(
            names.map(|name| tier(name, Tier::Kernel)),
            [Tier::Kernel, Tier::Lab, Tier::Kernel, Tier::Unit]
        );
        assert_eq!(
            names.map(|name| tier(name, Tier::Unit)),
            [Tier::Kernel, Tier::Lab, Tier::Unit, Tier::Unit]
        );
    }
}
