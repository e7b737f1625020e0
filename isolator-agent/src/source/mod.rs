//! Where objects come from: folders of ordinary Kubernetes manifests, or watches of a cluster's API server. Both become
//! our types through one door, defaulted and validated as the API server does it.
//!
//! ```text
//!  bytes ─► documents (YAML, JSON) ─► Node (value and position) ─► convert ─► Object | Problem
//!                                                                               │
//!  watch (notify, debounce, re-read) ─► files::Folder (last good versions) ◄────┘ ─► Update
//!                                          remembered (last good texts, across restarts)
//!  API server ─► kubernetes (lists, watches) ─► Node ─► convert ─► state (last good versions) ─► Update
//! ```
//!
//! Beside `publish`, which writes, the only place that knows `k8s_openapi` and `kube`. Not here: what objects mean
//! together.

mod convert;
mod documents;
mod files;
mod json;
pub mod kubernetes;
mod last_good;
mod load;
mod node;
pub mod placement;
pub(crate) mod placement_file;
mod places;
mod remembered;
mod scan;
mod texts;
mod update;
mod watch;
mod yaml;

pub use convert::prefix;
pub use files::{Content, Folder};
pub use load::{Loaded, Manifests};
pub use update::{Took, Update};
pub use watch::ManifestSource;

#[cfg(test)]
mod tests;
