//! The loop's memory: what is known of the cluster, what the maps hold, which interfaces are whose; and
//! the pure step from them to the next writes. Not here: waiting, reading, writing. `run` does those.

use crate::datapath::discover::Interface;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::compiled::Compiled;
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::layout::{Attachment, Capacity, Params, layout};
use isolator_policy::meaning::compile::compile;
use isolator_policy::model::{Pod, PodKey, Problem, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one node knows and enforces.
pub struct Controller {
    node: String,
    params: Params,
    index: Index,
    image: Arc<Image>,
    /// Interfaces whose pod is not known are left alone.
    permissive: bool,
    interfaces: Vec<Interface>,
    /// Which of them belong to no known pod, as of the last plan.
    unknown: BTreeSet<u32>,
    source_problems: Vec<Problem>,
    discovery_problems: Vec<Problem>,
}

/// The next state and the writes that lead to it.
pub struct Plan {
    /// In the order in which they must be done.
    pub ops: Vec<Op>,
    /// What the maps hold afterwards.
    pub next: Image,
    /// The compiled policy behind it.
    pub compiled: Compiled,
    /// The cluster it was compiled from.
    pub snapshot: Arc<Snapshot>,
    /// Everything a person should know.
    pub problems: Vec<Problem>,
    /// Time to compile.
    pub compile: Duration,
    /// Time to lay out and to find the difference.
    pub layout: Duration,
}

impl Controller {
    /// A controller of `node` whose maps hold `image` now.
    #[must_use]
    pub fn new(node: &str, options: Options, params: Params, image: Image, permissive: bool) -> Self {
        Controller {
            node: node.to_owned(),
            params,
            index: Index::new(options),
            image: Arc::new(image),
            permissive,
            interfaces: Vec::new(),
            unknown: BTreeSet::new(),
            source_problems: Vec::new(),
            discovery_problems: Vec::new(),
        }
    }

    /// Takes a change in. Answers whether anything is different now.
    pub fn change(&mut self, change: Change) -> bool {
        self.index.apply(change)
    }

    /// Replaces what is wrong with the input.
    pub fn source_problems(&mut self, problems: Vec<Problem>) {
        self.source_problems = problems;
    }

    /// Replaces the interfaces that carry pods, and what was wrong while looking for them.
    pub fn interfaces(&mut self, interfaces: Vec<Interface>, problems: Vec<Problem>) {
        self.interfaces = interfaces;
        self.discovery_problems = problems;
    }

    /// Replaces what was wrong while looking for interfaces; those known before stay.
    pub fn discovery_problems(&mut self, problems: Vec<Problem>) {
        self.discovery_problems = problems;
    }

    /// What the maps hold, as far as we know.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image)
    }

    /// What is known of the cluster.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.index.snapshot()
    }

    /// The interfaces that programs belong on.
    #[must_use]
    pub fn enforced(&self) -> Vec<Interface> {
        let wanted = |found: &&Interface| !self.permissive || !self.unknown.contains(&found.ifindex);
        self.interfaces.iter().filter(wanted).cloned().collect()
    }

    /// The writes that bring the maps from what they hold to what they should hold. Nothing is changed
    /// until [`Controller::done`].
    ///
    /// # Errors
    /// When the maps are too small: nothing may be written then, and what is enforced stays.
    pub fn plan(&mut self) -> Result<Plan, Capacity> {
        let snapshot = self.index.snapshot();
        let started = Instant::now();
        let compiled = compile(&snapshot, &self.node);
        let compile = started.elapsed();
        let started = Instant::now();
        let (mut attachments, mut problems) = self.attachments(&snapshot, &compiled);
        let unknown = attachments.iter().filter(|(_, attachment)| attachment.pod.is_none());
        self.unknown = unknown.map(|(ifindex, _)| *ifindex).collect();
        if self.permissive {
            attachments.retain(|_, attachment| attachment.pod.is_some());
        }
        let next = layout(&self.image, &compiled, &attachments, &self.params)?;
        let ops = diff(&self.image, &next);
        let layout = started.elapsed();
        problems.extend(compiled.problems.iter().cloned());
        problems.extend(snapshot.problems());
        problems.extend(self.source_problems.iter().chain(&self.discovery_problems).cloned());
        problems.sort();
        problems.dedup();
        Ok(Plan { ops, next, compiled, snapshot, problems, compile, layout })
    }

    /// The maps hold this now: the plan's writes were all done, or one failed and the maps were read again.
    pub fn done(&mut self, image: Image) {
        self.image = Arc::new(image);
    }

    /// Which pod is behind which interface: the one that owns an address found in its sandbox.
    fn attachments(
        &self,
        snapshot: &Snapshot,
        compiled: &Compiled,
    ) -> (BTreeMap<u32, Attachment>, Vec<Problem>) {
        let mut by_address: BTreeMap<_, &PodKey> = BTreeMap::new();
        for (key, endpoint) in &compiled.endpoints {
            by_address.extend(endpoint.addrs.iter().flatten().map(|addr| (*addr, key)));
        }
        let mut taken: BTreeMap<&PodKey, &Interface> = BTreeMap::new();
        let mut problems = Vec::new();
        let mut attachments = BTreeMap::new();
        for interface in &self.interfaces {
            let pod = interface.addresses.iter().find_map(|addr| by_address.get(addr).copied());
            if let Some(pod) = pod
                && let Some(first) = taken.insert(pod, interface)
            {
                problems.push(Problem {
                    severity: Severity::Warning,
                    code: "two-interfaces",
                    place: format!("interface {}", interface.name),
                    object: format!("Pod {pod}"),
                    field: String::new(),
                    message: format!(
                        "the pod is also behind {}; both enforce its policy. If one is stale, remove its sandbox.",
                        first.name
                    ),
                });
            }
            let of_family = |v4: bool| interface.addresses.iter().copied().find(|addr| addr.is_v4() == v4);
            let addrs = [of_family(true), of_family(false)];
            attachments.insert(interface.ifindex, Attachment { pod: pod.cloned(), addrs });
        }
        problems.extend(self.unplaced(snapshot, compiled, &taken));
        (attachments, problems)
    }

    /// Local pods that no interface carries: nothing enforces for them here.
    fn unplaced(
        &self,
        snapshot: &Snapshot,
        compiled: &Compiled,
        taken: &BTreeMap<&PodKey, &Interface>,
    ) -> Vec<Problem> {
        let missing = compiled.endpoints.keys().filter(|key| !taken.contains_key(key));
        let named = missing.filter_map(|key| snapshot.pods().get(key));
        named.map(|pod| self.not_found(pod)).collect()
    }

    fn not_found(&self, pod: &Pod) -> Problem {
        Problem {
            severity: Severity::Warning,
            code: "no-interface",
            place: format!("node {}", self.node),
            object: format!("Pod {}", pod.key),
            field: "status.podIPs".into(),
            message:
                "no sandbox on this node has one of its addresses, so there is nothing to enforce on yet. \
                      It is enforced as soon as its interface appears."
                    .into(),
        }
    }
}
