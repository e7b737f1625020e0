//! CustomResourceDefinitions, reduced to which of the optional kinds a cluster has. Not here: watching them.

use super::super::last_good::error;
use super::super::node::{Data, Node};
use super::kinds::{Kind, optional};
use isolator_policy::model::{Place, Problem};
use std::collections::{BTreeMap, BTreeSet};

/// What is kept of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// `plural.group`.
    pub(super) name: String,
    /// Versions in which its objects can be read.
    pub(super) served: BTreeSet<String>,
}

/// Reads a definition. `None` where it has no name, or defines a kind that means nothing here.
pub(super) fn read(node: &Node) -> Option<Definition> {
    let name = name(node)?;
    optional().find(|kind| kind.full_name() == name)?;
    let versions = match node.get("spec").and_then(|spec| spec.get("versions")).map(|list| &list.data) {
        Some(Data::Sequence(list)) => list.as_slice(),
        _ => &[],
    };
    let is_served = |version: &&Node| {
        let served = version.get("served").map(|served| &served.data);
        matches!(served, Some(Data::Scalar(serde_json::Value::Bool(true))))
    };
    let names = versions.iter().filter(is_served).filter_map(|version| version.get("name")?.as_str());
    // Until its names are accepted, nothing is served: a watch would only fail.
    let established = match node.get("status").and_then(|status| status.get("conditions")) {
        Some(Node { data: Data::Sequence(list), .. }) => list.iter().any(|condition| {
            let text = |key| condition.get(key).and_then(Node::as_str);
            text("type") == Some("Established") && text("status") == Some("True")
        }),
        _ => false,
    };
    let served = if established { names.map(str::to_owned).collect() } else { BTreeSet::new() };
    Some(Definition { name, served })
}

/// The name of a definition.
pub(super) fn name(node: &Node) -> Option<String> {
    Some(node.get("metadata")?.get("name")?.as_str()?.to_owned())
}

/// The definitions that there are.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    known: BTreeMap<String, Definition>,
}

impl Definitions {
    /// Adds or replaces one.
    pub(super) fn put(&mut self, one: Definition) {
        self.known.insert(one.name.clone(), one);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Whether a kind is defined, in whatever version.
    pub(super) fn defines(&self, kind: Kind) -> bool {
        self.known.contains_key(&kind.full_name())
    }

    /// Whether a kind can be watched in the version that is read.
    pub(super) fn serves(&self, kind: Kind) -> bool {
        self.known.get(&kind.full_name()).is_some_and(|one| one.served.contains(kind.version))
    }

    /// Kinds that are there only in versions that are not read.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> + '_ {
        optional().filter_map(|kind| {
            let one = self.known.get(&kind.full_name())?;
            if one.served.is_empty() || one.served.contains(kind.version) {
                return None;
            }
            let served: Vec<&str> = one.served.iter().map(String::as_str).collect();
            let message = format!(
                "the cluster serves {kind} only as {}, and it is read as {}; new objects of it are NOT enforced, those \
                 known before stay. Serve {} as well, or update isolator",
                served.join(", "),
                kind.version,
                kind.version
            );
            Some(error("crd-version", Place::Unknown, format!("CustomResourceDefinition {}", one.name), message))
        })
    }
}
