//! What policies mean: `oracle` reads them slowly as their texts say, `compile` turns them into rows of
//! verdict words. Equality of both is the property test E1. `flow` says what is asked, `why` what is
//! answered, `explain` what led to it, `cost` which policies take most room. Not here: maps and their numbers.

pub mod compile;
pub mod cost;
pub mod explain;
pub mod flow;
pub mod oracle;
pub mod reading;
pub mod why;
