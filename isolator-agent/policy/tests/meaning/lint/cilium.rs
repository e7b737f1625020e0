//! What only goes wrong in Cilium's kinds: CIDRs that never match pods, labels that identities do not have, groups and
//! services that are not there.

use super::{found, objects, problems};
use crate::mk::{adding, allow, deny, named, namespace, node, pod, policy, prefix, with_ingress};
use isolator_common::conntrack::protocol::TCP;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{
    CidrGroup, IdentityRequirement, IdentitySelector, LabelSource, Labels, ObjectMatch, Operator, Peer,
    Peers, Policy, PolicyKey, PolicyKind, Ports, Rule, Service, ServiceKey, Subject,
};
use std::collections::BTreeSet;

fn cluster(policy: Policy) -> Vec<Object> {
    let mut node = node("n1", &["172.18.0.2"]);
    node.pod_cidrs = vec![prefix("10.0.0.0/24")];
    let pods = vec![pod("a/web", "n1", &["10.0.0.1", "fd00::1"], "app=web")];
    let mut all = objects(vec![namespace("a", "")], pods, vec![policy]);
    all.push(Object::Node(node));
    all.push(Object::CidrGroup(CidrGroup {
        name: "office".to_owned(),
        labels: Labels::new(),
        cidrs: vec![prefix("10.0.0.0/8")],
    }));
    all.push(Object::Service(Service {
        key: ServiceKey { namespace: "a".to_owned(), name: "web".to_owned() },
        labels: Labels::new(),
        selector: Labels::from([("app".to_owned(), "web".to_owned())]),
        addresses: vec![],
        ports: vec![],
    }));
    all
}

/// A selector of identities out of `source:key=value` words; without a value the label must be absent.
fn identity(words: &str) -> IdentitySelector {
    IdentitySelector::new(words.split_whitespace().map(|word| {
        let (source, rest) = word.split_once(':').unwrap();
        let source = match source {
            "k8s" => LabelSource::Kubernetes,
            "any" => LabelSource::Any,
            "reserved" => LabelSource::Reserved,
            other => LabelSource::Other(other.to_owned()),
        };
        let (key, operator) = match rest.split_once('=') {
            Some((key, value)) => (key, Operator::In(BTreeSet::from([value.to_owned()]))),
            None => (rest, Operator::DoesNotExist),
        };
        IdentityRequirement { source, key: key.to_owned(), operator }
    }))
}

fn cnp(subject: &str, rule: Rule) -> Policy {
    let mut policy = with_ingress(policy("a/cnp", ""), adding(vec![rule]));
    policy.key.kind = PolicyKind::CiliumNetworkPolicy;
    policy.parts[0].subject =
        Subject::Labelled { namespace: Some("a".to_owned()), identity: identity(subject) };
    policy
}

fn outside(cidr: &str, except: &[&str]) -> Peer {
    Peer::Block {
        cidr: prefix(cidr),
        except: except.iter().map(|text| prefix(text)).collect(),
        inside: false,
    }
}

#[test]
fn a_cidr_that_covers_pods_or_nodes_is_found() {
    let group = Peer::CidrGroups { groups: ObjectMatch::Named("office".to_owned()), except: vec![] };
    for (peer, found_if_allowed, found_if_denied) in [
        (outside("10.0.0.0/8", &[]), true, true),
        (outside("10.0.0.1/32", &[]), true, true),
        (outside("fd00::/8", &[]), true, true),
        (outside("172.18.0.0/16", &[]), true, true),
        (outside("10.0.0.0/8", &["10.0.0.0/16"]), false, false),
        (outside("192.0.2.0/24", &[]), false, false),
        (group, true, true),
        // The world is meant, and it is; who denies the world may mean pods, too.
        (outside("0.0.0.0/0", &[]), false, true),
        (outside("0.0.0.0/0", &["10.0.0.0/8", "172.16.0.0/12"]), false, false),
        (Peer::Block { cidr: prefix("10.0.0.0/8"), except: vec![], inside: true }, false, false),
    ] {
        let text = format!("{peer:?}");
        let peers = || Peers::OneOf(vec![peer.clone()]);
        for (rule, expected) in
            [(allow(peers(), Ports::Any), found_if_allowed), (deny(peers(), Ports::Any), found_if_denied)]
        {
            let wanted: &[&str] = if expected {
                &["cidr-covers-cluster CiliumNetworkPolicy a/cnp spec.ingress[0]"]
            } else {
                &[]
            };
            assert_eq!(found(cluster(cnp("", rule))), wanted, "{text}");
        }
    }
}

#[test]
fn a_label_that_no_identity_has_is_found() {
    let rule = |words| allow(Peers::OneOf(vec![Peer::Labelled(identity(words))]), Ports::Any);
    let code = "label-not-in-identity CiliumNetworkPolicy a/cnp";
    for (words, never) in [
        ("k8s:app=web", false),
        ("any:app.kubernetes.io/name", false),
        ("k8s:io.kubernetes.pod.namespace=a", false),
        ("k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=a", false),
        ("k8s:io.cilium.k8s.policy.serviceaccount=default", false),
        ("k8s:io.cilium.k8s.namespace.labels.beta.kubernetes.io/arch", true),
        ("any:io.cilium.k8s.mine", true),
        ("reserved:host=", false),
        ("any:pod-template-hash", true),
        ("k8s:topology.kubernetes.io/zone", true),
        ("k8s:statefulset.kubernetes.io/pod-name", true),
        ("container:name", true),
    ] {
        let (peer, subject) = (format!("{code} spec.ingress[0]"), format!("{code} spec.endpointSelector"));
        let wanted = if never { vec![peer] } else { vec![] };
        assert_eq!(found(cluster(cnp("", rule(words)))), wanted, "{words}");
        if !words.starts_with("reserved") {
            let wanted = if never { vec![subject] } else { vec![] };
            assert_eq!(found(cluster(cnp(words, allow(Peers::Any, Ports::Any)))), wanted, "{words}");
        }
    }
    // Asked for, it selects nothing.
    let both = [
        format!("{code} spec.ingress[0]"),
        "peer-matches-nothing CiliumNetworkPolicy a/cnp spec.ingress[0]".into(),
    ];
    assert_eq!(found(cluster(cnp("", rule("k8s:pod-template-hash=x")))), both);
}

#[test]
fn groups_and_services_that_are_not_there_are_found() {
    let object = |name: &str| ObjectMatch::Named(name.to_owned());
    let services = |namespace: &str, name| Peer::Services {
        namespace: Some(namespace.to_owned()),
        services: object(name),
    };
    for (peer, silent) in [
        (Peer::CidrGroups { groups: object("home"), except: vec![] }, true),
        (services("a", "web"), false),
        (services("b", "web"), true),
        (services("a", "db"), true),
        (Peer::Labelled(identity("reserved:world=")), false),
        (Peer::Labelled(identity("reserved:nonsense=")), true),
        (Peer::Labelled(identity("k8s:app=db")), true),
    ] {
        let text = format!("{peer:?}");
        let wanted: &[&str] =
            if silent { &["peer-matches-nothing CiliumNetworkPolicy a/cnp spec.ingress[0]"] } else { &[] };
        assert_eq!(found(cluster(cnp("", allow(Peers::OneOf(vec![peer]), Ports::Any)))), wanted, "{text}");
    }
    let nobody = Peers::OneOf(vec![Peer::Labelled(identity("k8s:app=db"))]);
    let message = &problems(cluster(cnp("", allow(nobody, Ports::Any))))[0].message;
    assert_eq!(message, "no pod matches endpoints with k8s:app=db; check the labels");
}

#[test]
fn a_part_in_specs_is_found_there() {
    let ports = Ports::OneOf(vec![named(TCP, "metrics")]);
    let mut policy = cnp("k8s:app=none", allow(Peers::Any, ports));
    policy.parts[0].ingress.as_mut().unwrap().rules[0].at.spec = Some(3);
    policy.key = PolicyKey {
        kind: PolicyKind::CiliumClusterwideNetworkPolicy,
        namespace: String::new(),
        ..policy.key
    };
    assert_eq!(
        found(cluster(policy)),
        ["selects-nothing CiliumClusterwideNetworkPolicy cnp specs[3].endpointSelector"]
    );
}
