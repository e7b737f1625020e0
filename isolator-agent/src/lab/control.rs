//! Orders to a lab that runs, over a socket in its run directory: one line asks, one line answers. Not here: what
//! the orders do.

use super::record::RunDir;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// How long the supervisor may take to obey.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long somebody who connects may take to say what they want.
const SILENCE: Duration = Duration::from_secs(1);
/// Longest order, in bytes.
const LONGEST: u64 = 4096;

/// What can be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Kill the agent of this node. It stays dead.
    KillAgent(String),
    /// Start the agent of this node anew.
    RestartAgent(String),
}

/// What came of an order: something to print, or what went wrong.
type Answer = Result<String, String>;

/// Gives an order to the lab in `folder` and returns its answer.
pub(crate) fn give(folder: &Path, order: &Order) -> Result<String> {
    let (_open, path) = short(folder)?;
    let mut stream = UnixStream::connect(path).context("the lab takes no orders; does it still run?")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", serde_json::to_string(order)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).context("the lab does not answer")?;
    match serde_json::from_str::<Answer>(&line).context("the lab has ended, or speaks another language")? {
        Ok(text) => Ok(text),
        Err(why) => bail!("{why}"),
    }
}

/// Takes orders.
pub(crate) struct Orders {
    listener: UnixListener,
}

/// Somebody who waits for an answer.
pub(crate) struct Client {
    stream: tokio::io::BufReader<tokio::net::UnixStream>,
}

impl Orders {
    /// Listens in the run directory.
    pub(crate) fn listen(dir: &RunDir) -> Result<Self> {
        let (_open, path) = short(dir.path())?;
        let listener = UnixListener::bind(path).context("cannot listen for orders")?;
        Ok(Orders { listener })
    }

    /// The next order. Whoever says nothing that can be understood gets no answer.
    pub(crate) async fn next(&self) -> (Order, Client) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(SILENCE).await;
                continue;
            };
            let mut stream = tokio::io::BufReader::new(stream);
            let mut line = String::new();
            let mut bounded = (&mut stream).take(LONGEST);
            let heard = tokio::time::timeout(SILENCE, bounded.read_line(&mut line)).await;
            if let (Ok(Ok(_)), Ok(order)) = (heard, serde_json::from_str(&line)) {
                return (order, Client { stream });
            }
        }
    }
}

impl Client {
    /// Answers. Nobody may be there any more.
    pub(crate) async fn answer(mut self, result: Result<String>) {
        let answer: Answer = result.map_err(|error| format!("{error:#}"));
        if let Ok(text) = serde_json::to_string(&answer) {
            let _ = self.stream.write_all(format!("{text}\n").as_bytes()).await;
        }
    }
}

/// A path to the socket that is short enough for the kernel however long the folder's is, good as long as the file
/// is open.
fn short(folder: &Path) -> Result<(File, PathBuf)> {
    let open = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    let path = RunDir::orders(&PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())));
    Ok((open, path))
}
