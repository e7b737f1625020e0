//! Where `unsafe` may be: in named files only, each of which says why.

use super::{File, Finding};

/// Files and folders that may contain `unsafe`: the kernel programs, the border to system calls, and one
/// environment variable in the build script.
const PERMITTED: [&str; 8] = [
    "isolator-ebpf/src/",
    "isolator-agent/build.rs",
    "isolator-agent/src/datapath/bpf.rs",
    "isolator-agent/src/lab/netns.rs",
    "tests/src/foreign.rs",
    "tests/src/ipvs.rs",
    "tests/src/link.rs",
    "tests/src/netns.rs",
];
/// How a permitted file lifts the lint.
const REASON: &str = "#![expect(unsafe_code, reason";

/// `unsafe` in a file that is not named, or without a reason at its head.
pub(crate) fn check(file: &File) -> Option<Finding> {
    let rust = file.rust.as_ref()?;
    let code: String = rust.code.iter().collect();
    let line = code.lines().position(|line| has_word(line, "unsafe"))? + 1;
    if !PERMITTED.iter().any(|permitted| file.path.starts_with(permitted)) {
        return Some(Finding::new(
            file,
            line,
            "`unsafe` is not for this file: use a safe wrapper, or move it",
        ));
    }
    // The attribute may be broken over lines.
    let dense: String = code.split_whitespace().collect();
    let wanted: String = REASON.split_whitespace().collect();
    (!dense.contains(&wanted))
        .then(|| Finding::new(file, 1, format!("say why at the head: `{REASON} = \"…\")]`")))
}

/// Whether `line` contains `word` as a whole word.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(name)
            && !line[at + word.len()..].chars().next().is_some_and(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_the_named_files_is_found() {
        let block = "//! a\n#![expect(unsafe_code, reason = \"b\")]\nfn f() { unsafe { g() } }";
        assert!(
            check(&File::new("isolator-agent/src/cli/mod.rs", block)).is_some_and(|found| found.line == 3)
        );
        assert!(check(&File::new("isolator-agent/src/datapath/bpf.rs", block)).is_none());
        assert!(
            check(&File::new("isolator-agent/src/cli/mod.rs", "// unsafe\nlet unsafe_code = 1;")).is_none()
        );
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        let bare = "//! a\nfn f() { unsafe { g() } }";
        assert!(check(&File::new("isolator-ebpf/src/view.rs", bare)).is_some());
        let broken = "//! a\n#![expect(\n    unsafe_code,\n    reason = \"b\"\n)]\nfn f() { unsafe { g() } }";
        assert!(check(&File::new("isolator-ebpf/src/view.rs", broken)).is_none());
    }
}
