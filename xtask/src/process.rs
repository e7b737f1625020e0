//! Starting other programs, always from the root of the repository and with an environment that does
//! not depend on how `cargo xtask` itself was started. Not here: which programs.

use anyhow::{Context as _, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    // This file's crate lies directly below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where everything that is built goes, whatever the person's own cargo configuration says.
pub(crate) fn target_dir() -> PathBuf {
    root().join("target")
}

/// A command that starts in the root of the repository. What `cargo run` sets for xtask alone is
/// taken away, so that nothing is built twice because of it.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("CARGO_TARGET_DIR", target_dir());
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let of_this_run = name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_BIN_")
            || matches!(name, "CARGO" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "RUSTC" | "RUSTDOC")
            || name == "RUST_RECURSION_COUNT";
        if of_this_run {
            command.env_remove(name);
        }
    }
    command
}

/// Whether `program` is found in PATH.
pub(crate) fn exists(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Runs a command and gives what it wrote to standard output, without the line end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", shown(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Runs a command that shows its own progress.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if status.success() { Ok(()) } else { bail!("{} failed ({status})", shown(command)) }
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_says_its_name_and_what_it_wrote() {
        let mut failing = command("sh");
        failing.args(["-c", "echo broken >&2; exit 3"]);
        let message = output(&mut failing).unwrap_err().to_string();
        assert!(message.contains("sh -c") && message.contains("broken"), "{message}");
    }

    #[test]
    fn programs_start_in_the_root_of_the_repository() {
        assert!(root().join("rust-toolchain.toml").is_file());
        assert_eq!(output(&mut command("pwd")).unwrap(), root().to_str().unwrap());
    }
}
