//! The cluster as far as it is known. `change` is what sources send, `index` keeps and says whether
//! anything changed, `snapshot` is what everybody else reads. Not here: what it means.

pub mod change;
pub mod index;
pub mod snapshot;
