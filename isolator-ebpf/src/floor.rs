//! Programs to compare with: what the benchmark calls the floor. Each does the least that its part of the
//! work can cost, written by hand over the same maps, for whole TCP packets without options alone. Never
//! attached to anything. Not here: a verdict that anybody should trust.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // as in `main`
#![expect(clippy::needless_borrows_for_generic_args, reason = "by value, the key would be copied once more")]
#![expect(
    unsafe_code,
    reason = "contexts, packets and map values are raw pointers; the licence is a section"
)]
#![expect(missing_docs, reason = "the macro documents nothing that it makes")]
#![expect(unreachable_pub, reason = "the loader finds programs by their public symbol")]
#![expect(dead_code, reason = "the maps are those of `main`, of which a floor program needs a few")]

mod apart;
mod bytes;
mod maps;

use crate::bytes::Linear;
use crate::maps::{BLOCK_PEERS, BLOCKS4, BLOCKS6, CELLS, ESTABLISHED4, ESTABLISHED6, HALF_OPEN4, HALF_OPEN6};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::TcContext;
use core::ptr::read_volatile;
use isolator_common::addr::Addr;
use isolator_common::conntrack::{Connection, Key4, Key6};
use isolator_common::floor::Turn;
use isolator_common::packet::Bytes;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
#[used]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// First cell of the row that [`cell`] reads. Set when loading, as the next three.
#[unsafe(no_mangle)]
static BASE: u32 = 0;
/// Generation, of which the lowest bit counts.
#[unsafe(no_mangle)]
static GENERATION: u32 = 0;
/// `Endpoint::id` in connection keys.
#[unsafe(no_mangle)]
static ENDPOINT: u32 = 0;

/// The mark of each packet that [`turn`] hands on.
#[unsafe(no_mangle)]
static MARK: u32 = 0;

/// What [`turn`] does to the packet.
#[map]
static TURN: Array<Turn> = Array::with_max_entries(1, 0);
/// The program that [`turn`] goes on with.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The value that the loader set.
#[inline(always)]
fn setting(value: &u32) -> u32 {
    // SAFETY: a reference to a static is valid. Volatile, or the compiler would use the value it sees here.
    unsafe { read_volatile(value) }
}

/// A TCP packet as its receiver sees it.
struct Packet {
    v4: bool,
    remote: Addr,
    ports: u32,
}

/// Nothing: what the hook and the loop of test runs cost.
#[classifier]
pub fn empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Addresses and ports.
#[classifier]
pub fn parse(ctx: TcContext) -> i32 {
    match read(&ctx) {
        // Something must depend on all that was read, or the compiler does not read it.
        Some(packet)
            if u64::from(packet.ports) ^ packet.remote.halves()[0] ^ packet.remote.halves()[1] != 0 =>
        {
            TC_ACT_UNSPEC
        }
        _ => TC_ACT_SHOT,
    }
}

/// Parse, and a verdict from the dense tables: hash of blocks, array of peers, array of cells.
#[classifier]
pub fn dense(ctx: TcContext) -> i32 {
    match read(&ctx).and_then(|packet| cell(&packet)) {
        Some(word) if word != 0 => TC_ACT_UNSPEC,
        _ => TC_ACT_SHOT,
    }
}

/// Parse, and one look-up of the connection.
#[classifier]
pub fn lru(ctx: TcContext) -> i32 {
    let Some(packet) = read(&ctx) else { return TC_ACT_SHOT };
    let found = if packet.v4 {
        ESTABLISHED4.get_ptr_mut(&key4(&packet)).map(apart::v4)
    } else {
        ESTABLISHED6.get_ptr_mut(&key6(&packet)).map(apart::v6)
    };
    match found {
        // SAFETY: entries stay readable until the program ends.
        Some(entry) if unsafe { (*entry).generation } != 0 => TC_ACT_UNSPEC,
        _ => TC_ACT_SHOT,
    }
}

/// Parse, a verdict from the dense tables, a look-up that misses, and a new entry.
#[classifier]
pub fn insert(ctx: TcContext) -> i32 {
    let Some(packet) = read(&ctx) else { return TC_ACT_SHOT };
    if !matches!(cell(&packet), Some(word) if word != 0) {
        return TC_ACT_SHOT;
    }
    let fresh = Connection { generation: 1, ..Connection::default() };
    let inserted = if packet.v4 {
        let key = key4(&packet);
        ESTABLISHED4.get_ptr_mut(&key).map(apart::v4).is_none()
            && apart::done4(HALF_OPEN4.insert(&key, &fresh, 0).is_ok())
    } else {
        let key = key6(&packet);
        ESTABLISHED6.get_ptr_mut(&key).map(apart::v6).is_none()
            && apart::done6(HALF_OPEN6.insert(&key, &fresh, 0).is_ok())
    };
    if inserted { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}

/// Lets peers take turns: writes the next address (and port) into the packet, marks it, then goes on with the program
/// under test. The kernel runs one packet many times, so the next run starts from this one's bytes.
#[classifier]
pub fn turn(ctx: TcContext) -> i32 {
    let Some(turn) = TURN.get_ptr_mut(0) else { return TC_ACT_SHOT };
    // SAFETY: nobody else writes it during a test run.
    let turn = unsafe { &mut *turn };
    let at = turn.draw();
    let (start, end) = (ctx.data(), ctx.data_end());
    let address = start + (turn.address_at & 127) as usize;
    let port = start + (turn.port_at & 127) as usize;
    if address + 4 <= end && port + 2 <= end {
        // SAFETY: both lie within the packet: checked above, and again by the verifier.
        unsafe {
            *(address as *mut [u8; 4]) = at.0.to_be_bytes();
            *(port as *mut [u8; 2]) = at.1.to_be_bytes();
        }
        // SAFETY: the context is the one this program was called with; programs at TC may write the mark.
        unsafe {
            (*ctx.skb.skb).mark = setting(&MARK);
            NEXT.tail_call(&ctx, 0);
        }
    }
    TC_ACT_SHOT
}

#[inline(always)]
fn read(ctx: &TcContext) -> Option<Packet> {
    let bytes = Linear(ctx.skb.skb);
    let kind: [u8; 2] = bytes.load(12)?;
    match u16::from_be_bytes(kind) {
        0x0800 => {
            let head: [u8; 24] = bytes.load(14)?;
            if head[0] != 0x45 || head[9] != 6 {
                return None;
            }
            let remote = Addr::v4([head[12], head[13], head[14], head[15]]);
            Some(Packet {
                v4: true,
                remote,
                ports: u32::from_be_bytes([head[22], head[23], head[20], head[21]]),
            })
        }
        0x86dd => {
            let head: [u8; 44] = bytes.load(14)?;
            if head[6] != 6 {
                return None;
            }
            let mut remote = [0; 16];
            remote.copy_from_slice(&head[8..24]);
            let ports = u32::from_be_bytes([head[42], head[43], head[40], head[41]]);
            Some(Packet { v4: false, remote: Addr(remote), ports })
        }
        _ => None,
    }
}

/// The cell of the peer's group.
#[inline(always)]
fn cell(packet: &Packet) -> Option<u32> {
    let block = if packet.v4 {
        BLOCKS4.get_ptr_mut(&(packet.remote.low32() >> 8)).map(apart::v4)
    } else {
        BLOCKS6.get_ptr_mut(&packet.remote.block()).map(apart::v6)
    };
    // SAFETY: the values are single words.
    let block = unsafe { *block? };
    let peer = BLOCK_PEERS.get((block << 8) | packet.remote.in_block())?;
    CELLS.get(setting(&BASE) + peer.group(setting(&GENERATION))).copied()
}

#[inline(always)]
fn key4(packet: &Packet) -> Key4 {
    Key4 { endpoint: setting(&ENDPOINT), remote: packet.remote.low32(), ports: packet.ports, protocol: 6 }
}

#[inline(always)]
fn key6(packet: &Packet) -> Key6 {
    Key6 {
        remote: packet.remote,
        endpoint: setting(&ENDPOINT),
        ports: packet.ports,
        protocol: 6,
        reserved: 0,
    }
}
