//! Something that a person should know: what is wrong, where, and what to do. Values, not log lines: the
//! edges print them. A problem never widens what is enforced.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Enforced as written, but perhaps not as meant.
    Warning,
    /// Something is not enforced as written, or an older version of it is.
    Error,
}

/// A problem with the input or with enforcing it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Stable machine-readable name, such as `invalid-field`.
    pub code: &'static str,
    /// Where: file, document and line where known. Empty otherwise.
    pub place: String,
    /// The object, as `Kind namespace/name`. Empty where it could not be read.
    pub object: String,
    /// The field, as `spec.ingress[0].ports[1].port`. Empty where none.
    pub field: String,
    /// What is wrong and what to do, one sentence each.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}
