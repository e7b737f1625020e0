//! The border between kernel programs and agent has a version. This rule makes a change of the border
//! without a new version fail, by a hash over everything that both sides agree on. Not here: the check
//! at load.

use super::source::Source;
use super::{File, Finding};
use anyhow::{Context as _, Result, bail};
use isolator_common::ABI_VERSION;
use std::path::Path;

/// Where version and hash are written down.
const RECORD: &str = "isolator-common/ABI";
/// Files that define what both sides agree on.
const BORDER: [&str; 8] = [
    "isolator-common/src/addr.rs",
    "isolator-common/src/conntrack.rs",
    "isolator-common/src/endpoint.rs",
    "isolator-common/src/event.rs",
    "isolator-common/src/policy.rs",
    "isolator-common/src/reason.rs",
    "isolator-common/src/tables.rs",
    "isolator-ebpf/src/maps.rs",
];

/// The border changed and its version did not, or the record is behind.
pub(crate) fn check(files: &[File]) -> Option<Finding> {
    let actual = (ABI_VERSION, hash(files));
    let Some(record) = files.iter().find(|file| file.path == RECORD) else {
        let message = "the file is missing: run `cargo xtask tidy --record-abi`";
        return Some(Finding { path: RECORD.to_owned(), line: 0, message: message.to_owned() });
    };
    verdict(parse(&record.text), actual).map(|message| Finding::new(record, 1, message))
}

/// Version and hash, as recorded and as they are.
fn verdict(recorded: Option<(u32, u64)>, actual: (u32, u64)) -> Option<&'static str> {
    let Some(recorded) = recorded else {
        return Some("unreadable: delete it and run `cargo xtask tidy --record-abi`");
    };
    match (recorded.0 == actual.0, recorded.1 == actual.1) {
        (true, true) => None,
        (true, false) => Some(
            "what kernel programs and agent agree on changed: raise ABI_VERSION in isolator-common/src/lib.rs, \
             then run `cargo xtask tidy --record-abi`",
        ),
        (false, _) => Some("ABI_VERSION changed: run `cargo xtask tidy --record-abi`"),
    }
}

/// Writes version and hash down.
pub(crate) fn record(files: &[File], root: &Path) -> Result<()> {
    let actual = (ABI_VERSION, hash(files));
    if let Some(old) = files.iter().find(|file| file.path == RECORD).and_then(|file| parse(&file.text))
        && old.0 == actual.0
        && old.1 != actual.1
    {
        bail!(
            "the wire types changed and ABI_VERSION is still {}: raise it in isolator-common/src/lib.rs",
            old.0
        );
    }
    let path = root.join(RECORD);
    std::fs::write(&path, format!("version {}\nhash {:016x}\n", actual.0, actual.1))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn parse(text: &str) -> Option<(u32, u64)> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    Some((value("version ")?.parse().ok()?, u64::from_str_radix(value("hash ")?, 16).ok()?))
}

/// FNV-1a over the definitions, file by file: the same on every machine and with every compiler.
fn hash(files: &[File]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let border = BORDER.iter().filter_map(|path| files.iter().find(|file| file.path == *path));
    for byte in border.filter_map(|file| file.rust.as_ref()).flat_map(|rust| definitions(rust).into_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The definitions of a file without comments and white space: types with a `repr`, constants, statics,
/// and the tables of maps and reasons. Functions are logic, not layout.
fn definitions(rust: &Source) -> String {
    let code = rust.product();
    let mut found = String::new();
    let mut rest = code.as_str();
    while let Some((at, end)) = next(rest) {
        let item = &rest[at..end];
        found.extend(item.chars().filter(|c| !c.is_whitespace()));
        found.push('\n');
        rest = &rest[end..];
    }
    found
}

/// Where the next definition begins and ends.
fn next(code: &str) -> Option<(usize, usize)> {
    let heads = ["#[repr(", "const ", "static ", "maps! {", "reasons! {"];
    let starts = heads.iter().filter_map(|head| {
        let found = code.match_indices(head).find(|(at, _)| {
            // At the start of a line or after a visibility; `const fn` and `*const` are something else.
            let before = code[..*at].rsplit('\n').next().unwrap_or_default().trim();
            let starts_line = before.is_empty() || before == "pub" || before == "pub(crate)";
            starts_line && !code[at + head.len()..].starts_with("fn ")
        });
        found.map(|(at, _)| (at, *head))
    });
    let (at, head) = starts.min()?;
    let semicolon = |from: usize| code[from..].find(';').map_or(code.len(), |end| from + end + 1);
    let end = match head {
        "const " | "static " => semicolon(at),
        _ => {
            // A type ends with its braces, or with the semicolon of a tuple struct.
            let open = code[at..].find('{').map_or(code.len(), |open| at + open);
            let end = semicolon(at);
            if end < open { end } else { closing(code, open) }
        }
    };
    Some((at, end))
}

/// Just behind the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (i, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + i + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: &str = "/// Doc.\n#[repr(C)]\npub struct A {\n    /// x\n    pub x: u32,\n}\n\nimpl A {\n    \
        pub const Y: u32 = 1;\n    pub const fn f(&self) -> u32 { self.x }\n}\n#[repr(transparent)]\npub struct B(u8);\n";

    fn hashed(text: &str) -> u64 {
        hash(&[File::new(BORDER[2], text)])
    }

    #[test]
    fn definitions_are_types_and_constants() {
        let wanted = "#[repr(C)]pubstructA{pubx:u32,}\nconstY:u32=1;\n#[repr(transparent)]pubstructB(u8);\n";
        assert_eq!(definitions(&Source::new(TYPES)), wanted);
    }

    #[test]
    fn a_changed_layout_changes_the_hash_and_a_changed_comment_does_not() {
        let before = hashed(TYPES);
        assert_eq!(before, hashed(&TYPES.replace("/// x", "/// y").replace("    ", "  ")));
        assert_eq!(before, hashed(&TYPES.replace("{ self.x }", "{ 2 }")));
        for (from, to) in
            [("u32,", "u64,"), ("Y: u32 = 1", "Y: u32 = 2"), ("B(u8)", "B(i8)"), ("pub x", "pub z")]
        {
            assert_ne!(before, hashed(&TYPES.replace(from, to)), "{from} → {to}");
        }
    }

    #[test]
    fn the_tables_are_part_of_it() {
        let table = "maps! {\n    A = \"A\", 1 << 4, \"Text.\";\n}\n";
        assert_ne!(hashed(table), hashed(&table.replace("1 << 4", "1 << 5")));
        assert_eq!(hashed(table), hashed(&table.replace("Text", "Test")));
    }

    #[test]
    fn a_change_without_a_new_version_fails() {
        assert_eq!(verdict(Some((1, 7)), (1, 7)), None);
        assert!(verdict(Some((1, 7)), (1, 8)).is_some_and(|said| said.contains("raise ABI_VERSION")));
        assert!(verdict(Some((1, 7)), (2, 8)).is_some_and(|said| said.contains("--record-abi")));
        assert!(verdict(None, (1, 7)).is_some());
    }
}
