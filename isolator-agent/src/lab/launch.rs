//! Starts a lab's supervisor and waits until the lab can be used, or cleans up. Not here: what the supervisor does.

use super::record::RunDir;
use super::supervisor::{Report, Wanted};
use crate::status::is_full;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// What the supervisor gets on top of its limit, so that it can say itself what it was waiting for.
const GRACE: Duration = Duration::from_millis(500);
/// Lines of the log that an error shows.
const LAST_LINES: usize = 12;

/// Makes the lab and returns what the supervisor reports. After an error or an interrupt no process is left.
pub(crate) fn up(wanted: &Wanted) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything exists that an interrupt would leave behind.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let dir = RunDir::new(&wanted.root, &wanted.name)?;
        dir.claim()?;
        let started = start(wanted, &dir);
        let mut child = match started.await {
            Ok(child) => child,
            Err(error) => {
                dir.remove()?;
                return Err(error);
            }
        };
        let outcome = tokio::select! {
            report = report(&mut child) => report,
            () = tokio::time::sleep(wanted.limit + GRACE) => {
                Err(anyhow::anyhow!("it is not ready after {} s", wanted.limit.as_secs_f32()))
            }
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        };
        match outcome {
            Ok(Some(ready @ Report::Ready { .. })) => {
                dir.release()?;
                Ok(ready)
            }
            Ok(None) => {
                child.kill().await.context("cannot end the lab")?;
                dir.remove()?;
                bail!("interrupted; nothing is left of lab {}", wanted.name)
            }
            Ok(Some(Report::Failed(why))) => Err(give_up(&mut child, &dir, &why).await),
            Err(error) => Err(give_up(&mut child, &dir, &format!("{error:#}")).await),
        }
    })
}

async fn start(wanted: &Wanted, dir: &RunDir) -> Result<Child> {
    let log = File::create(dir.log()).with_context(|| format!("cannot make {}", dir.log().display()))?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("isolator")
        .args(["lab", "supervise"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the supervisor")?;
    let mut input = child.stdin.take().context("the supervisor has no input")?;
    input.write_all(&serde_json::to_vec(wanted)?).await.context("the supervisor did not listen")?;
    Ok(child)
}

/// What the supervisor says; an error if it ends without a word.
async fn report(child: &mut Child) -> Result<Option<Report>> {
    let output = child.stdout.take().context("the supervisor has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await.context("cannot hear the supervisor")?;
    if line.is_empty() {
        let status = child.wait().await?;
        bail!("the supervisor ended ({status})");
    }
    Ok(Some(serde_json::from_str(&line).context("the supervisor speaks another language")?))
}

/// Ends what there is. The directory stays for its log, and the next `up` of this name removes it.
async fn give_up(child: &mut Child, dir: &RunDir, why: &str) -> anyhow::Error {
    let _ = child.kill().await;
    if let Some(cgroups) = dir.cgroups() {
        let _tried_again_with_the_directory = cgroups.remove();
    }
    let log = fs::read_to_string(dir.log()).unwrap_or_default();
    // The reason stands there, too: once is enough.
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains(why)).collect();
    let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n  ");
    let (name, path) = (dir.name(), dir.log());
    if is_full(dir.path()) {
        let cure = "free some, or name another folder with --lab-dir";
        return anyhow::anyhow!(
            "lab {name} could not be made: {why}; no space is left in {}: {cure}",
            dir.path().display()
        );
    }
    if last.is_empty() {
        return anyhow::anyhow!(
            "lab {name} could not be made: {why}; its log {} has no more",
            path.display()
        );
    }
    anyhow::anyhow!("lab {name} could not be made: {why}; its log {} ends with\n  {last}", path.display())
}
