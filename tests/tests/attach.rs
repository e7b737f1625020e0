//! Programs on real interfaces: attached once however often it is asked, replaced without a gap, beside the
//! programs of others, gone when uninstalled; and real packets. Skipped, with the reason, when not root.

use isolator_agent::datapath::attach::{AttachError, Attacher, Mode, attachments};
use isolator_agent::datapath::audit::{Difference, Patrol, Wanted, uninstall, verify};
use isolator_agent::datapath::features::{Feature, Features};
use isolator_agent::datapath::hook::Hook;
use isolator_agent::datapath::load::{Capacities, LoadError, Loaded};
use isolator_agent::datapath::read::{ReadError, ReadOnly};
use isolator_common::policy::{Direction, Kind, Word};
use isolator_common::reason::Reason;
use isolator_common::tables::{self, name};
use isolator_policy::datapath::image::Op;
use isolator_tests::foreign::{self, Foreign};
use isolator_tests::image::{small, writes};
use isolator_tests::link::{Sandbox, add_addresses, delete, netlink, pair};
use isolator_tests::netns::isolated;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// Each way of attaching that this kernel has.
fn both_modes(test: impl Fn(&Path, bool) + Sync) {
    let modes: &[bool] = if Features::probe().has(Feature::Tcx) { &[false, true] } else { &[true] };
    for force_clsact in modes {
        isolated(|bpffs| test(&bpffs.join("isolator"), *force_clsact));
    }
}

fn open(dir: &Path) -> Loaded {
    Loaded::open(dir, &Capacities::small()).expect("open")
}

fn attacher(dir: &Path, loaded: &Loaded, force_clsact: bool) -> Attacher {
    Attacher::new(dir, &loaded.features, force_clsact)
}

/// Interface, direction and program of everything attached.
fn attached(dir: &Path) -> Vec<(u32, Hook, u32)> {
    attachments(dir).expect("list").into_iter().map(|a| (a.ifindex, a.hook, a.program)).collect()
}

fn both(loaded: &Loaded, ifindex: u32) -> Vec<(u32, Hook, u32)> {
    Hook::POD.into_iter().map(|hook| (ifindex, hook, loaded.programs.id(hook))).collect()
}

#[test]
fn attaching_twice_and_after_a_restart_leaves_one_of_each() {
    both_modes(|dir, force_clsact| {
        let first = open(dir);
        let attach = attacher(dir, &first, force_clsact);
        let ifindex = pair("d0");
        for _ in 0..2 {
            attach.attach(&first.programs, ifindex).expect("attach");
            assert_eq!(attached(dir), both(&first, ifindex));
        }
        // The agent dies: what it attached stays.
        let old = both(&first, ifindex);
        drop(first);
        assert_eq!(attached(dir), old);
        // The next one replaces the programs.
        let second = open(dir);
        attach.attach(&second.programs, ifindex).expect("attach");
        assert_eq!(attached(dir), both(&second, ifindex));
        assert_ne!(attached(dir), old);
        let wanted = if force_clsact { Mode::Clsact } else { attach.mode() };
        assert!(
            attachments(dir).expect("list").iter().all(|a| a.mode == wanted && a.name == "d0" && a.first)
        );
    });
}

#[test]
fn the_mode_can_change_between_two_runs() {
    if !Features::probe().has(Feature::Tcx) {
        eprintln!("skipped: the kernel has no TCX");
        return;
    }
    isolated(|bpffs| {
        let dir = &bpffs.join("isolator");
        let loaded = open(dir);
        let ifindex = pair("d0");
        for force_clsact in [false, true, false] {
            attacher(dir, &loaded, force_clsact).attach(&loaded.programs, ifindex).expect("attach");
            assert_eq!(attached(dir), both(&loaded, ifindex));
        }
    });
}

#[test]
fn programs_of_others_stay_and_run_after_ours() {
    both_modes(|dir, force_clsact| {
        let loaded = open(dir);
        let attach = attacher(dir, &loaded, force_clsact);
        let ifindex = pair("d0");
        let before = Foreign::attach(dir.parent().expect("bpffs"), "d0", force_clsact);
        attach.attach(&loaded.programs, ifindex).expect("attach");
        let after = Foreign::attach(dir.parent().expect("bpffs"), "d0", force_clsact);
        let order = foreign::programs("d0", ifindex, force_clsact);
        assert!(order.contains(&before.id) && order.contains(&after.id), "{order:?}");
        if !force_clsact {
            assert_eq!(order[0], loaded.programs.id(Direction::Egress), "ours is first");
        }
        attach.detach(ifindex).expect("detach");
        let order = foreign::programs("d0", ifindex, force_clsact);
        assert_eq!(BTreeSet::from_iter(order), BTreeSet::from([before.id, after.id]));
        attach.attach(&loaded.programs, ifindex).expect("attach again");
        drop(loaded);
        uninstall(dir).expect("uninstall");
        let order = foreign::programs("d0", ifindex, force_clsact);
        assert_eq!(BTreeSet::from_iter(order), BTreeSet::from([before.id, after.id]));
    });
}

#[test]
fn interfaces_that_vanished_are_swept_and_their_numbers_can_be_used_again() {
    both_modes(|dir, force_clsact| {
        let loaded = open(dir);
        let attach = attacher(dir, &loaded, force_clsact);
        let (gone, stays, unwanted) = (pair("d0"), pair("d1"), pair("d2"));
        for ifindex in [gone, stays, unwanted] {
            attach.attach(&loaded.programs, ifindex).expect("attach");
        }
        delete(gone);
        let swept = attach.sweep(&BTreeSet::from([stays])).expect("sweep");
        assert!(swept.contains(&unwanted) && !swept.contains(&stays), "{swept:?}");
        assert_eq!(attached(dir), both(&loaded, stays));
        assert!(attach.attach(&loaded.programs, gone).is_err(), "there is no such interface");
        assert_eq!(attached(dir), both(&loaded, stays));
    });
}

#[test]
fn an_interface_that_vanishes_while_it_is_attached_is_gone_and_leaves_nothing() {
    both_modes(|dir, force_clsact| {
        let loaded = open(dir);
        let attach = attacher(dir, &loaded, force_clsact);
        let mut gone = 0;
        for _ in 0..30 {
            let ifindex = pair("d0");
            std::thread::scope(|both| {
                let deleted = both.spawn(|| delete(ifindex));
                match attach.attach(&loaded.programs, ifindex) {
                    Ok(()) => {}
                    Err(AttachError::Gone(index)) => {
                        assert_eq!(index, ifindex);
                        gone += 1;
                    }
                    Err(other) => panic!("it is gone, and this is said: {other}"),
                }
                deleted.join().expect("delete");
            });
            attach.sweep(&BTreeSet::new()).expect("sweep");
            assert_eq!(attached(dir), []);
        }
        let never = attach.attach(&loaded.programs, 1 << 20).expect_err("there is no such interface");
        assert_eq!(never.to_string(), format!("interface {} is gone", 1 << 20));
        eprintln!("{gone} of 30 vanished before they were attached");
    });
}

#[test]
fn uninstall_leaves_nothing_of_ours() {
    both_modes(|dir, force_clsact| {
        let loaded = open(dir);
        let ifindex = pair("d0");
        attacher(dir, &loaded, force_clsact).attach(&loaded.programs, ifindex).expect("attach");
        let busy = uninstall(dir).expect_err("an agent is at work");
        assert!(busy.to_string().contains("another agent (pid"), "{busy}");
        drop(loaded);
        let removed = uninstall(dir).expect("uninstall");
        assert_eq!(removed.interfaces, BTreeSet::from([ifindex]));
        assert_eq!(removed.maps.len(), tables::ALL.len());
        assert_eq!(attached(dir), []);
        assert!(!dir.exists());
        assert!(matches!(ReadOnly::open(dir), Err(ReadError::NotThere(_))));
        assert_eq!(uninstall(dir).expect("once more").maps.len(), 0);
    });
}

#[test]
fn verify_names_what_differs_and_nothing_else() {
    both_modes(|dir, force_clsact| {
        let mut loaded = open(dir);
        let attach = attacher(dir, &loaded, force_clsact);
        let ifindex = pair("d0");
        let image = small(ifindex);
        loaded.store.apply(&writes(&image)).expect("write");
        attach.attach(&loaded.programs, ifindex).expect("attach");
        let wanted = BTreeSet::from([ifindex]);
        assert_eq!(verify(dir, &image, &wanted).expect("verify"), []);
        loaded.store.apply(&[Op::Cell(9, Word::new(Kind::Deny, 1))]).expect("write");
        let differences = verify(dir, &image, &wanted).expect("verify");
        assert!(matches!(&differences[..], [Difference::Entry { map: name::CELLS, .. }]), "{differences:?}");
        loaded.store.apply(&[Op::Cell(9, Word::new(Kind::Allow, 1))]).expect("write");
        let other = pair("d1");
        let differences = verify(dir, &image, &BTreeSet::from([other])).expect("verify");
        let (missing, extra): (Vec<_>, Vec<_>) =
            differences.iter().partition(|d| matches!(d, Difference::NotAttached { .. }));
        assert_eq!((missing.len(), extra.len()), (2, 2), "{differences:?}");
        // A program that was loaded with other maps.
        let stranger = Loaded::ephemeral(&Capacities::small()).expect("load");
        attach.attach(&stranger.programs, ifindex).expect("attach");
        let differences = verify(dir, &image, &wanted).expect("verify");
        assert!(!differences.is_empty());
        assert!(differences.iter().all(|d| matches!(d, Difference::OtherMaps { .. })), "{differences:?}");
    });
}

#[test]
fn the_audit_finds_within_a_round_what_was_changed_detached_or_unpinned() {
    both_modes(|dir, force_clsact| {
        let mut loaded = open(dir);
        let attach = attacher(dir, &loaded, force_clsact);
        let ifindex = pair("d0");
        let image = small(ifindex);
        loaded.store.apply(&writes(&image)).expect("write");
        let foreign = Foreign::attach(dir.parent().expect("bpffs"), "d0", force_clsact);
        attach.attach(&loaded.programs, ifindex).expect("attach");
        let (pods, ways) = (BTreeSet::from([ifindex]), BTreeMap::new());
        // Kinds of what a whole round finds.
        let round = |loaded: &Loaded| {
            let mut patrol = Patrol::default();
            let mut found = BTreeSet::new();
            // As many looks as all pins take: one each.
            while patrol.rounds().0 == 0 || patrol.turn() < tables::ALL.len() as u64 {
                let wanted = Wanted { image: &image, pods: &pods, ways: &ways };
                let differences = patrol.look(loaded, &attach, dir, &wanted).expect("look");
                found.extend(
                    differences.iter().map(|found| (found.difference.kind(), found.difference.to_string())),
                );
            }
            found.into_iter().filter(|(kind, _)| *kind != "not-first").collect::<Vec<_>>()
        };
        assert_eq!(round(&loaded), []);

        let (cell, word) = image.cells.iter().next().map(|(cell, word)| (*cell, *word)).expect("a cell");
        for changed in [Word::new(Kind::Deny, 77), Word::default()] {
            loaded.store.apply(&[Op::Cell(cell, changed)]).expect("write");
            let found = round(&loaded);
            assert!(matches!(found[..], [("entry", ref text)] if text.starts_with("CELLS[")), "{found:?}");
        }
        loaded.store.apply(&[Op::Cell(cell, word)]).expect("write");
        let endpoint = *image.endpoints.get(&ifindex).expect("an endpoint");
        loaded.store.apply(&[Op::Endpoint(ifindex, None)]).expect("write");
        let found = round(&loaded);
        assert!(matches!(found[..], [("entry", ref text)] if text.starts_with("ENDPOINTS[")), "{found:?}");
        loaded.store.apply(&[Op::Endpoint(ifindex, Some(endpoint))]).expect("write");

        std::fs::remove_file(dir.join(name::HOSTS)).expect("unpin");
        assert_eq!(round(&loaded), [("not-pinned", "map HOSTS is not pinned".to_owned())]);
        loaded.pin(dir, name::HOSTS).expect("pin again");
        assert_eq!(round(&loaded), []);

        attach.detach(ifindex).expect("detach");
        let found = round(&loaded);
        assert!(found.len() == 2 && found.iter().all(|(kind, _)| *kind == "not-attached"), "{found:?}");
        attach.attach(&loaded.programs, ifindex).expect("attach again");
        assert_eq!(round(&loaded), []);
        assert!(
            foreign::programs("d0", ifindex, force_clsact).contains(&foreign.id),
            "what is foreign stays"
        );
    });
}

#[test]
fn real_packets_pass_and_are_dropped() {
    both_modes(|dir, force_clsact| {
        let mut loaded = open(dir);
        let pod = Sandbox::new();
        let (host_ip, pod_ip) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let ifindex = pod.connect("pod0", &[(IpAddr::V4(pod_ip), 24)]);
        netlink(async |handle| add_addresses(&handle, "pod0", &[(IpAddr::V4(host_ip), 24)]).await);
        let listener = pod.enter(|| UdpSocket::bind((pod_ip, 7)).expect("bind"));
        listener.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        let client = UdpSocket::bind((host_ip, 0)).expect("bind");
        client.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        attacher(dir, &loaded, force_clsact).attach(&loaded.programs, ifindex).expect("attach");
        let maps = ReadOnly::open(dir).expect("open");
        let counted = |direction, reason| {
            let counters = maps.counters(3).expect("counters");
            counters
                .iter()
                .filter(|c| (c.direction, c.reason) == (direction, reason))
                .map(|c| c.packets)
                .sum::<u64>()
        };
        let until = |what: &str, done: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !done() {
                assert!(Instant::now() < deadline, "{what}");
                client.send_to(b"again", (pod_ip, 7)).expect("send");
                std::thread::yield_now();
            }
        };
        // Allowed both ways: a question and its answer.
        loaded.store.apply(&writes(&small(ifindex))).expect("write");
        client.send_to(b"ping", (pod_ip, 7)).expect("send");
        let mut buffer = [0; 64];
        let (length, from) = listener.recv_from(&mut buffer).expect("the pod hears");
        listener.send_to(&buffer[..length], from).expect("answer");
        assert_eq!(client.recv(&mut buffer).expect("the host hears"), 4);
        assert_eq!(counted(Direction::Ingress, Reason::Allowed), 1);
        // Denied: counted as such, and never heard.
        let deny = [Op::Cell(9, Word::new(Kind::Deny, 1)), Op::Grace];
        loaded.store.apply(&deny).expect("write");
        until("a drop is counted", &|| counted(Direction::Ingress, Reason::PolicyDenied) > 20);
        listener.set_nonblocking(true).expect("non-blocking");
        assert!(listener.recv_from(&mut buffer).is_err(), "the pod hears nothing");
        // The agent is gone: still denied.
        drop(loaded);
        let before = counted(Direction::Ingress, Reason::PolicyDenied);
        until("drops are counted", &|| counted(Direction::Ingress, Reason::PolicyDenied) > before + 20);
        assert!(listener.recv_from(&mut buffer).is_err(), "the pod still hears nothing");
        let summaries = maps.summaries().expect("summaries");
        let untold: Vec<&str> =
            summaries.iter().filter(|map| map.memory.is_none()).map(|map| map.name).collect();
        assert!(untold.is_empty() || untold == [name::EVENTS], "{untold:?}");
        assert!(
            summaries.iter().any(|map| map.name == name::CELLS && map.entries == Some(3)),
            "{summaries:?}"
        );
        assert!(matches!(Loaded::open(dir, &Capacities::default()), Err(LoadError::Definition { .. })));
    });
}
