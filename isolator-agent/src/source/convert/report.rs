//! Problems of one object, each with file, document, line, object and field; and the typed reading of an
//! object that names the field which does not fit. Not here: what is right or wrong in a field.

use super::super::node::{Mark, Node, child, entry};
use isolator_policy::model::{Problem, Severity};
use serde::de::DeserializeOwned;

/// The document that an object comes from.
pub(crate) struct Origin<'a> {
    /// Name of the file.
    pub(crate) file: &'a str,
    /// Number of the document in the file, from 1.
    pub(crate) document: usize,
    /// Its tree.
    pub(crate) root: &'a Node,
    /// Where it begins.
    pub(crate) begin: Mark,
}

/// Collects what is wrong with one object.
pub(crate) struct Report<'a> {
    origin: &'a Origin<'a>,
    /// The object's field in its document: `items[3]`, or empty.
    prefix: &'a str,
    /// `Kind namespace/name`, as far as known.
    object: String,
    problems: Vec<Problem>,
    errors: usize,
}

/// A place as people and editors write it.
pub(crate) fn place(file: &str, document: usize, at: Mark) -> String {
    match at {
        Mark { line: 0, .. } => format!("{file} (document {document})"),
        Mark { line, column: 0 } => format!("{file}:{line} (document {document})"),
        Mark { line, column } => format!("{file}:{line}:{column} (document {document})"),
    }
}

/// The problem of a document that is no tree.
pub(crate) fn unreadable(place: &str, message: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "unreadable",
        place: place.to_owned(),
        object: String::new(),
        field: String::new(),
        message: message.to_owned(),
    }
}

impl<'a> Report<'a> {
    /// Nothing is wrong yet.
    pub(crate) fn new(origin: &'a Origin<'a>, prefix: &'a str) -> Self {
        Report { origin, prefix, object: String::new(), problems: Vec::new(), errors: 0 }
    }

    /// Learns the object's name from its metadata, for messages alone.
    pub(crate) fn name_object(&mut self, kind: &str, node: &Node) {
        let metadata = node.get("metadata");
        let text = |key| metadata.and_then(|metadata| metadata.get(key)).and_then(Node::as_str);
        let name = text("name").unwrap_or("(no name)");
        self.object = match (text("namespace"), kind) {
            (_, "Namespace" | "Node") => format!("{kind} {name}"),
            (Some(namespace), _) => format!("{kind} {namespace}/{name}"),
            (None, "Pod" | "NetworkPolicy") => format!("{kind} default/{name}"),
            (None, _) => format!("{kind} {name}"),
        };
    }

    /// The place of a field of the object; of the object itself where `field` is empty.
    pub(crate) fn place(&self, field: &str) -> String {
        let path = if self.prefix.is_empty() || field.is_empty() {
            format!("{}{field}", self.prefix)
        } else {
            format!("{}.{field}", self.prefix)
        };
        let mut at = self.origin.root.locate(&path);
        if at.line == 0 {
            at = self.origin.begin;
        }
        let place = place(self.origin.file, self.origin.document, at);
        match (self.prefix, place.strip_suffix(')')) {
            ("", _) | (_, None) => place,
            (prefix, Some(place)) => format!("{place}, {prefix})"),
        }
    }

    /// Something that makes the object unacceptable.
    pub(crate) fn error(&mut self, code: &'static str, field: &str, message: impl Into<String>) {
        self.errors += 1;
        self.add(Severity::Error, code, field, message.into());
    }

    /// A field whose value is not acceptable.
    pub(crate) fn invalid(&mut self, field: &str, message: impl Into<String>) {
        self.error("invalid-field", field, message);
    }

    /// Something that is not enforced as written, though the object is acceptable.
    pub(crate) fn left_out(&mut self, code: &'static str, field: &str, message: impl Into<String>) {
        self.add(Severity::Error, code, field, message.into());
    }

    /// Something that may not be as meant.
    pub(crate) fn warning(&mut self, code: &'static str, field: &str, message: impl Into<String>) {
        self.add(Severity::Warning, code, field, message.into());
    }

    fn add(&mut self, severity: Severity, code: &'static str, field: &str, message: String) {
        let (place, object, field) = (self.place(field), self.object.clone(), field.to_owned());
        self.problems.push(Problem { severity, code, place, object, field, message });
    }

    /// `value` where nothing made the object unacceptable.
    pub(crate) fn accept<T>(&self, value: T) -> Option<T> {
        (self.errors == 0).then_some(value)
    }

    /// Everything that was said.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Reads the object as a Kubernetes type. Fields that the type does not know are errors, as in the API
    /// server's strict validation, but for those in `tolerated`.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, node: &Node, tolerated: &[&str]) -> Option<T> {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let result = {
            let mut ignored = |path: serde_ignored::Path<'_>| unknown.push(ignored_field(&path));
            let tracked = serde_path_to_error::Deserializer::new(node, &mut track);
            T::deserialize(serde_ignored::Deserializer::new(tracked, &mut ignored))
        };
        for field in unknown {
            if !tolerated.iter().any(|tolerated| field.starts_with(tolerated)) {
                let name = field.rsplit(['.', '[']).next().unwrap_or_default().trim_end_matches(']');
                let message =
                    format!("the field `{name}` is not known here; correct its name or its indentation");
                self.error("unknown-field", &field, message);
            }
        }
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let message = error.to_string();
                let quote = match (message.contains("expected a string"), message.contains("boolean")) {
                    (true, true) => {
                        "; quote it where it is text: a plain `on`, `off`, `yes`, `no`, `y` or `n` is a boolean"
                    }
                    (true, false) => "; quote it where it is text",
                    _ => "",
                };
                self.invalid(&tracked_field(&track.path()), format!("{message}{quote}"));
                None
            }
        }
    }
}

/// serde_path_to_error's path in our form.
fn tracked_field(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |field, segment| match segment {
        Segment::Seq { index } => entry(&field, *index),
        Segment::Map { key } => child(&field, key),
        Segment::Enum { .. } | Segment::Unknown => field,
    })
}

/// serde_ignored's path in our form.
fn ignored_field(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => entry(&ignored_field(parent), *index),
        Path::Map { parent, key } => child(&ignored_field(parent), key),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            ignored_field(parent)
        }
    }
}
