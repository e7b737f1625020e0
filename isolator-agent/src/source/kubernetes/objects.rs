//! The objects of one kind as the API server has them: what a list or an event changes, and what is wrong. An object
//! is known by a fingerprint alone, so that it is kept once, by whoever takes the changes. A broken edit changes
//! nothing: the last good version stays in force. Pure. Not here: the order between kinds (`order`).

use super::super::convert::{Found, Item};
use super::super::last_good::{broken, error};
use super::shared::Shared;
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::{Place, PodKey, PolicyKey, PolicyKind, Problem, ServiceKey};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

/// Most problems of one kind that are listed; the rest is counted.
const MAX_PROBLEMS: usize = 200;

/// The objects of one kind.
#[derive(Default)]
pub(super) struct Objects {
    seeds: (RandomState, RandomState),
    /// By short name.
    known: HashMap<Box<str>, Known>,
    /// The name of one of them: what the short names leave out.
    like: Option<ObjectKey>,
    /// By the name that problems have.
    problems: BTreeMap<String, Vec<Problem>>,
    listing: Option<Listing>,
    shared: Shared,
}

/// What is kept of an object.
#[derive(Clone, Copy)]
struct Known {
    print: Fingerprint,
    /// The list under way names it.
    seen: bool,
    /// It stands in for one that could not be read.
    closed: bool,
}

/// Of an object's content. Nobody outside can make two that are equal: the seeds are secret.
type Fingerprint = (u64, u64);

/// A change, and whether its object is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delta {
    /// What changes.
    pub(super) change: Change,
    /// The object was not known before.
    pub(super) added: bool,
}

/// A list that is not whole yet.
#[derive(Default)]
struct Listing {
    /// What differs, in the order of the list, and whether it stands in for another; the later counts.
    differs: Vec<(Fingerprint, Object, bool)>,
    problems: BTreeMap<String, Vec<Problem>>,
    /// Something in it has no name: it may be any object.
    nameless: bool,
}

impl Objects {
    /// How many are in force.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A new list begins. One that is not whole is forgotten.
    pub(super) fn begin(&mut self) {
        self.listing = Some(Listing::default());
        self.known.values_mut().for_each(|known| known.seen = false);
    }

    /// The next object of the list, and what stands in for it where it cannot be read.
    pub(super) fn list(&mut self, item: Item, closed: Option<Box<Object>>) {
        let Some(listing) = &mut self.listing else { return };
        let Item { name, found, place, problems } = item;
        listing.problems.remove(&name);
        note(&mut listing.problems, &name, problems);
        let (object, stands_in) = match found {
            Found::Object(object) => (object, false),
            Found::Broken(key) => {
                let known = self.known.get_mut(&short(&key));
                let differs = listing.differs.iter().rfind(|(_, object, _)| object.key() == key);
                let is_closed = match (differs, &known) {
                    (Some((.., closed)), _) => Some(*closed),
                    (None, known) => known.as_ref().map(|known| known.closed),
                };
                let said = listing.problems.entry(name).or_default();
                match (is_closed, closed) {
                    (Some(true) | None, Some(object)) => {
                        said.push(cut_off(&key, &place));
                        (*object, true)
                    }
                    (is_closed, _) => {
                        known.into_iter().for_each(|known| known.seen = true);
                        said.push(match is_closed {
                            Some(true) => cut_off(&key, &place),
                            last_good => broken(&key, &place, last_good.is_some()),
                        });
                        return;
                    }
                }
            }
            Found::Unreadable => {
                listing.nameless = true;
                return;
            }
            Found::Other => return,
        };
        let object = compact(object, &mut self.shared);
        let print = fingerprint(&self.seeds, &object);
        match self.known.get_mut(&short(&object.key())) {
            // Named for the first time, as it was. A second time it may take a difference back.
            Some(known) if (known.print, known.closed) == (print, stands_in) && !known.seen => {
                known.seen = true;
            }
            Some(known) => {
                known.seen = true;
                listing.differs.push((print, object, stands_in));
            }
            None => listing.differs.push((print, object, stands_in)),
        }
    }

    /// An object that the list has named already is gone.
    pub(super) fn unlist(&mut self, name: &str, key: Option<&ObjectKey>) {
        let Some(listing) = &mut self.listing else { return };
        listing.problems.remove(name);
        if let Some(key) = key {
            if let Some(known) = self.known.get_mut(&short(key)) {
                known.seen = false;
            }
            listing.differs.retain(|(_, object, _)| object.key() != *key);
        }
    }

    /// The list is whole: what it makes different. What it does not name is gone, unless it has something without a
    /// name.
    pub(super) fn whole(&mut self) -> Vec<Delta> {
        let Some(Listing { differs, problems, nameless }) = self.listing.take() else {
            return Vec::new();
        };
        self.problems = problems;
        let mut changes = Vec::with_capacity(differs.len());
        if let Some(like) = self.like.as_ref().filter(|_| !nameless) {
            let gone = self.known.extract_if(|_, known| !known.seen);
            let deletions = gone.map(|(name, _)| Change::Delete(long(&name, like)));
            changes.extend(deletions.map(|change| Delta { change, added: false }));
        }
        self.known.reserve(differs.len());
        for (print, object, closed) in differs {
            changes.extend(self.learn(print, object, closed));
        }
        changes
    }

    /// Knows an object from now on; answers what that changes.
    fn learn(&mut self, print: Fingerprint, object: Object, closed: bool) -> Option<Delta> {
        let key = object.key();
        let before = self.known.insert(short(&key), Known { print, seen: true, closed });
        self.like.get_or_insert(key);
        let differs = before.is_none_or(|before| before.print != print);
        differs.then(|| Delta { change: Change::Apply(object), added: before.is_none() })
    }

    /// An object was added or replaced; it may be one that is known. Where it cannot be read, something may stand in for
    /// it.
    pub(super) fn put(&mut self, item: Item, closed: Option<Box<Object>>) -> Option<Delta> {
        let Item { name, found, place, problems } = item;
        self.problems.remove(&name);
        note(&mut self.problems, &name, problems);
        match found {
            Found::Object(object) => {
                let object = compact(object, &mut self.shared);
                let print = fingerprint(&self.seeds, &object);
                self.learn(print, object, false)
            }
            Found::Broken(key) => {
                let is_closed = self.known.get(&short(&key)).map(|known| known.closed);
                let stands_in = closed.filter(|_| is_closed != Some(false));
                let said = if stands_in.is_some() || is_closed == Some(true) {
                    cut_off(&key, &place)
                } else {
                    broken(&key, &place, is_closed.is_some())
                };
                self.problems.entry(name).or_default().push(said);
                let object = *stands_in?;
                let print = fingerprint(&self.seeds, &object);
                self.learn(print, object, true)
            }
            Found::Unreadable | Found::Other => None,
        }
    }

    /// An object is gone; it may never have been known.
    pub(super) fn remove(&mut self, name: &str, key: Option<ObjectKey>) -> Option<Delta> {
        self.problems.remove(name);
        let key = key?;
        self.known.remove(&short(&key)).map(|_| Delta { change: Change::Delete(key), added: false })
    }

    /// All are gone, and what was wrong with them.
    pub(super) fn clear(&mut self) -> Vec<Delta> {
        self.begin();
        let changes = self.whole();
        *self = Objects::default();
        changes
    }

    /// What is wrong with them now.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let all = self.problems.values().flatten();
        let more = all.clone().count().saturating_sub(MAX_PROBLEMS);
        let mut problems: Vec<Problem> = all.take(MAX_PROBLEMS).cloned().collect();
        if more > 0 {
            let message = format!("{more} more problems of this kind are not listed; correct these first");
            problems.push(error("more-problems", Place::Unknown, String::new(), message));
        }
        problems
    }
}

/// What happens to a policy that something stands in for.
fn cut_off(key: &ObjectKey, place: &Place) -> Problem {
    let instead = match key {
        ObjectKey::Policy(PolicyKey { kind: PolicyKind::ClusterNetworkPolicy, .. }) => {
            "its subject takes in nothing from pods, or sends nothing at all, in the directions in which it does more than \
             accept; what comes before it in the order holds"
        }
        _ => "the pods that it selects may talk to nobody in the directions that it speaks of",
    };
    let message = format!(
        "the API server has let it through, so it is not left out: {instead}. Correct it, or update isolator"
    );
    error("cut-off", place.clone(), key.to_string(), message)
}

fn note(all: &mut BTreeMap<String, Vec<Problem>>, name: &str, problems: Vec<Problem>) {
    if !problems.is_empty() {
        all.entry(name.to_owned()).or_default().extend(problems);
    }
}

/// A name without its kind. No name has a slash in it.
fn short(key: &ObjectKey) -> Box<str> {
    let (namespace, name) = match key {
        ObjectKey::Namespace(name)
        | ObjectKey::Node(name)
        | ObjectKey::CidrGroup(name)
        | ObjectKey::ServiceRange(name) => ("", name),
        ObjectKey::Pod(key) => (key.namespace.as_str(), &key.name),
        ObjectKey::Policy(key) => (key.namespace.as_str(), &key.name),
        ObjectKey::Service(key) | ObjectKey::EndpointSlice(key) => (key.namespace.as_str(), &key.name),
    };
    if namespace.is_empty() { name.as_str().into() } else { format!("{namespace}/{name}").into() }
}

/// The name of an object of the same kind as `like`.
fn long(short: &str, like: &ObjectKey) -> ObjectKey {
    let (namespace, name) = short.split_once('/').unwrap_or(("", short));
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match like {
        ObjectKey::Namespace(_) => ObjectKey::Namespace(name),
        ObjectKey::Node(_) => ObjectKey::Node(name),
        ObjectKey::CidrGroup(_) => ObjectKey::CidrGroup(name),
        ObjectKey::ServiceRange(_) => ObjectKey::ServiceRange(name),
        ObjectKey::Pod(_) => ObjectKey::Pod(PodKey { namespace, name }),
        ObjectKey::Policy(like) => ObjectKey::Policy(PolicyKey { kind: like.kind, namespace, name }),
        ObjectKey::Service(_) => ObjectKey::Service(ServiceKey { namespace, name }),
        ObjectKey::EndpointSlice(_) => ObjectKey::EndpointSlice(ServiceKey { namespace, name }),
    }
}

/// Pods are many: they take no more than they need.
fn compact(object: Object, shared: &mut Shared) -> Object {
    match object {
        Object::Pod(mut pod) => {
            pod.labels = shared.share(pod.labels);
            pod.addresses.shrink_to_fit();
            // Ports without a name mean nothing to policy.
            pod.ports.retain(|port| !port.name.is_empty());
            pod.ports.shrink_to_fit();
            Object::Pod(pod)
        }
        other => other,
    }
}

fn fingerprint((one, other): &(RandomState, RandomState), object: &Object) -> Fingerprint {
    (one.hash_one(object), other.hash_one(object))
}
