//! Pods' interfaces are found from their sandboxes, routed or bridged, whatever else lies in the directory; and
//! changes are told. Skipped, with the reason, when not root.

use isolator_agent::datapath::discover::{Found, Interface, discover, local_addresses};
use isolator_agent::datapath::watch::watch;
use isolator_common::addr::Addr;
use isolator_tests::link::{Sandbox, add_addresses, bridge, netlink, pair, up};
use isolator_tests::netns::{isolated, unique_dir};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a notification may take. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of sandboxes, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let dir = unique_dir("sandboxes");
        std::fs::create_dir_all(&dir).expect("directory");
        Dir(dir)
    }

    fn link(&self, name: &str, sandbox: &Sandbox) {
        std::os::unix::fs::symlink(sandbox.path(), self.0.join(name)).expect("link");
    }

    /// As container runtimes do it.
    fn mount(&self, name: &str, sandbox: &Sandbox) {
        std::fs::write(self.0.join(name), "").expect("file");
        rustix::mount::mount_bind(sandbox.path(), self.0.join(name)).expect("bind mount");
    }

    fn unmount(&self, name: &str) {
        rustix::mount::unmount(self.0.join(name), rustix::mount::UnmountFlags::DETACH).expect("unmount");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.0);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn addr(text: &str) -> Addr {
    match ip(text) {
        IpAddr::V4(ip) => Addr::v4(ip.octets()),
        IpAddr::V6(ip) => Addr(ip.octets()),
    }
}

fn interface(ifindex: u32, name: &str, sandbox: &str, addresses: &[&str]) -> Interface {
    let mut addresses: Vec<Addr> = addresses.iter().map(|text| addr(text)).collect();
    addresses.sort_unstable();
    Interface { ifindex, name: name.to_owned(), sandbox: sandbox.to_owned(), addresses }
}

fn found(dir: &Path) -> Found {
    discover(dir).expect("discover")
}

#[test]
fn routed_and_bridged_pods_are_found_and_odd_entries_named() {
    isolated(|_| {
        let dir = Dir::new();
        let (routed, bridged, lonely) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
        // The kernel adds a link-local address of its own, which must not be listed.
        let first = routed.connect("r0", &[(ip("10.0.0.2"), 32), (ip("fd00::2"), 128)]);
        let second = bridged.connect("b0", &[(ip("10.0.1.2"), 24)]);
        bridge("br0", &[second]);
        lonely.enter(|| {
            // Both ends inside: none of ours.
            let _inside = pair("x0");
        });
        dir.link("routed", &routed);
        dir.mount("bridged", &bridged);
        dir.link("bridged-again", &bridged);
        dir.link("lonely", &lonely);
        std::os::unix::fs::symlink("/proc/thread-self/ns/net", dir.0.join("own")).expect("link");
        std::os::unix::fs::symlink("/proc/0/ns/net", dir.0.join("dead")).expect("link");
        std::fs::write(dir.0.join("leftover"), "").expect("file");
        let found = found(&dir.0);
        let mut wanted = vec![
            interface(first, "r0", "routed", &["10.0.0.2", "fd00::2"]),
            interface(second, "b0", "bridged", &["10.0.1.2"]),
        ];
        wanted.sort();
        assert_eq!(found.interfaces, wanted);
        let named: Vec<&str> = found.unenforced.iter().map(|odd| odd.sandbox.as_str()).collect();
        assert_eq!(named, ["dead", "leftover"], "{:?}", found.unenforced);
        dir.unmount("bridged");
    });
}

#[test]
fn a_pod_of_another_node_is_not_ours() {
    isolated(|_| {
        let dir = Dir::new();
        let (node, pod, mine) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
        // The index on the other node exists here, too, so that only the namespace tells them apart.
        let theirs = node.enter(|| pod.connect("v0", &[(ip("10.0.0.2"), 32)]));
        let ours = mine.connect("m0", &[]);
        let here: Vec<u32> = (0..8).map(|i| pair(&format!("p{i}"))).collect();
        assert!(here.iter().any(|index| *index >= theirs), "interface {theirs} exists here, too");
        dir.link("theirs", &pod);
        dir.link("mine", &mine);
        let Found { interfaces, unenforced, .. } = found(&dir.0);
        assert_eq!((interfaces, unenforced), (vec![interface(ours, "m0", "mine", &[])], vec![]));
    });
}

#[test]
fn the_nodes_own_addresses_are_listed() {
    isolated(|_| {
        let _ifindex = pair("d0");
        netlink(async |handle| {
            add_addresses(&handle, "d0", &[(ip("192.0.2.7"), 24), (ip("fd00::7"), 64)]).await;
            up(&handle, "lo").await;
        });
        let own = local_addresses().expect("list");
        for wanted in ["192.0.2.7", "fd00::7", "127.0.0.1"] {
            assert!(own.contains(&addr(wanted)), "{wanted} in {own:?}");
        }
        assert_eq!(found(&Dir::new().0).own, own, "each look says them, too");
    });
}

#[test]
fn every_change_is_told() {
    isolated(|_| {
        let dir = Dir::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let sandbox = Sandbox::new();
        runtime.block_on(async {
            let mut watch = watch(&dir.0).expect("watch");
            // Waits until nothing more is told.
            async fn settle(watch: &mut isolator_agent::datapath::watch::Watch) {
                while tokio::time::timeout(Duration::from_millis(300), watch.changed()).await.is_ok() {}
            }
            let first = tokio::time::timeout(PATIENCE, watch.changed()).await;
            assert_eq!(first.expect("told at once"), Some(()));
            settle(&mut watch).await;
            // To look is no change: were it one, every look would be followed by a notification. A busy machine may
            // tell late of what was before, so one quiet look is enough.
            let mut quiet = false;
            for _ in 0..10 {
                settle(&mut watch).await;
                assert_eq!(found(&dir.0).interfaces, []);
                let told = tokio::time::timeout(Duration::from_millis(300), watch.changed()).await;
                quiet |= told.is_err();
                if quiet {
                    break;
                }
            }
            assert!(quiet, "nothing changed");
            let told = async |watch: &mut isolator_agent::datapath::watch::Watch, what: &str| {
                let told = tokio::time::timeout(PATIENCE, watch.changed()).await;
                assert_eq!(told.unwrap_or_else(|_| panic!("{what} is not told")), Some(()));
                settle(watch).await;
            };
            dir.link("pod", &sandbox);
            told(&mut watch, "a new sandbox").await;
            std::thread::scope(|scope| {
                // A runtime of its own cannot start on this thread.
                scope.spawn(|| sandbox.connect("w0", &[]));
            });
            told(&mut watch, "a new interface").await;
            assert_eq!(found(&dir.0).interfaces.len(), 1);
            sandbox.enter(|| {
                netlink(async |handle| add_addresses(&handle, "eth0", &[(ip("10.0.0.9"), 32)]).await);
            });
            told(&mut watch, "a new address inside").await;
            assert_eq!(found(&dir.0).interfaces[0].addresses, [addr("10.0.0.9")]);
            for (family, mark) in [("IPv4", 4), ("IPv6", 6)] {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        netlink(async |handle| {
                            let rule = handle.rule().add().fw_mark(mark);
                            let added = match family {
                                "IPv4" => rule.v4().execute().await,
                                _ => rule.v6().execute().await,
                            };
                            added.expect("rule");
                        });
                    });
                });
                told(&mut watch, &format!("a rule of routing, {family}")).await;
                assert!(found(&dir.0).marks.contains(&(mark, u32::MAX)), "{family}");
            }
        });
    });
}
