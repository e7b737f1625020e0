//! The order between kinds, which separate watches do not keep: a pod counts from when its namespace is known, and a
//! namespace until its last pod is gone. Without that a pod would be judged for a moment as if its namespace had no
//! labels: without its tenant, for one. Pure. Not here: what changes (`objects`).

use super::objects::Delta;
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::{Place, Pod, PodKey, Problem, Severity};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What waits for what.
#[derive(Default)]
pub(super) struct Order {
    /// Namespaces that have been told, with the pods of each that have been told.
    namespaces: HashMap<String, usize>,
    /// Of those, the ones that are gone, and have pods.
    doomed: BTreeSet<String>,
    /// Pods without a namespace, by its name.
    waiting: BTreeMap<String, BTreeMap<PodKey, Pod>>,
}

impl Order {
    /// Passes a change on, with what it sets free, or keeps it.
    pub(super) fn pass(&mut self, delta: Delta, out: &mut Vec<Change>) {
        let Delta { change, added } = delta;
        match change {
            Change::Apply(Object::Namespace(namespace)) => {
                let name = namespace.name.clone();
                out.push(Change::Apply(Object::Namespace(namespace)));
                self.doomed.remove(&name);
                let freed = self.waiting.remove(&name).unwrap_or_default();
                *self.namespaces.entry(name).or_default() += freed.len();
                out.extend(freed.into_values().map(|pod| Change::Apply(Object::Pod(pod))));
            }
            Change::Delete(ObjectKey::Namespace(name)) => match self.namespaces.get(&name) {
                Some(0) | None => {
                    self.namespaces.remove(&name);
                    out.push(Change::Delete(ObjectKey::Namespace(name)));
                }
                Some(_) => drop(self.doomed.insert(name)),
            },
            Change::Apply(Object::Pod(pod)) => match self.namespaces.get_mut(&pod.key.namespace) {
                Some(pods) => {
                    *pods += usize::from(added);
                    out.push(Change::Apply(Object::Pod(pod)));
                }
                None => {
                    let waiting = self.waiting.entry(pod.key.namespace.clone()).or_default();
                    waiting.insert(pod.key.clone(), pod);
                }
            },
            Change::Delete(ObjectKey::Pod(key)) => self.remove(key, out),
            other => out.push(other),
        }
    }

    fn remove(&mut self, key: PodKey, out: &mut Vec<Change>) {
        let Some(pods) = self.namespaces.get_mut(&key.namespace) else {
            if let Some(waiting) = self.waiting.get_mut(&key.namespace) {
                waiting.remove(&key);
                if waiting.is_empty() {
                    self.waiting.remove(&key.namespace);
                }
            }
            return;
        };
        *pods = pods.saturating_sub(1);
        let last = *pods == 0;
        let name = key.namespace.clone();
        out.push(Change::Delete(ObjectKey::Pod(key)));
        if last && self.doomed.remove(&name) {
            self.namespaces.remove(&name);
            out.push(Change::Delete(ObjectKey::Namespace(name)));
        }
    }

    /// Pods that wait.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> + '_ {
        self.waiting.iter().map(|(namespace, pods)| Problem {
            severity: Severity::Warning,
            code: "namespace-unknown",
            place: Place::Unknown,
            object: format!("Namespace {namespace}"),
            field: String::new(),
            message: format!(
                "the API server has not said anything of this namespace yet; {} of its pods may only talk to their node \
                 until it does",
                pods.len()
            ),
        })
    }
}
