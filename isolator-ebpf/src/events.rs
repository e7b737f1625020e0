//! Events and counters: rate limit before the ring, no wake-up below a fill mark, losses counted.
//! Not here: what is worth an event; `judge` says so.
#![expect(unsafe_code, reason = "map values are shared with other CPUs and reached by raw pointers")]

use crate::maps::{COUNTERS, EVENT_RATE, EVENTS, LOST};
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use isolator_common::endpoint::Endpoint;
use isolator_common::event::Event;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_common::tables::{capacity, counter_index};

/// Query the ring for bytes not yet read (`include/uapi/linux/bpf.h`, BPF_RB_AVAIL_DATA).
const AVAILABLE: u64 = 0;
/// `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP` of the same header.
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
/// Bytes in the ring that are worth waking the reader for; it polls on a timer anyway.
const FILL_MARK: u64 = (capacity::EVENTS / 4) as u64;
/// Index into LOST: over the tenant's rate.
const OVER_RATE: u32 = 0;
/// Index into LOST: the ring was full.
const RING_FULL: u32 = 1;

/// Coarse time: 0.3 ns, where `bpf_ktime_get_ns` takes 24.
#[inline(always)]
pub(crate) fn now() -> u32 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    unsafe { bpf_jiffies64() as u32 }
}

/// Counts one packet.
#[inline(always)]
pub(crate) fn count(endpoint: &Endpoint, direction: Direction, reason: Reason, bytes: u32) {
    if let Some(count) = COUNTERS.get_ptr_mut(counter_index(endpoint.slot, direction, reason as u8)) {
        // SAFETY: the map's values belong to this CPU, and programs do not preempt each other here.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += u64::from(bytes);
        }
    }
}

/// Whether the endpoint's tenant may cause one more event in this second on this CPU; if not, counts the loss.
#[inline(always)]
pub(crate) fn may_report(endpoint: &Endpoint, ticks_per_second: u32, limit: u32) -> bool {
    let Some(window) = EVENT_RATE.get_ptr_mut(endpoint.share) else { return limit > 0 };
    let now = now();
    // SAFETY: as in `count`.
    let count = unsafe {
        // A fresh window started at tick 0, which may be less than a second ago: that costs nothing.
        if now.wrapping_sub((*window).start) >= ticks_per_second {
            (*window).start = now;
            (*window).count = 0;
        }
        (*window).count += 1;
        (*window).count
    };
    if count > limit {
        lost(OVER_RATE);
    }
    count <= limit
}

#[inline(always)]
fn lost(why: u32) {
    if let Some(count) = LOST.get_ptr_mut(why) {
        // SAFETY: as in `count`.
        unsafe { *count += 1 };
    }
}

/// Puts an event into the ring, or counts its loss.
#[inline(always)]
pub(crate) fn emit(event: &Event) {
    // SAFETY: the helper takes no arguments and has no preconditions.
    let event = Event { time: unsafe { bpf_ktime_get_ns() }, ..*event };
    let flags = if EVENTS.query(AVAILABLE) < FILL_MARK { NO_WAKEUP } else { FORCE_WAKEUP };
    if EVENTS.output::<Event>(&event, flags).is_err() {
        lost(RING_FULL);
    }
}
