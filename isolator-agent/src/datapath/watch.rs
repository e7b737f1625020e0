//! Says when to look at the node again: interfaces or addresses changed, here or in a sandbox, or rules of routing,
//! or the directory of sandboxes did. Changes that come together are told once. Not here: what changed (`discover`).

use super::discover::DiscoverError;
use futures::StreamExt;
use notify::{RecursiveMode, Watcher};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::AsyncSocket;
use std::io;
use std::path::Path;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

/// A running watch; it ends with this value.
#[derive(Debug)]
pub struct Watch {
    changes: Receiver<()>,
    _directory: notify::RecommendedWatcher,
    tasks: [JoinHandle<()>; 2],
}

/// Watches this thread's network namespace, the namespaces that interfaces here have their other ends in, and
/// `dir`. The first change is told at once. Needs a tokio runtime whose socket is opened here and now.
///
/// # Errors
/// When the directory or the interfaces cannot be watched.
pub fn watch(dir: &Path) -> Result<Watch, DiscoverError> {
    // Room for one: a change that finds an untold one in the queue is told by that.
    let (sender, changes) = mpsc::channel(1);
    tell(&sender);
    let directory = watch_directory(dir, sender.clone())
        .map_err(|error| DiscoverError::Watch { path: dir.to_owned(), error })?;
    let tasks = watch_interfaces(sender).map_err(DiscoverError::Netlink)?;
    Ok(Watch { changes, _directory: directory, tasks })
}

impl Watch {
    /// Waits for the next change. May be dropped and called again without losing one. `None`: the kernel closed
    /// the watch, nothing more will come.
    pub async fn changed(&mut self) -> Option<()> {
        self.changes.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn tell(sender: &Sender<()>) {
    // A full queue says the same, and a closed one has nobody left to tell.
    let _full_or_closed = sender.try_send(());
}

fn watch_directory(dir: &Path, sender: Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // To look is an access, which must not make us look again. An error (as an overflowing queue) must.
        if event.is_err() || event.is_ok_and(|event| !event.kind.is_access()) {
            tell(&sender);
        }
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn watch_interfaces(sender: Sender<()>) -> io::Result<[JoinHandle<()>; 2]> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];
    let (mut connection, _, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
    // A pod gets its address after its interface, and only inside its namespace.
    if let Err(error) = connection.socket_mut().socket_mut().set_listen_all_namespaces(true) {
        tracing::warn!(%error, "addresses of pods are noticed later: changes in other namespaces are not shown");
    }
    let connection = tokio::spawn(connection);
    let forward = tokio::spawn(async move {
        while messages.next().await.is_some() {
            tell(&sender);
        }
    });
    Ok([connection, forward])
}
