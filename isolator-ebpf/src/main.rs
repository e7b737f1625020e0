//! The kernel half. Each file maps one kernel thing to `isolator-common`, which holds all logic:
//! `maps` declares, `view` answers what `judge` asks, `bytes` reads packets, `programs` are the hooks.
//! Not here: a verdict of its own.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // one empty statement in `bytes`; build-std needs the bootstrap flag anyway
#![expect(unsafe_code, reason = "the licence lies in a section and under a name that the loader looks for")]

mod apart;
mod bytes;
mod events;
mod maps;
mod programs;
mod recent;
mod view;

/// The kernel shows some helpers to programs with a licence compatible with the GPL only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
#[used]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
