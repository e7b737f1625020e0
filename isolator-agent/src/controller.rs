//! The loop's memory: what is known of the cluster, what the maps hold, which interfaces are whose; and
//! the pure step from them to the next writes. Not here: waiting, reading, writing. `run` does those.

use crate::datapath::discover::Interface;
use isolator_common::endpoint::Marking;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::problems::Problems;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::compiled::Compiled;
use isolator_policy::datapath::diff::{diff, take_up};
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::layout::{Attachment, Capacity, Layout, Params};
use isolator_policy::meaning::compile::Compiler;
use isolator_policy::meaning::cost::{Cost, costliest};
use isolator_policy::model::{Place, Pod, PodKey, Problem, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one node knows and enforces.
pub struct Controller {
    node: String,
    params: Params,
    index: Index,
    problems: Problems,
    compiler: Compiler,
    layout: Layout,
    image: Arc<Image>,
    /// `image` is what the maps were found to hold, not what an update has left.
    read_back: bool,
    /// Interfaces whose pod is not known are left alone.
    permissive: bool,
    interfaces: Vec<Interface>,
    /// Which of them belong to no known pod, as of the last plan.
    unknown: BTreeSet<u32>,
    source_problems: Vec<Problem>,
    discovery_problems: Vec<Problem>,
    /// `None`: as the maps have it.
    marking: Option<Marking>,
}

/// The next state and the writes that lead to it.
pub struct Plan {
    /// In the order in which they must be done.
    pub ops: Vec<Op>,
    /// What the maps hold afterwards.
    pub next: Image,
    /// The compiled policy behind it.
    pub compiled: Arc<Compiled>,
    /// The cluster it was compiled from.
    pub snapshot: Arc<Snapshot>,
    /// Everything a person should know.
    pub problems: Vec<Problem>,
    /// Time to compile.
    pub compile: Duration,
    /// Time to lay out.
    pub layout: Duration,
    /// Time to find the difference.
    pub diff: Duration,
}

/// The maps are too small for what should be enforced. What was enforced before stays.
#[derive(Debug)]
pub struct TooLarge {
    /// Which map, and by how much.
    pub capacity: Capacity,
    /// Where to begin.
    pub costliest: Vec<Cost>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLarge { capacity, costliest } = self;
        write!(f, "{capacity}")?;
        let costs: Vec<String> = costliest.iter().map(Cost::to_string).collect();
        if costs.is_empty() { Ok(()) } else { write!(f, ". Most is for {}", costs.join(", ")) }
    }
}

impl std::error::Error for TooLarge {}

impl Controller {
    /// A controller of `node` whose maps were found to hold `image`.
    #[must_use]
    pub fn new(node: &str, options: Options, params: Params, image: Image, permissive: bool) -> Self {
        Controller {
            node: node.to_owned(),
            params,
            index: Index::new(options),
            problems: Problems::default(),
            compiler: Compiler::new(node),
            layout: Layout::default(),
            image: Arc::new(image),
            read_back: true,
            permissive,
            interfaces: Vec::new(),
            unknown: BTreeSet::new(),
            source_problems: Vec::new(),
            discovery_problems: Vec::new(),
            marking: None,
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

    /// What the source and the search for interfaces say is wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.source_problems.iter().chain(&self.discovery_problems).cloned().collect()
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

    /// Replaces how packets to Service addresses are marked. Answers whether that is different now.
    pub fn marking(&mut self, marking: Marking) -> bool {
        self.marking.replace(marking) != Some(marking)
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
    pub fn plan(&mut self) -> Result<Plan, TooLarge> {
        let snapshot = self.index.snapshot();
        let started = Instant::now();
        let compiled = self.compiler.compile(&snapshot);
        let compile = started.elapsed();
        let started = Instant::now();
        let (mut attachments, mut problems) = self.attachments(&snapshot, &compiled);
        let unknown = attachments.iter().filter(|(_, attachment)| attachment.pod.is_none());
        self.unknown = unknown.map(|(ifindex, _)| *ifindex).collect();
        if self.permissive {
            attachments.retain(|_, attachment| attachment.pod.is_some());
        }
        let next = self.layout.next(&self.image, &compiled, &attachments, &self.params);
        let mut next = next.map_err(|capacity| {
            let costliest = costliest(&snapshot, &compiled, capacity.map);
            TooLarge { capacity, costliest }
        })?;
        next.marking = self.marking.unwrap_or(next.marking);
        let layout = started.elapsed();
        let started = Instant::now();
        let ops = if self.read_back { take_up(&self.image, &next) } else { diff(&self.image, &next) };
        let diff = started.elapsed();
        problems.extend(compiled.problems.iter().cloned());
        problems.extend(self.problems.of(&snapshot));
        problems.extend(self.source_problems.iter().chain(&self.discovery_problems).cloned());
        problems.sort();
        problems.dedup();
        Ok(Plan { ops, next, compiled, snapshot, problems, compile, layout, diff })
    }

    /// The maps hold this now: the plan's writes were all done.
    pub fn done(&mut self, image: Image) {
        self.image = Arc::new(image);
        self.read_back = false;
    }

    /// The maps were found to hold this, whatever was written before.
    pub fn found(&mut self, image: Image) {
        self.image = Arc::new(image);
        self.read_back = true;
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
                    place: Place::Thing(format!("interface {}", interface.name)),
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
            place: Place::Thing(format!("node {}", self.node)),
            object: format!("Pod {}", pod.key),
            field: "status.podIPs".into(),
            message:
                "no sandbox on this node has one of its addresses, so there is nothing to enforce on yet. \
                      It is enforced as soon as its interface appears."
                    .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::addr::{Addr, Prefix};
    use isolator_common::policy::Direction;
    use isolator_common::tables::{capacity, name};
    use isolator_policy::cluster::change::Object;
    use isolator_policy::datapath::layout::Capacities;
    use isolator_policy::model::{
        Action, NamespaceMatch, Part, Peer, Peers, Policy, PolicyKey, PolicyKind, Ports, Rule, RuleField,
        Rules, Selector, Subject, Tier,
    };

    fn pod() -> Change {
        Change::Apply(Object::Pod(Pod {
            key: PodKey { namespace: "shop".into(), name: "web".into() },
            labels: Default::default(),
            node: Some("n1".into()),
            addresses: vec![Addr::v4([10, 0, 0, 1])],
            host_network: false,
            finished: false,
            ports: Vec::new(),
            service_account: "default".into(),
        }))
    }

    /// A policy that allows this many networks.
    fn policy(networks: u32) -> Change {
        let block = |number: u32| Peer::Block {
            cidr: Prefix::new(Addr::v4((0xc000_0000 + number * 2).to_be_bytes()), 96 + 31),
            except: Vec::new(),
            inside: true,
        };
        let rule = Rule {
            at: RuleField::of(Direction::Ingress, 0),
            action: Action::Allow,
            peers: Peers::OneOf((0..networks).map(block).collect()),
            ports: Ports::Any,
        };
        let subject =
            Subject::Pods { namespaces: NamespaceMatch::Named("shop".into()), pods: Selector::everything() };
        let ingress = Some(Rules { default_deny: true, rules: vec![rule] });
        Change::Apply(Object::Policy(Policy {
            key: PolicyKey {
                kind: PolicyKind::NetworkPolicy,
                namespace: "shop".into(),
                name: format!("partners-{}", networks.min(3)),
            },
            tier: Tier::Normal,
            priority: 0,
            parts: vec![Part { subject, ingress, egress: None }],
        }))
    }

    #[test]
    fn a_policy_too_large_for_a_map_leaves_what_is_enforced_and_says_which_it_is() {
        let params =
            Params { ticks_per_second: 100, events_per_second: 100, capacities: Capacities::default() };
        let mut controller = Controller::new("n1", Options::default(), params, Image::default(), false);
        let interface = Interface {
            ifindex: 7,
            name: "veth7".into(),
            sandbox: "web".into(),
            addresses: vec![Addr::v4([10, 0, 0, 1])],
        };
        controller.interfaces(vec![interface], Vec::new());
        controller.change(pod());
        controller.change(policy(2));
        let plan = controller.plan().expect("fits");
        assert_eq!(plan.ops[0], Op::Grace, "an agent before may just have switched");
        controller.done(plan.next);
        let enforced = controller.image();

        controller.change(policy(200_000));
        let Err(too_large) = controller.plan() else { panic!("it does not fit") };
        let TooLarge { capacity: Capacity { map, needed, available }, .. } = &too_large;
        // The networks, and all of both families.
        assert_eq!((*map, *needed, *available), (name::PREFIXES, 200_002, capacity::PREFIXES));
        assert!(Arc::ptr_eq(&enforced, &controller.image()), "nothing has changed");
        let said = too_large.to_string();
        for part in [
            name::PREFIXES,
            "200002 entries needed",
            "131072 there",
            "stays in force",
            "NetworkPolicy shop/partners-3 (200000 prefixes), NetworkPolicy shop/partners-2 (2 prefixes)",
        ] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }

        controller.change(policy(3));
        let plan = controller.plan().expect("fits again");
        assert_eq!(plan.next.prefixes.len(), 2 + 3);
        assert_ne!(plan.ops[0], Op::Grace);
        controller.found(Image::clone(&enforced));
        assert_eq!(controller.plan().expect("fits").ops[0], Op::Grace, "so may an update that failed");
    }
}
