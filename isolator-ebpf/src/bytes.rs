//! Packet bytes by direct access: one bounds check and a read, where `bpf_skb_load_bytes` would be a
//! helper call of 7 ns each (`docs/adr/0004-calls-are-dear.md`). Not here: what the bytes mean.
#![expect(unsafe_code, reason = "packet pointers are raw; the verifier checks each access")]

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use isolator_common::packet::Bytes;

/// Longest offset that is read. The verifier wants a bound on what is added to a packet pointer.
const FARTHEST: usize = 2048;

/// One load of the given width, extended by zeros.
macro_rules! wide {
    ($width:literal, $address:expr) => {{
        let loaded: u64;
        // SAFETY: the address and what follows lie within the packet: `load` checks it, and the verifier
        // again. Unaligned loads are no matter to an instruction.
        unsafe {
            asm!(concat!("{0} = *(", $width, " *)({1} + 0)"), out(reg) loaded, in(reg) $address,
                options(pure, readonly, nostack, preserves_flags));
        }
        loaded
    }};
}

/// The linear part of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Linear(pub(crate) *mut __sk_buff);

/// The same number, of which the compiler no longer knows the range. Otherwise it drops a bounds check
/// that an earlier one implies, and the verifier, which does not follow the implication, refuses the
/// program. Costs one instruction: an empty statement would give two line numbers to the next one, which
/// the kernel refuses, too.
#[inline(always)]
fn forget_range(mut number: usize) -> usize {
    // SAFETY: a register is moved onto itself.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

impl Bytes for Linear {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let offset = forget_range(offset as usize);
        if offset > FARTHEST {
            return None;
        }
        // SAFETY: the context is valid for the whole run of the program.
        let (data, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        let start = data + offset;
        if start + N > end {
            return None;
        }
        Some(read(start))
    }

    #[inline(always)]
    fn settle<'a, T>(&self, value: &'a mut T) -> &'a mut T {
        let mut address: *mut T = value;
        // SAFETY: a register is moved onto itself. The statement may touch memory as far as the compiler
        // knows, so nothing that was read before it is taken to be still there.
        unsafe { asm!("{0} = {0}", inout(reg) address, options(nostack, preserves_flags)) };
        // SAFETY: it is the pointer that was borrowed.
        unsafe { &mut *address }
    }
}

/// `N` bytes at an address, in the widest loads that fit. To the compiler packet bytes are unaligned, and
/// from such it would load one at a time. The kernel allows it where the processor does.
#[inline(always)]
fn read<const N: usize>(start: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at + 8 <= N {
        bytes[at..at + 8].copy_from_slice(&wide!("u64", start + at).to_ne_bytes());
        at += 8;
    }
    if at + 4 <= N {
        bytes[at..at + 4].copy_from_slice(&(wide!("u32", start + at) as u32).to_ne_bytes());
        at += 4;
    }
    if at + 2 <= N {
        bytes[at..at + 2].copy_from_slice(&(wide!("u16", start + at) as u16).to_ne_bytes());
        at += 2;
    }
    if at < N {
        bytes[at] = wide!("u8", start + at) as u8;
    }
    bytes
}
