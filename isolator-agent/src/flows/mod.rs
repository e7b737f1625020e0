//! From records in the ring buffer to flows with names.
//!
//! ```text
//!  ring buffer ─► reader ─► enrich ─► fanout ─► serve ─► socket ─► client ─► filter, format (isolator observe)
//!               (Event)   (Flow)   (bounded)
//! ```
//!
//! The ring has one consumer: the daemon, or `observe` itself while no daemon runs. Not here: who may talk to
//! whom.

pub mod client;
pub mod direct;
pub mod enrich;
pub mod fanout;
pub mod filter;
pub mod format;
pub mod reader;
pub mod serve;
pub mod text;
pub mod time;

pub use serve::start;

/// Name of the socket in the run folder.
pub const SOCKET: &str = "observe.sock";
/// Name of the file in the run folder that the one consumer of the ring holds locked.
pub const RING_LOCK: &str = "ring.lock";
