//! The cluster as far as it is known. `change` is what sources send, `index` keeps and says whether
//! anything changed, `snapshot` is what everybody else reads, `owners` says who has which address,
//! `problems` what looks wrong. Not here: what policies mean.

pub mod change;
pub mod index;
mod owners;
mod problems;
pub mod snapshot;

#[cfg(test)]
mod tests;
