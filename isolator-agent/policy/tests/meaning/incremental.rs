//! Whatever has changed, compiling on from the last snapshot gives what compiling from nothing gives, but for
//! the numbers of groups, rows and reasons. Not here: what either means (`e1`).

use crate::{generate, mk};
use isolator_common::addr::{Addr, Prefix};
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::problems::Problems;
use isolator_policy::datapath::compiled::{Behind, CellSpec, Compiled, Effect, EndpointSpec, RowIndex};
use isolator_policy::meaning::compile::{Compiler, compile};
use isolator_policy::meaning::why::By;
use isolator_policy::model::{
    Backend, EndpointSlice, Entity, Labels, ObjectMatch, Peer, Peers, PodKey, Ports, Problem, Service,
    ServiceKey,
};
use isolator_policy::shared::SharedMap;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Pick;
use std::collections::{BTreeMap, BTreeSet};

/// A cell without numbers.
type Cell = Vec<(u32, Effect, By)>;

/// What a compiled form says, without the numbers that were dealt out: a group is what the rows make of it.
#[derive(Debug, PartialEq)]
struct Said {
    /// Identity, and cells in each row that somebody has, in the order of their owners.
    addresses: Vec<(Addr, u32, Vec<Cell>)>,
    prefixes: Vec<(Prefix, u32, Vec<Cell>)>,
    /// The rest of each endpoint's specification.
    endpoints: Vec<(PodKey, EndpointSpec)>,
    identities: SharedMap<u32, String>,
    problems: Vec<Problem>,
}

fn said(compiled: &Compiled) -> Said {
    let cell = |cell: &CellSpec| -> Cell {
        match cell {
            CellSpec::All(one) => vec![(0, one.effect, compiled.reasons[one.reason.0 as usize].clone())],
            CellSpec::ByPort(ports) => {
                let by = |reason: usize| compiled.reasons[reason].clone();
                ports.iter().map(|(first, one)| (*first, one.effect, by(one.reason.0 as usize))).collect()
            }
        }
    };
    let of_pods = compiled.endpoints.values().flat_map(|spec| spec.rows);
    let rows: Vec<RowIndex> = of_pods.chain(compiled.startup.into_iter().flatten()).collect();
    let cells = |behind: &Behind| -> Vec<Cell> {
        rows.iter().map(|row| cell(compiled.rows.cell(*row, behind.group))).collect()
    };
    let without_rows = |spec: &EndpointSpec| EndpointSpec { rows: [RowIndex(0); 2], ..spec.clone() };
    Said {
        addresses: compiled.addresses.iter().map(|(addr, b)| (*addr, b.identity, cells(b))).collect(),
        prefixes: compiled.prefixes.iter().map(|(prefix, b)| (*prefix, b.identity, cells(b))).collect(),
        endpoints: compiled.endpoints.iter().map(|(key, spec)| (key.clone(), without_rows(spec))).collect(),
        identities: compiled.identities.clone(),
        problems: compiled.problems.clone(),
    }
}

/// Addresses that are treated alike are in one group, and every row and reason is somebody's.
fn is_tight(compiled: &Compiled) -> Result<(), TestCaseError> {
    let behind = compiled.addresses.values().chain(compiled.prefixes.values());
    let rows = compiled.rows.rows();
    let mut groups: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
    for behind in behind {
        let column = rows.iter().map(|row| row[behind.group.0 as usize]).collect();
        prop_assert_eq!(*groups.entry(column).or_insert(behind.group.0), behind.group.0);
    }
    prop_assert!(rows.iter().all(|row| row.len() == compiled.groups as usize));
    let distinct: BTreeSet<_> = compiled.rows.cells().iter().collect();
    prop_assert_eq!(distinct.len(), compiled.rows.cells().len(), "cells are distinct");
    Ok(())
}

/// Replaces or adds an object of another cluster, or deletes one of this.
fn change(index: &mut Index, others: &[Object], pick: &Pick, delete: bool) {
    let snapshot = index.snapshot();
    let pods = snapshot.pods().keys().cloned().map(ObjectKey::Pod);
    let policies = snapshot.policies().keys().cloned().map(ObjectKey::Policy);
    let all: Vec<ObjectKey> = pods.chain(policies).collect();
    if delete && !all.is_empty() {
        index.apply(Change::Delete(pick.get(&all).clone()));
    } else if !others.is_empty() {
        index.apply(Change::Apply(pick.get(others).clone()));
    }
}

proptest! {
    #![proptest_config(generate::config(1536))]

    #[test]
    fn compiling_on_gives_what_compiling_from_nothing_gives(
        first in generate::objects(),
        others in vec(generate::objects(), 3),
        steps in vec((any::<Pick>(), any::<bool>(), prop::bool::weighted(0.7)), 1..24),
    ) {
        let mut index = Index::new(Options::default());
        index.apply(Change::Reset(first));
        let all: Vec<Object> = others.into_iter().flatten().collect();
        let goes_on = |object: &&Object| matches!(object, Object::Pod(_) | Object::Policy(_));
        let few: Vec<Object> = all.iter().filter(goes_on).cloned().collect();
        let mut compiler = Compiler::new("n1");
        for (pick, delete, seen) in steps {
            // A namespace that changes starts everything anew.
            change(&mut index, if pick.index(12) == 0 { &all } else { &few }, &pick, delete);
            // Sometimes several changes come together.
            if !seen {
                continue;
            }
            let snapshot = index.snapshot();
            let on = compiler.compile(&snapshot);
            let anew = compile(&snapshot, "n1");
            is_tight(&on)?;
            prop_assert_eq!(said(&on), said(&anew));
        }
    }

    #[test]
    fn problems_found_going_on_are_those_found_from_nothing(
        first in generate::objects(),
        others in vec(generate::objects(), 3),
        steps in vec((any::<Pick>(), any::<bool>(), prop::bool::weighted(0.7)), 1..24),
    ) {
        let mut index = Index::new(Options::default());
        index.apply(Change::Reset(first));
        let all: Vec<Object> = others.into_iter().flatten().collect();
        let goes_on = |object: &&Object| matches!(object, Object::Pod(_) | Object::Policy(_));
        let few: Vec<Object> = all.iter().filter(goes_on).cloned().collect();
        let mut problems = Problems::default();
        for (pick, delete, seen) in steps {
            change(&mut index, if pick.index(12) == 0 { &all } else { &few }, &pick, delete);
            if seen {
                let snapshot = index.snapshot();
                prop_assert_eq!(problems.of(&snapshot), snapshot.problems());
            }
        }
    }
}

/// Who a new selector may match is known by the values that pods had when they were asked: which says nothing of a label
/// that nobody read then. Few random clusters come to the second value of such a label.
#[test]
fn a_label_that_is_read_later_is_looked_for_in_every_pod() {
    let peers = ["tier=web", "tier=db", "zone=one", "tier=web", "zone=two"];
    let pods = peers.iter().zip(1u8..).map(|(labels, number)| {
        Object::Pod(mk::pod(&format!("a/p{number}"), "n2", &[&format!("10.0.0.{number}")], labels))
    });
    let ours = Object::Pod(mk::pod("a/ours", "n1", &["10.0.1.1"], "app=ours"));
    let nodes = [mk::node("n1", &["172.16.0.1"]), mk::node("n2", &["172.16.0.2"])].map(Object::Node);
    let ground = nodes.into_iter().chain([Object::Namespace(mk::namespace("a", "")), ours]);
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(ground.chain(pods).collect()));
    let mut compiler = Compiler::new("n1");
    compiler.compile(&index.snapshot());
    for from in peers {
        let rule = mk::allow(Peers::OneOf(vec![mk::pods_in("a", from)]), Ports::Any);
        let policy =
            mk::with_ingress(mk::policy(&format!("a/from-{from}"), "app=ours"), mk::isolating(vec![rule]));
        index.apply(Change::Apply(Object::Policy(mk::numbered(policy))));
        assert_eq!(
            said(&compiler.compile(&index.snapshot())),
            said(&compile(&index.snapshot(), "n1")),
            "{from}"
        );
    }
}

/// Policy asks for the backends of API servers, and of services that select no pods; those of others come and go with
/// their pods. Few random changes are about the former.
#[test]
fn backends_that_policy_asks_for_are_looked_at_again() {
    let service = |name: &str, selector: &str| {
        let (key, labels, selector) = (service_key("a", name), Labels::new(), mk::labels(selector));
        Object::Service(Service { key, labels, selector, addresses: Vec::new(), ports: Vec::new() })
    };
    let slice = |namespace: &str, service: &str, backend: &str| {
        let backends = vec![Backend { addresses: vec![mk::addr(backend)], ready: true, pod: None }];
        let (namespace, name) = (namespace.to_owned(), format!("{service}-1"));
        let service = service.to_owned();
        Change::Apply(Object::EndpointSlice(EndpointSlice {
            namespace,
            name,
            service,
            backends,
            ports: Vec::new(),
        }))
    };
    let elsewhere = Peer::Services { namespace: None, services: ObjectMatch::Named("elsewhere".to_owned()) };
    let peers = Peers::OneOf(vec![elsewhere, Peer::Entity(Entity::KubeApiserver)]);
    let policy = mk::with_egress(mk::policy("a/p", ""), mk::isolating(vec![mk::allow(peers, Ports::Any)]));
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(vec![
        Object::Node(mk::node("n1", &["172.16.0.1"])),
        Object::Namespace(mk::namespace("a", "")),
        Object::Pod(mk::pod("a/ours", "n1", &["10.0.1.1"], "")),
        Object::Policy(mk::numbered(policy)),
        service("elsewhere", ""),
        service("web", "app=web"),
    ]));
    let mut compiler = Compiler::new("n1");
    let mut before = said(&compiler.compile(&index.snapshot()));
    for (change, matters) in [
        (slice("a", "elsewhere", "192.0.2.1"), true),
        (slice("a", "elsewhere", "192.0.2.2"), true),
        (slice("default", "kubernetes", "198.51.100.1"), true),
        (slice("default", "kubernetes", "198.51.100.2"), true),
        (slice("a", "web", "203.0.113.1"), false),
        (slice("a", "nobodys", "203.0.113.2"), false),
        (slice("a", "kubernetes", "203.0.113.3"), false),
        (Change::Delete(ObjectKey::EndpointSlice(service_key("a", "elsewhere-1"))), true),
        (Change::Delete(ObjectKey::EndpointSlice(service_key("default", "kubernetes-1"))), true),
    ] {
        let text = format!("{change:?}");
        index.apply(change);
        let now = said(&compiler.compile(&index.snapshot()));
        assert_eq!(now, said(&compile(&index.snapshot(), "n1")), "{text}");
        assert_eq!(now != before, matters, "{text}");
        before = now;
    }
}

fn service_key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Numbers of identities are hashes; where two meet, one stands aside, and may move when the other comes or goes. That
/// is too rare for random clusters, so that neighbours among many pods are tried.
#[test]
fn a_pod_whose_number_moves_because_of_another_has_its_new_one_everywhere() {
    let pod = |number: u32| {
        let node = format!("n{}", 1 + number % 2);
        let mut pod = mk::pod(&format!("a/p{number}"), &node, &[], &format!("number={number}"));
        pod.addresses.push(Addr::v4([10, (number >> 16) as u8, (number >> 8) as u8, number as u8]));
        Object::Pod(pod)
    };
    let ground = || {
        let nodes = [mk::node("n1", &["172.16.0.1"]), mk::node("n2", &["172.16.0.2"])];
        let nodes = nodes.into_iter().map(Object::Node);
        nodes.chain([Object::Namespace(mk::namespace("a", ""))]).collect::<Vec<_>>()
    };
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(ground().into_iter().chain((0..20_000).map(pod)).collect()));
    let all = compile(&index.snapshot(), "n1");
    let number = |addr: &Addr| u32::from_be_bytes([0, addr.0[13], addr.0[14], addr.0[15]]);
    let by_identity: BTreeMap<u32, u32> = all
        .addresses
        .iter()
        .filter(|(addr, _)| addr.is_v4() && addr.0[12] == 10)
        .map(|(addr, behind)| (behind.identity, number(addr)))
        .collect();
    let neighbours = by_identity.iter().zip(by_identity.iter().skip(1)).filter(|(a, b)| a.0 + 1 == *b.0);
    let mut moves = 0;
    for ((_, one), (_, other)) in neighbours {
        for (first, then) in [(*one, *other), (*other, *one)] {
            let mut index = Index::new(Options::default());
            index.apply(Change::Reset(ground().into_iter().chain([pod(first)]).collect()));
            let mut compiler = Compiler::new("n1");
            let alone = said(&compiler.compile(&index.snapshot()));
            index.apply(Change::Apply(pod(then)));
            let both = said(&compiler.compile(&index.snapshot()));
            assert_eq!(both, said(&compile(&index.snapshot(), "n1")));
            let here =
                |said: &Said| said.addresses.iter().find(|(addr, ..)| number(addr) == first).unwrap().1;
            moves += u32::from(here(&alone) != here(&both));
            let key = mk::pod_key(&format!("a/p{then}"));
            index.apply(Change::Delete(ObjectKey::Pod(key)));
            assert_eq!(said(&compiler.compile(&index.snapshot())), alone);
        }
    }
    assert!(moves > 0, "no two of the pods meet");
}
