//! What `parse` and `judge` make of packets, over maps in memory: connections, ICMP errors, fragments,
//! spoofing, neighbour discovery, truncation. Not here: what policies mean, the kernel.

#[path = "judge/whose.rs"]
mod whose;

use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::{Connection, Table, lifetime, protocol};
use isolator_common::packet::{Parsed, parse};
use isolator_common::policy::{Direction, Kind, Word, port_key};
use isolator_common::reason::Reason;
use isolator_policy::datapath::compiled::{
    Behind, CellSpec, Compiled, Effect, EndpointSpec, GroupIndex, ReasonIndex, RowIndex, VerdictSpec,
};
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::frame::{Frame, arp};
use isolator_policy::datapath::layout::{Attachment, Capacities, Params, layout};
use isolator_policy::datapath::memory::{Memory, judge_frame};
use isolator_policy::meaning::why::By;
use isolator_policy::model::PodKey;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;

use Direction::{Egress, Ingress};

const IFINDEX: u32 = 5;
const TICKS: u32 = 100;
const POD: Addr = Addr::v4([10, 0, 0, 1]);
const PEER: Addr = Addr::v4([10, 0, 0, 2]);
const FOREIGN: Addr = Addr::v4([10, 0, 0, 3]);
const OUTSIDE: Addr = Addr::v4([192, 0, 2, 1]);
const POD6: Addr = v6(1);
const PEER6: Addr = v6(2);

const fn v6(last: u8) -> Addr {
    Addr([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

/// Cells of one direction towards the peer, the outside and the foreign tenant.
type Cells = [CellSpec; 3];

fn verdict(effect: Effect) -> VerdictSpec {
    VerdictSpec { effect, reason: ReasonIndex(0) }
}

fn all(effect: Effect) -> CellSpec {
    CellSpec::All(verdict(effect))
}

/// One port is allowed and tracked, the rest is denied.
fn only(protocol: u8, port: u16) -> CellSpec {
    let key = port_key(protocol, port);
    let (open, closed) = (verdict(Effect::AllowTracked), verdict(Effect::DefaultDeny));
    CellSpec::ByPort([(0, closed), (key, open), (key + 1, closed)].into())
}

fn closed() -> Cells {
    [all(Effect::DefaultDeny), all(Effect::DefaultDeny), all(Effect::Tenancy)]
}

fn web() -> Cells {
    [only(protocol::TCP, 80), only(protocol::TCP, 80), all(Effect::Tenancy)]
}

fn compiled(egress: Cells, ingress: Cells, first: [bool; 2]) -> Compiled {
    let behind = |group| Behind { identity: 10 + group, group: GroupIndex(group) };
    Compiled {
        groups: 3,
        addresses: [(PEER, 0), (PEER6, 0), (FOREIGN, 2)].map(|(addr, group)| (addr, behind(group))).into(),
        prefixes: [Prefix::ALL_V4, Prefix::ALL_V6].map(|prefix| (prefix, behind(1))).into(),
        rows: vec![egress.to_vec(), ingress.to_vec()].into(),
        endpoints: BTreeMap::from([(
            pod(),
            EndpointSpec {
                identity: 9,
                tenant: 0,
                addrs: [Some(POD), Some(POD6)],
                rows: [RowIndex(0), RowIndex(1)],
                connection_first: first,
            },
        )]),
        reasons: vec![By::LocalHost],
        ..Compiled::default()
    }
}

fn pod() -> PodKey {
    PodKey { namespace: "lab".into(), name: "pod".into() }
}

/// Puts a policy in force, with an update's operations.
fn enforce(memory: &mut Memory, compiled: &Compiled) {
    let params = Params { ticks_per_second: TICKS, events_per_second: 10, capacities: Capacities::default() };
    let attachments = BTreeMap::from([(IFINDEX, Attachment::of(Some(pod())))]);
    let next = layout(&memory.image, compiled, &attachments, &params).expect("fits");
    for op in diff(&memory.image, &next) {
        memory.image.apply(&op);
    }
}

fn node(egress: Cells, ingress: Cells) -> Memory {
    let mut memory = Memory::default();
    enforce(&mut memory, &compiled(egress, ingress, [false; 2]));
    memory
}

fn at(memory: &Memory, direction: Direction, frame: &Frame) -> Reason {
    judge_frame(memory, IFINDEX, &frame.bytes(), direction).reason
}

fn client(flags: u8) -> Frame {
    Frame::tcp(POD, PEER, 40000, 80, flags)
}

fn server(flags: u8) -> Frame {
    Frame::tcp(PEER, POD, 80, 40000, flags)
}

const RST: u8 = 4;
const FIN_ACK: u8 = 0x11;

#[test]
fn only_what_was_asked_for_is_answered() {
    let memory = node(web(), closed());
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::New);
    assert_eq!(memory.connections(Table::HalfOpen).len(), 1);
    assert_eq!(at(&memory, Ingress, &Frame::tcp(PEER, POD, 81, 40000, Frame::ACK)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Ingress, &Frame::tcp(PEER, POD, 80, 40001, Frame::ACK)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Ingress, &Frame::udp(PEER, POD, 80, 40000)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Ingress, &Frame::tcp(OUTSIDE, POD, 80, 40000, Frame::ACK)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::Reply);
    assert_eq!(memory.connections(Table::HalfOpen), []);
    assert_eq!(memory.connections(Table::Established).len(), 1);
    assert_eq!(at(&memory, Egress, &client(Frame::ACK)), Reason::Established);
    assert_eq!(at(&memory, Egress, &Frame::tcp(POD, PEER, 40000, 81, Frame::SYN)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Egress, &Frame::tcp(POD, FOREIGN, 40000, 80, Frame::SYN)), Reason::Tenancy);
}

#[test]
fn a_reset_does_not_promote_and_a_closed_connection_opens_again() {
    let memory = node(web(), closed());
    at(&memory, Egress, &client(Frame::SYN));
    assert_eq!(at(&memory, Ingress, &server(RST)), Reason::Reply);
    assert_eq!(memory.connections(Table::Established), []);
    assert_ne!(memory.connections(Table::HalfOpen)[0].1.state & Connection::CLOSED, 0);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::New);
    assert_eq!(memory.connections(Table::HalfOpen)[0].1.state, 0);
    // Both sides close an answered one.
    for (direction, frame) in
        [(Ingress, server(Frame::SYN_ACK)), (Egress, client(FIN_ACK)), (Ingress, server(FIN_ACK))]
    {
        assert!(at(&memory, direction, &frame).passes());
    }
    assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::Reply);
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN)), Reason::DefaultDeny, "the server may not open it");
    memory.set_now((lifetime::CLOSED + 1) * TICKS);
    assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::New);
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::Reply);
}

#[test]
fn a_packet_that_opens_answers_nothing() {
    for first in [false, true] {
        let mut memory = Memory::default();
        enforce(&mut memory, &compiled(web(), closed(), [first; 2]));
        at(&memory, Egress, &client(Frame::SYN));
        // Both open at the same time: the pod's own packet is enough, and its answer passes.
        assert_eq!(at(&memory, Ingress, &server(Frame::SYN)), Reason::DefaultDeny);
        assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::Reply);
        // Nor does an answered connection let the other side open one.
        assert_eq!(at(&memory, Ingress, &server(Frame::SYN)), Reason::DefaultDeny);
        assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::Reply);
    }
}

#[test]
fn a_packet_that_opens_again_is_the_same_connection() {
    let memory = node(web(), closed());
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::New);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::Established);
    memory.set_now(61 * TICKS);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::New, "nobody answered in a minute");
    at(&memory, Ingress, &server(Frame::SYN_ACK));
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::Established);
    assert_eq!((memory.take_events().len(), memory.connections(Table::HalfOpen).len()), (2, 0));
}

#[test]
fn connections_expire() {
    let memory = node(web(), closed());
    at(&memory, Egress, &client(Frame::SYN));
    memory.set_now((lifetime::HALF_OPEN + 1) * TICKS);
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::DefaultDeny);
    at(&memory, Egress, &client(Frame::SYN));
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::Reply);
    memory.set_now((lifetime::HALF_OPEN + lifetime::TCP) * TICKS);
    assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::Reply);
    memory.set_now((lifetime::HALF_OPEN + 2 * lifetime::TCP + 2) * TICKS);
    assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::DefaultDeny);
}

#[test]
fn a_full_table_is_a_drop_with_its_reason() {
    let memory = node(web(), closed());
    memory.set_full(true);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::TableFull);
}

#[test]
fn a_switch_judges_each_connection_once_more() {
    for first in [[false; 2], [true; 2]] {
        for reply_first in [false, true] {
            for allowed in [true, false] {
                let mut memory = Memory::default();
                enforce(&mut memory, &compiled(web(), closed(), first));
                at(&memory, Egress, &client(Frame::SYN));
                at(&memory, Ingress, &server(Frame::SYN_ACK));
                let egress = if allowed {
                    [all(Effect::AllowTracked), all(Effect::Deny), all(Effect::Tenancy)]
                } else {
                    closed()
                };
                enforce(&mut memory, &compiled(egress, closed(), first));
                let packets = [(Egress, client(Frame::ACK)), (Ingress, server(Frame::ACK))];
                let order = if reply_first { [1, 0] } else { [0, 1] };
                for i in order {
                    let (direction, frame) = &packets[i];
                    assert_eq!(at(&memory, *direction, frame).passes(), allowed, "{first:?} {reply_first}");
                }
                // What is denied stays unjudged.
                let left = memory.connections(Table::Established);
                assert_eq!(left.len(), 1);
                let current = left[0].1.generation == memory.image.state.generation;
                assert_eq!(current, allowed);
            }
        }
    }
}

#[test]
fn an_echo_is_answered_and_nothing_else_comes_with_it() {
    for (pod, peer, icmp, [ask, other]) in
        [(POD, PEER, protocol::ICMP, [8u8, 13]), (POD6, PEER6, protocol::ICMPV6, [128, 200])]
    {
        for first in [[false; 2], [true; 2]] {
            let egress = [only(icmp, u16::from(ask)), all(Effect::Deny), all(Effect::Tenancy)];
            let mut memory = Memory::default();
            enforce(&mut memory, &compiled(egress, closed(), first));
            assert_eq!(at(&memory, Egress, &Frame::echo(pod, peer, 7, false)), Reason::New);
            assert!(
                !at(&memory, Ingress, &Frame::echo(peer, pod, 7, false)).passes(),
                "the peer may not ask"
            );
            assert!(!at(&memory, Egress, &Frame::echo(pod, peer, 7, true)).passes(), "nobody asked the pod");
            assert_eq!(at(&memory, Ingress, &Frame::echo(peer, pod, 7, true)), Reason::Reply);
            assert!(!at(&memory, Ingress, &Frame::echo(peer, pod, 8, true)).passes(), "another identifier");
            assert!(!at(&memory, Egress, &Frame::icmp(pod, peer, other, 0)).passes());
            // A type without replies opens nothing, not even for itself.
            let egress = [only(icmp, u16::from(other)), all(Effect::Deny), all(Effect::Tenancy)];
            enforce(&mut memory, &compiled(egress, closed(), first));
            assert!(at(&memory, Egress, &Frame::icmp(pod, peer, other, 0)).passes());
            assert!(!at(&memory, Ingress, &Frame::icmp(peer, pod, other, 0)).passes());
            assert!(!at(&memory, Ingress, &Frame::icmp(peer, pod, other + 1, 0)).passes());
        }
    }
}

#[test]
fn icmp_errors_pass_where_the_packet_they_quote_would() {
    let mut memory = node(web(), closed());
    let about = |from: Addr, quoted: &Frame| Frame::icmp(from, POD, 3, 4).quoting(quoted);
    // About what the pod may send; from any router.
    assert_eq!(at(&memory, Ingress, &about(OUTSIDE, &client(Frame::SYN))), Reason::Related);
    assert_eq!(at(&memory, Ingress, &about(FOREIGN, &client(Frame::SYN))), Reason::Tenancy);
    assert!(!at(&memory, Ingress, &about(PEER, &Frame::udp(POD, PEER, 1, 80))).passes());
    assert_eq!(at(&memory, Ingress, &about(PEER, &Frame::tcp(PEER, PEER, 1, 80, 0))), Reason::BadHeader);
    let later = Frame::other(POD, PEER, protocol::TCP, &[0; 20]).fragment(1, 100, false);
    assert_eq!(at(&memory, Ingress, &about(PEER, &later)), Reason::FragmentWithoutFirst);
    // From the pod about a reply that it got.
    let about_reply = Frame::icmp(POD, PEER, 3, 4).quoting(&server(Frame::ACK));
    assert_eq!(at(&memory, Egress, &about_reply), Reason::DefaultDeny);
    at(&memory, Egress, &client(Frame::SYN));
    assert_eq!(at(&memory, Egress, &about_reply), Reason::Related);
    // The reply would be denied after this switch, and so is the error about it.
    enforce(&mut memory, &compiled(closed(), closed(), [false; 2]));
    assert_eq!(at(&memory, Egress, &about_reply), Reason::DefaultDeny);
}

#[test]
fn later_fragments_follow_their_first() {
    for (pod, peer) in [(POD, PEER), (POD6, PEER6)] {
        let memory = node(web(), closed());
        let first = Frame::tcp(pod, peer, 40000, 80, Frame::SYN).payload(&[0; 12]).fragment(77, 0, true);
        let later = |id| Frame::other(pod, peer, protocol::TCP, &[0; 8]).fragment(id, 4, false);
        assert_eq!(at(&memory, Egress, &later(77)), Reason::FragmentWithoutFirst);
        assert_eq!(at(&memory, Egress, &first), Reason::New);
        assert_eq!(at(&memory, Egress, &later(77)), Reason::Established);
        assert_eq!(at(&memory, Egress, &later(78)), Reason::FragmentWithoutFirst);
        memory.set_now(61 * TICKS);
        assert_eq!(at(&memory, Egress, &later(77)), Reason::FragmentWithoutFirst);
        for place in 1..=2 {
            let tiny = Frame::other(pod, peer, protocol::TCP, &[0; 8]).fragment(77, place, true);
            assert_eq!(at(&memory, Egress, &tiny), Reason::BadFragment);
        }
        let cut = Frame::other(pod, peer, protocol::TCP, &[0; 8]).fragment(79, 0, true);
        assert_eq!(at(&memory, Egress, &cut), Reason::BadFragment);
        // A denied first does not open the way for its rest.
        let denied = Frame::tcp(pod, peer, 40000, 81, Frame::SYN).payload(&[0; 12]).fragment(80, 0, true);
        assert_eq!(at(&memory, Egress, &denied), Reason::DefaultDeny);
        assert_eq!(at(&memory, Egress, &later(80)), Reason::DefaultDeny);
        memory.set_full(true);
        assert_eq!(at(&memory, Egress, &first.clone().fragment(81, 0, true)), Reason::TableFull);
    }
}

#[test]
fn a_pod_speaks_for_itself_alone() {
    let memory = node(
        [all(Effect::Allow), all(Effect::Allow), all(Effect::Allow)],
        [all(Effect::Allow), all(Effect::Allow), all(Effect::Allow)],
    );
    assert_eq!(at(&memory, Egress, &Frame::udp(POD, PEER, 1, 2)), Reason::Allowed);
    assert_eq!(at(&memory, Egress, &Frame::udp(POD, POD, 1, 2)), Reason::Loopback);
    for source in [PEER, FOREIGN, Addr::v4([0; 4])] {
        assert_eq!(at(&memory, Egress, &Frame::udp(source, PEER, 1, 2)), Reason::Spoofed);
    }
    for source in [PEER6, Addr::UNSPECIFIED] {
        assert_eq!(at(&memory, Egress, &Frame::udp(source, PEER6, 1, 2)), Reason::Spoofed);
    }
    let link_local = Addr([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    for (source, kind, target, reason) in [
        (POD6, 135, PEER6, Reason::Neighbour),
        (link_local, 135, PEER6, Reason::Neighbour),
        (Addr::UNSPECIFIED, 135, POD6, Reason::Neighbour),
        (PEER6, 135, POD6, Reason::Spoofed),
        (POD6, 136, POD6, Reason::Neighbour),
        (link_local, 136, link_local, Reason::Neighbour),
        (POD6, 136, PEER6, Reason::Spoofed),
        (POD6, 133, PEER6, Reason::Neighbour),
        (link_local, 134, PEER6, Reason::RouterSpoof),
        (link_local, 137, PEER6, Reason::RouterSpoof),
    ] {
        let frame = Frame::neighbour(source, PEER6, kind, target);
        assert_eq!(at(&memory, Egress, &frame), reason, "{kind} from {source:?}");
        assert_eq!(at(&memory, Ingress, &Frame::neighbour(source, POD6, kind, target)), Reason::Neighbour);
        assert_eq!(at(&memory, Egress, &frame.hop_limit(64)), Reason::BadHeader);
    }
    for (sender, reason) in
        [(POD, Reason::Neighbour), (Addr::v4([0; 4]), Reason::Neighbour), (PEER, Reason::Spoofed)]
    {
        assert_eq!(judge_frame(&memory, IFINDEX, &arp(1, sender, PEER), Egress).reason, reason);
    }
}

#[test]
fn what_is_not_programmed_is_dropped() {
    let frame = client(Frame::SYN).bytes();
    let mut memory = node(web(), closed());
    assert_eq!(judge_frame(&memory, IFINDEX + 1, &frame, Egress).reason, Reason::UnknownEndpoint);
    memory.image.state.generation = 0;
    assert_eq!(judge_frame(&memory, IFINDEX, &frame, Egress).reason, Reason::NoState);
    memory.image.state.generation = 1;
    memory.image.cells.clear();
    assert_eq!(judge_frame(&memory, IFINDEX, &frame, Egress).reason, Reason::Unprogrammed);
    memory.image.hosts.clear();
    memory.image.prefixes.clear();
    // What was found lately counts for its generation alone.
    memory.image.state.generation = 3;
    assert_eq!(judge_frame(&memory, IFINDEX, &frame, Egress).reason, Reason::UnknownAddress);
    assert_eq!(memory.counted(0, Egress, Reason::UnknownAddress).packets, 1);
    assert_eq!(memory.take_events().len(), 3, "each drop at an endpoint is reported");
}

/// Packets of all forms that are parsed.
fn frames() -> Vec<Frame> {
    let mut frames = Vec::new();
    for (a, b) in [(POD, PEER), (POD6, PEER6)] {
        frames.push(Frame::tcp(a, b, 40000, 80, Frame::SYN));
        frames.push(Frame::udp(a, b, 40000, 53).payload(b"question"));
        frames.push(Frame::sctp(a, b, 40000, 9).vlan(1));
        frames.push(Frame::echo(a, b, 7, false).qinq(2).vlan(3));
        frames.push(Frame::icmp(a, b, 3, 1).quoting(&Frame::tcp(b, a, 80, 40000, Frame::ACK)));
        frames.push(Frame::other(a, b, 47, &[0; 8]));
        frames.push(Frame::udp(a, b, 1, 2).payload(&[0; 32]).fragment(5, 0, true));
        frames.push(Frame::other(a, b, 17, &[0; 16]).fragment(5, 5, false));
    }
    frames.push(Frame::tcp(POD, PEER, 40000, 80, Frame::SYN).options(&[7, 3, 4]));
    let chain = Frame::tcp(POD6, PEER6, 40000, 80, Frame::SYN).extension(0, &[]).extension(60, &[0; 20]);
    frames.push(chain.extension(51, &[0; 22]).extension(43, &[]));
    frames.push(Frame::neighbour(POD6, PEER6, 135, PEER6));
    frames
}

fn facts(bytes: &[u8]) -> Result<Parsed, Reason> {
    let mut parsed = Parsed::NOTHING;
    match parse(bytes, &mut parsed) {
        None => Ok(parsed),
        Some(reason) => Err(reason),
    }
}

#[test]
fn a_truncated_packet_never_passes() {
    let open = || [all(Effect::Allow), all(Effect::Allow), all(Effect::Allow)];
    let memory = node(open(), open());
    for frame in frames() {
        let bytes = frame.bytes();
        assert!(judge_frame(&memory, IFINDEX, &bytes, Egress).reason.passes(), "{frame:?}");
        let whole = facts(&bytes);
        for end in 0..bytes.len() {
            let outcome = judge_frame(&memory, IFINDEX, &bytes[..end], Egress);
            assert!(!outcome.reason.passes(), "{frame:?} cut to {end} of {}: {outcome:?}", bytes.len());
            assert!(facts(&bytes[..end]).is_err() || facts(&bytes[..end]) == whole);
        }
    }
}

#[test]
fn absurd_chains_of_headers_are_dropped() {
    let memory = node(web(), closed());
    let mut frame = Frame::tcp(POD6, PEER6, 40000, 80, Frame::SYN);
    for _ in 0..7 {
        frame = frame.extension(60, &[]);
    }
    assert_eq!(at(&memory, Egress, &frame), Reason::BadExtension);
    let twice = Frame::tcp(POD6, PEER6, 1, 80, 0).extension(60, &[]).extension(0, &[]);
    assert_eq!(at(&memory, Egress, &twice), Reason::BadExtension);
    let fragments = Frame::udp(POD6, PEER6, 1, 80).extension(44, &[0, 1, 0, 0, 0, 7]);
    let twice = fragments.extension(44, &[0, 1, 0, 0, 0, 7]);
    assert_eq!(at(&memory, Egress, &twice), Reason::BadExtension);
    let mut unknown = client(Frame::SYN).bytes();
    unknown[12..14].copy_from_slice(&[0x88, 0x47]);
    assert_eq!(judge_frame(&memory, IFINDEX, &unknown, Egress).reason, Reason::UnsupportedProtocol);
}

#[test]
fn lengths_that_cannot_be_are_dropped() {
    let memory = node(web(), closed());
    let whole = Frame::tcp(POD, PEER, 40000, 80, Frame::SYN).bytes();
    // Version and length of the IP header, its total length, the length of the TCP header.
    for (at, value) in [(14, 0x44), (14, 0x55), (17, 1), (17, 19), (46, 0x40), (46, 0)] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        let reason = judge_frame(&memory, IFINDEX, &bytes, Egress).reason;
        assert_eq!(reason, Reason::BadHeader, "byte {at} is {value:#x}");
    }
    assert_eq!(judge_frame(&memory, IFINDEX, &whole, Egress).reason, Reason::New);
}

/// Fixed cases unless somebody asks for others with PROPTEST_CASES or PROPTEST_RNG_SEED.
fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(2);
    }
    config
}

/// One step of a random conversation.
#[derive(Clone, Debug)]
enum Step {
    Packet { egress: bool, remote: usize, local_port: u16, remote_port: u16, kind: usize, flags: u8 },
    Wait(u32),
    Enforce(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop::sample::select(vec![Frame::SYN, Frame::SYN_ACK, Frame::ACK, FIN_ACK, RST]);
    let ports = || prop::sample::select(vec![80u16, 40000]);
    let packet = (any::<bool>(), 0..3usize, ports(), ports(), 0..5usize, flags);
    prop_oneof![
        8 => packet.prop_map(|(egress, remote, local_port, remote_port, kind, flags)| Step::Packet {
            egress, remote, local_port, remote_port, kind, flags
        }),
        1 => prop::sample::select(vec![TICKS, 11 * TICKS, 61 * TICKS]).prop_map(Step::Wait),
        1 => (0..4usize).prop_map(Step::Enforce),
    ]
}

fn conversation(step: &Step) -> Option<(Direction, Frame)> {
    let Step::Packet { egress, remote, local_port, remote_port, kind, flags } = step else { return None };
    let remote = [PEER, OUTSIDE, FOREIGN][*remote];
    let direction = if *egress { Egress } else { Ingress };
    let (from, to, source, destination) = if *egress {
        (POD, remote, *local_port, *remote_port)
    } else {
        (remote, POD, *remote_port, *local_port)
    };
    let frame = match kind {
        0 | 1 => Frame::tcp(from, to, source, destination, *flags),
        2 => Frame::udp(from, to, source, destination),
        3 => Frame::echo(from, to, 7, flags & 1 == 0),
        _ => Frame::icmp(from, to, 13, 0),
    };
    Some((direction, frame))
}

/// A cell, and the same with `Allow` where the other direction allows everything.
fn cells(choice: &[u8; 3], opposite: &[u8; 3]) -> Cells {
    std::array::from_fn(|group| match (choice[group], opposite[group]) {
        (0, 0) => all(Effect::Allow),
        (0, _) => all(Effect::AllowTracked),
        (1, _) => all(Effect::Deny),
        (2, _) => only(protocol::TCP, 80),
        _ => only(protocol::ICMP, 8),
    })
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn the_order_of_look_ups_never_changes_a_verdict(
        policies in prop::collection::vec(([0..4u8, 0..4, 0..4], [0..4u8, 0..4, 0..4]), 4),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let node = |first: bool| {
            let mut memory = Memory::default();
            enforce(&mut memory, &compiled(cells(&policies[0].0, &policies[0].1), cells(&policies[0].1, &policies[0].0), [first; 2]));
            memory
        };
        let mut nodes = [node(false), node(true)];
        let mut now = 0;
        for step in &steps {
            match step {
                Step::Wait(ticks) => now += ticks,
                Step::Enforce(policy) => {
                    let (egress, ingress) = &policies[*policy];
                    for (node, first) in nodes.iter_mut().zip([false, true]) {
                        enforce(node, &compiled(cells(egress, ingress), cells(ingress, egress), [first; 2]));
                    }
                }
                Step::Packet { .. } => {
                    let (direction, frame) = conversation(step).expect("a packet");
                    let passes = nodes.each_ref().map(|node| {
                        node.set_now(now);
                        at(node, direction, &frame).passes()
                    });
                    prop_assert_eq!(passes[0], passes[1], "{:?} of {:?}", step, steps);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(frame in 0..19usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>()) {
        let memory = node(web(), closed());
        let mut bytes = frames()[frame].bytes();
        for (index, byte) in &changes {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        for direction in Direction::BOTH {
            judge_frame(&memory, IFINDEX, &bytes, direction);
        }
    }
}

/// The ports lie behind the options, however many there are.
#[test]
fn options_of_every_length_are_skipped() {
    let memory = node(web(), closed());
    for words in 0..=10_u8 {
        let options = vec![1; usize::from(words) * 4];
        let frame =
            |port| Frame::tcp(POD, PEER, 40000 + u16::from(words), port, Frame::SYN).options(&options);
        assert_eq!(at(&memory, Egress, &frame(80)), Reason::New, "{words} words");
        assert_eq!(at(&memory, Egress, &frame(81)), Reason::DefaultDeny, "{words} words");
    }
}

/// The cell after a row's last belongs to another row, which may allow.
#[test]
fn a_group_beyond_the_row_is_denied() {
    let open = || [all(Effect::Allow), all(Effect::Allow), all(Effect::Allow)];
    let mut memory = node(open(), open());
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::Allowed);
    let (generation, endpoint) = (memory.image.state.generation, memory.image.endpoints[&IFINDEX]);
    let row = endpoint.row(generation, Egress);
    for index in 0..64 {
        memory.image.cells.insert(row.base + row.len + index, Word::new(Kind::Allow, 1));
    }
    for len in [row.len, row.len + 1, u32::MAX] {
        for addr in [PEER, OUTSIDE] {
            let peers = memory.image.block_peers.values_mut().chain(memory.image.hosts.values_mut());
            peers.chain(memory.image.prefixes.values_mut()).for_each(|peer| peer.groups = [len; 2]);
            memory.forget_all();
            let frame = Frame::tcp(POD, addr, 40000, 80, Frame::SYN);
            assert_eq!(at(&memory, Egress, &frame), Reason::Unprogrammed, "group {len}, {addr:?}");
        }
    }
}
