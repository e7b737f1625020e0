//! Keeps the objects and says whether a change changed anything. Not here: what they mean together
//! (`snapshot`), where they come from (`source` in the agent).

use super::change::{Change, Object, ObjectKey};
use super::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label of a namespace that names its tenant, unless configured otherwise.
pub const TENANT_LABEL: &str = "isolator.dev/tenant";

/// What the meaning of a cluster depends on beside its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Key of the namespace label whose value is the tenant.
    pub tenant_label: String,
}

impl Default for Options {
    fn default() -> Self {
        Options { tenant_label: TENANT_LABEL.to_owned() }
    }
}

/// All objects that are known now.
#[derive(Debug)]
pub struct Index {
    current: Snapshot,
}

impl Index {
    /// An index that knows nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Index { current: Snapshot::empty(options) }
    }

    /// Takes a change in. False when everything is as it was before: an equal object, a deletion of
    /// something unknown, a reset to the same objects. A reset is one change, however many objects differ;
    /// of two objects with one name in it the later counts.
    pub fn apply(&mut self, change: Change) -> bool {
        let now = &mut self.current;
        match change {
            Change::Apply(Object::Namespace(new)) => put(&mut now.namespaces, new.name.clone(), new),
            Change::Apply(Object::Policy(new)) => put(&mut now.policies, new.key.clone(), new),
            Change::Apply(Object::Node(new)) => {
                put(&mut now.nodes, new.name.clone(), new) && now.forget_owners()
            }
            Change::Apply(Object::Pod(new)) => {
                put(&mut now.pods, new.key.clone(), new) && now.forget_owners()
            }
            Change::Delete(ObjectKey::Namespace(name)) => take(&mut now.namespaces, &name),
            Change::Delete(ObjectKey::Policy(key)) => take(&mut now.policies, &key),
            Change::Delete(ObjectKey::Node(name)) => take(&mut now.nodes, &name) && now.forget_owners(),
            Change::Delete(ObjectKey::Pod(key)) => take(&mut now.pods, &key) && now.forget_owners(),
            Change::Reset(objects) => self.reset(objects),
        }
    }

    /// What is known now, as a value that never changes. Cheap: nothing is copied but a few pointers.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.current.clone())
    }

    fn reset(&mut self, objects: Vec<Object>) -> bool {
        let mut namespaces = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        let mut pods = BTreeMap::new();
        let mut policies = BTreeMap::new();
        for object in objects {
            match object {
                Object::Namespace(new) => drop(namespaces.insert(new.name.clone(), new)),
                Object::Node(new) => drop(nodes.insert(new.name.clone(), new)),
                Object::Pod(new) => drop(pods.insert(new.key.clone(), new)),
                Object::Policy(new) => drop(policies.insert(new.key.clone(), new)),
            }
        }
        let now = &mut self.current;
        let names_changed = replace(&mut now.namespaces, namespaces);
        let policies_changed = replace(&mut now.policies, policies);
        let nodes_changed = replace(&mut now.nodes, nodes);
        let pods_changed = replace(&mut now.pods, pods);
        if nodes_changed || pods_changed {
            now.forget_owners();
        }
        names_changed || policies_changed || nodes_changed || pods_changed
    }
}

/// Objects of one kind. Shared between snapshots until one of them changes.
pub(super) type Objects<K, V> = Arc<BTreeMap<K, Arc<V>>>;

fn put<K: Ord + Clone, V: PartialEq>(objects: &mut Objects<K, V>, key: K, value: V) -> bool {
    if objects.get(&key).is_some_and(|old| **old == value) {
        return false;
    }
    Arc::make_mut(objects).insert(key, Arc::new(value));
    true
}

fn take<K: Ord + Clone, V>(objects: &mut Objects<K, V>, key: &K) -> bool {
    objects.contains_key(key) && Arc::make_mut(objects).remove(key).is_some()
}

/// Equal objects stay shared with earlier snapshots.
fn replace<K: Ord + Clone, V: PartialEq>(objects: &mut Objects<K, V>, new: BTreeMap<K, V>) -> bool {
    let mut changed = objects.len() != new.len();
    let mut next = BTreeMap::new();
    for (key, value) in new {
        let kept = match objects.get(&key) {
            Some(old) if **old == value => Arc::clone(old),
            _ => {
                changed = true;
                Arc::new(value)
            }
        };
        next.insert(key, kept);
    }
    if changed {
        *objects = Arc::new(next);
    }
    changed
}
