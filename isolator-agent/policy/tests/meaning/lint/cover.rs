//! Rules that decide nothing. What is said of them is proven on random clusters: without them every verdict is the same.

use super::{found, objects};
use crate::generate;
use crate::mk::{
    self, adding, allow, block, deny, isolating, named, pods_in, pods_where, policy, range, with_egress,
    with_ingress,
};
use isolator_common::conntrack::protocol::{TCP, UDP};
use isolator_policy::cluster::change::Object;
use isolator_policy::meaning::oracle::judge;
use isolator_policy::model::{
    Access, Action, Entity, NamespaceMatch, Peer, Peers, Policy, PolicyKey, PolicyKind, PortMatch, Ports,
    Problem, Rule, Subject, Tier,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn one(peer: Peer) -> Peers {
    Peers::OneOf(vec![peer])
}

fn ports(list: Vec<PortMatch>) -> Ports {
    Ports::OneOf(list)
}

fn ingress(key: &str, pods: &str, rules: Vec<Rule>) -> Policy {
    with_ingress(policy(key, pods), isolating(rules))
}

/// What is found about rules.
fn rules(policies: Vec<Policy>) -> Vec<String> {
    let mut all = found(objects(vec![mk::namespace("a", "team=x")], vec![], policies));
    all.retain(|line| line.starts_with("redundant-rule") || line.starts_with("shadowed-rule"));
    all
}

/// Whether a rule for pods with `app=web` of `a` is redundant beside a rule for other pods.
fn redundant(rule: Rule, others: &str, other: Vec<Rule>) -> bool {
    let found = rules(vec![ingress("a/other", others, other), ingress("a/rule", "app=web", vec![rule])]);
    assert!(
        found.iter().all(|line| line == "redundant-rule NetworkPolicy a/rule spec.ingress[0]"),
        "{found:?}"
    );
    !found.is_empty()
}

#[test]
fn a_rule_is_redundant_where_a_wider_one_allows_the_same() {
    let http = || ports(vec![range(TCP, 80, 80)]);
    for (narrow, wide, others, is) in [
        (one(pods_in("a", "app=cli")), Peers::Any, "", true),
        (one(pods_in("a", "app=cli")), one(pods_in("a", "")), "", true),
        (one(pods_in("a", "app=cli")), one(pods_where("", "app")), "", true),
        (one(pods_in("a", "app=cli")), one(pods_where("team=x", "app=cli|web")), "", true),
        (one(pods_in("a", "app=cli")), one(pods_where("team=y", "")), "", false),
        (one(pods_in("a", "app=cli")), one(pods_in("a", "app=web")), "", false),
        (one(pods_in("a", "")), one(pods_in("a", "app=cli")), "", false),
        (Peers::Any, one(Peer::Entity(Entity::All)), "", true),
        (Peers::Any, one(pods_where("", "")), "", false),
        (one(block("10.1.0.0/16", &[])), one(block("10.0.0.0/8", &[])), "", true),
        (one(block("10.1.0.0/16", &[])), one(block("10.0.0.0/8", &["10.1.2.0/24"])), "", false),
        (one(block("10.1.0.0/16", &["10.1.2.0/23"])), one(block("10.0.0.0/8", &["10.1.2.0/24"])), "", true),
        (one(block("10.1.0.0/16", &[])), one(block("10.0.0.0/8", &["10.2.0.0/16"])), "", true),
        // For other pods, or for some of them.
        (one(pods_in("a", "")), Peers::Any, "app=web", true),
        (one(pods_in("a", "")), Peers::Any, "app", true),
        (one(pods_in("a", "")), Peers::Any, "app!=db", true),
        (one(pods_in("a", "")), Peers::Any, "app!=web", false),
        (one(pods_in("a", "")), Peers::Any, "app=db", false),
        (one(pods_in("a", "")), Peers::Any, "app=web tier=x", false),
    ] {
        let text = format!("{narrow:?} in {wide:?} of {others}");
        assert_eq!(redundant(allow(narrow, http()), others, vec![allow(wide, http())]), is, "{text}");
    }
}

#[test]
fn ports_may_be_covered_by_several_rules_together() {
    let with = |list: Vec<PortMatch>| allow(Peers::Any, ports(list));
    let rule = || with(vec![range(TCP, 80, 90), named(UDP, "dns")]);
    let halves = || vec![with(vec![range(TCP, 1, 84)]), with(vec![range(TCP, 85, 99), named(UDP, "dns")])];
    assert!(redundant(rule(), "", halves()));
    assert!(redundant(rule(), "", vec![allow(Peers::Any, Ports::Any)]));
    assert!(redundant(rule(), "", vec![with(vec![range(TCP, 0, 65535)]), with(vec![range(UDP, 0, 65535)])]));
    assert!(!redundant(
        rule(),
        "",
        vec![with(vec![range(TCP, 1, 84)]), with(vec![range(TCP, 86, 99), named(UDP, "dns")])]
    ));
    assert!(!redundant(rule(), "", vec![with(vec![range(TCP, 80, 90), named(TCP, "dns")])]));
    assert!(!redundant(allow(Peers::Any, Ports::Any), "", vec![with(vec![range(TCP, 0, 65535)])]));
}

#[test]
fn of_equal_rules_the_first_stays() {
    let rule = || allow(Peers::Any, Ports::Any);
    let twice = ingress("a/one", "", vec![rule(), rule()]);
    assert_eq!(rules(vec![twice]), ["redundant-rule NetworkPolicy a/one spec.ingress[1]"]);
    let two = vec![ingress("a/one", "", vec![rule()]), ingress("a/two", "", vec![rule()])];
    assert_eq!(rules(two), ["redundant-rule NetworkPolicy a/two spec.ingress[0]"]);
    // Directions are apart.
    let both = with_egress(ingress("a/one", "", vec![rule()]), isolating(vec![rule()]));
    assert_eq!(rules(vec![both]), [""; 0]);
}

#[test]
fn what_is_denied_is_allowed_in_vain() {
    let web = || allow(one(pods_in("a", "app=cli")), ports(vec![range(TCP, 80, 80)]));
    let lists = |rules: Vec<Rule>| ingress("a/np", "", rules);
    assert_eq!(
        rules(vec![lists(vec![web(), deny(one(pods_in("a", "")), Ports::Any)])]),
        ["shadowed-rule NetworkPolicy a/np spec.ingress[0]"]
    );
    // A part of it is left.
    assert_eq!(
        rules(vec![lists(vec![web(), deny(one(pods_in("a", "")), ports(vec![range(UDP, 1, 99)]))])]),
        [""; 0]
    );
    // A deny is no less needed because isolation denies, too.
    assert_eq!(rules(vec![lists(vec![deny(one(pods_in("a", "")), Ports::Any)])]), [""; 0]);
    let denies = vec![deny(Peers::Any, Ports::Any), deny(one(pods_in("a", "")), Ports::Any)];
    assert_eq!(rules(vec![lists(denies)]), ["redundant-rule NetworkPolicy a/np spec.ingress[1]"]);
    // Allowed here, denied there: nothing of it is left to this rule.
    let split = vec![
        deny(Peers::Any, ports(vec![range(TCP, 1, 80)])),
        allow(Peers::Any, ports(vec![range(TCP, 81, 100)])),
        allow(one(pods_in("a", "app=cli")), ports(vec![range(TCP, 80, 81)])),
    ];
    assert_eq!(rules(vec![lists(split)]), ["redundant-rule NetworkPolicy a/np spec.ingress[2]"]);
}

/// A ClusterNetworkPolicy for all pods.
fn ordered(name: &str, tier: Tier, priority: u32, actions: &[(Action, Peers)]) -> Policy {
    let rules =
        actions.iter().map(|(action, peers)| Rule { action: *action, ..allow(peers.clone(), Ports::Any) });
    let mut policy = with_ingress(policy("x/x", ""), adding(rules.collect()));
    policy.key =
        PolicyKey { kind: PolicyKind::ClusterNetworkPolicy, namespace: String::new(), name: name.into() };
    (policy.tier, policy.priority) = (tier, priority);
    policy.parts[0].subject =
        Subject::Pods { namespaces: NamespaceMatch::Matching(mk::selector("")), pods: mk::selector("") };
    policy
}

#[test]
fn in_an_ordered_tier_the_earlier_rule_shadows() {
    use Action::{Allow, Deny, Pass};
    let of_a = || one(pods_in("a", ""));
    for (first, second, shadowed) in [
        ((Allow, Peers::Any), (Deny, of_a()), true),
        ((Pass, Peers::Any), (Deny, of_a()), true),
        ((Deny, of_a()), (Deny, of_a()), true),
        ((Deny, of_a()), (Allow, Peers::Any), false),
    ] {
        let text = format!("{first:?} {second:?}");
        let expected = |line: &'static str| if shadowed { vec![line] } else { vec![] };
        let within = ordered("p", Tier::Admin, 1, &[first.clone(), second.clone()]);
        let line = "shadowed-rule ClusterNetworkPolicy p spec.ingress[1]";
        assert_eq!(rules(vec![within]), expected(line), "{text}");
        // The priority decides, not the name.
        let between = |priority| {
            vec![
                ordered("z", Tier::Baseline, 1, std::slice::from_ref(&first)),
                ordered("b", Tier::Baseline, priority, std::slice::from_ref(&second)),
            ]
        };
        let line = "shadowed-rule ClusterNetworkPolicy b spec.ingress[0]";
        assert_eq!(rules(between(2)), expected(line), "{text}");
        assert!(!rules(between(0)).contains(&line.to_owned()), "{text}");
    }
}

#[test]
fn tiers_shadow_the_tiers_after_them() {
    use Action::{Allow, Deny, Pass};
    let of_a = || one(pods_in("a", ""));
    let np = || ingress("a/np", "", vec![allow(of_a(), Ports::Any)]);
    let admin = |actions: &[(Action, Peers)]| rules(vec![ordered("p", Tier::Admin, 1, actions), np()]);
    let shadowed = ["shadowed-rule NetworkPolicy a/np spec.ingress[0]"];
    assert_eq!(admin(&[(Deny, Peers::Any)]), shadowed);
    assert_eq!(admin(&[(Allow, of_a())]), shadowed);
    assert_eq!(admin(&[(Pass, Peers::Any)]), [""; 0]);
    assert_eq!(admin(&[(Pass, of_a()), (Deny, Peers::Any)]), [""; 0]);
    // Isolation leaves nothing to the baseline, but for the local host.
    for (peers, wanted) in [
        (one(pods_in("a", "app=cli")), vec!["shadowed-rule ClusterNetworkPolicy p spec.ingress[0]"]),
        (Peers::Any, vec![]),
        (one(Peer::Entity(Entity::Host)), vec![]),
    ] {
        let mut baseline = ordered("p", Tier::Baseline, 1, &[(Deny, peers)]);
        let namespaces = NamespaceMatch::Named("a".to_owned());
        baseline.parts[0].subject = Subject::Pods { namespaces, pods: mk::selector("app=web") };
        assert_eq!(rules(vec![baseline.clone(), ingress("a/np", "", vec![])]), wanted);
        assert_eq!(rules(vec![baseline, ingress("a/np", "app=db", vec![])]), [""; 0]);
    }
}

/// An address that several pods claim is any of them to a deny, and nobody to what allows some.
#[test]
fn a_deny_is_not_shadowed_by_what_does_not_hold_for_shared_addresses() {
    use Action::{Allow, Deny};
    let after = |wide: Peers| {
        let policy = ordered("p", Tier::Admin, 1, &[(Allow, wide), (Deny, one(pods_in("a", "")))]);
        rules(vec![policy])
    };
    let shadowed = ["shadowed-rule ClusterNetworkPolicy p spec.ingress[1]"];
    assert_eq!(after(one(pods_where("", ""))), [""; 0]);
    assert_eq!(after(one(Peer::Entity(Entity::Cluster))), [""; 0]);
    assert_eq!(after(one(Peer::Entity(Entity::All))), shadowed);
    assert_eq!(after(Peers::Any), shadowed);
}

/// The findings that say of a rule that it decides nothing.
fn idle(objects: &[Object]) -> Vec<Problem> {
    let mut all = isolator_policy::lint::lint(&mk::snapshot(objects.to_vec()), &Access::default());
    all.retain(|problem| matches!(problem.code, "redundant-rule" | "shadowed-rule"));
    all
}

/// The objects without these rules.
fn without(objects: &[Object], idle: &[Problem]) -> Vec<Object> {
    let mut objects = objects.to_vec();
    for object in &mut objects {
        let Object::Policy(policy) = object else { continue };
        let name = policy.key.to_string();
        for section in
            policy.parts.iter_mut().flat_map(|part| [&mut part.ingress, &mut part.egress]).flatten()
        {
            section.rules.retain(|rule| {
                !idle.iter().any(|problem| problem.object == name && problem.field == rule.at.path())
            });
        }
    }
    objects
}

proptest! {
    #![proptest_config(generate::config(512))]

    #[test]
    fn without_what_is_called_idle_every_verdict_is_the_same(
        objects in generate::objects(),
        asked in generate::protocols_and_ports(),
    ) {
        let idle = idle(&objects);
        let (before, after) = (mk::snapshot(objects.clone()), mk::snapshot(without(&objects, &idle)));
        for flow in generate::flows(&generate::ends(&objects), &asked) {
            let allowed = |snapshot| judge(snapshot, &flow).map(|verdict| (verdict.egress.allowed, verdict.ingress.allowed));
            prop_assert_eq!(allowed(&before), allowed(&after), "{:?} without {:#?}", flow, idle);
        }
    }
}

/// A test that draws too narrowly would pass whatever the code does.
#[test]
fn generated_clusters_have_idle_rules_of_both_kinds() {
    let mut runner = TestRunner::new(generate::config(0));
    let mut met = std::collections::BTreeMap::new();
    for _ in 0..400 {
        let objects = generate::objects().new_tree(&mut runner).expect("a cluster").current();
        for problem in idle(&objects) {
            *met.entry(problem.code).or_insert(0) += 1;
        }
    }
    assert!(met.values().all(|count| *count >= 10) && met.len() == 2, "{met:?}");
}
