//! Problems of one object, each with file, document, line, object and field; and the typed reading of an
//! object that names the field which does not fit. Not here: what is right or wrong in a field.

use super::super::node::{Data, Mark, Node, child, entry};
use isolator_policy::model::{FilePlace, Place, Problem, Severity};
use serde::de::DeserializeOwned;

/// The document that an object comes from.
pub(crate) struct Origin<'a> {
    /// Name of the file; empty where there is none.
    pub(crate) file: &'a str,
    /// Number of the document in the file, from 1.
    pub(crate) document: usize,
    /// Its tree.
    pub(crate) root: &'a Node,
    /// Where it begins.
    pub(crate) begin: Mark,
}

/// Which fields that the type does not know are let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// None: a manifest says what a person wrote.
    Refused,
    /// Those of the metadata: an API server may be newer than we are, but a field of a policy that is not known
    /// could narrow or widen it.
    InMetadata,
    /// All: an API server may be newer than we are.
    Passed,
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
    /// What to say of unknown fields beside that they are.
    unknown: &'static str,
    /// Which of them are let pass.
    passed: Unknown,
}

/// A place in a file; `within` is the object's field in its document.
/// Unknown where there is no file.
pub(crate) fn place(file: &str, document: usize, at: Mark, within: &str) -> Place {
    if file.is_empty() {
        return Place::Unknown;
    }
    FilePlace {
        file: file.to_owned(),
        document: u32::try_from(document).unwrap_or(u32::MAX),
        line: at.line,
        column: at.column,
        within: within.to_owned(),
    }
    .into()
}

/// The problem of a document that is no tree.
pub(crate) fn unreadable(place: Place, message: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "unreadable",
        place,
        object: String::new(),
        field: String::new(),
        message: message.to_owned(),
    }
}

impl<'a> Report<'a> {
    /// Nothing is wrong yet.
    pub(crate) fn new(origin: &'a Origin<'a>, prefix: &'a str) -> Self {
        Report {
            origin,
            prefix,
            object: String::new(),
            problems: Vec::new(),
            errors: 0,
            unknown: "",
            passed: Unknown::Refused,
        }
    }

    /// Learns which unknown fields are let pass.
    pub(crate) fn pass(&mut self, unknown: Unknown) {
        self.passed = unknown;
    }

    /// Learns the object's name from its metadata, for messages alone.
    pub(crate) fn name_object(&mut self, kind: &str, node: &Node) {
        let metadata = node.get("metadata");
        let text = |key| metadata.and_then(|metadata| metadata.get(key)).and_then(Node::as_str);
        let name = text("name").unwrap_or("(no name)");
        self.object = match (text("namespace"), kind) {
            (_, "Namespace" | "Node") => format!("{kind} {name}"),
            (Some(namespace), _) => format!("{kind} {namespace}/{name}"),
            (None, "Pod" | "NetworkPolicy" | "CiliumNetworkPolicy" | "Role" | "RoleBinding") => {
                format!("{kind} default/{name}")
            }
            (None, _) => format!("{kind} {name}"),
        };
    }

    /// The object's name, as `Kind namespace/name`, as far as known.
    pub(crate) fn name(&self) -> &str {
        &self.object
    }

    /// The place of a field of the object; of the object itself where `field` is empty.
    pub(crate) fn place(&self, field: &str) -> Place {
        let path = if self.prefix.is_empty() || field.is_empty() {
            format!("{}{field}", self.prefix)
        } else {
            format!("{}.{field}", self.prefix)
        };
        let mut at = self.origin.root.locate(&path);
        if at.line == 0 {
            at = self.origin.begin;
        }
        place(self.origin.file, self.origin.document, at, self.prefix)
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

    /// Learns why an unknown field of this kind cannot be let pass.
    pub(crate) fn unknown_fields(&mut self, why: &'static str) {
        self.unknown = why;
    }

    /// `value` where nothing made the object unacceptable.
    pub(crate) fn accept<T>(&self, value: T) -> Option<T> {
        (self.errors == 0).then_some(value)
    }

    /// Everything that was said.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Refuses null as an entry of a list, as the schema of a custom resource does. It would be read as an empty
    /// entry, which often means everything.
    pub(crate) fn refuse_null_entries(&mut self, node: &Node, field: &str) {
        match &node.data {
            Data::Scalar(_) => {}
            Data::Mapping(entries) => {
                for each in entries {
                    self.refuse_null_entries(&each.value, &child(field, &each.key));
                }
            }
            Data::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let field = entry(field, index);
                    if item.is_null() {
                        self.invalid(
                            &field,
                            "an entry of a list must not be null; take it away, or write what it is",
                        );
                    }
                    self.refuse_null_entries(item, &field);
                }
            }
        }
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
            let passed = match self.passed {
                Unknown::Refused => false,
                Unknown::InMetadata => field.starts_with("metadata."),
                Unknown::Passed => true,
            };
            if !passed && !tolerated.iter().any(|tolerated| field.starts_with(tolerated)) {
                let name = field.rsplit(['.', '[']).next().unwrap_or_default().trim_end_matches(']');
                let why = self.unknown;
                let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
                let message =
                    format!("the field `{name}` is not known here{why}; correct its name or its indentation");
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
