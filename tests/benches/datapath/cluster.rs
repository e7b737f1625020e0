//! The cluster that is measured: peers with consecutive addresses, four endpoints that treat them differently,
//! and as many policies as asked for, of the shapes that people write. Not here: packets.

use crate::shape::Shape;
use isolator_common::addr::Addr;
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::{Change, Object};
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::datapath::compiled::Compiled;
use isolator_policy::meaning::compile::compile;
use isolator_policy::model::{
    Action, ContainerPort, Labels, Namespace, NamespaceMatch, Node, Operator, Part, Peer, Peers, Pod, PodKey,
    Policy, PolicyKey, PolicyKind, PortMatch, Ports, Requirement, Rule, RuleField, Rules, Selector, Service,
    ServiceKey, ServicePort, Subject, TargetPort, Tier,
};

/// Node of the endpoints.
const NODE: &str = "here";
/// Namespaces, apps and local pods beside the four.
const NAMESPACES: u32 = 50;
const APPS: u32 = 200;
const LOCAL: u32 = 50;

/// How much there is of everything, and which policies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) addresses: u32,
    pub(crate) policies: u32,
    pub(crate) shape: Shape,
}

/// How an endpoint treats the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Peers may talk to it, and it to everybody: no entries.
    Open,
    /// Peers may talk to it, it to nobody.
    Server,
    /// It may talk to peers, nobody to it.
    Client,
    /// Nobody may talk to it.
    Closed,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Role; 4] = [Role::Open, Role::Server, Role::Client, Role::Closed];

    fn name(self) -> &'static str {
        match self {
            Role::Open => "open",
            Role::Server => "server",
            Role::Client => "client",
            Role::Closed => "closed",
        }
    }

    /// The endpoint.
    pub(crate) fn pod(self) -> PodKey {
        PodKey { namespace: "measured".to_owned(), name: self.name().to_owned() }
    }

    /// Its address.
    pub(crate) fn addr(self, v4: bool) -> Addr {
        local(v4, self as u32)
    }
}

/// The last four bytes of the first peer's address.
pub(crate) fn first(v4: bool) -> u32 {
    if v4 { 0x0a40_0000 } else { 0x0001_0000 }
}

/// A peer's address.
pub(crate) fn peer(v4: bool, number: u32) -> Addr {
    with_end(v4, first(v4) + number)
}

/// The last four bytes of the first address outside the cluster.
pub(crate) fn first_outside(v4: bool) -> u32 {
    if v4 { 0x0b40_0000 } else { 0x0301_0000 }
}

/// That address.
pub(crate) fn outside(v4: bool) -> Addr {
    with_end(v4, first_outside(v4))
}

/// The last four bytes of the first service's address.
pub(crate) fn first_service(v4: bool) -> u32 {
    if v4 { 0x0a60_0000 } else { 0x0200_0000 }
}

/// A service's address.
pub(crate) fn service(v4: bool, number: u32) -> Addr {
    with_end(v4, first_service(v4) + number)
}

/// A pod of the node that is one of the peers, and is not restricted itself.
pub(crate) fn sender() -> PodKey {
    PodKey { namespace: "measured".to_owned(), name: "sender".to_owned() }
}

/// Its address.
pub(crate) fn sender_addr(v4: bool) -> Addr {
    local(v4, Role::ALL.len() as u32)
}

fn local(v4: bool, number: u32) -> Addr {
    with_end(v4, if v4 { 0x0a00_0000 } else { 0x0100_0000 } + 10 + number)
}

fn with_end(v4: bool, end: u32) -> Addr {
    if v4 {
        return Addr::v4(end.to_be_bytes());
    }
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[12..].copy_from_slice(&end.to_be_bytes());
    Addr(bytes)
}

fn labels<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn select(key: &str, value: String) -> Selector {
    Selector::new([Requirement { key: key.to_owned(), operator: Operator::In([value].into()) }])
}

fn namespace(number: u32) -> String {
    format!("ns-{}", number % NAMESPACES)
}

fn app(number: u32) -> String {
    format!("app-{}", number % APPS)
}

fn pod(key: PodKey, labels: Labels, node: &str, addresses: Vec<Addr>) -> Object {
    Object::Pod(Pod {
        key,
        labels: labels.into(),
        node: Some(node.to_owned()),
        addresses,
        host_network: false,
        finished: false,
        ports: vec![ContainerPort { name: "http".to_owned(), protocol: 6, port: 8080 }],
        service_account: String::new(),
    })
}

fn policy(
    namespace: &str,
    name: String,
    pods: Selector,
    ingress: Option<Rules>,
    egress: Option<Rules>,
) -> Object {
    let key = PolicyKey { kind: PolicyKind::NetworkPolicy, namespace: namespace.to_owned(), name };
    let subject = Subject::Pods { namespaces: NamespaceMatch::Named(namespace.to_owned()), pods };
    let parts = vec![Part { subject, ingress, egress }];
    Object::Policy(Policy { key, tier: Tier::Normal, priority: 0, parts })
}

fn rules(peers: Option<Selector>, ports: Ports) -> Rules {
    let everywhere = || NamespaceMatch::Matching(Selector::everything());
    let rule = |pods| Rule {
        at: RuleField::of(Direction::Ingress, 0),
        action: Action::Allow,
        peers: Peers::OneOf(vec![Peer::Pods { namespaces: everywhere(), pods }]),
        ports,
    };
    Rules { default_deny: true, rules: peers.map(rule).into_iter().collect() }
}

/// What the four endpoints' own policies say.
fn own(shape: Shape) -> Vec<Object> {
    let peers = || Some(shape.allowing());
    let nobody = || Some(rules(None, Ports::Any));
    let of = |role: Role, ingress, egress| {
        policy("measured", role.name().to_owned(), select("name", role.name().to_owned()), ingress, egress)
    };
    vec![
        of(Role::Open, peers(), None),
        of(Role::Server, peers(), nobody()),
        of(Role::Client, nobody(), peers()),
        of(Role::Closed, nobody(), None),
    ]
}

/// One of the many: an app may be reached by another app, at a port or a range, some of them also in the
/// namespace of the four endpoints.
fn other(number: u32) -> Object {
    let first = 1000 + (number % 97) as u16;
    let ports = match number % 4 {
        0 => Ports::Any,
        1 => Ports::OneOf(vec![PortMatch::Named { protocol: 6, name: "http".to_owned() }]),
        2 => Ports::OneOf(vec![PortMatch::Range { protocol: 6, first, last: first }]),
        _ => Ports::OneOf(vec![PortMatch::Range { protocol: 17, first, last: first + 50 }]),
    };
    let from = Some(select("app", app(number.wrapping_mul(7))));
    policy(
        &namespace(number),
        format!("policy-{number}"),
        select("app", app(number / 3)),
        Some(rules(from, ports)),
        None,
    )
}

/// Compiles a cluster with `addresses` peers (of each family) and `policies` policies.
pub(crate) fn compiled(addresses: u32, policies: u32, shape: Shape) -> Compiled {
    let mut objects = own(shape);
    objects.extend((4..policies).map(other));
    objects.push(Object::Node(Node {
        name: NODE.to_owned(),
        labels: Labels::new(),
        addresses: vec![Addr::v4([192, 0, 2, 1])],
        pod_cidrs: Vec::new(),
    }));
    for name in (0..NAMESPACES).map(namespace).chain(["measured".to_owned()]) {
        let labels = labels([("kubernetes.io/metadata.name", name.clone())]);
        objects.push(Object::Namespace(Namespace { name, labels, accept_tenants: Default::default() }));
    }
    for role in Role::ALL {
        let own = labels([("name", role.name().to_owned())]);
        objects.push(pod(role.pod(), own, NODE, vec![role.addr(true), role.addr(false)]));
    }
    for i in 0..LOCAL {
        let key = PodKey { namespace: namespace(i), name: format!("local-{i}") };
        let own = labels([("app", app(i))]);
        objects.push(pod(key, own, NODE, vec![local(true, 10 + i), local(false, 10 + i)]));
    }
    for i in (0..addresses).filter(|_| shape.peers_are_pods()) {
        let key = PodKey { namespace: namespace(i), name: format!("peer-{i}") };
        let own = labels([("role", "peer".to_owned()), ("app", app(i / NAMESPACES))]);
        objects.push(pod(key, own, "elsewhere", vec![peer(true, i), peer(false, i)]));
    }
    if shape.services() > 0 {
        let own = labels([("name", "sender".to_owned()), ("role", "peer".to_owned())]);
        objects.push(pod(sender(), own, NODE, vec![sender_addr(true), sender_addr(false)]));
    }
    objects.extend((0..shape.services()).map(|number| {
        Object::Service(Service {
            key: ServiceKey { namespace: namespace(number), name: format!("service-{number}") },
            labels: Labels::new(),
            selector: labels([("app", app(number))]),
            addresses: vec![service(true, number), service(false, number)],
            ports: vec![ServicePort {
                name: String::new(),
                protocol: 6,
                port: 80,
                target: TargetPort::Number(80),
                node_port: None,
            }],
        })
    }));
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(objects));
    compile(&index.snapshot(), NODE)
}
