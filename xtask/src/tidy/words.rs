//! Words that do not belong into the repository: promises to oneself, paths of one machine, tests that
//! run one by one, sleep, or do not run.

use super::{File, Finding};
use crate::tidy::unsafety::has_word;

/// This file names the words.
const HERE: &str = "xtask/src/tidy/words.rs";
/// How far above a sleep its deadline may be, in lines.
const POLL: usize = 30;

/// Whole words, and what to do instead.
const WORDS: [(&str, &str); 3] = [
    ("TODO", "do it, or open an issue"),
    ("FIXME", "fix it, or open an issue"),
    ("XXX", "say what is meant, or open an issue"),
];
/// Parts of lines, and what to do instead.
const PARTS: [(&str, &str); 5] = [
    ("todo!(", "write it, or leave the whole feature out"),
    ("unimplemented!(", "write it, or leave the whole feature out"),
    (concat!("/", "root/"), "a path of one machine: make it relative, or an argument"),
    (concat!("/", "home/"), "a path of one machine: make it relative, or an argument"),
    ("--test-threads=1", "give the tests names and namespaces of their own, so that they run in parallel"),
];

/// Forbidden words in any file, and tests that do not run.
pub(crate) fn check(file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    if file.path == HERE || file.path == "Cargo.lock" {
        return found;
    }
    for (i, line) in file.text.lines().enumerate() {
        for (word, cure) in WORDS {
            if has_word(line, word) {
                found.push(Finding::new(file, i + 1, format!("`{word}`: {cure}")));
            }
        }
        for (part, cure) in PARTS {
            if line.contains(part) {
                found.push(Finding::new(file, i + 1, format!("`{part}`: {cure}")));
            }
        }
        if file.rust.is_some() && line.trim_start().starts_with("#[ignore") {
            found.push(Finding::new(file, i + 1, "`#[ignore]`: a test runs or does not exist; use a tier"));
        }
    }
    found
}

/// Tests wait for conditions, never for time.
pub(crate) fn sleeps(file: &File) -> Vec<Finding> {
    let Some(rust) = &file.rust else { return Vec::new() };
    let first = if file.is_test() { 0 } else { rust.product_lines() };
    let code: String = rust.code.iter().collect();
    let lines: Vec<&str> = code.lines().collect();
    // A loop that asks again until a deadline is fine; it names the deadline.
    let polls = |i: usize| lines[i.saturating_sub(POLL)..=i].iter().any(|line| has_word(line, "deadline"));
    let sleeps = ["thread::sleep(", "time::sleep(", " sleep("];
    (first..lines.len())
        .filter(|i| sleeps.iter().any(|sleep| lines[*i].contains(sleep)) && !polls(*i))
        .map(|i| Finding::new(file, i + 1, "a test that sleeps is slow or flaky: poll with a `deadline`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_words_are_found() {
        for line in [
            "// TODO later",
            "FIXME: no",
            "x // XXX",
            "todo!()",
            concat!("see /", "home/notes"),
            concat!("cd /", "root/x"),
            "cargo test -- --test-threads=1",
            "    #[ignore = \"slow\"]",
        ] {
            assert_eq!(check(&File::new("a/src/b.rs", &format!("//! a\n{line}\n"))).len(), 1, "{line}");
        }
        assert!(check(&File::new("a.md", "mastodon TODOS, network/working, ignore")).is_empty());
    }

    #[test]
    fn a_sleep_in_a_test_is_found() {
        let test = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() { std::thread::sleep(d); }\n}\n";
        assert_eq!(sleeps(&File::new("a/src/b.rs", test)).len(), 1);
        let product = "fn a() { std::thread::sleep(d); }\n";
        assert_eq!(sleeps(&File::new("a/src/b.rs", product)).len(), 0);
        assert_eq!(sleeps(&File::new("a/tests/b.rs", product)).len(), 1);
        let poll = format!("while !done() {{\n    assert!(now() < deadline);\n    {product}}}\n");
        assert_eq!(sleeps(&File::new("tests/src/poll.rs", &poll)).len(), 0);
    }
}
