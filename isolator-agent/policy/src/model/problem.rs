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

/// Where something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Nobody knows, or it is nowhere in particular.
    #[default]
    Unknown,
    /// At something that is not a file, as `node n1` or `interface veth0`.
    Thing(String),
    /// In a file.
    File(Box<FilePlace>),
}

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePlace {
    /// The file, as it was named.
    pub file: String,
    /// The document, counted from 1; 0: the file as a whole.
    pub document: u32,
    /// The line, counted from 1; 0: not known.
    pub line: u32,
    /// The column in characters, counted from 1; 0: not known.
    pub column: u32,
    /// The object's field in its document, as `items[3]`. Empty where the document is the object.
    pub within: String,
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn file(file: &str) -> Self {
        FilePlace { file: file.to_owned(), ..FilePlace::default() }.into()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unknown => Ok(()),
            Place::Thing(name) => f.write_str(name),
            Place::File(place) => place.fmt(f),
        }
    }
}

impl From<Box<FilePlace>> for Place {
    fn from(place: Box<FilePlace>) -> Self {
        Place::File(place)
    }
}

impl From<FilePlace> for Place {
    fn from(place: FilePlace) -> Self {
        Place::File(Box::new(place))
    }
}

/// As people and editors write it: `a.yaml:12:3 (document 2)`.
impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FilePlace { file, document, line, column, within } = self;
        f.write_str(file)?;
        for number in [line, column].into_iter().take_while(|number| **number > 0) {
            write!(f, ":{number}")?;
        }
        match (document, within.as_str()) {
            (0, _) => Ok(()),
            (document, "") => write!(f, " (document {document})"),
            (document, within) => write!(f, " (document {document}, {within})"),
        }
    }
}

/// A problem with the input or with enforcing it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Stable machine-readable name, such as `invalid-field`.
    pub code: &'static str,
    /// Where.
    pub place: Place,
    /// The object, as `Kind namespace/name`. Empty where it could not be read.
    pub object: String,
    /// The field, as `spec.ingress[0].ports[1].port`. Empty where none.
    pub field: String,
    /// What is wrong and what to do, one sentence each.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::Unknown {
            write!(f, "{}: ", self.place)?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_far_as_they_are_known() {
        let place = |document, line, column, within: &str| {
            let (file, within) = ("a.yaml".to_owned(), within.to_owned());
            FilePlace { file, document, line, column, within }.to_string()
        };
        assert_eq!(place(2, 12, 3, ""), "a.yaml:12:3 (document 2)");
        assert_eq!(place(1, 12, 3, "items[4]"), "a.yaml:12:3 (document 1, items[4])");
        assert_eq!(place(1, 12, 0, ""), "a.yaml:12 (document 1)");
        assert_eq!(Place::file("a.yaml").to_string(), "a.yaml");
        assert_eq!(Place::Thing("node n1".into()).to_string(), "node n1");
    }
}
