//! What an event or a list says of one object, reduced to our types; nothing of the text is kept. Not here: what
//! changes by it (`objects`).

use super::super::convert::{self, Found, Item};
use super::super::node::Node;
use super::closed::stand_in;
use super::crds::{self, Definition};
use super::kinds::{DEFINITIONS, Kind};
use isolator_policy::cluster::change::{Object, ObjectKey};

/// One object.
#[derive(Debug)]
pub(super) enum Reduced {
    /// An object that is enforced, or should be, and what stands in for it where it cannot be read.
    Item(Item, Option<Box<Object>>),
    /// A definition of a kind.
    Definition(Definition),
    /// Of no meaning here.
    Nothing,
}

/// An object that is gone.
#[derive(Debug)]
pub(super) enum Gone {
    /// One that was enforced: what problems call it, and its name where it can be read.
    Item(String, Option<ObjectKey>),
    /// The definition of a kind, by its name.
    Definition(String),
    /// Of no meaning here.
    Nothing,
}

impl Reduced {
    /// Reads an object.
    pub(super) fn of(kind: Kind, node: &Node) -> Reduced {
        if kind == &DEFINITIONS {
            return crds::read(node).map_or(Reduced::Nothing, Reduced::Definition);
        }
        let item = convert::of_api(kind.kind, node);
        match item.found {
            Found::Other if item.problems.is_empty() => Reduced::Nothing,
            _ => {
                let closed = stand_in(kind, node, &item).map(Box::new);
                Reduced::Item(item, closed)
            }
        }
    }
}

impl Gone {
    /// Reads the last state of an object that is gone.
    pub(super) fn of(kind: Kind, node: &Node) -> Gone {
        if kind == &DEFINITIONS {
            return crds::name(node).map_or(Gone::Nothing, Gone::Definition);
        }
        let Item { name, found, .. } = convert::of_api(kind.kind, node);
        let key = match found {
            Found::Object(object) => Some(object.key()),
            Found::Broken(key) => Some(key),
            Found::Unreadable | Found::Other => None,
        };
        Gone::Item(name, key)
    }
}
