//! What the plan promises.

use super::*;
use isolator_common::addr::{Addr, Prefix};
use isolator_policy::model::{Labels, PodKey};

fn mk_pod(name: &str, node: Option<&str>, addresses: &[Addr]) -> Object {
    Object::Pod(Pod {
        key: PodKey { namespace: "ns".into(), name: name.into() },
        labels: Default::default(),
        node: node.map(Into::into),
        addresses: addresses.to_vec(),
        host_network: false,
        finished: false,
        ports: Vec::new(),
        service_account: "default".into(),
    })
}

fn mk_node(name: &str, addresses: &[Addr], pod_cidrs: &[Prefix]) -> Object {
    let (addresses, pod_cidrs) = (addresses.to_vec(), pod_cidrs.to_vec());
    Object::Node(Node { name: name.into(), labels: Labels::new(), addresses, pod_cidrs })
}

fn mk_request(nodes: usize, external: &[&str]) -> Request {
    let external = external.iter().map(|address| address.parse().unwrap()).collect();
    Request { nodes, external, network: Network::Routed }
}

fn addresses(plan: &Plan, pod: &str) -> Vec<String> {
    plan.pods[&format!("ns/{pod}")].addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn pods_without_node_or_address_are_spread_and_get_both_families() {
    let objects = [mk_pod("a", None, &[]), mk_pod("b", None, &[]), mk_pod("c", Some("node-1"), &[])];
    let (plan, problems) = plan(&objects, &mk_request(2, &[]), &Plan::default());
    assert_eq!(problems, []);
    assert_eq!(plan.nodes.keys().collect::<Vec<_>>(), ["node-1", "node-2"]);
    let homes: Vec<&str> = plan.pods.values().map(|pod| pod.node.as_str()).collect();
    assert_eq!(homes, ["node-2", "node-1", "node-1"]);
    assert_eq!(addresses(&plan, "a"), ["10.244.1.2", "fd00:10:244:1::2"]);
    assert_eq!(addresses(&plan, "b"), ["10.244.0.2", "fd00:10:244::2"]);
    assert_eq!(plan.nodes["node-1"].addresses[0], IpAddr::from([172, 30, 0, 2]));
}

#[test]
fn written_addresses_are_kept_and_never_given_to_others() {
    let cidr = Prefix::new(Addr::v4([10, 1, 0, 0]), 96 + 29);
    let objects = [
        mk_node("n", &[Addr::v4([192, 168, 0, 7])], &[cidr]),
        mk_pod("a", None, &[]),
        mk_pod("z", Some("n"), &[Addr::v4([10, 1, 0, 2])]),
    ];
    let (plan, problems) = plan(&objects, &mk_request(1, &["10.1.0.3"]), &Plan::default());
    assert_eq!(problems, []);
    assert_eq!(addresses(&plan, "z"), ["10.1.0.2"]);
    assert_eq!(addresses(&plan, "a"), ["10.1.0.4"], "one family, because the node has one");
    assert_eq!(plan.nodes["n"].addresses, [IpAddr::from([192, 168, 0, 7])]);
    assert_eq!(plan.outside[0], IpAddr::from([10, 1, 0, 3]));
}

#[test]
fn an_address_has_one_owner_and_the_second_pod_is_not_built() {
    let twice = Addr::v4([10, 9, 0, 1]);
    let objects = [
        mk_pod("a", None, &[twice]),
        mk_pod("b", None, &[twice]),
        mk_pod("c", None, &[Addr::v4([203, 0, 113, 9])]),
        mk_pod("d", None, &[Addr::v4([127, 0, 0, 1])]),
    ];
    let (plan, problems) = plan(&objects, &mk_request(1, &["203.0.113.9"]), &Plan::default());
    assert_eq!(plan.pods.keys().collect::<Vec<_>>(), ["ns/a"]);
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["duplicate-address", "duplicate-address", "invalid-address"]);
    assert!(problems[0].message.contains("pod ns/a"), "{}", problems[0]);
}

#[test]
fn a_full_range_is_said_and_other_pods_are_built() {
    let cidr = Prefix::new(Addr::v4([10, 1, 0, 0]), 96 + 30);
    let objects = [mk_node("n", &[], &[cidr]), mk_pod("a", None, &[]), mk_pod("b", None, &[])];
    let (plan, problems) = plan(&objects, &mk_request(1, &[]), &Plan::default());
    assert_eq!(plan.pods.len(), 1);
    assert!(problems.len() == 1 && problems[0].message.contains("larger podCIDR"), "{problems:?}");
}

#[test]
fn finished_pods_are_not_built_and_pods_of_the_host_have_its_addresses() {
    let (mut done, mut host) = (mk_pod("done", Some("gone"), &[]), mk_pod("host", None, &[]));
    if let (Object::Pod(done), Object::Pod(host)) = (&mut done, &mut host) {
        done.finished = true;
        host.host_network = true;
    }
    let (plan, problems) = plan(&[done, host], &mk_request(1, &[]), &Plan::default());
    assert_eq!(problems, []);
    assert_eq!(plan.nodes.keys().collect::<Vec<_>>(), ["node-1"]);
    assert_eq!(plan.pods.keys().collect::<Vec<_>>(), ["ns/host"]);
    assert_eq!(plan.pods["ns/host"].addresses, plan.nodes["node-1"].addresses);
}

#[test]
fn what_was_given_stays_when_others_come_and_go() {
    let request = mk_request(2, &["198.51.100.1"]);
    let (first, _) = plan(&[mk_pod("b", None, &[]), mk_pod("c", None, &[])], &request, &Plan::default());
    let later = [mk_pod("a", None, &[]), mk_pod("c", None, &[])];
    let (second, problems) = plan(&later, &request, &first);
    assert_eq!(problems, []);
    assert_eq!(second.pods["ns/c"], first.pods["ns/c"]);
    assert_eq!(
        (&second.nodes, &second.outside, &second.fabric),
        (&first.nodes, &first.outside, &first.fabric)
    );
    assert_ne!(second.pods["ns/a"].addresses, second.pods["ns/c"].addresses);
}

#[test]
fn bridges_own_their_gateway_and_routed_nodes_have_none() {
    let cidr = Prefix::new(Addr::v4([10, 1, 0, 0]), 96 + 24);
    let objects = [mk_node("n", &[], &[cidr]), mk_pod("a", None, &[Addr::v4([10, 1, 0, 1])])];
    let routed = mk_request(1, &[]);
    let bridged = Request { network: Network::Bridged, ..routed.clone() };
    assert_eq!(plan(&objects, &routed, &Plan::default()).0.pods.len(), 1);
    assert_eq!(plan(&objects, &bridged, &Plan::default()).0.pods.len(), 0);
}

#[test]
fn what_is_too_much_for_a_lab_is_left_out_and_counted() {
    let address = |number: usize| Addr::v4([10, 2, (number >> 8) as u8, number as u8]);
    let pod = |number: usize| mk_pod(&format!("p{number:05}"), Some("n"), &[address(number)]);
    let objects: Vec<Object> = (0..MOST_PODS + 3).map(pod).collect();
    let (small, problems) = plan(&objects, &mk_request(1, &[]), &Plan::default());
    assert_eq!(small.pods.len(), MOST_PODS);
    let said: Vec<_> = problems.iter().map(|problem| (problem.code, problem.object.as_str())).collect();
    assert_eq!(said, [("too-many-pods", "Pod ns/p05000")]);
    assert!(problems[0].message.contains("this one and 2 more"), "{}", problems[0].message);

    let objects: Vec<Object> =
        (0..=MOST_NODES).map(|number| mk_node(&format!("n{number:03}"), &[], &[])).collect();
    let (small, problems) = plan(&objects, &mk_request(1, &[]), &Plan::default());
    assert_eq!(small.nodes.len(), MOST_NODES);
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["too-many-nodes"]);
}
