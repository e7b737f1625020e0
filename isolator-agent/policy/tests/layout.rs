//! Numbers that stay, room that runs out, and small changes that stay small. Not here: what packets see
//! meanwhile (`one_switch`).

use isolator_common::addr::{Addr, Prefix};
use isolator_common::endpoint::{Endpoint, Peer};
use isolator_common::tables::name;
use isolator_policy::datapath::compiled::{
    Behind, CellSpec, Compiled, Effect, EndpointSpec, GroupIndex, ReasonIndex, RowIndex, VerdictSpec,
};
use isolator_policy::datapath::diff::{diff, take_up};
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::layout::{Attachment, Capacities, Capacity, Params, layout};
use isolator_policy::meaning::why::By;
use isolator_policy::model::PodKey;
use std::collections::BTreeMap;
use std::time::Instant;

/// Compiled policy and the interfaces it is for.
struct Node {
    compiled: Compiled,
    attachments: BTreeMap<u32, Attachment>,
}

fn pod(index: u8) -> PodKey {
    PodKey { namespace: "lab".into(), name: format!("pod-{index}") }
}

fn params() -> Params {
    Params { ticks_per_second: 100, events_per_second: 100, capacities: Capacities::default() }
}

fn all(effect: Effect) -> CellSpec {
    CellSpec::All(VerdictSpec { effect, reason: ReasonIndex(0) })
}

fn behind(group: u32) -> Behind {
    Behind { identity: 100 + group, group: GroupIndex(group) }
}

fn addr(number: u32) -> Addr {
    let [_, b, c, d] = number.to_be_bytes();
    Addr::v4([10, b, c, d])
}

/// Endpoints on the interfaces 2 and up, each with one row for both directions; group 0 is the outside.
fn node(rows: Vec<Vec<CellSpec>>, endpoints: &[u32], addresses: impl Iterator<Item = (Addr, u32)>) -> Node {
    let spec = |row: u32| EndpointSpec {
        identity: 9,
        tenant: 0,
        addrs: [None, None],
        rows: [RowIndex(row); 2],
        connection_first: [false; 2],
    };
    let numbered = || endpoints.iter().enumerate();
    Node {
        compiled: Compiled {
            groups: rows[0].len() as u32,
            addresses: addresses.map(|(addr, group)| (addr, behind(group))).collect(),
            prefixes: [Prefix::ALL_V4, Prefix::ALL_V6].map(|prefix| (prefix, behind(0))).into(),
            rows: rows.into(),
            endpoints: numbered().map(|(i, row)| (pod(i as u8), spec(*row))).collect(),
            reasons: vec![By::LocalHost],
            ..Compiled::default()
        },
        attachments: numbered().map(|(i, _)| (2 + i as u32, Attachment::of(Some(pod(i as u8))))).collect(),
    }
}

fn next(image: &Image, world: &Node) -> Image {
    layout(image, &world.compiled, &world.attachments, &params()).expect("fits")
}

#[test]
fn endpoints_that_part_over_a_new_group_do_not_share_cells() {
    let row = |cells: &[Effect]| cells.iter().map(|effect| all(*effect)).collect::<Vec<_>>();
    let same = node(vec![row(&[Effect::Allow])], &[0, 0], [].into_iter());
    let image = next(&Image::default(), &same);
    assert_eq!(image.endpoints[&2].rows, image.endpoints[&3].rows);
    // Both rows agree about every group in force; either could have the old cells, not both.
    let parted = node(
        vec![row(&[Effect::Allow, Effect::Allow]), row(&[Effect::Allow, Effect::Deny])],
        &[0, 1],
        [(addr(1), 1)].into_iter(),
    );
    let parted = next(&image, &parted);
    let [a, b] = [2, 3].map(|ifindex| parted.endpoints[&ifindex].rows[0][0]);
    assert_eq!(a, image.endpoints[&2].rows[0][0], "the first keeps its cells");
    assert!(a.base + a.len <= b.base || b.base + b.len <= a.base);
}

#[test]
fn a_block_that_was_freed_in_a_cut_off_update_is_emptied_before_it_is_used() {
    let world = |block: u32, count: u32| {
        node(vec![vec![all(Effect::Allow); 2]], &[0], (0..count).map(move |i| (addr(block << 8 | i), 1)))
    };
    let mut image = next(&Image::default(), &world(1, 10));
    let emptied = next(&image, &world(1, 0));
    for op in diff(&image.clone(), &emptied) {
        image.apply(&op);
        if matches!(op, Op::Block(_, None)) {
            break;
        }
    }
    assert!(image.blocks.is_empty() && !image.block_peers.is_empty(), "cut off between the two");
    let half = (image.state.generation & 1) as usize;
    let again = next(&image, &world(2, 9));
    assert_eq!(again.blocks.values().collect::<Vec<_>>(), [&0]);
    let before = image.state.generation;
    for op in take_up(&image.clone(), &again) {
        image.apply(&op);
        if image.blocks.contains_key(&addr(2 << 8)) && image.state.generation == before {
            assert!(image.block_peers.values().all(|peer| peer.groups[half] == Peer::ABSENT), "{op:?}");
        }
    }
    assert_eq!(image, again);
}

#[test]
fn what_does_not_concern_verdicts_needs_no_switch() {
    let mut world = node(vec![vec![all(Effect::Allow); 2]], &[0], (0..9).map(|i| (addr(i * 100), 1)));
    let image = next(&Image::default(), &world);
    for behind in world.compiled.addresses.values_mut().chain(world.compiled.prefixes.values_mut()) {
        behind.identity += 1000;
    }
    world.compiled.identities.insert(5, "label=value".into());
    let renamed = next(&image, &world);
    assert_ne!(renamed, image);
    assert_eq!(renamed.state, image.state);
    let ops = diff(&image, &renamed);
    assert!(ops.iter().all(|op| !matches!(op, Op::State(_) | Op::Grace | Op::Cell(..) | Op::Endpoint(..))));
}

#[test]
fn endpoints_of_one_tenant_share_their_events() {
    let mut world = node(vec![vec![all(Effect::Allow)]], &[0; 5], std::iter::empty());
    for (index, tenant) in [(0, 7), (1, 8), (2, 7), (3, 8)] {
        world.compiled.endpoints.get_mut(&pod(index)).expect("there").tenant = tenant;
    }
    let image = next(&Image::default(), &world);
    let shares = |image: &Image| image.endpoints.values().map(|endpoint| endpoint.share).collect::<Vec<_>>();
    assert_eq!(shares(&image), [0, 1, 0, 1, 4]);
    // They stay when the first goes, as long as nobody else takes the place.
    world.attachments.remove(&2);
    assert_eq!(shares(&next(&image, &world)), [1, 2, 1, 4]);
}

#[test]
fn another_pod_on_the_same_interface_has_another_id() {
    let mut world = node(vec![vec![all(Effect::Allow)]], &[0, 0], [].into_iter());
    let image = next(&Image::default(), &world);
    world.attachments.insert(2, Attachment::of(Some(pod(1))));
    let swapped = next(&image, &world);
    assert_ne!(swapped.endpoints[&2].id, image.endpoints[&2].id);
    assert_ne!(swapped.endpoints[&2].id, swapped.endpoints[&3].id);
    assert_eq!(swapped.endpoints[&3].id, image.endpoints[&3].id);
    world.attachments.insert(2, Attachment::of(None));
    let unknown: Endpoint = next(&swapped, &world).endpoints[&2];
    assert_eq!((unknown.flags, unknown.slot), (0, image.endpoints[&2].slot));
    assert!(unknown.id != swapped.endpoints[&2].id && unknown.id != image.endpoints[&2].id);
}

#[test]
fn a_pod_that_is_not_known_yet_may_answer_from_the_addresses_of_its_sandbox() {
    let mut world = node(vec![vec![all(Effect::Allow)]], &[0], [].into_iter());
    let own = Addr::v4([10, 0, 0, 9]);
    world.attachments.insert(2, Attachment { pod: None, addrs: [Some(own), None] });
    let unknown = next(&Image::default(), &world).endpoints[&2];
    assert_eq!((unknown.flags, unknown.addrs), (0, [own, Addr::UNSPECIFIED]));
}

#[test]
fn a_map_that_is_too_small_is_named_before_anything_is_written() {
    let world = node(
        vec![vec![all(Effect::Allow); 3], vec![all(Effect::Deny); 3]],
        &[0, 1],
        (0..20).map(|i| (addr(i << 8), 1 + i % 2)),
    );
    let needs = |shrink: fn(&mut Capacities)| {
        let mut params = params();
        shrink(&mut params.capacities);
        layout(&Image::default(), &world.compiled, &world.attachments, &params).map(|_| ())
    };
    let short = |map, needed, available| Err(Capacity { map, needed, available });
    assert_eq!(needs(|_| {}), Ok(()));
    assert_eq!(needs(|c| c.hosts = 19), short(name::HOSTS, 20, 19));
    assert_eq!(needs(|c| c.prefixes = 1), short(name::PREFIXES, 2, 1));
    assert_eq!(needs(|c| c.cells = 7), short(name::CELLS, 8, 7));
    assert_eq!(needs(|c| c.cells = 8), Ok(()), "without slack it fits");
    assert_eq!(needs(|c| c.endpoints = 1), short(name::ENDPOINTS, 2, 1));
    assert_eq!(needs(|c| c.names = 1), short(name::NAMES, 3, 1));
    // What is in force counts, too: the addresses of both images lie in the map for a while.
    let image = next(&Image::default(), &world);
    let moved = node(vec![vec![all(Effect::Allow); 3]], &[0], (20..40).map(|i| (addr(i << 8), 1)));
    let tight = Params { capacities: Capacities { hosts: 39, ..Capacities::default() }, ..params() };
    let result = layout(&image, &moved.compiled, &moved.attachments, &tight).map(|_| ());
    assert_eq!(result, short(name::HOSTS, 40, 39));
}

#[test]
fn a_small_change_among_many_addresses_is_a_few_operations() {
    const ADDRESSES: u32 = 100_000;
    let cell = |group: u32, row: u32| {
        all(if (group + row).is_multiple_of(3) { Effect::Deny } else { Effect::Allow })
    };
    let rows: Vec<Vec<CellSpec>> =
        (0..40).map(|row| (0..1000).map(|group| cell(group, row)).collect()).collect();
    let endpoints: Vec<u32> = (0..100).map(|i| i % 40).collect();
    // Half dense, half alone in their blocks.
    let place = |i: u32| if i.is_multiple_of(2) { addr(i / 2) } else { addr((i << 7) + (1 << 23)) };
    let world = |changed: u32| {
        let group = move |i: u32| if i == changed { 999 } else { 1 + i % 900 };
        node(rows.clone(), &endpoints, (0..ADDRESSES).map(move |i| (place(i), group(i))))
    };
    let first = world(ADDRESSES);
    let image = next(&Image::default(), &first);
    let second = world(7);
    let start = Instant::now();
    let changed = next(&image, &second);
    let laid_out = start.elapsed();
    let ops = diff(&image, &changed);
    println!(
        "{ADDRESSES} addresses, 40 rows of 1000 groups: layout {laid_out:?}, diff {:?}",
        start.elapsed() - laid_out
    );
    let addresses =
        ops.iter().filter(|op| matches!(op, Op::Host(..) | Op::BlockPeer(..) | Op::Block(..))).count();
    assert_eq!(addresses, 2, "one address, one write in each half");
    assert!(ops.len() <= 2 + 40 + 3, "a cell in each row: {}", ops.len());
    assert_eq!(next(&changed, &second), changed);
}

#[test]
fn one_row_that_changes_among_many_leaves_the_cells_of_the_others_alone() {
    let world = |changed: Effect| {
        let cell = |row: u32, group: u32| match (row, group) {
            (100, 200) => all(changed),
            _ if group < row => all(Effect::Deny),
            _ => all(Effect::Allow),
        };
        let rows = (0..200).map(|row| (0..300).map(|group| cell(row, group)).collect()).collect();
        node(rows, &(0..200).collect::<Vec<_>>(), (0..299).map(|i| (addr(i), 1 + i)))
    };
    let image = next(&Image::default(), &world(Effect::Allow));
    let changed = next(&image, &world(Effect::AllowTracked));
    // The row moves: its cells are blanked where they were, and written where they are. 300 each, of 60,000, with
    // what is in their chunks.
    let looked_at = image.cells.pairs(&changed.cells).count();
    assert!((600..4_000).contains(&looked_at), "{looked_at} of {} cells", image.cells.len());
    assert!(image.intervals.is_same(&changed.intervals));
}

#[test]
fn blocks_do_not_flap() {
    let world = |count: u32| node(vec![vec![all(Effect::Allow); 2]], &[0], (0..count).map(|i| (addr(i), 1)));
    let mut image = Image::default();
    for (count, dense) in [(7, false), (8, true), (5, true), (4, true), (3, false), (5, false), (8, true)] {
        image = next(&image, &world(count));
        assert_eq!(!image.blocks.is_empty(), dense, "{count}");
        assert_eq!(image.hosts.is_empty(), dense, "{count}");
        assert_eq!(next(&image, &world(count)), image);
    }
    assert_eq!(BTreeMap::from([(addr(0), 0)]).len(), image.blocks.len());
}
