//! Shared pieces of the tests that need a kernel: namespaces of their own, hand-made maps, veth pairs.
//! Not here: tests (`tests/`), semantic cases (`cases/`).

pub mod foreign;
pub mod image;
pub mod link;
pub mod netns;
