//! What packets cost, as far as it can be counted: those in the middle of a connection are judged in the short way, whatever
//! policies the pod has, and no packet looks up more on a larger cluster. From manifests to maps in memory. A row that looks
//! up in the wrong order costs four times as much and changes no verdict.
//! Not here: that both ways agree (`progrun`); nanoseconds (`cargo xtask bench datapath`).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use isolator_agent::source::Manifests;
use isolator_common::addr::Addr;
use isolator_common::judge::{Arrival, usual};
use isolator_common::policy::Direction;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{Attachment, Capacities, Params, layout};
use isolator_policy::datapath::memory::{Memory, judge_frame};
use isolator_policy::meaning::compile::compile;
use isolator_policy::model::PodKey;

const IFINDEX: u32 = 3;
const POD: Addr = Addr::v4([10, 0, 0, 1]);
const NEAR: Addr = Addr::v4([10, 0, 0, 2]);
const OUTSIDE: Addr = Addr::v4([192, 0, 2, 1]);

const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n";

/// A pod of the namespace.
fn pod(name: &str, app: &str, node: &str, address: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\n\
         metadata: {{namespace: a, name: {name}, labels: {{app: {app}, one: {name}}}}}\n\
         spec: {{nodeName: {node}, containers: []}}\nstatus: {{podIP: {address}}}\n"
    )
}

/// A policy that isolates the pod as `spec` says.
fn policy(spec: &str) -> String {
    let head =
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: a, name: p}\n";
    format!("{head}spec: {{podSelector: {{matchLabels: {{app: pod}}}}, {spec}}}\n")
}

/// Maps of the pod's node, in a cluster of it, a peer on another node, and what more says.
fn node(more: &str) -> Memory {
    let [own, near] = [pod("pod", "pod", "here", "10.0.0.1"), pod("near", "near", "there", "10.0.0.2")];
    let text = format!("{NAMESPACE}{own}{near}{more}");
    let cluster = Manifests::of_text("cluster.yaml", text.into_bytes()).load();
    assert_eq!(cluster.problems, []);
    let mut index = Index::new(Options::default());
    index.apply(Change::Reset(cluster.objects));
    let params = Params { ticks_per_second: 100, events_per_second: 10, capacities: Capacities::default() };
    let pod = Attachment::of(Some(PodKey { namespace: "a".into(), name: "pod".into() }));
    let compiled = compile(&index.snapshot(), "here");
    let image = layout(&Image::default(), &compiled, &[(IFINDEX, pod)].into(), &params).unwrap();
    let mut memory = Memory::default();
    for op in diff(&memory.image, &image) {
        memory.image.apply(&op);
    }
    memory
}

#[test]
fn packets_in_the_middle_of_a_connection_take_the_short_way() {
    use Direction::{Egress, Ingress};
    let all = [(Ingress, NEAR), (Egress, NEAR), (Ingress, OUTSIDE), (Egress, OUTSIDE)];
    let near = "[{podSelector: {matchLabels: {app: near}}}]";
    let port = "[{protocol: TCP, port: 80}, {protocol: UDP, port: 80}]";
    for (spec, flows) in [
        ("ingress: [{}]".to_owned(), &all[..]),
        (format!("ingress: [{{from: {near}}}]"), &[all[0], all[1], all[3]]),
        (format!("ingress: [{{from: {near}, ports: {port}}}]"), &[all[0], all[1], all[3]]),
        (format!("policyTypes: [Egress], egress: [{{to: {near}}}]"), &all[..3]),
        (format!("policyTypes: [Egress], egress: [{{to: {near}, ports: {port}}}]"), &all[..3]),
        (format!("ingress: [{{from: {near}}}], egress: [{{to: {near}}}]"), &all[..2]),
        (format!("ingress: [{{from: {near}}}], egress: [{{ports: {port}}}]"), &[all[0], all[1], all[3]]),
        ("policyTypes: [Ingress]".to_owned(), &[all[1], all[3]]),
    ] {
        for (opener, peer) in flows.iter().copied() {
            let (from, to) = if opener == Egress { (POD, peer) } else { (peer, POD) };
            let there = |flags| Frame::tcp(from, to, 40000, 80, flags);
            let back = |flags| Frame::tcp(to, from, 80, 40000, flags);
            let tcp = [there(Frame::SYN), back(Frame::SYN_ACK), there(Frame::ACK), back(Frame::ACK)];
            let [question, answer] = [Frame::udp(from, to, 40000, 80), Frame::udp(to, from, 80, 40000)];
            let udp = [question.clone(), answer.clone(), question, answer];
            for frames in [tcp, udp] {
                let memory = node(&policy(&spec));
                let [begin @ .., there, back] = frames.map(|frame| frame.payload(&[0; 80]).bytes());
                for (frame, direction) in begin.iter().zip([opener, opener.opposite()]) {
                    let outcome = judge_frame(&memory, IFINDEX, frame, direction);
                    assert!(outcome.reason.passes(), "{spec}: {opener:?} {peer:?}: {outcome:?}");
                }
                for (frame, direction) in [(there, opener), (back, opener.opposite())] {
                    let arrival = Arrival { ifindex: IFINDEX, length: frame.len() as u32, direction };
                    let outcome = usual(&memory, frame.as_slice(), arrival);
                    assert!(
                        outcome.is_some(),
                        "{spec}: {direction:?} of {opener:?} {peer:?}, protocol {}",
                        frame[23]
                    );
                }
            }
        }
    }
}

/// Look-ups of the first packet of a flow, its answer, and of the next of both.
fn look_ups(memory: &Memory, peer: Addr) -> [u32; 4] {
    let there = |flags| (Frame::tcp(peer, POD, 40000, 80, flags), Direction::Ingress);
    let back = |flags| (Frame::tcp(POD, peer, 80, 40000, flags), Direction::Egress);
    let flow = [there(Frame::SYN), back(Frame::SYN_ACK), there(Frame::ACK), back(Frame::ACK)];
    memory.take_look_ups();
    flow.map(|(frame, direction)| {
        let outcome = judge_frame(memory, IFINDEX, &frame.payload(&[0; 80]).bytes(), direction);
        assert!(outcome.reason.passes(), "{outcome:?}");
        memory.take_look_ups()
    })
}

/// Manifests of so many things of one kind, and whose packets are looked at.
fn clusters(number: u32) -> [(String, Addr); 6] {
    let repeat = |one: &dyn Fn(u32) -> String| (0..number).map(one).collect::<String>();
    let pods = repeat(&|n| pod(&format!("n{n}"), "near", "there", &format!("10.1.{}.{}", n / 256, n % 256)));
    let tiers = repeat(&|n| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
             metadata: {{name: t{n}}}\nspec: {{tier: Admin, priority: {n}, subject: {{namespaces: {{}}}}, ingress: \
             [{{action: Deny, from: [{{pods: {{namespaceSelector: {{}}, podSelector: {{matchLabels: {{one: n{n}}}}}}}}}]}}]}}\n"
        )
    });
    let prefixes = repeat(&|n| format!("{{ipBlock: {{cidr: 192.0.{}.{}/32}}}}, ", 2 + n / 200, 1 + n % 200));
    let ranges = repeat(&|n| format!("{{port: {0}, endPort: {0}}}, ", 80 + 2 * n));
    let near = "from: [{podSelector: {matchLabels: {app: near}}}]";
    let port = "ports: [{port: 80}]";
    let ingress = |rule: String| policy(&format!("ingress: [{{{rule}}}]"));
    [
        (ingress(near.to_owned()) + &pods, NEAR),
        (ingress(format!("{near}, {port}")) + &pods, NEAR),
        (ingress(format!("{near}, {port}")) + &pods + &tiers, NEAR),
        (ingress(format!("from: [{prefixes}]")), OUTSIDE),
        (ingress(format!("from: [{prefixes}], {port}")), OUTSIDE),
        (ingress(format!("{near}, ports: [{ranges}]")), NEAR),
    ]
}

#[test]
fn a_packet_asks_no_more_of_a_larger_cluster() {
    let look_ups = |number| clusters(number).map(|(more, peer)| look_ups(&node(&more), peer));
    for (small, large) in look_ups(2).into_iter().zip(look_ups(500)) {
        let no_more = small.iter().zip(&large).all(|(small, large)| large <= small);
        assert!(no_more, "with 2 of everything: {small:?}; with 500: {large:?}");
        assert!(large[2..].iter().all(|number| *number <= 4), "{large:?}");
    }
}
