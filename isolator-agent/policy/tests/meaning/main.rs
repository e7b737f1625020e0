//! Tests of what policies mean, through the public interface only. `e1` compares both readings on random
//! clusters, `incremental` compiling after each change with compiling from nothing, `semantics` holds both readings
//! to named cases, `scale` to a time; `lint` holds what is said of policies. Not here: maps, packets, the kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod e1;
mod evaluate;
mod generate;
mod incremental;
mod lint;
mod mk;
mod scale;
mod semantics;
