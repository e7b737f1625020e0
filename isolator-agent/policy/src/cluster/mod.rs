//! The cluster as far as it is known. `change` is what sources send, `index` keeps and says whether
//! anything changed, `snapshot` is what everybody else reads, `owners` says who has which address,
//! `ends` which labels identities have, `translations` what goes to services, `backends` who is behind those,
//! `problems` what looks wrong. Not here: what policies mean.

pub mod backends;
pub mod change;
pub mod ends;
pub mod index;
mod owners;
pub mod problems;
pub mod snapshot;
pub mod translations;

#[cfg(test)]
mod tests;
