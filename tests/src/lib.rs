//! Shared pieces of the tests that need a kernel: namespaces of their own, hand-made maps, frames, veth pairs.
//! Not here: tests (`tests/`), semantic cases (`cases/`).

pub mod frame;
pub mod image;
pub mod netns;
