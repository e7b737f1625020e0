//! What a folder of manifests says, file by file: the objects in force, the changes that a batch of edits
//! makes, and the problems. A broken edit never takes an object away: its last good version stays. Pure:
//! contents come in as bytes. Not here: reading and watching (`scan`, `watch`).

use super::convert::{self, Found, Item};
use super::documents::{self, Format};
use super::last_good::{broken, error};
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::{Place, Problem, Severity};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Most problems that are listed of one file; the rest is counted.
const MAX_PROBLEMS_OF_FILE: usize = 200;
/// Most objects that one sentence lists.
const MAX_LISTED: usize = 10;

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It says this.
    Bytes(Vec<u8>),
    /// It is there and cannot be read, with the reason. What it said before stays in force.
    Unreadable(String),
    /// It is not there any more: its objects are deleted.
    Gone,
}

/// The files of a folder and what they say together.
#[derive(Default)]
pub struct Folder {
    files: BTreeMap<String, File>,
    /// Which files have an object, by name.
    owners: HashMap<ObjectKey, BTreeSet<String>>,
    /// Objects in more than one file.
    shared: BTreeSet<ObjectKey>,
    current: HashMap<ObjectKey, Arc<Object>>,
}

/// What one file says.
#[derive(Default)]
struct File {
    entries: BTreeMap<ObjectKey, Entry>,
    problems: Vec<Problem>,
}

/// An object as one file has it.
#[derive(Clone)]
struct Entry {
    /// Its newest good version; `None` where there never was one.
    object: Option<Arc<Object>>,
    /// Where it stands.
    place: Place,
}

impl Folder {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Folder::default()
    }

    /// Takes one file's new content.
    pub fn update(&mut self, path: &str, content: Content) -> Vec<Change> {
        self.apply(vec![(path.to_owned(), content)])
    }

    /// Takes new contents of several files together: what moves from one to another is never gone between.
    /// Returns the changes of the objects in force, sorted by name; equal content gives none.
    pub fn apply(&mut self, batch: Vec<(String, Content)>) -> Vec<Change> {
        let mut affected = BTreeSet::new();
        for (path, content) in batch {
            let old = self.files.remove(&path).unwrap_or_default();
            let new = match content {
                Content::Gone => None,
                Content::Unreadable(reason) => Some(unreadable(&path, &reason, &old)),
                Content::Bytes(bytes) => Some(self.read(&path, &bytes, &old)),
            };
            for key in old.entries.into_keys() {
                if let Some(owners) = self.owners.get_mut(&key) {
                    owners.remove(&path);
                }
                affected.insert(key);
            }
            if let Some(new) = new {
                for key in new.entries.keys() {
                    self.owners.entry(key.clone()).or_default().insert(path.clone());
                    affected.insert(key.clone());
                }
                self.files.insert(path, new);
            }
        }
        affected.into_iter().filter_map(|key| self.resolve(key)).collect()
    }

    /// Every object in force, sorted by name.
    #[must_use]
    pub fn objects(&self) -> Vec<Object> {
        let sorted: BTreeMap<_, _> = self.current.iter().collect();
        sorted.into_values().map(|object| Object::clone(object)).collect()
    }

    /// Everything that is wrong at the moment, file by file.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.files.values().flat_map(|file| file.problems.clone()).collect();
        for key in &self.shared {
            problems.extend(self.duplicate(key));
        }
        problems
    }

    /// Whether all of a known file could be taken as it is written.
    #[must_use]
    pub fn is_good(&self, path: &str) -> bool {
        let wrong = |file: &File| file.problems.iter().any(|problem| problem.severity == Severity::Error);
        self.files.get(path).is_some_and(|file| !wrong(file))
    }

    /// The files that are known, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Reads a file. `old` is what it said before.
    fn read(&self, path: &str, bytes: &[u8], old: &File) -> File {
        let mut file = File::default();
        let mut more = 0;
        let mut complete = true;
        let format = Format::of(Path::new(path)).unwrap_or(Format::Yaml);
        documents::read(bytes, format, |document| {
            for item in convert::convert(path, &document) {
                complete &= !matches!(item.found, Found::Unreadable);
                let problems = self.add(item, old, &mut file.entries);
                let room = MAX_PROBLEMS_OF_FILE.saturating_sub(file.problems.len());
                more += problems.len().saturating_sub(room);
                file.problems.extend(problems.into_iter().take(room));
            }
        });
        if more > 0 {
            let message = format!("{more} more problems of this file are not listed; correct these first");
            file.problems.push(error("more-problems", Place::file(path), String::new(), message));
        }
        if !complete {
            let mut kept = Vec::new();
            for (key, entry) in &old.entries {
                if entry.object.is_some() && !file.entries.contains_key(key) {
                    kept.push(key.to_string());
                    file.entries.insert(key.clone(), entry.clone());
                }
            }
            if !kept.is_empty() {
                let message = format!(
                    "a part of this file is unreadable, so what it said before is kept where it cannot be found: {}",
                    listed(&kept)
                );
                file.problems.push(error("last-good", Place::file(path), String::new(), message));
            }
        }
        file
    }

    /// Adds one object of a file to its entries and returns what is wrong with it.
    fn add(&self, item: Item, old: &File, entries: &mut BTreeMap<ObjectKey, Entry>) -> Vec<Problem> {
        let Item { name: _, found, place, mut problems } = item;
        let (key, object) = match found {
            Found::Object(object) => (object.key(), Some(Arc::new(object))),
            Found::Broken(key) => (key, None),
            Found::Unreadable | Found::Other => return problems,
        };
        if let Some(first) = entries.get(&key).filter(|first| first.object.is_some() || object.is_none()) {
            let message =
                format!("it is in this file twice; only the first, at {}, counts. Remove one", first.place);
            problems.push(error("duplicate", place, key.to_string(), message));
            return problems;
        }
        let object = object.or_else(|| {
            let own = old.entries.get(&key).and_then(|entry| entry.object.clone());
            let last_good = own.or_else(|| self.current.get(&key).cloned());
            problems.push(broken(&key, &place, last_good.is_some()));
            last_good
        });
        entries.insert(key, Entry { object, place });
        problems
    }

    /// Decides which file's version of an object is in force, and says what that changes.
    fn resolve(&mut self, key: ObjectKey) -> Option<Change> {
        let owners = self.owners.get(&key).into_iter().flatten();
        let count = owners.clone().count();
        let object = owners.filter_map(|path| self.entry(path, &key)).find_map(|entry| entry.object.clone());
        if count == 0 {
            self.owners.remove(&key);
        }
        if count > 1 {
            self.shared.insert(key.clone());
        } else {
            self.shared.remove(&key);
        }
        match object {
            Some(object) if self.current.get(&key) == Some(&object) => None,
            Some(object) => {
                self.current.insert(key, Arc::clone(&object));
                Some(Change::Apply(Object::clone(&object)))
            }
            None => self.current.remove(&key).map(|_| Change::Delete(key)),
        }
    }

    fn entry(&self, path: &str, key: &ObjectKey) -> Option<&Entry> {
        self.files.get(path).and_then(|file| file.entries.get(key))
    }

    /// The problems of an object that several files have: one for each file that does not count.
    fn duplicate(&self, key: &ObjectKey) -> Vec<Problem> {
        let owners = self.owners.get(key).into_iter().flatten();
        let entries: Vec<&Entry> = owners.filter_map(|path| self.entry(path, key)).collect();
        let Some(winner) = entries.iter().position(|entry| entry.object.is_some()) else { return Vec::new() };
        let others = entries.iter().enumerate().filter(|(index, _)| *index != winner);
        let problem = |(_, entry): (usize, &&Entry)| {
            let message = format!(
                "the same object is at {}, which counts; this one does not. Remove one",
                entries[winner].place
            );
            error("duplicate", entry.place.clone(), key.to_string(), message)
        };
        others.map(problem).collect()
    }
}

/// A file that cannot be read keeps what it said.
fn unreadable(path: &str, reason: &str, old: &File) -> File {
    let kept: Vec<String> =
        old.entries.iter().filter(|(_, e)| e.object.is_some()).map(|(k, _)| k.to_string()).collect();
    let consequence = if kept.is_empty() {
        "nothing of it is enforced".to_owned()
    } else {
        format!("what it said before is kept: {}", listed(&kept))
    };
    let message = format!("the file cannot be read ({reason}); {consequence}");
    File {
        entries: old.entries.clone(),
        problems: vec![error("unreadable", Place::file(path), String::new(), message)],
    }
}

fn listed(names: &[String]) -> String {
    let mut list = names.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MAX_LISTED {
        list += &format!(" and {} more", names.len() - MAX_LISTED);
    }
    list
}
