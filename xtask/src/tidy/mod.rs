//! `cargo xtask tidy`: rules that Cargo and clippy cannot enforce. Each rule is a small function over a
//! file's path and text that returns what it found; its unit test shows it failing. Not here: anything
//! that a lint can say.

mod abi;
mod crates;
mod dependencies;
mod documents;
mod layers;
mod literals;
mod shape;
mod source;
mod unsafety;
mod words;

use crate::process::root;
use anyhow::{Context as _, Result};
use source::Source;
use std::fs;
use std::path::Path;

/// A text file of the repository.
pub(crate) struct File {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    /// Its whole content.
    pub(crate) text: String,
    /// Taken apart, where it is Rust.
    rust: Option<Source>,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        let rust = path.ends_with(".rs").then(|| Source::new(text));
        File { path: path.to_owned(), text: text.to_owned(), rust }
    }

    /// Whether the whole file is test code.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/benches/")
    }
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 when it is about the whole file.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    fn new(file: &File, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: file.path.clone(), line, message: message.into() }
    }
}

/// Checks the repository and prints what breaks a rule. `Ok(false)`: something does.
pub(crate) fn run() -> Result<bool> {
    let files = load(root())?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(shape::head(file));
        findings.extend(shape::size(file));
        findings.extend(layers::check(file));
        findings.extend(unsafety::check(file));
        findings.extend(literals::log_messages(file));
        findings.extend(literals::map_names(file));
        findings.extend(words::check(file));
        findings.extend(words::sleeps(file));
        findings.extend(crates::lints(file));
        findings.extend(crates::sources(file));
        findings.extend(documents::links(file, &files));
    }
    findings.extend(dependencies::check(&files)?);
    findings.extend(abi::check(&files));
    findings.extend(documents::specification(&files));
    findings.sort();
    for Finding { path, line, message } in &findings {
        println!("{path}:{line}: {message}");
    }
    println!("{}; {} findings", shape::distribution(&files), findings.len());
    Ok(findings.is_empty())
}

/// Writes the hash of the wire types beside their version. Refused when they changed and it did not.
pub(crate) fn record_abi() -> Result<()> {
    abi::record(&load(root())?, root())
}

/// Folders that are not ours.
const FOREIGN: [&str; 2] = ["target", ".git"];

/// Every text file of the repository, in order. What is not UTF-8 is not text.
fn load(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            if FOREIGN.iter().any(|foreign| name == *foreign) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File::new(&relative, &text));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
