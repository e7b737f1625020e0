//! The state machine under every odd order of events. Not here: connections.

use super::super::away::Away;
use super::super::kinds::{self, DEFINITIONS, Kind, RESOURCES};
use super::super::reduce::{Gone, Reduced};
use super::super::state::{Event, State};
use super::*;
use crate::source::Update;
use crate::source::node::Node;
use isolator_policy::cluster::change::Change;

pub(super) fn kind(name: &str) -> Kind {
    RESOURCES.iter().find(|resource| resource.kind == name).unwrap()
}

fn node(value: &Value) -> Node {
    serde_json::from_str(&value.to_string()).unwrap()
}

pub(super) fn put(kind: Kind, value: &Value) -> Event {
    Event::Put(Reduced::of(kind, &node(value)))
}

pub(super) fn gone(kind: Kind, value: &Value) -> Event {
    Event::Gone(Gone::of(kind, &node(value)))
}

/// A state and what it says.
pub(super) struct Machine(pub(super) State);

impl Machine {
    /// Every kind was listed and is empty, but for these.
    pub(super) fn synced(objects: &[(&str, Value)]) -> (Machine, Update) {
        let mut machine = Machine(State::new());
        for kind in kinds::required() {
            let of = objects.iter().filter(|(name, _)| *name == kind.kind);
            machine.list(kind, &of.map(|(_, value)| value.clone()).collect::<Vec<_>>());
        }
        let update = machine.0.update().unwrap();
        (machine, update)
    }

    pub(super) fn take(&mut self, kind: Kind, event: Event) {
        self.0.take(kind, event, 1);
    }

    pub(super) fn list(&mut self, kind: Kind, objects: &[Value]) {
        self.take(kind, Event::Begin);
        self.take(kind, Event::Page(objects.iter().map(|value| Reduced::of(kind, &node(value))).collect()));
        self.take(kind, Event::Whole);
    }

    /// The changes since the last time, as names.
    fn said(&mut self) -> Vec<String> {
        said(&self.0.update().unwrap_or_default())
    }
}

fn said(update: &Update) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Apply(object) => format!("+{}", object.key()),
        Change::Delete(key) => format!("-{key}"),
        Change::Reset(objects) => {
            let names: Vec<String> = objects.iter().map(|object| object.key().to_string()).collect();
            format!("={}", names.join(","))
        }
    };
    update.changes.iter().map(name).collect()
}

pub(super) fn codes(update: &Update) -> Vec<&'static str> {
    update.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn the_first_thing_said_is_everything() {
    let (_, update) = Machine::synced(&[
        ("Namespace", mk_namespace("a")),
        ("Pod", mk_pod("p", 1)),
        ("NetworkPolicy", mk_policy("np", 80)),
    ]);
    assert_eq!(said(&update), ["=Namespace a,Pod a/p,NetworkPolicy a/np"]);
    assert_eq!(codes(&update), [""; 0]);
}

#[test]
fn nothing_is_said_while_one_kind_is_missing() {
    let mut machine = Machine(State::new());
    for kind in kinds::required().filter(|kind| kind.kind != "NetworkPolicy") {
        machine.list(kind, &[]);
    }
    assert_eq!(machine.0.update(), None);
    let policies = kind("NetworkPolicy");
    machine.take(policies, Event::Begin);
    machine.take(policies, Event::Page(vec![Reduced::of(policies, &node(&mk_policy("np", 80)))]));
    assert_eq!(machine.0.update(), None, "half a list");
    machine.take(policies, Event::Whole);
    assert_eq!(machine.said(), ["=NetworkPolicy a/np"]);
}

#[test]
fn a_definition_makes_the_first_thing_wait_for_its_kind() {
    let mut machine = Machine(State::new());
    let cilium = kind("CiliumNetworkPolicy");
    for kind in kinds::required().filter(|kind| *kind != &DEFINITIONS) {
        machine.list(kind, &[]);
    }
    machine.list(&DEFINITIONS, &[mk_definition("ciliumnetworkpolicies", &["v2"])]);
    assert!(machine.0.wanted().contains(cilium));
    assert_eq!(machine.0.update(), None);
    machine.list(cilium, &[mk_cilium("cnp")]);
    assert_eq!(machine.said(), ["=CiliumNetworkPolicy a/cnp"]);
}

#[test]
fn what_is_equal_says_nothing_whoever_repeats_it() {
    let pods = kind("Pod");
    let (mut machine, _) = Machine::synced(&[("Namespace", mk_namespace("a")), ("Pod", mk_pod("p", 1))]);
    let mut newer = mk_pod("p", 1);
    newer["metadata"]["resourceVersion"] = json!("99");
    newer["metadata"]["managedFields"] = json!([{"manager": "kubelet"}]);
    newer["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    machine.take(pods, put(pods, &newer));
    machine.take(pods, put(pods, &mk_pod("p", 1)));
    machine.list(pods, &[newer]);
    assert_eq!(machine.0.update(), None);
}

#[test]
fn a_relist_is_the_difference_and_nothing_before_its_end() {
    let pods = kind("Pod");
    let (mut machine, _) = Machine::synced(&[
        ("Namespace", mk_namespace("a")),
        ("Pod", mk_pod("gone", 1)),
        ("Pod", mk_pod("same", 2)),
        ("Pod", mk_pod("moved", 3)),
    ]);
    machine.take(pods, Event::Begin);
    let page = [mk_pod("same", 2), mk_pod("moved", 4), mk_pod("new", 5)];
    machine.take(pods, Event::Page(page.iter().map(|value| Reduced::of(pods, &node(value))).collect()));
    assert_eq!(machine.0.update(), None, "half a relist");
    // A list that breaks off leaves no trace.
    machine.take(pods, Event::Begin);
    machine.take(pods, Event::Page(page[..2].iter().map(|value| Reduced::of(pods, &node(value))).collect()));
    machine.take(pods, Event::Whole);
    assert_eq!(machine.said(), ["-Pod a/gone", "+Pod a/moved"]);
}

#[test]
fn events_for_what_nobody_knows_do_no_harm() {
    let pods = kind("Pod");
    let (mut machine, _) = Machine::synced(&[("Namespace", mk_namespace("a"))]);
    machine.take(pods, gone(pods, &mk_pod("never", 1)));
    assert_eq!(machine.said(), [""; 0], "deleted before it was added");
    machine.take(pods, put(pods, &mk_pod("p", 1)));
    machine.take(pods, put(pods, &mk_pod("p", 1)));
    assert_eq!(machine.said(), ["+Pod a/p"], "changed before it was added, and twice");
    machine.take(pods, gone(pods, &mk_pod("p", 1)));
    machine.take(pods, gone(pods, &mk_pod("p", 1)));
    assert_eq!(machine.said(), ["-Pod a/p"]);
    machine.take(pods, Event::Whole);
    machine.take(kind("CiliumNetworkPolicy"), put(kind("CiliumNetworkPolicy"), &mk_cilium("c")));
    assert_eq!(machine.said(), [""; 0], "the end of no list, and a kind that is not wanted");
    machine.take(pods, put(pods, &json!({"metadata": {}})));
    machine.take(pods, put(pods, &json!([])));
    assert_eq!(machine.said(), [""; 0], "no object at all");
}

#[test]
fn events_in_the_middle_of_a_list_are_part_of_it() {
    let pods = kind("Pod");
    let (mut machine, _) = Machine::synced(&[("Namespace", mk_namespace("a")), ("Pod", mk_pod("old", 1))]);
    machine.take(pods, Event::Begin);
    machine.take(pods, put(pods, &mk_pod("old", 1)));
    machine.take(pods, put(pods, &mk_pod("new", 2)));
    machine.take(pods, put(pods, &mk_pod("brief", 3)));
    machine.take(pods, gone(pods, &mk_pod("brief", 3)));
    machine.take(pods, gone(pods, &mk_pod("old", 1)));
    assert_eq!(machine.0.update(), None);
    machine.take(pods, Event::Whole);
    assert_eq!(machine.said(), ["-Pod a/old", "+Pod a/new"]);
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_says_so() {
    let policies = kind("NetworkPolicy");
    let (mut machine, _) = Machine::synced(&[("NetworkPolicy", mk_policy("np", 80))]);
    machine.take(policies, put(policies, &mk_policy("np", 99999)));
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec![], vec!["invalid-field", "last-good"]));
    machine.list(policies, &[mk_policy("np", 99999)]);
    assert_eq!(machine.0.update(), None, "a relist of the broken version keeps it, too");
    machine.take(policies, put(policies, &mk_policy("np", 80)));
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec![], vec![]));
    machine.take(policies, put(policies, &mk_policy("np", 99999)));
    machine.take(policies, gone(policies, &mk_policy("np", 99999)));
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec!["-NetworkPolicy a/np".to_owned()], vec![]));
}

#[test]
fn a_field_that_is_not_known_cuts_a_policys_pods_off_and_breaks_nothing_else() {
    let (policies, pods) = (kind("NetworkPolicy"), kind("Pod"));
    let (mut machine, _) = Machine::synced(&[("Namespace", mk_namespace("a"))]);
    let mut pod = mk_pod("p", 1);
    pod["spec"]["fieldOfTomorrow"] = json!({"deep": [1]});
    pod["metadata"]["alsoNew"] = json!(true);
    machine.take(pods, put(pods, &pod));
    assert_eq!(machine.said(), ["+Pod a/p"]);
    let mut policy = mk_policy("np", 80);
    policy["metadata"]["alsoNew"] = json!(true);
    machine.take(policies, put(policies, &policy));
    assert_eq!(machine.said(), ["+NetworkPolicy a/np"]);
    let mut policy = mk_policy("wide", 80);
    policy["spec"]["ingress"][0]["onlyOnSundays"] = json!(true);
    machine.take(policies, put(policies, &policy));
    let update = machine.0.update().unwrap();
    assert_eq!(
        (said(&update), codes(&update)),
        (vec!["+NetworkPolicy a/wide".to_owned()], vec!["cut-off", "unknown-field"])
    );
    // A list and another edit that cannot be read say the same; one that can be read is believed.
    machine.list(policies, &[mk_policy("np", 80), policy.clone()]);
    assert_eq!(machine.0.update(), None);
    policy["metadata"]["generation"] = json!(2);
    machine.take(policies, put(policies, &policy));
    assert_eq!(machine.0.update(), None);
    machine.take(policies, put(policies, &mk_policy("wide", 80)));
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec!["+NetworkPolicy a/wide".to_owned()], vec![]));
    // From then on there is a last good version.
    machine.list(policies, &[mk_policy("np", 80), policy]);
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec![], vec!["last-good", "unknown-field"]));
}

#[test]
fn a_definition_that_goes_takes_its_objects_along_and_one_that_changes_version_does_not() {
    let cilium = kind("CiliumNetworkPolicy");
    let (mut machine, _) = Machine::synced(&[]);
    let definition = mk_definition("ciliumnetworkpolicies", &["v2"]);
    machine.take(&DEFINITIONS, put(&DEFINITIONS, &definition));
    machine.list(cilium, &[mk_cilium("cnp")]);
    assert_eq!(machine.said(), ["+CiliumNetworkPolicy a/cnp"]);
    machine.take(&DEFINITIONS, put(&DEFINITIONS, &mk_definition("ciliumnetworkpolicies", &["v3"])));
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec![], vec!["crd-version"]));
    machine.take(&DEFINITIONS, gone(&DEFINITIONS, &definition));
    assert_eq!(machine.said(), ["-CiliumNetworkPolicy a/cnp"]);
    assert!(!machine.0.wanted().contains(cilium));
    machine.take(cilium, put(cilium, &mk_cilium("late")));
    assert_eq!(machine.said(), [""; 0], "what its watch had still said");
}

#[test]
fn a_relist_of_definitions_lets_go_of_those_that_are_missing() {
    let cilium = kind("CiliumNetworkPolicy");
    let (mut machine, _) = Machine::synced(&[]);
    machine.list(&DEFINITIONS, &[mk_definition("ciliumnetworkpolicies", &["v2"])]);
    machine.list(cilium, &[mk_cilium("cnp")]);
    machine.said();
    machine.list(&DEFINITIONS, &[mk_definition("ciliumcidrgroups", &["v2"])]);
    assert_eq!(machine.said(), ["-CiliumNetworkPolicy a/cnp"]);
}

#[test]
fn two_pods_may_have_one_address_for_a_while() {
    let pods = kind("Pod");
    let (mut machine, _) = Machine::synced(&[("Namespace", mk_namespace("a")), ("Pod", mk_pod("old", 1))]);
    machine.take(pods, put(pods, &mk_pod("new", 1)));
    assert_eq!(machine.said(), ["+Pod a/new"]);
    let mut finished = mk_pod("old", 1);
    finished["status"]["phase"] = json!("Succeeded");
    machine.take(pods, put(pods, &finished));
    assert_eq!(machine.said(), ["+Pod a/old"], "it is finished");
    machine.take(pods, gone(pods, &finished));
    machine.take(pods, put(pods, &mk_pod("new", 9)));
    assert_eq!(machine.said(), ["-Pod a/old", "+Pod a/new"], "an address changes");
}

#[test]
fn an_outage_is_said_once_and_is_over_with_the_next_word() {
    let (mut machine, _) = Machine::synced(&[]);
    for kind in kinds::required() {
        machine.take(kind, Event::Away(Away::Unreachable("no route".into())));
    }
    let update = machine.0.update().unwrap();
    assert_eq!((said(&update), codes(&update)), (vec![], vec!["api-server-away"]));
    machine.take(kind("Pod"), Event::Away(Away::Unreachable("no route".into())));
    assert_eq!(machine.0.update(), None, "nothing is new");
    machine.take(kind("Pod"), Event::Away(Away::Unreachable("reset".into())));
    assert_eq!(machine.0.update(), None, "every watch sees it in its own way");
    for kind in kinds::required() {
        machine.take(kind, Event::Heard);
    }
    assert_eq!(codes(&machine.0.update().unwrap()), [""; 0]);
}

#[test]
fn clocks_that_differ_are_said_and_small_differences_are_not() {
    let (mut machine, _) = Machine::synced(&[]);
    machine.take(kind("Pod"), Event::Skew(20));
    assert_eq!(machine.0.update(), None);
    machine.take(kind("Pod"), Event::Skew(3600));
    let update = machine.0.update().unwrap();
    assert_eq!(codes(&update), ["clock-skew"]);
    assert!(update.problems[0].message.contains("60 min behind"), "{}", update.problems[0].message);
}
