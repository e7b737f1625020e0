//! Keeps LLVM from merging the calls of two branches into one. The kernel turns a call about a map into a direct
//! one only where the instruction has one map; for two it goes through a pointer, which costs 10 ns where
//! such calls are guarded against speculation (`docs/adr/0004-calls-are-dear.md`).
#![expect(unsafe_code, reason = "an assembly statement")]
#![expect(clippy::pointers_in_nomem_asm_block, reason = "the pointer is handed on, not followed")]

use core::arch::asm;

/// One function for the end of each branch. The text of the statements differs, so they are not merged either.
macro_rules! ends {
    ($($(#[$doc:meta])* $name:ident, $done:ident, $text:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<T>(found: *mut T) -> *mut T {
            let mut value = found;
            // SAFETY: a register is moved onto itself.
            unsafe { asm!(concat!("{0} = {0} // ", $text), inout(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }

        /// The same for a call that answers whether it worked.
        #[inline(always)]
        pub(crate) fn $done(worked: bool) -> bool {
            let mut value = worked as u64;
            // SAFETY: as above.
            unsafe { asm!(concat!("{0} = {0} // ", $text), inout(reg) value, options(nomem, nostack, preserves_flags)) };
            value != 0
        }
    )*};
}

ends! {
    /// Ends the branch for IPv4. The value is as before.
    v4, done4, "IPv4";
    /// Ends the branch for IPv6. The value is as before.
    v6, done6, "IPv6";
}
