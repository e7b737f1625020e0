//! Where objects come from: folders of ordinary Kubernetes manifests become our types, defaulted and
//! validated as the API server does it.
//!
//! ```text
//!  bytes ─► documents (YAML, JSON) ─► Node (value and position) ─► convert ─► Object | Problem
//!                                                                               │
//!  watch (notify, debounce, re-read) ─► files::Folder (last good versions) ◄────┘ ─► Update
//!                                          remembered (last good texts, across restarts)
//! ```
//!
//! The only place that knows `k8s_openapi`. Not here: what objects mean together, and clusters' API servers.

mod convert;
mod documents;
mod files;
mod json;
mod load;
mod node;
pub mod placement;
mod remembered;
mod scan;
mod watch;
mod yaml;

pub use files::{Content, Folder};
pub use load::{Loaded, load_folder, load_text};
pub use watch::{ManifestSource, Update};

#[cfg(test)]
mod tests;
