//! One agent for each node. Two that know other pins would each attach its programs and undo the other's work, so
//! the first holds a name that belongs to the node's network namespace and dies with the process: an abstract
//! socket. Not here: the lock on the pins, for who shares them across namespaces (`datapath::load`).

use anyhow::{Context, Result};
use std::io;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

/// Abstract, as the leading zero says: no file, seen in this network namespace only.
const NAME: &str = "\0isolator-agent";

/// Another agent enforces in this network namespace.
#[derive(Debug, thiserror::Error)]
#[error(
    "another agent{} enforces in this network namespace already: stop it first. Two would undo each other's \
     work",
    .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
)]
pub struct Another {
    /// The process, where it can be seen from here.
    pub pid: Option<i32>,
}

/// Holds the name until this process ends. Needs a runtime, which hears those who ask.
///
/// # Errors
/// [`Another`] when an agent holds it.
pub async fn claim() -> Result<()> {
    let error = match UnixListener::bind(NAME) {
        Ok(listener) => {
            tokio::spawn(hold(listener));
            return Ok(());
        }
        Err(error) => error,
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Err(error).context("cannot claim the network namespace for this agent");
    }
    let holder = UnixStream::connect(NAME).await.and_then(|stream| stream.peer_cred()).ok();
    match holder {
        // Everybody may take a name like this; no agent works without root, so nobody else can keep one out.
        Some(holder) if holder.uid() != rustix::process::geteuid().as_raw() => {
            warn!(
                uid = holder.uid(),
                pid = holder.pid(),
                "somebody who is no agent holds the name that tells agents of each other"
            );
            Ok(())
        }
        // 0: a process that this one's namespace of processes does not show.
        holder => Err(Another { pid: holder.and_then(|holder| holder.pid()).filter(|pid| *pid > 0) }.into()),
    }
}

/// Who asks learns whose the name is by having connected; nothing is said.
async fn hold(listener: UnixListener) {
    while listener.accept().await.is_ok() {}
    // Out of file descriptors: nobody is heard any more, and the name stays.
    std::future::pending::<()>().await;
    drop(listener);
}
