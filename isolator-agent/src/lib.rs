//! The agent: everything with effects, around the pure core in `isolator-policy`.
//!
//! ```text
//!  manifest folder ─► source ─► Change ─► controller ─► (index, compile, layout, diff) ─► datapath ─► BPF maps
//!                                             │                                                          │
//!  cli ◄── pinned maps, status file ◄─────────┴──────────────── flows ◄── ring buffer ◄── programs ◄─────┘
//! ```
//!
//! Kubernetes types stay in `source` and `publish`, aya in `datapath` (and the ring reader in `flows`), clap in `cli`.
//! Not here: what a policy means.

pub mod alone;
pub mod boot;
pub mod cli;
pub mod config;
pub mod controller;
pub mod cut_off;
pub mod datapath;
pub mod enforce;
pub mod flows;
pub mod known;
pub mod lab;
pub mod metrics;
mod publish;
pub mod run;
pub mod source;
pub mod status;
pub mod telemetry;
mod ways;

/// The version as people see it. A build that is not optimised says so.
pub const VERSION: &str = if cfg!(debug_assertions) {
    concat!(env!("CARGO_PKG_VERSION"), "+dev")
} else {
    env!("CARGO_PKG_VERSION")
};
