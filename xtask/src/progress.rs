//! One step at a time, with the time it took: a line that moves on a terminal, plain lines elsewhere.
//! What the step's program wrote goes to a file and is shown when it fails. Not here: cargo's own
//! progress, which is shown as it is.

use crate::process::shown;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Lines of a failed program's log that are shown.
const SHOWN: usize = 40;
/// How often a waiting person learns that it still runs, where lines cannot be rewritten.
const STILL: Duration = Duration::from_secs(15);

/// Runs `command` under the name `what`; its output goes to the file `log`.
pub(crate) fn step(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    let start = Instant::now();
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let second = file.try_clone()?;
    command.stdin(Stdio::null()).stdout(file).stderr(second);
    let status = watch(what, command, start)?;
    let time = seconds(start.elapsed());
    if status.success() {
        eprintln!("{}{what}: done in {time}", rewind());
        return Ok(());
    }
    eprintln!("{}{what}: failed after {time}", rewind());
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(SHOWN)..] {
        eprintln!("    {line}");
    }
    bail!("{} failed ({status}); all it wrote is in {}", shown(command), log.display())
}

fn watch(what: &str, command: &mut Command, start: Instant) -> Result<ExitStatus> {
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    let moving = std::io::stderr().is_terminal();
    if !moving {
        eprintln!("{what} ...");
    }
    let mut told = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let elapsed = start.elapsed();
        if moving {
            eprint!("{}{what} ... {}", rewind(), seconds(elapsed));
            std::io::stderr().flush()?;
        } else if elapsed - told >= STILL {
            told = elapsed;
            eprintln!("{what} ... still at it after {}", seconds(elapsed));
        }
        sleep(Duration::from_millis(100));
    }
}

/// Goes back to the start of the line and clears it, on a terminal.
fn rewind() -> &'static str {
    if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" }
}

/// A time for people: `0.4 s`, `41 s`, `3 min 07 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command;

    #[test]
    fn times_read_well() {
        let shown = [400, 41_000, 187_000].map(|ms| seconds(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.4 s", "41 s", "3 min 07 s"]);
    }

    #[test]
    fn a_failed_step_is_an_error_that_names_the_log() {
        let log = std::env::temp_dir().join(format!("isolator-step-{}.log", std::process::id()));
        let failed = step("try", command("sh").args(["-c", "echo why; exit 1"]), &log).unwrap_err();
        let written = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        assert_eq!(written, "why\n");
        assert!(failed.to_string().contains(log.to_str().unwrap()));
    }
}
