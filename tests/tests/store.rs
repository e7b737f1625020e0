//! The store against the kernel's own maps: what is written is read back, also after a restart, also without
//! the optional features; and the loaded programs judge by it. Skipped, with the reason, when not root.

use isolator_agent::datapath::features::{Feature, Features};
use isolator_agent::datapath::load::{Capacities, LoadError, Loaded};
use isolator_agent::datapath::store::StoreError;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Marking, Peer, State};
use isolator_common::event::NameKey;
use isolator_common::policy::{Direction, Word};
use isolator_common::tables::{capacity, name};
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::{Image, Op};
use isolator_tests::image::{FRIEND, GUEST, POD, STRANGER, small, writes};
use isolator_tests::netns::isolated;

/// More entries of each kind than one batch of the smallest maps holds, some in high places.
fn large() -> Image {
    let mut image = small(5);
    image.marking = Marking::new(0xff00).expect("a mask");
    for i in 0..200_u32 {
        let mut v6 = [0xfd; 16];
        v6[12..].copy_from_slice(&(i << 8).to_be_bytes());
        image.blocks.insert(Addr(v6), 100 + i);
        image.blocks.insert(Addr::v4([10, 1, i as u8, 0]), 2 + i % 60);
        image
            .prefixes
            .insert(Prefix::new(Addr(v6), 96 + i % 24), Peer { identity: i + 1, groups: [1, i + 1] });
        image.names.insert(NameKey { kind: 2, number: i }, format!("labels of {i} äöü"));
    }
    for i in 0..3000_u32 {
        image
            .hosts
            .insert(Addr::v4((0x0b00_0000 + i).to_be_bytes()), Peer { identity: i + 1, groups: [i, 1] });
        image.block_peers.insert(i * 5, Peer { identity: i + 1, groups: [0, i + 1] });
        image.cells.insert(100 + i * 7, Word(0x2000_0000 + i));
        image.intervals.insert(100 + i * 3, (u64::from(i) << 32) | 1);
    }
    image.cells.insert((1 << 16) - 1, Word(1));
    image
}

fn store_holds_what_was_written(features: Features) {
    let mut loaded = Loaded::ephemeral_with(&Capacities::small(), features).expect("load");
    assert_eq!(loaded.store.read_image().expect("read"), Image::default());
    let image = large();
    let ops = writes(&image);
    let applied = loaded.store.apply(&ops).expect("write");
    assert_eq!(applied.writes, ops.len() - 1, "all but the wait are writes");
    assert_eq!(loaded.store.read_image().expect("read"), image);
    // And back again: every kind of removal.
    let removals: Vec<Op> = ops
        .iter()
        .map(|op| match op {
            Op::State(_) => Op::State(State::default()),
            Op::Marking(_) => Op::Marking(Marking::default()),
            Op::Endpoint(key, _) => Op::Endpoint(*key, None),
            Op::Block(key, _) => Op::Block(*key, None),
            Op::BlockPeer(key, _) => Op::BlockPeer(*key, Peer::default()),
            Op::Host(key, _) => Op::Host(*key, None),
            Op::Prefix(key, _) => Op::Prefix(*key, None),
            Op::Cell(key, _) => Op::Cell(*key, Word(0)),
            Op::Interval(key, _) => Op::Interval(*key, 0),
            Op::Name(key, _) => Op::Name(*key, None),
            Op::Grace => Op::Grace,
        })
        .collect();
    loaded.store.apply(&removals).expect("remove");
    assert_eq!(loaded.store.read_image().expect("read"), Image::default());
}

#[test]
fn the_store_holds_what_was_written() {
    isolated(|_| store_holds_what_was_written(Features::probe()));
}

#[test]
fn the_store_works_without_optional_features() {
    isolated(|_| {
        let bare = Feature::ALL.into_iter().fold(Features::probe(), Features::without);
        store_holds_what_was_written(bare);
    });
}

#[test]
fn endpoints_with_the_same_place_do_not_disturb_each_other() {
    isolated(|_| {
        let mut loaded = Loaded::ephemeral(&Capacities::small()).expect("load");
        let endpoint = |ifindex| Endpoint { ifindex, id: ifindex, ..Endpoint::default() };
        let (low, high) = (7, 7 + capacity::ENDPOINTS);
        let mut image = Image::default();
        let steps = [
            Op::Endpoint(high, Some(endpoint(high))),
            Op::Endpoint(low, Some(endpoint(low))),
            Op::Endpoint(high, None),
            Op::Endpoint(low, None),
            Op::Endpoint(low, Some(endpoint(low))),
            Op::Endpoint(high, Some(endpoint(high))),
            Op::Endpoint(low, None),
            Op::Endpoint(high, Some(Endpoint { identity: 9, ..endpoint(high) })),
            Op::Endpoint(high, None),
            // No place in the small array at all.
            Op::Endpoint(5000, Some(endpoint(5000))),
        ];
        for op in steps {
            image.apply(&op);
            loaded.store.apply(std::slice::from_ref(&op)).expect("write");
            assert_eq!(loaded.store.read_image().expect("read"), image, "after {op:?}");
        }
    });
}

#[test]
fn the_loaded_programs_judge_by_the_image() {
    isolated(|_| {
        let mut loaded = Loaded::ephemeral(&Capacities::small()).expect("load");
        let run = |loaded: &Loaded, direction, source, destination, protocol, port| {
            loaded
                .programs
                .run(direction, &Frame::flow(source, destination, protocol, port).bytes(), 1)
                .expect("run")
        };
        let before = run(&loaded, Direction::Ingress, FRIEND, POD, 6, 80);
        assert!(!before.passes(), "nothing is programmed yet");
        loaded.store.apply(&writes(&small(1))).expect("write");
        for (peer, protocol, port, passes) in [
            (FRIEND, 6, 80, true),
            (GUEST, 17, 53, true),
            (GUEST, 17, 54, false),
            (GUEST, 6, 53, false),
            (STRANGER, 6, 80, false),
        ] {
            let got = run(&loaded, Direction::Ingress, peer, POD, protocol, port);
            assert_eq!(got.passes(), passes, "from {peer:?} {protocol}/{port}");
            let got = run(&loaded, Direction::Egress, POD, peer, protocol, port);
            assert_eq!(got.passes(), passes, "to {peer:?} {protocol}/{port}");
        }
        assert!(!run(&loaded, Direction::Egress, FRIEND, POD, 6, 80).passes(), "spoofed");
    });
}

#[test]
fn a_restart_reads_what_was_there() {
    isolated(|bpffs| {
        let dir = bpffs.join("isolator");
        let image = large();
        let mut first = Loaded::open(&dir, &Capacities::small()).expect("first");
        first.store.apply(&writes(&image)).expect("write");
        drop(first);
        let second = Loaded::open(&dir, &Capacities::small()).expect("second");
        assert_eq!(second.store.read_image().expect("read"), image);
    });
}

#[test]
fn a_second_agent_is_refused_by_name() {
    isolated(|bpffs| {
        let dir = bpffs.join("isolator");
        let _first = Loaded::open(&dir, &Capacities::small()).expect("first");
        let refused = Loaded::open(&dir, &Capacities::small()).expect_err("second");
        let own = std::process::id();
        assert!(matches!(refused, LoadError::Busy { pid: Some(pid), .. } if pid == own), "{refused}");
    });
}

#[test]
fn maps_of_another_shape_or_version_are_refused() {
    isolated(|bpffs| {
        let dir = bpffs.join("isolator");
        let mut first = Loaded::open(&dir, &Capacities::small()).expect("first");
        let strange = State { abi_version: 999, ..State::default() };
        first.store.apply(&[Op::State(strange)]).expect("write");
        drop(first);
        let refused = Loaded::open(&dir, &Capacities::small()).expect_err("other version");
        assert!(matches!(refused, LoadError::Abi { found: 999, .. }), "{refused}");
        let larger = Capacities::small().with(name::HOSTS, 1 << 13);
        let refused = Loaded::open(&dir, &larger).expect_err("other capacity");
        assert!(refused.to_string().contains("HOSTS: capacity is 4096"), "{refused}");
        let unknown = Capacities::small().with("NO_SUCH_MAP", 1);
        assert!(matches!(Loaded::ephemeral(&unknown), Err(LoadError::UnknownMap(_))));
    });
}

#[test]
fn a_full_map_says_which_operation_did_not_fit() {
    isolated(|_| {
        let mut loaded = Loaded::ephemeral(&Capacities::small().with(name::HOSTS, 10)).expect("load");
        let peer = Some(Peer { identity: 1, groups: [1, 1] });
        let mut ops = vec![Op::Cell(1, Word(1))];
        ops.extend((0..100).map(|i| Op::Host(Addr::v4([10, 0, 0, i]), peer)));
        let error = loaded.store.apply(&ops).expect_err("no room");
        let StoreError::Full { op, map: name::HOSTS, capacity: 10 } = error else { panic!("{error}") };
        // The kernel may let a hash without preallocation grow a little beyond its capacity.
        let held = loaded.store.read_image().expect("read").hosts.len();
        assert_eq!(op, 1 + held, "everything before the operation is there, nothing after it");
    });
}
