//! The words of Events, and who says them. Not here: when.

use super::super::complaint::{Complaint, Policy};
use super::super::speakers::rank;
use super::*;
use isolator_policy::model::{Labels, Node};
use std::collections::BTreeMap;
use std::sync::Arc;

const NP: &str = "NetworkPolicy a/np";

fn one(problems: &[ProblemEntry]) -> Complaint {
    let mut all = Complaint::all(problems);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_policy_has_one_complaint_whatever_is_wrong_and_nothing_else_has_any() {
    let mut warned = mk_problem("NetworkPolicy a/other", "priority-tie", "", "a tie");
    warned.severity = "warning".to_owned();
    let complaint = one(&[
        mk_problem(NP, "not-enforced", "", "NOTHING of it is enforced"),
        mk_problem(NP, "unknown-field", "spec.ingress[0].x", "`x` is not known"),
        mk_problem("Pod a/web", "invalid-field", "status.podIP", "no address"),
        mk_problem("", "not-attached", "", "interface veth1"),
        warned,
    ]);
    assert_eq!(complaint.policy, Policy::of(NP).unwrap());
    assert_eq!(complaint.reason, "Rejected");
    assert_eq!(complaint.note, "spec.ingress[0].x: `x` is not known; NOTHING of it is enforced");
    let with =
        |code| one(&[mk_problem(NP, "invalid-field", "spec", "x"), mk_problem(NP, code, "", "y")]).reason;
    assert_eq!(with("last-good"), "EditRejected");
    assert_eq!(with("unenforced-field"), "NotWhollyEnforced");
    let cluster = one(&[mk_problem("ClusterNetworkPolicy guard", "unenforced-field", "spec", "x")]);
    assert_eq!((cluster.policy.namespace.as_str(), cluster.policy.name.as_str()), ("", "guard"));
}

#[test]
fn words_fit_what_an_api_server_takes() {
    let long = "ü".repeat(900);
    let name = format!("{}-.{}", "a".repeat(234), "b".repeat(17));
    let object = format!("CiliumNetworkPolicy a/{name}");
    let problems: Vec<_> =
        (0..9).map(|n| mk_problem(&object, "invalid-field", &format!("f{n}"), &long)).collect();
    let complaint = one(&problems);
    assert!(complaint.note.len() <= 1024 && complaint.note.contains("f1: "), "{}", complaint.note);
    let event = complaint.name("uid");
    assert!(event.len() <= 253, "{event}");
    let (cut, digest) = event.rsplit_once('.').unwrap();
    assert_eq!(digest.len(), 16);
    assert!(cut.ends_with('a'), "a part of a name ends with a letter or digit: {cut}");
}

#[test]
fn equal_words_have_one_name_and_others_another() {
    let complaint = one(&[mk_problem(NP, "invalid-field", "spec", "x")]);
    assert_eq!(complaint.name("1"), one(&[mk_problem(NP, "invalid-field", "spec", "x")]).name("1"));
    let others = [
        complaint.name("2"),
        one(&[mk_problem(NP, "invalid-field", "spec", "y")]).name("1"),
        one(&[mk_problem(NP, "not-enforced", "spec", "x")]).name("1"),
        one(&[mk_problem("CiliumNetworkPolicy a/np", "invalid-field", "spec", "x")]).name("1"),
    ];
    for other in others {
        assert_ne!(other, complaint.name("1"));
        assert!(other.starts_with("np."), "{other}");
    }
}

fn mk_node(name: String, os: Option<&str>) -> Arc<Node> {
    let labels: Labels = os.map(|os| ("kubernetes.io/os".to_owned(), os.to_owned())).into_iter().collect();
    Arc::new(Node { name, labels, addresses: Vec::new(), pod_cidrs: Vec::new() })
}

#[test]
fn nodes_agree_who_speaks_of_a_policy_and_share_the_work() {
    let nodes: Vec<_> = (0..50).map(|n| mk_node(format!("node-{n}"), Some("linux"))).collect();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for n in 0..1000 {
        let policy = Policy::of(&format!("NetworkPolicy team-{}/np-{n}", n % 7)).unwrap();
        let mut ranks: Vec<usize> =
            nodes.iter().map(|node| rank(&policy, &node.name, nodes.iter()).unwrap()).collect();
        let speaker = ranks.iter().position(|rank| *rank == 0).unwrap();
        *first.entry(&nodes[speaker].name).or_default() += 1;
        ranks.sort_unstable();
        assert_eq!(ranks, (0..50).collect::<Vec<_>>(), "each has a place of its own");
    }
    assert!(first.len() >= 45 && first.values().all(|of| *of <= 60), "{first:?}");
}

#[test]
fn who_cannot_run_an_agent_is_passed_over_and_who_is_no_node_does_not_speak() {
    let policy = Policy::of(NP).unwrap();
    let linux = [mk_node("n1".into(), None), mk_node("n2".into(), Some("linux"))];
    let windows: Vec<_> = (0..20).map(|n| mk_node(format!("w{n}"), Some("windows"))).collect();
    let all = || linux.iter().chain(&windows);
    let mut ranks = ["n1", "n2"].map(|own| rank(&policy, own, all()).unwrap());
    ranks.sort_unstable();
    assert_eq!(ranks, [0, 1]);
    assert_eq!(rank(&policy, "n3", all()), None);
}
