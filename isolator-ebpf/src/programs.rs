//! The hooks. On the host side of a pod's interface `from_pod` at TC ingress sees what the pod sends, `to_pod` at
//! TC egress what it receives. What goes to a Service address is marked by the first and judged again by `to_pod`,
//! or where it leaves the node (`to_wire`, `to_tunnel`), or where the node itself receives it (`to_host`). The only
//! place where a verdict becomes an action.
#![expect(unsafe_code, reason = "the context is a raw pointer from the kernel")]
#![expect(unreachable_pub, reason = "the loader finds programs by their public symbol")]

use crate::bytes::Linear;
use crate::maps::SCRATCH;
use crate::view::Maps;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{cgroup_skb, classifier};
use aya_ebpf::programs::{SkBuffContext, TcContext};
use isolator_common::judge::{Arrival, Marked, judge, judge_received, judge_sent, usual};
use isolator_common::packet::Start;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_common::tables::Tables as _;

/// What the pod sends.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    action(&ctx, Direction::Egress)
}

/// What the pod receives.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    match slot(ctx.skb.skb) {
        Some(slot) => received(&ctx, slot),
        None => action(&ctx, Direction::Ingress),
    }
}

/// What leaves the node by a device with Ethernet headers.
#[classifier]
pub fn to_wire(ctx: TcContext) -> i32 {
    leaving(&ctx, Start::Ethernet)
}

/// What leaves the node by a device without.
#[classifier]
pub fn to_tunnel(ctx: TcContext) -> i32 {
    leaving(&ctx, Start::Network)
}

/// What the node receives itself. Here 1 passes and 0 drops.
#[cgroup_skb]
pub fn to_host(ctx: SkBuffContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let Some(slot) = slot(skb) else { return 1 };
    // SAFETY: as in `slot`.
    let length = unsafe { (*skb).len };
    sent(skb, Marked { slot, length, start: Start::Network }) as i32
}

/// The slot that a packet is marked with.
#[inline(always)]
fn slot(skb: *mut __sk_buff) -> Option<u32> {
    // SAFETY: the kernel hands a valid context.
    let mark = unsafe { (*skb).mark };
    // Most packets carry no mark of anybody: they cost no look-up.
    if mark == 0 { None } else { Maps.marking().slot(mark) }
}

/// Headers longer than this are not pulled out of fragments: no sane packet has them.
const PULL: u32 = 256;

/// Headers may lie outside the linear part, as after segmentation offload. The common packet has enough of
/// them: 14 + 40 + 20 bytes. Returns the whole length.
#[inline(always)]
fn pull(ctx: &TcContext) -> u32 {
    let length = ctx.len();
    if ctx.data() + 74 > ctx.data_end() && ctx.data() + (length as usize) > ctx.data_end() {
        // If it fails, the parser finds a truncated packet, which is dropped with that reason.
        let _seen_as_truncated = ctx.pull_data(if length < PULL { length } else { PULL });
    }
    length
}

/// Passing means "next": other programs on the interface still run. Dropping is silent on the wire.
#[inline(always)]
fn action(ctx: &TcContext, direction: Direction) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel hands a valid context.
    let ifindex = unsafe { (*skb).ifindex };
    let arrival = Arrival { ifindex, length: ctx.len(), direction };
    match usual(&Maps, Linear(skb), arrival) {
        Some(_passes) => TC_ACT_UNSPEC,
        None => unusual(ctx, direction),
    }
}

/// The long way. Not a subprogram: together their stacks would be too large.
#[inline(always)]
fn unusual(ctx: &TcContext, direction: Direction) -> i32 {
    let length = pull(ctx);
    let skb = ctx.skb.skb;
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return TC_ACT_SHOT };
    // SAFETY: the kernel hands a valid context; the scratch value belongs to this CPU, and no other run
    // of a program starts on it before this one ends.
    let (ifindex, scratch) = unsafe { ((*skb).ifindex, &mut *scratch) };
    let arrival = Arrival { ifindex, length, direction };
    let reason = judge(&Maps, Linear(skb), scratch, arrival).reason;
    if matches!(direction, Direction::Egress) && matches!(reason, Reason::ToService) {
        return mark(skb);
    }
    if reason.passes() { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

/// Marks a packet with the slot of the pod that sends it.
#[inline(never)]
fn mark(skb: *mut __sk_buff) -> i32 {
    // SAFETY: as in `action`.
    let (ifindex, before) = unsafe { ((*skb).ifindex, (*skb).mark) };
    let Some(endpoint) = Maps.endpoint(ifindex) else { return TC_ACT_SHOT };
    let marked = Maps.marking().marked(before, endpoint.slot);
    // SAFETY: as above; programs at TC may write the mark.
    unsafe { (*skb).mark = marked };
    TC_ACT_UNSPEC
}

/// Takes our bits off a packet that was judged: a tunnel hands its mark on, and so does a socket.
#[inline(always)]
fn unmark(skb: *mut __sk_buff) {
    // SAFETY: as in `mark`; programs at a cgroup may write the mark, too.
    unsafe { (*skb).mark = Maps.marking().clear((*skb).mark) };
}

/// A marked packet at the interface of a pod.
#[inline(never)]
fn received(ctx: &TcContext, slot: u32) -> i32 {
    let length = pull(ctx);
    let skb = ctx.skb.skb;
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return TC_ACT_SHOT };
    // SAFETY: as in `action`.
    let (ifindex, scratch) = unsafe { ((*skb).ifindex, &mut *scratch) };
    let arrival = Arrival { ifindex, length, direction: Direction::Ingress };
    if !judge_received(&Maps, Linear(skb), scratch, slot, arrival).reason.passes() {
        return TC_ACT_SHOT;
    }
    unmark(skb);
    TC_ACT_UNSPEC
}

/// A packet on its way out of the node.
#[inline(always)]
fn leaving(ctx: &TcContext, start: Start) -> i32 {
    let Some(slot) = slot(ctx.skb.skb) else { return TC_ACT_UNSPEC };
    let length = pull(ctx);
    if sent(ctx.skb.skb, Marked { slot, length, start }) { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

/// Whether a marked packet may go where it goes; it is not marked afterwards.
#[inline(always)]
fn sent(skb: *mut __sk_buff, marked: Marked) -> bool {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return false };
    // SAFETY: as in `action`.
    let scratch = unsafe { &mut *scratch };
    let passes = judge_sent(&Maps, Linear(skb), scratch, marked).reason.passes();
    if passes {
        unmark(skb);
    }
    passes
}
