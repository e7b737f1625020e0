//! What policies mean: `oracle` reads them slowly as their texts say, `compile` turns them into rows of
//! verdict words. Equality of both is the property test E1. Not here: maps and their numbers.

pub mod compile;
pub mod oracle;
pub mod why;
