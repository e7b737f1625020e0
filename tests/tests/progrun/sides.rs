//! The two sides that must agree: the programs in the kernel, and `judge` in memory. One packet on both, and what
//! each remembers of it. Not here: which packets.

use crate::maps::{FOREIGN, IFINDEX, SENDER_SLOT, SLOT, base, peer, pod};
use crate::packet::{Packet, refused};
use aya::programs::ProgramError;
use isolator_agent::datapath::hook::Hook;
use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_agent::datapath::read::ReadOnly;
use isolator_agent::datapath::run::RunResult;
use isolator_common::conntrack::{Connection, ConnectionKey, Table};
use isolator_common::judge::Outcome;
use isolator_common::packet::Start;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::memory::{Memory, judge_frame, judge_marked};
use isolator_tests::image::writes;
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) type Counters = BTreeMap<(u32, Direction, Reason), (u64, u64)>;
pub(crate) type Connections = BTreeMap<(Table, ConnectionKey), Connection>;

pub(crate) fn counters(kernel: &ReadOnly) -> Counters {
    let of = |slot| {
        let counters = kernel.counters(slot).expect("read counters");
        counters.into_iter().map(move |c| ((slot, c.direction, c.reason), (c.packets, c.bytes)))
    };
    of(SLOT).chain(of(SENDER_SLOT)).collect()
}

pub(crate) fn counters_in(memory: &Memory) -> Counters {
    let slots = [SLOT, SENDER_SLOT].into_iter();
    let ways = slots.flat_map(|slot| Direction::BOTH.map(|direction| (slot, direction)));
    let all = ways.flat_map(|(slot, d)| Reason::ALL.iter().map(move |reason| (slot, d, *reason)));
    all.map(|(slot, direction, reason)| ((slot, direction, reason), memory.counted(slot, direction, reason)))
        .filter(|(_, count)| count.packets != 0)
        .map(|(key, count)| (key, (count.packets, count.bytes)))
        .collect()
}

/// Entries but for their times, which are the kernel's.
pub(crate) fn connections(all: impl IntoIterator<Item = (Table, ConnectionKey, Connection)>) -> Connections {
    all.into_iter().map(|(table, key, entry)| ((table, key), Connection { seen: 0, ..entry })).collect()
}

pub(crate) fn connections_in(memory: &Memory) -> Connections {
    let tables = [Table::Established, Table::HalfOpen].into_iter();
    connections(
        tables.flat_map(|table| {
            memory.connections(table).into_iter().map(move |(key, entry)| (table, key, entry))
        }),
    )
}

/// Whether a test run shows the bytes of a packet to a program of a cgroup: older kernels (6.1 still) leave out
/// to compute where they end, which they do for packets that are really received (`bpf_prog_test_run_skb` of
/// `net/bpf/test_run.c`). There the program is tested on packets alone.
pub(crate) fn host_is_shown_bytes(dir: &Path) -> bool {
    let pins = dir.join("probe");
    let mut loaded = Loaded::open(&pins, &Capacities::small()).expect("load");
    let image = base();
    loaded.store.apply(&writes(&image)).expect("write");
    let frame = Frame::udp(peer(0, false), pod(false), 1, 2).bytes();
    loaded.programs.run_host(&frame, image.marking.marked(FOREIGN, SENDER_SLOT)).expect("run");
    let met = counters(&ReadOnly::open(&pins).expect("open the maps"));
    std::fs::remove_dir_all(&pins).expect("unpin");
    let shown = !met.keys().any(|(_, _, reason)| *reason == Reason::Truncated);
    if !shown {
        println!("SKIPPED to_host: a test run on this kernel shows no bytes to a program of a cgroup");
    }
    shown
}

/// One packet on both sides: what memory says, and whether the kernel lets it pass. Marks are checked here.
pub(crate) fn both(
    loaded: &Loaded,
    memory: &Memory,
    packet: Packet,
    frame: &[u8],
    host: bool,
) -> (Outcome, bool) {
    let programs = &loaded.programs;
    let ran = |ran: Result<(RunResult, u32), ProgramError>| {
        ran.unwrap_or_else(|error| panic!("{packet:?} {frame:02x?}: {error:?}"))
    };
    let marking = memory.image.marking;
    let Some(slot) = packet.mark() else {
        let direction = packet.direction();
        let outcome = judge_frame(memory, IFINDEX, frame, direction);
        let (result, mark) = ran(programs.run_marked(direction, frame, FOREIGN, 1));
        let wanted =
            if outcome.reason == Reason::ToService { marking.marked(FOREIGN, SLOT) } else { FOREIGN };
        assert_eq!(mark, wanted, "{packet:?}: {outcome:?}");
        return (outcome, result.passes());
    };
    let before = marking.marked(FOREIGN, slot);
    let network = frame.get(14..).filter(|packet| packet.len() >= 14);
    let (outcome, (result, after), was_host) = match (packet.mark >> 3 & 3, network) {
        (0, _) => {
            let outcome = judge_marked(memory, slot, None, frame, Start::Ethernet);
            (outcome, ran(programs.run_marked(Hook::ToWire, frame, before, 1)), false)
        }
        // The kernel looks at an Ethernet type where there is none.
        (1, Some(network)) if !refused(network) => {
            let outcome = judge_marked(memory, slot, None, network, Start::Network);
            (outcome, ran(programs.run_marked(Hook::ToTunnel, network, before, 1)), false)
        }
        (2, _) if host => {
            let outcome = judge_marked(memory, slot, None, &frame[14..], Start::Network);
            (outcome, ran(programs.run_host(frame, before)), true)
        }
        _ => {
            let outcome = judge_marked(memory, slot, Some(IFINDEX), frame, Start::Ethernet);
            (outcome, ran(programs.run_marked(Hook::ToPod, frame, before, 1)), false)
        }
    };
    let passes = if was_host { result.retval == 1 } else { result.passes() };
    assert_eq!(after, if passes { FOREIGN } else { before }, "{packet:?}: {outcome:?}");
    (outcome, passes)
}
