//! The lab: nodes and pods out of network namespaces, so that policies can be tried on real packets with one
//! Linux machine and no cluster.
//!
//! ```text
//!  manifests ─► plan (pure) ─► build: namespaces, links, addresses, routes ─► serve: a listener per port
//!                                │                                              │
//!                                └─ proxy: what kube-proxy would do
//!                    supervisor ─── agents, one per node            probe, exec, connect ◄─ run directory
//! ```
//!
//! A lab is one process, the supervisor. It holds every namespace by an open file and mounts only inside a mount
//! namespace of its own. When it ends, however it ends, the kernel takes everything away but the run directory and
//! the lab's empty cgroups.
//!
//! Not here: what a policy means, Kubernetes types (`source`), programs and maps (`datapath`).

mod addresses;
mod agents;
mod build;
mod cgroups;
mod commands;
mod connect;
mod control;
mod exec;
mod flows;
mod launch;
mod list;
mod live;
mod matrix;
mod netlink;
mod netns;
mod place;
mod plan;
mod probe;
mod process;
mod proxy;
mod record;
mod serve;
mod supervisor;

pub use commands::{LabCommand, Output, run};
pub use flows::{End, Flow};
pub use matrix::every_flow;
pub(crate) use place::place;
pub use probe::{Outcome, Settings, Verdict, probe};
pub use record::{Record, load as load_record};
