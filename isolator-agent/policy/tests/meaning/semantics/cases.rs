//! The cases: each a sentence, what is added to the cluster, and flows with what must become of them. Not here: the
//! cluster, and how flows are judged.

use super::{Case, TCP, UDP};
use crate::mk::*;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{Action, Entity, Namespace, Peer, Peers, Pod, Policy, Ports, Rule, Tier};

pub(super) fn ingress(key: &str, pods: &str, rules: Vec<Rule>) -> Object {
    Object::Policy(with_ingress(policy(key, pods), isolating(rules)))
}

fn egress(key: &str, pods: &str, rules: Vec<Rule>) -> Object {
    Object::Policy(with_egress(policy(key, pods), isolating(rules)))
}

fn tiered(key: &str, tier: Tier, priority: u32, rules: Vec<Rule>) -> Object {
    Object::Policy(with_ingress(Policy { tier, priority, ..policy(key, "") }, adding(rules)))
}

pub(super) fn one_of(peers: &[Peer]) -> Peers {
    Peers::OneOf(peers.to_vec())
}

pub(super) fn any_port(peers: &[Peer]) -> Vec<Rule> {
    vec![allow(one_of(peers), Ports::Any)]
}

fn ports(list: &[isolator_policy::model::PortMatch]) -> Vec<Rule> {
    vec![allow(Peers::Any, Ports::OneOf(list.to_vec()))]
}

fn rule(action: Action) -> Rule {
    Rule { action, ..allow(Peers::Any, Ports::Any) }
}

fn accepting(name: &str, tenant: &str, accepts: &str) -> Object {
    let made = namespace(name, &format!("isolator.dev/tenant={tenant}"));
    Object::Namespace(Namespace { accept_tenants: [accepts.to_owned()].into(), ..made })
}

const DENY_DB: &str = "default deny of ingress by NetworkPolicy ops/np";
const DENY_OUT: &str = "default deny of egress by NetworkPolicy ops/np";
const TENANCY: &str = "tenancy: red and blue are different tenants";

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Case> {
    [isolation(), peers(), port_cases(), tenants(), tiers()].into_iter().flatten()
}

fn isolation() -> Vec<Case> {
    vec![
        Case {
            name: "without policies everything passes, and a pod reaches itself",
            with: vec![],
            pass: &[
                "ops/web > ops/db tcp 80",
                "8.8.8.8 > ops/db gre 0",
                "ops/db > 8.8.8.8 icmp 8",
                "ops/db > ops/db tcp 1",
            ],
            drop: &[],
        },
        Case {
            name: "an empty rule list isolates in that direction only",
            with: vec![ingress("ops/np", "app=db", vec![])],
            pass: &["ops/db > ops/web tcp 80", "ops/web > lab/web tcp 80"],
            drop: &[("ops/web > ops/db tcp 80", DENY_DB), ("8.8.8.8 > ops/db icmp 8", DENY_DB)],
        },
        Case {
            name: "the local host reaches its isolated pods, another node does not",
            with: vec![ingress("ops/np", "app=db", vec![])],
            pass: &["node:n2 > ops/db tcp 80", "ops/proxy > ops/db udp 53", "172.16.0.2 > ops/db gre 0"],
            drop: &[("node:n1 > ops/db tcp 80", DENY_DB)],
        },
        Case {
            name: "an isolated pod has no right to reach its own node",
            with: vec![egress("ops/np", "app=db", vec![])],
            pass: &["node:n2 > ops/db tcp 80"],
            drop: &[("ops/db > node:n2 tcp 80", DENY_OUT)],
        },
        Case {
            name: "a policy speaks of its own namespace only",
            with: vec![ingress("ops/np", "", vec![])],
            pass: &["ops/web > lab/web tcp 80"],
            drop: &[("lab/web > ops/web tcp 80", DENY_DB)],
        },
        Case {
            name: "the rules of all policies add up, and the first by name is named",
            with: vec![
                ingress("ops/np", "app=db", vec![]),
                ingress("ops/np2", "", any_port(&[pods_in("ops", "app=web")])),
                ingress("ops/np3", "", ports(&[range(TCP, 80, 80)])),
            ],
            pass: &["ops/web > ops/db tcp 1", "lab/web > ops/db tcp 80"],
            drop: &[(
                "lab/web > ops/db tcp 81",
                "default deny of ingress by NetworkPolicy ops/np, NetworkPolicy ops/np2, NetworkPolicy ops/np3",
            )],
        },
    ]
}

fn peers() -> Vec<Case> {
    vec![
        Case {
            name: "a pod selector means its namespace; with a namespace selector both must match",
            with: vec![
                ingress("ops/np", "app=db", any_port(&[pods_in("ops", "app=web")])),
                ingress("ops/np2", "app=none", any_port(&[pods_where("env=prod", "app=web")])),
                ingress("lab/np", "", any_port(&[pods_where("env=dev", "app=db")])),
            ],
            pass: &["ops/web > ops/db tcp 80", "ops/db > lab/web tcp 80"],
            drop: &[
                ("lab/web > ops/db tcp 80", DENY_DB),
                ("ops/web > lab/web tcp 80", "default deny of ingress by NetworkPolicy lab/np"),
            ],
        },
        Case {
            name: "selectors mean neither hosts nor pods on the host network nor finished pods",
            with: vec![
                ingress("ops/np", "app=db", any_port(&[pods_where("", "app=web")])),
                ingress("ops/np2", "app=web", any_port(&[pods_where("", "app=db")])),
            ],
            pass: &["lab/web > ops/db tcp 80", "ops/db > ops/web tcp 80"],
            drop: &[
                ("ops/proxy > ops/web tcp 80", "default deny of ingress by NetworkPolicy ops/np2"),
                ("10.0.0.3 > ops/web tcp 80", "default deny of ingress by NetworkPolicy ops/np2"),
                ("node:n1 > ops/db tcp 80", DENY_DB),
                ("8.8.8.8 > ops/db tcp 80", DENY_DB),
            ],
        },
        Case {
            name: "NotIn and DoesNotExist match an absent key; an empty value is present",
            with: vec![
                ingress("ops/np", "app=db", any_port(&[pods_where("", "tier!=x"), pods_in("pay", "")])),
                ingress("ops/np2", "app=web", any_port(&[pods_where("", "!tier")])),
            ],
            pass: &["ops/web > ops/db tcp 80", "lab/web > ops/web tcp 80"],
            drop: &[("ops/db > ops/web tcp 80", "default deny of ingress by NetworkPolicy ops/np2")],
        },
        Case {
            name: "an ipBlock means pods and nodes, too, but not its exceptions",
            with: vec![ingress(
                "ops/np",
                "app=db",
                any_port(&[
                    block("10.0.0.0/8", &["10.0.0.3/32", "10.0.0.4/31"]),
                    block("172.16.0.1/32", &[]),
                ]),
            )],
            pass: &["ops/web > ops/db tcp 80", "10.9.9.9 > ops/db tcp 80", "node:n1 > ops/db tcp 80"],
            drop: &[
                ("lab/web > ops/db tcp 80", DENY_DB),
                ("pay/web > ops/db tcp 80", DENY_DB),
                ("8.8.8.8 > ops/db tcp 80", DENY_DB),
            ],
        },
        Case {
            name: "an exception is not a deny: another block or rule may admit it",
            with: vec![ingress(
                "ops/np",
                "app=db",
                any_port(&[block("10.0.0.0/8", &["10.0.0.0/24"]), block("10.0.0.3/32", &[])]),
            )],
            pass: &["lab/web > ops/db tcp 80"],
            drop: &[("ops/web > ops/db tcp 80", DENY_DB)],
        },
        Case {
            name: "all of IPv6 is not all of IPv4",
            with: vec![ingress("ops/np", "app=db", any_port(&[block("::/0", &[])]))],
            pass: &["2001:db8::1 > ops/db icmpv6 128", "fd00::1 > ops/db tcp 80"],
            drop: &[("8.8.8.8 > ops/db tcp 80", DENY_DB), ("ops/web > ops/db tcp 80", DENY_DB)],
        },
        Case {
            name: "an empty peer list matches nobody",
            with: vec![ingress("ops/np", "app=db", any_port(&[]))],
            pass: &[],
            drop: &[("ops/web > ops/db tcp 80", DENY_DB)],
        },
        Case {
            name: "the host is the pod's own node, others are remote nodes",
            with: vec![
                egress("ops/np", "app=db", any_port(&[Peer::Entity(Entity::Host)])),
                egress("ops/np2", "app=web", any_port(&[Peer::Entity(Entity::RemoteNode)])),
            ],
            pass: &["ops/db > node:n2 tcp 80", "ops/web > ops/proxy tcp 80"],
            drop: &[
                ("ops/db > node:n1 tcp 80", DENY_OUT),
                ("ops/db > ops/web tcp 80", DENY_OUT),
                ("ops/web > node:n1 tcp 80", "default deny of egress by NetworkPolicy ops/np2"),
            ],
        },
        Case {
            name: "entities are classes: the world is outside, the cluster inside",
            with: vec![
                ingress("ops/np", "app=db", any_port(&[Peer::Entity(Entity::World)])),
                ingress("ops/np2", "app=web", any_port(&[Peer::Entity(Entity::RemoteNode)])),
            ],
            pass: &["8.8.8.8 > ops/db tcp 80", "node:n2 > ops/web tcp 80"],
            drop: &[
                ("ops/web > ops/db tcp 80", DENY_DB),
                ("node:n1 > ops/db tcp 80", DENY_DB),
                ("ops/db > ops/web tcp 80", "default deny of ingress by NetworkPolicy ops/np2"),
            ],
        },
    ]
}

fn port_cases() -> Vec<Case> {
    vec![
        Case {
            name: "a range has both its ends, and one protocol",
            with: vec![ingress("ops/np", "app=db", ports(&[range(TCP, 80, 90)]))],
            pass: &["ops/web > ops/db tcp 80", "ops/web > ops/db tcp 90"],
            drop: &[
                ("ops/web > ops/db tcp 79", DENY_DB),
                ("ops/web > ops/db tcp 91", DENY_DB),
                ("ops/web > ops/db udp 80", DENY_DB),
                ("ops/web > ops/db sctp 80", DENY_DB),
            ],
        },
        Case {
            name: "all ports of a protocol are not all protocols",
            with: vec![ingress("ops/np", "app=db", ports(&[range(TCP, 0, 65535)]))],
            pass: &["ops/web > ops/db tcp 0", "ops/web > ops/db tcp 65535"],
            drop: &[
                ("ops/web > ops/db icmp 8", DENY_DB),
                ("ops/web > ops/db gre 0", DENY_DB),
                ("ops/web > ops/db udp 0", DENY_DB),
            ],
        },
        Case {
            name: "no ports at all mean every protocol",
            with: vec![ingress("ops/np", "app=db", any_port(&[pods_in("ops", "")]))],
            pass: &["ops/web > ops/db icmp 8", "ops/web > ops/db gre 0", "ops/web > ops/db sctp 1"],
            drop: &[("8.8.8.8 > ops/db icmp 8", DENY_DB)],
        },
        Case {
            name: "ICMP types are matched only by rules that name the protocol",
            with: vec![ingress("ops/np", "app=db", ports(&[range(1, 8, 8)]))],
            pass: &["8.8.8.8 > ops/db icmp 8"],
            drop: &[("8.8.8.8 > ops/db icmp 13", DENY_DB), ("2001:db8::1 > ops/db icmpv6 8", DENY_DB)],
        },
        Case {
            name: "a name is a port of the receiver, whoever that is, of the same protocol",
            with: vec![
                Object::Pod(Pod {
                    ports: vec![port("http", TCP, 8080), port("http", UDP, 99)],
                    ..pod("lab/web", "n2", &["10.0.0.3"], "app=web")
                }),
                egress("ops/np", "app=db", ports(&[named(TCP, "http")])),
                ingress("lab/np", "", ports(&[named(TCP, "http")])),
            ],
            pass: &["ops/db > ops/web tcp 80", "ops/db > lab/web tcp 8080", "ops/web > lab/web tcp 8080"],
            drop: &[
                ("ops/db > ops/web tcp 8080", DENY_OUT),
                ("ops/db > lab/web tcp 80", DENY_OUT),
                ("ops/db > lab/web udp 99", DENY_OUT),
                ("ops/db > 8.8.8.8 tcp 80", DENY_OUT),
                ("ops/db > ops/proxy tcp 80", DENY_OUT),
                ("ops/web > lab/web tcp 80", "default deny of ingress by NetworkPolicy lab/np"),
            ],
        },
        Case {
            name: "one name may stand for several numbers, and not for the same ones in every pod",
            with: vec![
                Object::Pod(Pod {
                    ports: vec![port("http", TCP, 80), port("http", TCP, 8080)],
                    ..pod("lab/web", "n2", &["10.0.0.3"], "app=web")
                }),
                egress("ops/np", "app=db", ports(&[named(TCP, "http")])),
            ],
            pass: &["ops/db > lab/web tcp 80", "ops/db > lab/web tcp 8080", "ops/db > ops/web tcp 80"],
            drop: &[("ops/db > ops/web tcp 8080", DENY_OUT)],
        },
    ]
}

fn tenants() -> Vec<Case> {
    vec![
        Case {
            name: "different tenants never talk, whatever a policy allows; nobody else is restricted",
            with: vec![
                ingress("pay/np", "", vec![allow(Peers::Any, Ports::Any)]),
                tiered("pay/admin", Tier::Admin, 0, vec![rule(Action::Allow)]),
            ],
            pass: &[
                "shop/web > ops/db tcp 80",
                "ops/db > pay/web tcp 80",
                "8.8.8.8 > pay/web tcp 80",
                "node:n2 > pay/web tcp 1",
            ],
            drop: &[("shop/web > pay/web tcp 80", TENANCY), ("shop/web > pay/web icmp 8", TENANCY)],
        },
        Case {
            name: "a namespace that accepts a tenant lets it in, and nothing the other way",
            with: vec![accepting("pay", "blue", "red")],
            pass: &["shop/web > pay/web tcp 80"],
            drop: &[("pay/web > shop/web tcp 80", "tenancy: blue and red are different tenants")],
        },
        Case {
            name: "an accepted tenant is still subject to policies",
            with: vec![accepting("pay", "blue", "red"), ingress("pay/np", "", vec![])],
            pass: &[],
            drop: &[("shop/web > pay/web tcp 80", "default deny of ingress by NetworkPolicy pay/np")],
        },
        Case {
            name: "who may be sent to is the receiver's word, not the sender's",
            with: vec![accepting("shop", "red", "blue")],
            pass: &["pay/web > shop/web tcp 80"],
            drop: &[("shop/web > pay/web tcp 80", TENANCY)],
        },
        Case {
            name: "an address that two pods claim has nobody's rights",
            with: vec![
                Object::Pod(pod("shop/twin", "n2", &["10.0.0.3"], "app=web")),
                ingress(
                    "ops/np",
                    "app=db",
                    any_port(&[pods_where("", "app=web"), block("10.0.0.3/32", &[])]),
                ),
                ingress("ops/np2", "app=web", vec![allow(Peers::Any, Ports::Any)]),
            ],
            pass: &["lab/web > ops/web tcp 80", "shop/twin > ops/web tcp 80"],
            drop: &[
                ("lab/web > ops/db tcp 80", DENY_DB),
                ("shop/twin > ops/db tcp 80", DENY_DB),
                ("lab/web > shop/web tcp 80", "two running pods claim this address"),
                ("shop/web > lab/web tcp 80", "two running pods claim this address"),
            ],
        },
        Case {
            name: "port names of those who claim one address deny, but do not allow",
            with: vec![
                Object::Pod(pod("shop/twin", "n2", &["10.0.0.3"], "app=web")),
                egress("ops/np", "app=web", ports(&[named(TCP, "http")])),
                egress(
                    "ops/np2",
                    "app=db",
                    vec![
                        allow(Peers::Any, Ports::Any),
                        deny(Peers::Any, Ports::OneOf(vec![named(TCP, "http")])),
                    ],
                ),
            ],
            pass: &["ops/web > ops/db tcp 80", "ops/db > lab/web tcp 81"],
            drop: &[
                ("ops/web > lab/web tcp 80", DENY_OUT),
                ("ops/db > lab/web tcp 80", "NetworkPolicy ops/np2 egress[1]"),
            ],
        },
    ]
}

fn tiers() -> Vec<Case> {
    let web = || one_of(&[pods_in("ops", "app=web")]);
    vec![
        Case {
            name: "deny beats allow, whatever is written first",
            with: vec![ingress(
                "ops/np",
                "app=db",
                vec![allow(Peers::Any, Ports::Any), deny(web(), Ports::OneOf(vec![range(TCP, 80, 80)]))],
            )],
            pass: &["ops/web > ops/db tcp 81", "lab/web > ops/db tcp 80"],
            drop: &[("ops/web > ops/db tcp 80", "NetworkPolicy ops/np ingress[1]")],
        },
        Case {
            name: "an explicit deny beats the local host's right, default deny does not",
            with: vec![
                ingress("ops/np", "app=db", vec![deny(Peers::Any, Ports::OneOf(vec![range(TCP, 22, 22)]))]),
                tiered(
                    "ops/base",
                    Tier::Baseline,
                    0,
                    vec![deny(Peers::Any, Ports::OneOf(vec![range(TCP, 23, 23)]))],
                ),
            ],
            pass: &["node:n2 > ops/db tcp 80"],
            drop: &[
                ("node:n2 > ops/db tcp 22", "NetworkPolicy ops/np ingress[0]"),
                ("node:n2 > ops/db tcp 23", "NetworkPolicy ops/base ingress[0]"),
                ("node:n1 > ops/db tcp 80", DENY_DB),
            ],
        },
        Case {
            name: "a policy that does not isolate leaves the rest open",
            with: vec![Object::Policy(with_ingress(
                policy("ops/np", "app=db"),
                adding(vec![deny(web(), Ports::Any)]),
            ))],
            pass: &["lab/web > ops/db tcp 80"],
            drop: &[("ops/web > ops/db tcp 80", "NetworkPolicy ops/np ingress[0]")],
        },
        Case {
            name: "the lower priority number comes first, and the first match decides",
            with: vec![
                tiered("ops/a", Tier::Admin, 2, vec![rule(Action::Deny)]),
                tiered("ops/b", Tier::Admin, 1, vec![allow(web(), Ports::Any)]),
                ingress("ops/np", "", vec![]),
            ],
            pass: &["ops/web > ops/db tcp 80"],
            drop: &[("lab/web > ops/db tcp 80", "NetworkPolicy ops/a ingress[0]")],
        },
        Case {
            name: "pass skips the rest of the Admin tier, not the Normal one",
            with: vec![
                tiered(
                    "ops/a",
                    Tier::Admin,
                    0,
                    vec![Rule { peers: web(), ..rule(Action::Pass) }, rule(Action::Deny)],
                ),
                ingress("ops/np", "", ports(&[range(TCP, 80, 80)])),
            ],
            pass: &["ops/web > ops/db tcp 80"],
            drop: &[
                ("ops/web > ops/db tcp 81", DENY_DB),
                ("lab/web > ops/db tcp 80", "NetworkPolicy ops/a ingress[1]"),
            ],
        },
        Case {
            name: "Baseline holds only where nothing above decided",
            with: vec![
                tiered("ops/base", Tier::Baseline, 0, vec![rule(Action::Deny)]),
                ingress("ops/np", "app=db", ports(&[range(TCP, 80, 80)])),
            ],
            pass: &["lab/web > ops/db tcp 80"],
            drop: &[
                ("lab/web > ops/db tcp 81", DENY_DB),
                ("lab/web > ops/web tcp 80", "NetworkPolicy ops/base ingress[0]"),
            ],
        },
    ]
}
