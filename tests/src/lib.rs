//! Shared pieces of the tests that need a kernel: namespaces of their own, hand-made maps, veth pairs.
//! And the semantic cases of `cases/`, read. Not here: tests (`tests/`).

pub mod cases;
pub mod foreign;
pub mod image;
pub mod ipvs;
pub mod link;
pub mod netns;
