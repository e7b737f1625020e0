//! The meaning of policy, as pure functions over values.
//!
//! ```text
//!  Change ─► cluster::Index ─► Snapshot ─┬─► meaning::compile ─► Compiled ─► datapath::layout ─► Image
//!  (model)     (changed?)   (immutable)  │                                                         │
//!                                        └─► meaning::oracle ─► verdict and why      datapath::diff(old, new)
//!                                                                                                  ▼
//!                                                                                                [Op]
//! ```
//!
//! `model` is what a policy, a pod or a node is to us. `cluster` keeps them. `meaning` says what they
//! mean, twice: once slowly, as the texts read (`oracle`), once compiled for the kernel (`compile`).
//! `lint` says what they probably do not mean; `phrase` says them in words. `datapath` turns the compiled form into map contents and map contents into ordered operations.
//!
//! Not here, and Cargo enforces it: I/O, clocks, a Kubernetes client, aya, tokio, logging. Problems are
//! values.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod datapath;
pub mod lint;
pub mod meaning;
pub mod model;
pub mod phrase;
pub mod shared;
