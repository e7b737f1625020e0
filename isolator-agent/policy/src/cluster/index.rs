//! Keeps the objects and says whether a change changed anything. Not here: what they mean together
//! (`snapshot`), where they come from (`source` in the agent).

use super::change::{Change, Object, ObjectKey};
use super::snapshot::Snapshot;
use crate::shared::SharedMap;
use isolator_common::addr::Prefix;
use std::sync::Arc;

/// The label of a namespace that names its tenant, unless configured otherwise.
pub const TENANT_LABEL: &str = "isolator.dev/tenant";

/// The cluster's name unless configured otherwise, as Cilium's default is.
pub const CLUSTER_NAME: &str = "default";

/// What the meaning of a cluster depends on beside its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Key of the namespace label whose value is the tenant.
    pub tenant_label: String,
    /// Name of the cluster, which selectors of Cilium's kinds may ask for.
    pub cluster_name: String,
    /// Ranges that addresses of services come from, beside those that ServiceCIDR objects declare.
    pub service_ranges: Vec<Prefix>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            tenant_label: TENANT_LABEL.to_owned(),
            cluster_name: CLUSTER_NAME.to_owned(),
            service_ranges: Vec::new(),
        }
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
                let key = new.key.clone();
                let before = now.pods.get(&key).cloned();
                put(&mut now.pods, key.clone(), new)
                    && now.pod_changed(before.as_ref(), now.pods.get(&key).cloned().as_ref())
            }
            Change::Apply(Object::Service(new)) => {
                put(&mut now.services, new.key.clone(), new) && now.forget_translations()
            }
            Change::Apply(Object::ServiceRange(new)) => {
                put(&mut now.service_ranges, new.name.clone(), new) && now.forget_translations()
            }
            Change::Apply(Object::EndpointSlice(new)) => {
                put(&mut now.slices, new.key(), new) && now.forget_api_servers()
            }
            Change::Apply(Object::CidrGroup(new)) => put(&mut now.cidr_groups, new.name.clone(), new),
            Change::Delete(ObjectKey::Namespace(name)) => take(&mut now.namespaces, &name),
            Change::Delete(ObjectKey::Policy(key)) => take(&mut now.policies, &key),
            Change::Delete(ObjectKey::Node(name)) => take(&mut now.nodes, &name) && now.forget_owners(),
            Change::Delete(ObjectKey::Pod(key)) => match now.pods.remove(&key) {
                Some(before) => now.pod_changed(Some(&before), None),
                None => false,
            },
            Change::Delete(ObjectKey::Service(key)) => {
                take(&mut now.services, &key) && now.forget_translations()
            }
            Change::Delete(ObjectKey::ServiceRange(name)) => {
                take(&mut now.service_ranges, &name) && now.forget_translations()
            }
            Change::Delete(ObjectKey::EndpointSlice(key)) => {
                take(&mut now.slices, &key) && now.forget_api_servers()
            }
            Change::Delete(ObjectKey::CidrGroup(name)) => take(&mut now.cidr_groups, &name),
            Change::Reset(objects) => self.reset(objects),
        }
    }

    /// What is known now, as a value that never changes. Cheap: nothing is copied but a few pointers.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.current.clone())
    }

    fn reset(&mut self, objects: Vec<Object>) -> bool {
        let mut namespaces = Vec::new();
        let mut nodes = Vec::new();
        let mut pods = Vec::new();
        let mut policies = Vec::new();
        let mut services = Vec::new();
        let mut slices = Vec::new();
        let mut cidr_groups = Vec::new();
        let mut service_ranges = Vec::new();
        for object in objects {
            match object {
                Object::Namespace(new) => namespaces.push((new.name.clone(), Arc::new(new))),
                Object::Node(new) => nodes.push((new.name.clone(), Arc::new(new))),
                Object::Pod(new) => pods.push((new.key.clone(), Arc::new(new))),
                Object::Policy(new) => policies.push((new.key.clone(), Arc::new(new))),
                Object::Service(new) => services.push((new.key.clone(), Arc::new(new))),
                Object::EndpointSlice(new) => slices.push((new.key(), Arc::new(new))),
                Object::CidrGroup(new) => cidr_groups.push((new.name.clone(), Arc::new(new))),
                Object::ServiceRange(new) => service_ranges.push((new.name.clone(), Arc::new(new))),
            }
        }
        let now = &mut self.current;
        let nodes_changed = replace(&mut now.nodes, nodes);
        let pods_changed = replace(&mut now.pods, pods);
        if nodes_changed || pods_changed {
            now.forget_owners();
        }
        let slices_changed = replace(&mut now.slices, slices);
        if slices_changed {
            now.forget_api_servers();
        }
        let services_changed = replace(&mut now.services, services);
        let ranges_changed = replace(&mut now.service_ranges, service_ranges);
        if services_changed || ranges_changed {
            now.forget_translations();
        }
        let others = [
            replace(&mut now.namespaces, namespaces),
            replace(&mut now.policies, policies),
            services_changed,
            ranges_changed,
            replace(&mut now.cidr_groups, cidr_groups),
        ];
        nodes_changed || pods_changed || slices_changed || others.contains(&true)
    }
}

/// Objects of one kind. Shared between snapshots until one of them changes.
pub(super) type Objects<K, V> = SharedMap<K, Arc<V>>;

fn put<K: Ord + Clone, V: PartialEq>(objects: &mut Objects<K, V>, key: K, value: V) -> bool {
    if objects.get(&key).is_some_and(|old| **old == value) {
        return false;
    }
    objects.insert(key, Arc::new(value));
    true
}

fn take<K: Ord + Clone, V>(objects: &mut Objects<K, V>, key: &K) -> bool {
    objects.remove(key).is_some()
}

/// Equal objects stay shared with earlier snapshots.
fn replace<K: Ord + Clone, V: PartialEq>(objects: &mut Objects<K, V>, mut new: Vec<(K, Arc<V>)>) -> bool {
    new.sort_by(|(a, _), (b, _)| a.cmp(b));
    // The sort leaves equal names in their order, and of those the later counts.
    new.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    let mut changed = objects.len() != new.len();
    for (key, value) in &mut new {
        match objects.get(key) {
            Some(old) if *old == *value => *value = Arc::clone(old),
            _ => changed = true,
        }
    }
    if changed {
        *objects = new.into_iter().collect();
    }
    changed
}
