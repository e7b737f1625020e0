//! What the kernel programs and the agent share, and nothing else: wire types, `parse`, `decide`, `judge`.
//!
//! ```text
//!  packet ──► packet::parse ──► Packet ──► judge ─┬─► locate   address  → identity, peer group
//!                                                 ├─► decide   (row, peer group, port) → verdict word
//!                                                 └─► conntrack::step   is it a reply, is it new
//! ```
//!
//! Everything here is generic over two small traits, [`packet::Bytes`] (load bytes at an offset) and
//! [`tables::Tables`] (what the maps know). The kernel programs instantiate it over packet pointers
//! and BPF maps, the tests and `policy verdicts` over slices and ordinary collections. So the code
//! that is tested is the code that runs.
//!
//! Not here: allocation, clocks, map declarations, anything that needs `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

pub mod addr;
pub mod conntrack;
pub mod endpoint;
pub mod event;
pub mod floor;
pub mod judge;
pub mod packet;
pub mod policy;
pub mod reason;
pub mod tables;
pub mod untracked;

/// Version of every layout in this crate and of the meaning of the maps. The agent refuses pinned
/// maps of another version. `cargo xtask tidy` fails when a wire type changes and this does not.
pub const ABI_VERSION: u32 = 7;
