//! Random clusters out of small pools, so that names, labels, addresses and ports meet often: conflicts,
//! tenants that accept, undeclared namespaces and nodes, every operator, peer and port form, every tier.
//! Not here: what is asserted of them.

use crate::mk::{addr, namespace, node, port, prefix};
use isolator_common::addr::Addr;
use isolator_policy::cluster::change::Object;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::model::{
    Action, Backend, CidrGroup, EndpointSlice, Entity, IdentityRequirement, IdentitySelector, LabelSource,
    Labels, Namespace, NamespaceMatch, Node, ObjectMatch, Operator, Part, Peer, Peers, Pod, PodKey, Policy,
    PolicyKey, PolicyKind, PortMatch, Ports, Requirement, Rule, RuleField, RuleList, Rules, Selector,
    Service, ServiceKey, ServicePort, ServiceRange, Subject, TargetPort, Tier,
};
use proptest::collection::{btree_set, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngSeed};

const NAMESPACES: [&str; 4] = ["shop", "pay", "ops", "lab"];
const NODES: [&str; 3] = ["n1", "n2", "n3"];
const TENANTS: [&str; 3] = ["red", "blue", "green"];
/// The last is not part of identities.
const KEYS: [&str; 4] = ["app", "tier", "env", "pod-template-hash"];
const ACCOUNTS: [&str; 2] = ["default", "robot"];
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
const SERVICES: [&str; 2] = ["front", "back"];
const GROUPS: [&str; 2] = ["partners", "blocked"];
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
        (vec(a_service(), 0..3), vec(a_slice(), 0..4), vec(a_cidr_group(), 0..3), of(a_service_range())),
    )
        .prop_map(|(namespaces, nodes, pods, policies, (services, slices, groups, range))| {
            let mut objects: Vec<Object> = namespaces.into_iter().map(Object::Namespace).collect();
            objects.extend(nodes.into_iter().map(Object::Node));
            objects.extend(pods.into_iter().map(Object::Pod));
            objects.extend(policies.into_iter().map(Object::Policy));
            objects.extend(services.into_iter().map(Object::Service));
            objects.extend(slices.into_iter().map(Object::EndpointSlice));
            objects.extend(groups.into_iter().map(Object::CidrGroup));
            objects.extend(range.map(Object::ServiceRange));
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
            Object::Service(service) => ends.extend(service.addresses.iter().map(|addr| End::Address(*addr))),
            Object::ServiceRange(range) => {
                ends.extend(range.cidrs.iter().map(|cidr| End::Address(cidr.addr)));
            }
            Object::Namespace(_) | Object::Policy(_) | Object::EndpointSlice(_) | Object::CidrGroup(_) => {}
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
    let shared = weighted(0.05, Just("172.16.0.1"));
    (any::<bool>(), any::<bool>(), shared, some_labels()).prop_map(move |(v4, v6, shared, labels)| {
        let number = name.trim_start_matches('n');
        let mut made = node(name, &[]);
        made.labels = owned(labels);
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
        4 => (1u8..4).prop_map(|last| Some(Addr::v4([172, 16, 0, last])))
    ];
    let v6 = of((1u64..11).prop_map(|last| Addr::from_words(0xfd00 << 48, last)));
    let kind = prop_oneof![10 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    (
        (select(&NAMESPACES), 0..6u8, some_labels(), select(&ACCOUNTS)),
        (weighted(0.95, select(&NODES)), v4, v6, kind, ports),
    )
        .prop_map(
            |((namespace, name, labels, account), (node, v4, v6, (host_network, finished), ports))| Pod {
                key: PodKey { namespace: namespace.to_owned(), name: format!("p{name}") },
                labels: owned(labels).into(),
                node: node.map(str::to_owned),
                addresses: v4.into_iter().chain(v6).collect(),
                host_network,
                finished,
                ports,
                service_account: account.to_owned(),
            },
        )
}

fn a_service() -> impl Strategy<Value = Service> {
    // Its own, of a range, outside, of nodes and of a pod.
    let places = [
        "10.96.0.10",
        "10.96.0.11",
        "fd96::1",
        "203.0.113.7",
        "172.16.0.1",
        "172.16.0.2",
        "10.0.0.3",
        "8.8.8.8",
    ];
    let addresses = vec(select(places.to_vec()), 0..3);
    let ports = vec(a_service_port(), 0..3);
    (select(&NAMESPACES), select(&SERVICES), some_labels(), some_labels(), addresses, ports).prop_map(
        |(namespace, name, labels, selector, addresses, ports)| Service {
            key: ServiceKey { namespace: namespace.to_owned(), name: name.to_owned() },
            labels: owned(labels),
            selector: owned(selector),
            addresses: addresses.into_iter().map(addr).collect(),
            ports,
        },
    )
}

fn a_service_range() -> impl Strategy<Value = ServiceRange> {
    let cidrs = vec(select(vec!["10.96.0.0/12", "10.0.0.0/16", "fd96::/112", "8.8.8.8/32"]), 1..3);
    cidrs.prop_map(|cidrs| ServiceRange {
        name: "kubernetes".to_owned(),
        cidrs: cidrs.into_iter().map(prefix).collect(),
    })
}

fn a_service_port() -> impl Strategy<Value = ServicePort> {
    (select(&[6, 17][..]), select(&[80_u16, 53, 8080][..]), of(select(&[80_u16, 30080][..]))).prop_map(
        |(protocol, port, node_port)| ServicePort {
            name: String::new(),
            protocol,
            port,
            target: TargetPort::Number(port),
            node_port,
        },
    )
}

/// Backends anywhere: outside, at nodes, at pods. Often the API server's.
fn a_slice() -> impl Strategy<Value = EndpointSlice> {
    let places = ["203.0.113.7", "8.8.8.8", "2001:db8::1", "172.16.0.1", "172.16.0.2", "fd01::1", "10.0.0.3"];
    let backend = (select(places.to_vec()), prop::bool::weighted(0.8)).prop_map(|(place, ready)| Backend {
        addresses: vec![addr(place)],
        ready,
        pod: None,
    });
    let of_api = Just(("default", "kubernetes"));
    let of_other = (select(&NAMESPACES), select(&SERVICES));
    (0..3u8, prop_oneof![2 => of_api, 1 => of_other], vec(backend, 0..3)).prop_map(
        |(number, (namespace, service), backends)| EndpointSlice {
            namespace: namespace.to_owned(),
            name: format!("{service}-{number}"),
            service: service.to_owned(),
            backends,
            ports: Vec::new(),
        },
    )
}

fn a_cidr_group() -> impl Strategy<Value = CidrGroup> {
    (select(&GROUPS), some_labels(), vec(select(&PREFIXES), 0..3)).prop_map(|(name, labels, cidrs)| {
        CidrGroup {
            name: name.to_owned(),
            labels: owned(labels),
            cidrs: cidrs.into_iter().map(prefix).collect(),
        }
    })
}

fn owned(labels: Vec<(&str, &str)>) -> Labels {
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn some_labels() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    vec((select(&KEYS), select(&VALUES)), 0..3)
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let tier = prop_oneof![2 => Just(Tier::Admin), 5 => Just(Tier::Normal), 2 => Just(Tier::Baseline)];
    let kind = select(vec![
        PolicyKind::NetworkPolicy,
        PolicyKind::CiliumNetworkPolicy,
        PolicyKind::CiliumClusterwideNetworkPolicy,
        PolicyKind::ClusterNetworkPolicy,
    ]);
    (tier, 0..3u32, kind, (select(&NAMESPACES), 0..4u8)).prop_flat_map(
        |(tier, priority, kind, (namespace, name))| {
            vec(a_part(tier), 1..3).prop_map(move |mut parts| {
                for (number, part) in (0..).zip(&mut parts) {
                    number_rules(part, (number > 0).then_some(number));
                }
                Policy {
                    key: PolicyKey { kind, namespace: namespace.to_owned(), name: format!("np{name}") },
                    tier,
                    priority: if tier == Tier::Normal { 0 } else { priority },
                    parts,
                }
            })
        },
    )
}

fn a_part(tier: Tier) -> impl Strategy<Value = Part> {
    let pods = (namespaces(), prop_oneof![2 => Just(Selector::everything()), 1 => a_selector()])
        .prop_map(|(namespaces, pods)| Subject::Pods { namespaces, pods });
    let labelled = (weighted(0.6, select(&NAMESPACES)), an_identity()).prop_map(|(namespace, identity)| {
        Subject::Labelled { namespace: namespace.map(str::to_owned), identity }
    });
    (prop_oneof![pods, labelled], weighted(0.7, some_rules(tier)), weighted(0.7, some_rules(tier)))
        .prop_map(|(subject, ingress, egress)| Part { subject, ingress, egress })
}

/// Names every rule by a place of its own, those that deny by the lists for them.
fn number_rules(part: &mut Part, spec: Option<u32>) {
    let sections = [(RuleList::Ingress, &mut part.ingress), (RuleList::Egress, &mut part.egress)];
    for (plain, section) in sections {
        for (index, rule) in (0..).zip(section.iter_mut().flat_map(|rules| &mut rules.rules)) {
            let list = match (plain, rule.action) {
                (RuleList::Ingress, Action::Deny) => RuleList::IngressDeny,
                (RuleList::Egress, Action::Deny) => RuleList::EgressDeny,
                (plain, _) => plain,
            };
            rule.at = RuleField { spec, list, index };
        }
    }
}

fn some_rules(tier: Tier) -> impl Strategy<Value = Rules> {
    let isolates = if tier == Tier::Normal { 0.75 } else { 0.0 };
    (prop::bool::weighted(isolates), vec(a_rule(tier), 0..4))
        .prop_map(|(default_deny, rules)| Rules { default_deny, rules })
}

fn a_rule(tier: Tier) -> impl Strategy<Value = Rule> {
    let [allow, deny, pass] = if tier == Tier::Normal { [8, 4, 1] } else { [2, 2, 2] };
    let action = prop_oneof![
        allow => Just(Action::Allow),
        deny => Just(Action::Deny),
        pass => Just(Action::Pass)
    ];
    let peers = prop_oneof![1 => Just(Peers::Any), 4 => vec(a_peer(), 0..3).prop_map(Peers::OneOf)];
    let ports = prop_oneof![2 => Just(Ports::Any), 3 => vec(a_port(), 0..3).prop_map(Ports::OneOf)];
    (action, peers, ports).prop_map(|(action, peers, ports)| Rule {
        at: RuleField { spec: None, list: RuleList::Ingress, index: 0 },
        action,
        peers,
        ports,
    })
}

fn a_peer() -> impl Strategy<Value = Peer> {
    let entity = select(Entity::ALL.to_vec());
    let holes = || vec(select(&PREFIXES), 0..2).prop_map(|holes| holes.into_iter().map(prefix).collect());
    let objects = |names: [&'static str; 2]| {
        prop_oneof![
            1 => select(names.to_vec()).prop_map(|name| ObjectMatch::Named(name.to_owned())),
            1 => a_selector().prop_map(ObjectMatch::Matching)
        ]
    };
    let groups = (objects(GROUPS), holes()).prop_map(|(groups, except)| Peer::CidrGroups { groups, except });
    let services = (of(select(&NAMESPACES)), objects(SERVICES)).prop_map(|(namespace, services)| {
        Peer::Services { namespace: namespace.map(str::to_owned), services }
    });
    let pods = (namespaces(), a_selector()).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods });
    let block = (select(&PREFIXES), vec(select(&PREFIXES), 0..3), prop::bool::weighted(0.7)).prop_map(
        |(cidr, except, inside)| Peer::Block {
            cidr: prefix(cidr),
            except: except.into_iter().map(prefix).filter(|hole| prefix(cidr).covers(hole)).collect(),
            inside,
        },
    );
    prop_oneof![
        5 => pods,
        4 => block,
        3 => entity.prop_map(Peer::Entity),
        5 => an_identity().prop_map(Peer::Labelled),
        1 => (a_selector(), any::<bool>()).prop_map(|(labels, own)| Peer::Nodes { labels, own }),
        2 => groups,
        2 => services
    ]
}

fn an_identity() -> impl Strategy<Value = IdentitySelector> {
    let values = |values: &'static [&'static str]| btree_set(select(values).prop_map(str::to_owned), 1..3);
    let key = prop_oneof![
        4 => (select(&KEYS), values(&VALUES)).prop_map(|(key, values)| (LabelSource::Any, key.to_owned(), values)),
        2 => (select(&KEYS), values(&VALUES))
            .prop_map(|(key, values)| (LabelSource::Kubernetes, key.to_owned(), values)),
        2 => (select(vec![LabelSource::Any, LabelSource::Kubernetes]), values(&NAMESPACES))
            .prop_map(|(source, values)| (source, "io.kubernetes.pod.namespace".to_owned(), values)),
        1 => (select(&KEYS), values(&VALUES)).prop_map(|(key, values)| {
            (LabelSource::Kubernetes, format!("io.cilium.k8s.namespace.labels.{key}"), values)
        }),
        1 => values(&ACCOUNTS).prop_map(|values| {
            (LabelSource::Any, "io.cilium.k8s.policy.serviceaccount".to_owned(), values)
        }),
        3 => (
            select(vec![LabelSource::Reserved, LabelSource::Any]),
            select(vec!["host", "remote-node", "kube-apiserver", "world", "world-ipv4"]),
            values(&[""])
        ).prop_map(|(source, key, values)| (source, key.to_owned(), values)),
    ];
    let requirement = (key, 0..5u8).prop_map(|((source, key, values), operator)| {
        let operator = match operator {
            0 | 1 => Operator::In(values),
            2 => Operator::NotIn(values),
            3 => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        IdentityRequirement { source, key, operator }
    });
    vec(requirement, 0..3).prop_map(IdentitySelector::new)
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
