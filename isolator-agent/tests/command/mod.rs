//! Runs the binary and looks at what it says. Not here: expectations.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Exit code.
    pub(crate) code: Option<i32>,
}

/// The folder of manifests that the tests share.
pub(crate) fn manifests() -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").display().to_string()
}

/// Runs `isolator` with words for arguments, `FILES` among them standing for the shared folder.
pub(crate) fn isolator(words: &str, input: &str) -> Ran {
    let folder = manifests();
    let arguments = words.split_whitespace().map(|word| if word == "FILES" { folder.as_str() } else { word });
    let mut child = Command::new(env!("CARGO_BIN_EXE_isolator"))
        .args(arguments)
        .env_remove("ISOLATOR_PIN_DIR")
        .env("ISOLATOR_RUN_DIR", "/nonexistent/isolator")
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // The command may end without reading all of it.
        let _unread = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}
