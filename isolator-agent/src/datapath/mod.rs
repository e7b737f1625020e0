//! The kernel's half of the agent: loads the programs, mirrors an `Image` to the maps, finds the interfaces of
//! pods and attaches to them. The only folder with aya in it (beside the ring reader in `flows`).
//!
//! ```text
//!  load ──► Loaded { store, programs } ──► store.apply([Op]) ──► maps        read ◄── cli
//!                        │
//!  discover ─► Interface ┴─► attach ──► TCX link or clsact filter            audit: kernel against wanted
//! ```
//!
//! Not here: what a policy means, which writes are needed (`isolator_policy::datapath::diff`).

pub mod attach;
pub mod audit;
mod bpf;
pub mod discover;
pub mod features;
mod filter;
mod grace;
pub mod hook;
pub mod host;
pub mod load;
mod maps;
mod netlink;
pub mod read;
pub mod run;
pub mod sockets;
pub mod store;
mod table;
pub mod watch;
