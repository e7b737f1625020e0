//! The two hooks on the host side of a pod's interface: `from_pod` at TC ingress sees what the pod
//! sends, `to_pod` at TC egress what it receives. The only place where a verdict becomes an action.
#![expect(unsafe_code, reason = "the context is a raw pointer from the kernel")]
#![expect(unreachable_pub, reason = "the loader finds programs by their public symbol")]

use crate::bytes::Linear;
use crate::maps::SCRATCH;
use crate::view::Maps;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use isolator_common::judge::{Arrival, judge};
use isolator_common::policy::Direction;

/// What the pod sends.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    action(&ctx, Direction::Egress)
}

/// What the pod receives.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    action(&ctx, Direction::Ingress)
}

/// Headers longer than this are not pulled out of fragments: no sane packet has them.
const PULL: u32 = 256;

/// Passing means "next": other programs on the interface still run. Dropping is silent on the wire.
#[inline(always)]
fn action(ctx: &TcContext, direction: Direction) -> i32 {
    let length = ctx.len();
    // Headers may lie outside the linear part, as after segmentation offload. The common packet has
    // enough of them: 14 + 40 + 20 bytes.
    if ctx.data() + 74 > ctx.data_end() && ctx.data() + (length as usize) > ctx.data_end() {
        // If it fails, the parser finds a truncated packet, which is dropped with that reason.
        let _seen_as_truncated = ctx.pull_data(if length < PULL { length } else { PULL });
    }
    let skb = ctx.skb.skb;
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return TC_ACT_SHOT };
    // SAFETY: the kernel hands a valid context; the scratch value belongs to this CPU, and no other run
    // of a program starts on it before this one ends.
    let (ifindex, scratch) = unsafe { ((*skb).ifindex, &mut *scratch) };
    let arrival = Arrival { ifindex, length, direction };
    if judge(&Maps, Linear(skb), scratch, arrival).reason.passes() { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}
