//! The clusters that are compiled, and small changes of them. Not here: clocks.

use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::protocol::{TCP, UDP};
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::{
    Action, Backend, ContainerPort, EndpointSlice, IdentityRequirement, IdentitySelector, LabelSource,
    Labels, Namespace, NamespaceMatch, Node, Operator, Part, Peer, Peers, Pod, PodKey, Policy, PolicyKey,
    PolicyKind, PortMatch, Ports, Requirement, Rule, RuleField, RuleList, Rules, Selector, Service,
    ServiceKey, ServicePort, Subject, TargetPort, Tier,
};

/// The node that is compiled. It has the first 100 pods.
pub(crate) const NODE: &str = "n0";
const PODS_PER_NODE: u32 = 100;
const NAMESPACES: u32 = 500;
const TENANTS: u32 = 50;
const APPS: u32 = 1009;
/// Prefixes of the one policy that is heavy with them, ranges and denials of each policy that is.
const MANY_PREFIXES: u32 = 10_000;
const MANY_RANGES: u32 = 100;
const MANY_DENIALS: u32 = 50;

/// What the policies are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Pod selectors of two kinds, a prefix and a port each.
    Mixed,
    /// One policy has 10,000 prefixes.
    Prefixes,
    /// Each policy has 100 ranges of ports.
    Ranges,
    /// Each policy denies 50 times what it allows.
    Denials,
    /// Cilium's selectors: labels of identities, with requirements on namespaces.
    Identities,
}

impl Shape {
    /// All of them.
    pub(crate) const ALL: [Shape; 5] =
        [Shape::Mixed, Shape::Prefixes, Shape::Ranges, Shape::Denials, Shape::Identities];

    /// As printed, and as the flag takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Mixed => "mixed",
            Shape::Prefixes => "prefixes",
            Shape::Ranges => "ranges",
            Shape::Denials => "denials",
            Shape::Identities => "identities",
        }
    }
}

/// A cluster by its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    /// What its policies are made of.
    pub(crate) shape: Shape,
    /// Pods in all namespaces, on all nodes.
    pub(crate) pods: u32,
    /// Policies.
    pub(crate) policies: u32,
}

/// A small change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pod of another node has another label.
    Relabelled,
    /// A pod appears on another node.
    New,
    /// It is deleted.
    Deleted,
    /// A policy of a pod of this node has other peers and another port.
    Policy,
    /// A policy that selects no pod of this node has.
    Elsewhere,
    /// A service that selects pods has another backend.
    Backend,
    /// A namespace has another label.
    Namespace,
}

impl Kind {
    /// All of them, in the order of measuring: what is deleted was new just before.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Relabelled,
        Kind::New,
        Kind::Deleted,
        Kind::Policy,
        Kind::Elsewhere,
        Kind::Backend,
        Kind::Namespace,
    ];

    /// As printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Relabelled => "pod relabelled",
            Kind::New => "new pod",
            Kind::Deleted => "pod deleted",
            Kind::Policy => "policy of this node",
            Kind::Elsewhere => "policy of other nodes",
            Kind::Backend => "backend of a service",
            Kind::Namespace => "namespace relabelled",
        }
    }
}

impl Cluster {
    /// Everything in it.
    pub(crate) fn objects(self) -> Vec<Object> {
        let namespaces = (0..NAMESPACES).map(|number| namespace(number, &[]));
        let nodes = (0..self.pods.div_ceil(PODS_PER_NODE)).map(node);
        let pods = (0..self.pods).map(|number| pod(number, number));
        let policies = (0..self.policies).map(|number| self.policy(number, 0));
        let services = (0..NAMESPACES).flat_map(|number| [service(number), slice(number, 0)]);
        namespaces.chain(nodes).chain(pods).chain(policies).chain(services).collect()
    }

    /// The names of the node's own pods.
    pub(crate) fn local(self) -> impl Iterator<Item = PodKey> {
        (0..self.pods.min(PODS_PER_NODE)).map(pod_key)
    }

    /// A change of a kind; each round's differs from the one before.
    pub(crate) fn change(self, kind: Kind, round: u32) -> Change {
        let last = self.pods - 1;
        match kind {
            Kind::Relabelled => Change::Apply(pod(last, last + 1 + round)),
            Kind::New => Change::Apply(pod(self.pods + PODS_PER_NODE + round, round)),
            Kind::Deleted => Change::Delete(ObjectKey::Pod(pod_key(self.pods + PODS_PER_NODE + round))),
            Kind::Policy => Change::Apply(self.policy(0, 1 + round)),
            // Its namespace has no pod on this node, unless there are very few policies.
            Kind::Elsewhere => Change::Apply(self.policy(self.policies.min(NAMESPACES) - 1, 1 + round)),
            Kind::Backend => Change::Apply(slice(NAMESPACES - 1, 1 + round)),
            Kind::Namespace => Change::Apply(namespace(NAMESPACES - 1, &[("round", &round.to_string())])),
        }
    }

    /// A policy, in one of many wordings.
    fn policy(self, number: u32, wording: u32) -> Object {
        let name = namespace_name(number);
        let port = 1 + (number.wrapping_add(wording * 11) % 60_000) as u16;
        let port = Ports::OneOf(vec![PortMatch::Range { protocol: TCP, first: port, last: port }]);
        let other = app(number.wrapping_mul(7).wrapping_add(wording));
        let tenant = tenant(number);
        let peers = vec![
            Peer::Pods {
                namespaces: NamespaceMatch::Matching(is("isolator.dev/tenant", [tenant.clone()])),
                pods: is("app", [other.clone()]),
            },
            Peer::Pods {
                namespaces: NamespaceMatch::Named(name.clone()),
                pods: Selector::new([Requirement {
                    key: "app".to_owned(),
                    operator: Operator::NotIn([app(number % 13)].into()),
                }]),
            },
            block(203, number),
        ];
        let (ingress, egress) = match self.shape {
            Shape::Prefixes if number == 0 => {
                let prefixes = (0..MANY_PREFIXES).map(|n| block(198, n.wrapping_add(wording))).collect();
                (vec![allow(Peers::OneOf(prefixes), port)], vec![])
            }
            Shape::Mixed | Shape::Prefixes => (
                vec![allow(Peers::OneOf(peers.clone()), port.clone())],
                vec![allow(Peers::OneOf(peers), Ports::Any), allow(Peers::Any, port)],
            ),
            Shape::Ranges => {
                let range = |n: u32| {
                    let first = 1 + (n * 500 + (number + wording) % 400) as u16;
                    let protocol = if n.is_multiple_of(2) { TCP } else { UDP };
                    PortMatch::Range { protocol, first, last: first + 50 }
                };
                let ranges = Ports::OneOf((0..MANY_RANGES).map(range).collect());
                (vec![allow(Peers::OneOf(peers), ranges.clone())], vec![allow(Peers::Any, ranges)])
            }
            Shape::Denials => {
                let deny = |n: u32| Rule {
                    action: Action::Deny,
                    ..allow(
                        Peers::OneOf(vec![Peer::Pods {
                            namespaces: NamespaceMatch::Matching(Selector::everything()),
                            pods: is("app", [app(number + wording + n * 17)]),
                        }]),
                        Ports::OneOf(vec![PortMatch::Range {
                            protocol: TCP,
                            first: 1 + n as u16,
                            last: 9000,
                        }]),
                    )
                };
                let rules: Vec<Rule> =
                    (0..MANY_DENIALS).map(deny).chain([allow(Peers::Any, Ports::Any)]).collect();
                (rules.clone(), rules)
            }
            Shape::Identities => {
                let wanted = |key: &str, value: String| IdentityRequirement {
                    source: LabelSource::Any,
                    key: key.to_owned(),
                    operator: Operator::In([value].into()),
                };
                let own = IdentitySelector::new([
                    wanted("io.kubernetes.pod.namespace", name.clone()),
                    wanted("app", other.clone()),
                ]);
                let wide = IdentitySelector::new([
                    wanted("io.cilium.k8s.namespace.labels.isolator.dev/tenant", tenant),
                    wanted("app", other),
                ]);
                let peers = Peers::OneOf(vec![Peer::Labelled(own), Peer::Labelled(wide), block(203, number)]);
                (vec![allow(peers.clone(), port)], vec![allow(peers, Ports::Any)])
            }
        };
        let section = |list: RuleList, mut rules: Vec<Rule>| {
            for (index, rule) in (0..).zip(&mut rules) {
                rule.at = RuleField { spec: None, list, index };
            }
            Some(Rules { default_deny: true, rules })
        };
        Object::Policy(Policy {
            key: PolicyKey {
                kind: PolicyKind::NetworkPolicy,
                namespace: name.clone(),
                name: format!("np{number}"),
            },
            tier: Tier::Normal,
            priority: 0,
            parts: vec![Part {
                subject: Subject::Pods {
                    namespaces: NamespaceMatch::Named(name),
                    pods: is("app", [app(number), app(number % 7)]),
                },
                ingress: section(RuleList::Ingress, ingress),
                egress: section(RuleList::Egress, egress),
            }],
        })
    }
}

fn namespace_name(number: u32) -> String {
    format!("ns{}", number % NAMESPACES)
}

fn app(number: u32) -> String {
    format!("a{}", number % APPS)
}

fn tenant(number: u32) -> String {
    format!("t{}", number % TENANTS)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn is<const N: usize>(key: &str, values: [String; N]) -> Selector {
    Selector::new([Requirement { key: key.to_owned(), operator: Operator::In(values.into()) }])
}

fn allow(peers: Peers, ports: Ports) -> Rule {
    Rule { at: RuleField::of(Direction::Ingress, 0), action: Action::Allow, peers, ports }
}

/// A /24 of those that begin with `first`.
fn block(first: u8, number: u32) -> Peer {
    let network = Addr::v4([first, (number >> 8) as u8, number as u8, 0]);
    Peer::Block { cidr: Prefix::new(network, 96 + 24), except: Vec::new(), inside: true }
}

fn namespace(number: u32, more: &[(&str, &str)]) -> Object {
    let name = namespace_name(number);
    let mut labels = labels(more);
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
    labels.insert("isolator.dev/tenant".to_owned(), tenant(number));
    Object::Namespace(Namespace { name, labels, accept_tenants: Default::default() })
}

fn node(number: u32) -> Object {
    Object::Node(Node {
        name: format!("n{number}"),
        labels: Labels::new(),
        addresses: vec![Addr::v4([172, 16, (number / 250) as u8, (number % 250 + 1) as u8])],
        pod_cidrs: Vec::new(),
    })
}

fn service_key(number: u32) -> ServiceKey {
    ServiceKey { namespace: namespace_name(number), name: "web".to_owned() }
}

fn service(number: u32) -> Object {
    Object::Service(Service {
        key: service_key(number),
        labels: Labels::new(),
        selector: labels(&[("app", &app(number))]),
        addresses: vec![Addr::v4([172, 31, (number >> 8) as u8, number as u8])],
        ports: vec![ServicePort {
            name: String::new(),
            protocol: TCP,
            port: 80,
            target: TargetPort::Named("http".to_owned()),
            node_port: None,
        }],
    })
}

/// The only slice of a service.
fn slice(number: u32, backend: u32) -> Object {
    let ServiceKey { namespace, name: service } = service_key(number);
    let address = Addr::v4([10, (backend >> 16) as u8, (backend >> 8) as u8, backend as u8]);
    let backends = vec![Backend { addresses: vec![address], ready: true, pod: None }];
    Object::EndpointSlice(EndpointSlice {
        namespace,
        name: service.clone(),
        service,
        backends,
        ports: Vec::new(),
    })
}

fn pod_key(number: u32) -> PodKey {
    PodKey { namespace: namespace_name(number), name: format!("p{number}") }
}

/// A pod by its number. Each has a label of its own, as pods of stateful sets do.
fn pod(number: u32, of_app: u32) -> Object {
    Object::Pod(Pod {
        key: pod_key(number),
        labels: labels(&[("app", &app(of_app)), ("pod", &number.to_string())]).into(),
        node: Some(format!("n{}", number / PODS_PER_NODE)),
        addresses: vec![Addr::v4([10, (number >> 16) as u8, (number >> 8) as u8, number as u8])],
        host_network: false,
        finished: false,
        ports: vec![ContainerPort { name: "http".to_owned(), protocol: TCP, port: 80 }],
        service_account: "default".to_owned(),
    })
}
