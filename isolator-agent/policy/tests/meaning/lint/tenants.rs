//! Tenants and policies that do not fit together, and priorities that tie.

use super::{found, objects};
use crate::mk::{allow, isolating, namespace, pod, pods_in, policy, with_egress, with_ingress};
use isolator_policy::model::{
    Action, Namespace, NamespaceMatch, Peers, Pod, Policy, PolicyKey, PolicyKind, Ports, Selector, Subject,
    Tier,
};

fn namespaces() -> Vec<Namespace> {
    vec![
        namespace("a", "isolator.dev/tenant=alpha"),
        namespace("b", "isolator.dev/tenant=beta"),
        namespace("shared", ""),
    ]
}

fn pods() -> Vec<Pod> {
    vec![pod("a/web", "n1", &["10.0.0.1"], "app=web"), pod("b/web", "n1", &["10.0.0.2"], "app=web")]
}

#[test]
fn a_namespace_without_a_tenant_among_others_is_found() {
    assert_eq!(found(objects(namespaces(), pods(), vec![])), [""; 0]);
    let mut more = pods();
    more.push(pod("shared/dns", "n1", &["10.0.0.3"], ""));
    assert_eq!(
        found(objects(namespaces(), more.clone(), vec![])),
        ["no-tenant Namespace shared metadata.labels"]
    );
    // Where nobody has a tenant there is no tenancy.
    assert_eq!(found(objects(vec![namespace("shared", "")], more, vec![])), [""; 0]);
}

#[test]
fn a_rule_that_allows_only_what_tenancy_denies_is_found() {
    let rule = |peers: Vec<_>| vec![allow(Peers::OneOf(peers), Ports::Any)];
    let ingress = |peers| with_ingress(policy("a/np", ""), isolating(rule(peers)));
    let wanted = ["rule-against-tenancy NetworkPolicy a/np spec.ingress[0]"];
    assert_eq!(found(objects(namespaces(), pods(), vec![ingress(vec![pods_in("b", "")])])), wanted);
    // A part of it is not denied.
    for peers in [vec![pods_in("b", ""), pods_in("a", "")], vec![pods_in("a", "")]] {
        assert_eq!(found(objects(namespaces(), pods(), vec![ingress(peers)])), [""; 0]);
    }
    // Accepted: the receiver decides.
    let mut accepting = namespaces();
    accepting[0].accept_tenants.insert("beta".to_owned());
    assert_eq!(found(objects(accepting.clone(), pods(), vec![ingress(vec![pods_in("b", "")])])), [""; 0]);
    let egress = with_egress(policy("b/np", ""), isolating(rule(vec![pods_in("a", "")])));
    let about = |objects| {
        let mut all = found(objects);
        all.retain(|line| line.starts_with("rule-against"));
        all
    };
    assert_eq!(about(objects(accepting, pods(), vec![egress.clone()])), [""; 0]);
    let wanted = ["rule-against-tenancy NetworkPolicy b/np spec.egress[0]"];
    assert_eq!(about(objects(namespaces(), pods(), vec![egress])), wanted);
}

/// A ClusterNetworkPolicy that denies all ingress to the pods of a namespace with these labels.
fn ordered(name: &str, tier: Tier, priority: u32, namespace: &str, labels: &str) -> Policy {
    let rules = vec![isolator_policy::model::Rule {
        action: Action::Deny,
        ..allow(Peers::OneOf(vec![pods_in("b", "")]), Ports::Any)
    }];
    let mut policy = with_ingress(policy("x/x", labels), crate::mk::adding(rules));
    policy.key =
        PolicyKey { kind: PolicyKind::ClusterNetworkPolicy, namespace: String::new(), name: name.into() };
    (policy.tier, policy.priority) = (tier, priority);
    let namespaces = NamespaceMatch::Named(namespace.to_owned());
    policy.parts[0].subject = Subject::Pods { namespaces, pods: crate::mk::selector(labels) };
    policy
}

#[test]
fn equal_priorities_with_pods_in_common_are_found() {
    let ties = |policies: Vec<Policy>, pods: Vec<Pod>| {
        let mut all = found(objects(vec![], pods, policies));
        all.retain(|line| line.starts_with("priority-tie"));
        all
    };
    let one = || ordered("one", Tier::Admin, 5, "a", "");
    let wanted = ["priority-tie ClusterNetworkPolicy two spec.priority"];
    for (other, tie, tie_without_pods) in [
        (ordered("two", Tier::Admin, 5, "a", "app=web"), true, true),
        (ordered("two", Tier::Admin, 6, "a", "app=web"), false, false),
        (ordered("two", Tier::Baseline, 5, "a", "app=web"), false, false),
        (ordered("two", Tier::Admin, 5, "a", "app=db"), false, true),
        (ordered("two", Tier::Admin, 5, "b", ""), false, false),
    ] {
        let text = format!("{other:?}");
        let expected = |tie: bool| if tie { wanted.to_vec() } else { vec![] };
        assert_eq!(ties(vec![one(), other.clone()], pods()), expected(tie), "{text}");
        assert_eq!(ties(vec![one(), other.clone()], vec![]), expected(tie_without_pods), "{text}");
        // Directions that only one speaks of cannot clash.
        let mut egress = other;
        egress.parts[0].egress = egress.parts[0].ingress.take();
        assert_eq!(ties(vec![one(), egress], pods()), [""; 0], "{text}");
    }
    assert_eq!(Selector::everything(), crate::mk::selector(""));
}
