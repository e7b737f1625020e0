//! What checks ask of texts beside the objects that they say: the places of fields, and roles. Not here: what is wrong
//! with them.

use super::convert::{self, Found};
use super::documents::{self, Format};
use super::files::Content;
use super::load::Manifests;
use isolator_policy::model::{Access, FilePlace, Place, Problem, Severity};
use std::collections::HashMap;
use std::path::Path;

impl Manifests {
    /// Gives a place to each problem that has none, and whose object is in these texts: that of its field, or
    /// of the nearest field around it that is written. Where an object is in several texts, the one that counts
    /// is meant.
    pub fn locate(&self, problems: &mut [Problem]) {
        let mut wanted: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, problem) in problems.iter().enumerate() {
            if problem.place == Place::Unknown && !problem.object.is_empty() {
                wanted.entry(problem.object.clone()).or_default().push(index);
            }
        }
        for (file, content) in &self.files {
            let Content::Bytes(bytes) = content else { continue };
            if wanted.is_empty() {
                return;
            }
            let format = Format::of(Path::new(file)).unwrap_or(Format::Yaml);
            documents::read(bytes, format, |document| {
                let Ok(root) = &document.content else { return };
                for item in convert::convert(file, &document) {
                    // What is no object to us may be one to a check.
                    let (Found::Object(_) | Found::Other, Place::File(begin)) = (item.found, item.place)
                    else {
                        continue;
                    };
                    for index in wanted.remove(&item.name).unwrap_or_default() {
                        let at = root.locate(&inside(&begin.within, &problems[index].field));
                        let found = FilePlace { line: at.line, column: at.column, ..(*begin).clone() };
                        problems[index].place =
                            if at.line == 0 { begin.clone().into() } else { found.into() };
                    }
                }
            });
        }
    }
}

impl Manifests {
    /// The roles and bindings in the texts, and what is wrong with them.
    #[must_use]
    pub fn access(&self) -> (Access, Vec<Problem>) {
        let (mut access, mut problems) = (Access::default(), Vec::new());
        for (file, content) in &self.files {
            let Content::Bytes(bytes) = content else { continue };
            let format = Format::of(Path::new(file)).unwrap_or(Format::Yaml);
            documents::read(bytes, format, |document| {
                let Ok(root) = &document.content else { return };
                problems.extend(convert::access::take(root, &mut access).into_iter().map(|(object, why)| {
                    Problem {
                        severity: Severity::Warning,
                        code: "role-unreadable",
                        place: Place::Unknown,
                        object,
                        field: String::new(),
                        message: format!("it cannot be read, so what it grants is not known: {why}"),
                    }
                }));
            });
        }
        (access, problems)
    }
}

/// The field of an object that is itself a field of its document.
fn inside(within: &str, field: &str) -> String {
    match (within.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (false, true) => within.to_owned(),
        (false, false) => format!("{within}.{field}"),
    }
}
