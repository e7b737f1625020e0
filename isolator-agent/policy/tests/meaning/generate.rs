//! Random clusters out of small pools, so that names, labels, addresses and ports meet often: conflicts,
//! tenants that accept, undeclared namespaces and nodes, every operator, peer and port form, every tier.
//! Not here: what is asserted of them.

use crate::mk::{addr, namespace, node, port, prefix};
use isolator_common::addr::Addr;
use isolator_policy::cluster::change::Object;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::model::{
    Action, Entity, Namespace, NamespaceMatch, Node, Operator, Peer, Peers, Pod, PodKey, Policy, PolicyKey,
    PolicyKind, PortMatch, Ports, Requirement, Rule, Rules, Selector, Subject, Tier,
};
use proptest::collection::{btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngSeed};

const NAMESPACES: [&str; 4] = ["shop", "pay", "ops", "lab"];
const NODES: [&str; 3] = ["n1", "n2", "n3"];
const TENANTS: [&str; 3] = ["red", "blue", "green"];
const KEYS: [&str; 3] = ["app", "tier", "env"];
const VALUES: [&str; 4] = ["web", "db", "x", ""];
const PREFIXES: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/29",
    "10.0.0.4/30",
    "10.0.0.5/32",
    "172.16.0.0/16",
    "172.16.0.1/32",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "::/0",
    "fd00::/64",
    "fd00::4/126",
    "fd00::5/128",
    "2001:db8::/32",
];
const OUTSIDE: [&str; 7] =
    ["203.0.113.7", "203.0.113.200", "8.8.8.8", "10.0.0.200", "10.9.9.9", "2001:db8::1", "fd00::99"];
const PORTS: [u16; 9] = [0, 8, 53, 79, 80, 81, 443, 8080, u16::MAX];
const PROTOCOLS: [u8; 5] = [1, 6, 17, 58, 132];

/// How many cases to run, and from which seed: always the same, and others on request (`PROPTEST_CASES`,
/// `PROPTEST_RNG_SEED`, as `cargo xtask test` sets them).
pub(crate) fn config(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(20_260_101);
    }
    config
}

/// All objects of a cluster.
pub(crate) fn objects() -> impl Strategy<Value = Vec<Object>> {
    // Tenancy decides before everything else, so half of the clusters have none.
    let namespaces = (subsequence(&NAMESPACES, 2..=4), any::<bool>()).prop_flat_map(|(names, tenants)| {
        names.into_iter().map(|name| a_namespace(name, tenants)).collect::<Vec<_>>()
    });
    (
        namespaces,
        subsequence(&NODES, 1..=3).prop_flat_map(|names| names.into_iter().map(a_node).collect::<Vec<_>>()),
        vec(a_pod(), 2..9),
        vec(a_policy(), 0..12),
    )
        .prop_map(|(namespaces, nodes, pods, policies)| {
            let mut objects: Vec<Object> = namespaces.into_iter().map(Object::Namespace).collect();
            objects.extend(nodes.into_iter().map(Object::Node));
            objects.extend(pods.into_iter().map(Object::Pod));
            objects.extend(policies.into_iter().map(Object::Policy));
            objects
        })
}

/// Protocols and ports to ask for. Protocols that have no ports, and one that is neither here nor there.
pub(crate) fn protocols_and_ports() -> impl Strategy<Value = Vec<(u8, u16)>> {
    let with_port = (select(&PROTOCOLS), select(&PORTS));
    vec(
        prop_oneof![6 => with_port, 4 => select(vec![(6, 80), (6, 8080), (17, 53), (132, 81)]), 1 => Just((47, 0))],
        6,
    )
}

/// Every end that a flow could have: all pods, all nodes, addresses inside and outside.
pub(crate) fn ends(objects: &[Object]) -> Vec<End> {
    let mut ends: Vec<End> = OUTSIDE.iter().map(|text| End::Address(addr(text))).collect();
    for object in objects {
        match object {
            Object::Pod(pod) => {
                ends.push(End::Pod(pod.key.clone()));
                ends.extend(pod.addresses.iter().map(|addr| End::Address(*addr)));
            }
            Object::Node(node) => {
                ends.push(End::Node(node.name.clone()));
                ends.extend(node.addresses.iter().map(|addr| End::Address(*addr)));
            }
            Object::Namespace(_) | Object::Policy(_) => {}
        }
    }
    ends.sort();
    ends.dedup();
    ends
}

/// All flows between these ends.
pub(crate) fn flows(ends: &[End], asked: &[(u8, u16)]) -> impl Iterator<Item = FlowSpec> {
    let pairs = ends.iter().flat_map(move |from| ends.iter().map(move |to| (from, to)));
    pairs.flat_map(move |(from, to)| {
        let flow = |&(protocol, port): &_| FlowSpec { from: from.clone(), to: to.clone(), protocol, port };
        asked.iter().map(flow)
    })
}

fn a_namespace(name: &'static str, tenants: bool) -> impl Strategy<Value = Namespace> {
    let tenant = prop_oneof![2 => Just(None), 1 => Just(Some("")), 5 => select(&TENANTS).prop_map(Some)];
    (of(select(&VALUES)), tenant, btree_set(select(&TENANTS), 0..=2)).prop_map(
        move |(env, tenant, accepts)| {
            let mut made = namespace(name, "");
            made.labels.extend(env.map(|env| ("env".to_owned(), env.to_owned())));
            made.labels.extend(
                tenant
                    .filter(|_| tenants)
                    .map(|tenant| ("isolator.dev/tenant".to_owned(), tenant.to_owned())),
            );
            made.accept_tenants = accepts.into_iter().map(str::to_owned).collect();
            made
        },
    )
}

fn a_node(name: &'static str) -> impl Strategy<Value = Node> {
    (any::<bool>(), any::<bool>(), weighted(0.05, Just("172.16.0.1"))).prop_map(move |(v4, v6, shared)| {
        let number = name.trim_start_matches('n');
        let mut made = node(name, &[]);
        made.addresses.extend((v4 || !v6).then(|| addr(&format!("172.16.0.{number}"))));
        made.addresses.extend(v6.then(|| addr(&format!("fd01::{number}"))));
        made.addresses.extend(shared.map(addr));
        made
    })
}

fn a_pod() -> impl Strategy<Value = Pod> {
    let ports = subsequence(
        vec![
            port("http", 6, 80),
            port("http", 6, 8080),
            port("http", 17, 443),
            port("dns", 17, 53),
            port("sig", 132, 81),
            port("", 6, 443),
        ],
        0..4,
    );
    let v4 = prop_oneof![
        30 => (1u8..11).prop_map(|last| Some(Addr::v4([10, 0, 0, last]))),
        3 => Just(None),
        1 => Just(Some(Addr::v4([172, 16, 0, 1])))
    ];
    let v6 = of((1u64..11).prop_map(|last| Addr::from_words(0xfd00 << 48, last)));
    let kind = prop_oneof![10 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    ((select(&NAMESPACES), 0..6u8, some_labels()), (weighted(0.95, select(&NODES)), v4, v6, kind, ports))
        .prop_map(|((namespace, name, labels), (node, v4, v6, (host_network, finished), ports))| Pod {
            key: PodKey { namespace: namespace.to_owned(), name: format!("p{name}") },
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            node: node.map(str::to_owned),
            addresses: v4.into_iter().chain(v6).collect(),
            host_network,
            finished,
            ports,
            service_account: String::new(),
        })
}

fn some_labels() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    vec((select(&KEYS), select(&VALUES)), 0..3)
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let tier = prop_oneof![2 => Just(Tier::Admin), 5 => Just(Tier::Normal), 2 => Just(Tier::Baseline)];
    let subject = (namespaces(), prop_oneof![2 => Just(Selector::everything()), 1 => a_selector()]);
    (tier, 0..3u32, (select(&NAMESPACES), 0..4u8), subject).prop_flat_map(
        |(tier, priority, (namespace, name), (namespaces, pods))| {
            (weighted(0.7, some_rules(tier)), weighted(0.7, some_rules(tier))).prop_map(
                move |(ingress, egress)| Policy {
                    key: PolicyKey {
                        kind: PolicyKind::NetworkPolicy,
                        namespace: namespace.to_owned(),
                        name: format!("np{name}"),
                    },
                    tier,
                    priority: if tier == Tier::Normal { 0 } else { priority },
                    subject: Subject { namespaces: namespaces.clone(), pods: pods.clone() },
                    ingress,
                    egress,
                },
            )
        },
    )
}

fn some_rules(tier: Tier) -> impl Strategy<Value = Rules> {
    let isolates = if tier == Tier::Normal { 0.75 } else { 0.0 };
    (prop::bool::weighted(isolates), vec(a_rule(tier), 0..4))
        .prop_map(|(default_deny, rules)| Rules { default_deny, rules })
}

fn a_rule(tier: Tier) -> impl Strategy<Value = Rule> {
    let [allow, deny, pass] = if tier == Tier::Normal { [8, 2, 1] } else { [2, 2, 2] };
    let action = prop_oneof![
        allow => Just(Action::Allow),
        deny => Just(Action::Deny),
        pass => Just(Action::Pass)
    ];
    let peers = prop_oneof![1 => Just(Peers::Any), 4 => vec(a_peer(), 0..3).prop_map(Peers::OneOf)];
    let ports = prop_oneof![2 => Just(Ports::Any), 3 => vec(a_port(), 0..3).prop_map(Ports::OneOf)];
    (action, peers, ports).prop_map(|(action, peers, ports)| Rule { action, peers, ports })
}

fn a_peer() -> impl Strategy<Value = Peer> {
    let entity = select(vec![Entity::All, Entity::World, Entity::Cluster, Entity::Host, Entity::RemoteNode]);
    let pods = (namespaces(), a_selector()).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods });
    let block = (select(&PREFIXES), vec(select(&PREFIXES), 0..3), prop::bool::weighted(0.7)).prop_map(
        |(cidr, except, inside)| Peer::Block {
            cidr: prefix(cidr),
            except: except.into_iter().map(prefix).filter(|hole| prefix(cidr).covers(hole)).collect(),
            inside,
        },
    );
    prop_oneof![5 => pods, 4 => block, 3 => entity.prop_map(Peer::Entity)]
}

fn namespaces() -> impl Strategy<Value = NamespaceMatch> {
    prop_oneof![
        3 => select(&NAMESPACES).prop_map(|name| NamespaceMatch::Named(name.to_owned())),
        1 => Just(NamespaceMatch::Matching(Selector::everything())),
        2 => a_selector().prop_map(NamespaceMatch::Matching)
    ]
}

fn a_selector() -> impl Strategy<Value = Selector> {
    let values = || btree_set(select(&VALUES).prop_map(str::to_owned), 1..3);
    let operator = prop_oneof![
        3 => values().prop_map(Operator::In),
        2 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist)
    ];
    let requirement =
        (select(&KEYS), operator).prop_map(|(key, operator)| Requirement { key: key.to_owned(), operator });
    vec(requirement, 0..3).prop_map(Selector::new)
}

fn a_port() -> impl Strategy<Value = PortMatch> {
    let range = (select(&PROTOCOLS), select(&PORTS), select(&PORTS)).prop_map(|(protocol, one, other)| {
        PortMatch::Range { protocol, first: one.min(other), last: one.max(other) }
    });
    let named = (select(vec![6u8, 6, 17, 132]), select(vec!["http", "http", "dns", "sig", "nobody"]))
        .prop_map(|(protocol, name)| PortMatch::Named { protocol, name: name.to_owned() });
    prop_oneof![1 => range, 1 => named]
}
