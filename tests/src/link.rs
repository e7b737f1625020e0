//! Network namespaces of pods, and the veth pairs into them, by netlink. Everything is made from inside a
//! namespace of the test's own (`netns`). Not here: what runs on the interfaces.
#![expect(
    unsafe_code,
    reason = "unshare(2) may split what threads of a process share; the thread here is new"
)]

use futures::stream::StreamExt;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

/// The network namespace of a pod; vanishes with this value and the interfaces in it.
#[derive(Debug)]
pub struct Sandbox(OwnedFd);

impl Sandbox {
    /// A new one, with its loopback interface up.
    #[must_use]
    pub fn new() -> Sandbox {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    // SAFETY: this thread was just made and shares nothing that others rely on.
                    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare");
                    netlink(async |handle| up(&handle, "lo").await);
                    Sandbox(own_namespace())
                })
                .join()
                .expect("sandbox")
        })
    }

    /// A path that leads to the namespace as long as this process and value live.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }

    /// Runs `work` inside.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).expect("enter");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A veth pair: `host` here, `eth0` in the sandbox with `addresses`, both up. Returns the index of `host`.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn connect(&self, host: &str, addresses: &[(IpAddr, u8)]) -> u32 {
        let ifindex = netlink(async |handle| {
            let peer = format!("{host}-p");
            handle.link().add(LinkVeth::new(host, &peer).build()).execute().await.expect("veth");
            let moved = LinkUnspec::new_with_index(index(&handle, &peer).await)
                .name("eth0".to_owned())
                .setns_by_fd(self.0.as_raw_fd())
                .build();
            handle.link().set(moved).execute().await.expect("move into the sandbox");
            up(&handle, host).await;
            index(&handle, host).await
        });
        self.enter(|| {
            netlink(async |handle| {
                add_addresses(&handle, "eth0", addresses).await;
                up(&handle, "eth0").await;
            });
        });
        ifindex
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Sandbox::new()
    }
}

fn own_namespace() -> OwnedFd {
    rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .expect("own namespace")
}

/// Runs `work` with a netlink connection of this thread's network namespace.
///
/// # Panics
/// When there is none.
pub fn netlink<R>(work: impl AsyncFnOnce(Handle) -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
        let connection = tokio::spawn(connection);
        let result = work(handle).await;
        connection.abort();
        result
    })
}

/// Index of an interface.
///
/// # Panics
/// When there is none of the name.
pub async fn index(handle: &Handle, name: &str) -> u32 {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    links.next().await.expect("an answer").expect("interface").header.index
}

/// Sets an interface up.
///
/// # Panics
/// When the kernel refuses.
pub async fn up(handle: &Handle, name: &str) {
    let change = LinkUnspec::new_with_index(index(handle, name).await).up().build();
    handle.link().set(change).execute().await.expect("up");
}

/// Gives addresses to an interface.
///
/// # Panics
/// When the kernel refuses.
pub async fn add_addresses(handle: &Handle, name: &str, addresses: &[(IpAddr, u8)]) {
    let index = index(handle, name).await;
    for (addr, bits) in addresses {
        handle.address().add(index, *addr, *bits).execute().await.expect("address");
    }
}

/// A bridge with `ports`, up.
///
/// # Panics
/// When the kernel refuses.
pub fn bridge(name: &str, ports: &[u32]) {
    netlink(async |handle| {
        handle.link().add(LinkBridge::new(name).build()).execute().await.expect("bridge");
        let controller = index(&handle, name).await;
        for port in ports {
            let change = LinkUnspec::new_with_index(*port).controller(controller).build();
            handle.link().set(change).execute().await.expect("bridge port");
        }
        up(&handle, name).await;
    });
}

/// A veth pair with both ends here, `name` and `name-p`. Returns the index of `name`.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn pair(name: &str) -> u32 {
    netlink(async |handle| {
        let peer = format!("{name}-p");
        handle.link().add(LinkVeth::new(name, &peer).build()).execute().await.expect("veth");
        index(&handle, name).await
    })
}

/// Removes an interface.
///
/// # Panics
/// When the kernel refuses.
pub fn delete(ifindex: u32) {
    netlink(async |handle| handle.link().del(ifindex).execute().await.expect("delete"));
}
