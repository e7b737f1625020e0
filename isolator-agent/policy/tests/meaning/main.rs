//! Tests of what policies mean, through the public interface only. `e1` compares both readings on random
//! clusters, `semantics` holds both to named cases, `scale` to a time. Not here: maps, packets, the kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod e1;
mod evaluate;
mod generate;
mod mk;
mod scale;
mod semantics;
