//! What was found lately for addresses that are in no dense block: a small table of this CPU's own, each address
//! with one place in it. Entries of a generation that is not in force count for nothing, so nobody has to clear
//! them. Not here: the search itself (`isolator_common::tables::locate`).
#![expect(unsafe_code, reason = "map values are reached by raw pointers")]

use crate::maps::{RECENT, RECENT_PLACES, Recent};
use isolator_common::addr::Addr;

/// The place of an address: the upper bits of a product, as they depend on all bits below (Fibonacci hashing).
#[inline(always)]
fn place(addr: &Addr) -> u32 {
    let (high, low) = addr.words();
    let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as u32 & (RECENT_PLACES - 1)
}

/// What was found for the address in this generation.
#[inline(always)]
pub(crate) fn find(addr: &Addr, generation: u32) -> Option<(u32, u32)> {
    let recent = RECENT.get(place(addr))?;
    if recent.generation == generation && recent.addr == addr.words() {
        return Some((recent.identity, recent.group));
    }
    None
}

/// Keeps it in place of what was there.
#[inline(always)]
pub(crate) fn keep(addr: &Addr, generation: u32, (identity, group): (u32, u32)) {
    if let Some(recent) = RECENT.get_ptr_mut(place(addr)) {
        // SAFETY: the map's values belong to this CPU, and programs do not preempt each other here.
        unsafe { *recent = Recent { addr: addr.words(), generation, identity, group, reserved: 0 } };
    }
}
