//! A first sync of the largest cluster we promise to carry. The bound is generous, so that a busy machine
//! passes and a compile that multiplies pods by policies does not. Not here: nanoseconds per packet.

use crate::mk;
use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol::TCP;
use isolator_policy::cluster::change::Object;
use isolator_policy::meaning::compile::compile;
use isolator_policy::model::{Peers, Ports};

const NAMESPACES: u32 = 500;

/// Pods over namespaces, each namespace a tenant, 100 pods a node; per policy an own peer and port, most of
/// them for pods of other nodes.
fn cluster(pods: u32, policies: u32) -> Vec<Object> {
    let nodes = pods.div_ceil(100);
    let mut objects = Vec::new();
    for number in 0..NAMESPACES {
        objects.push(Object::Namespace(mk::namespace(
            &format!("ns{number}"),
            &format!("isolator.dev/tenant=t{}", number % 50),
        )));
    }
    for number in 0..nodes {
        objects.push(Object::Node(mk::node(
            &format!("n{number}"),
            &[&format!("172.16.{}.{}", number / 250, number % 250 + 1)],
        )));
    }
    for number in 0..pods {
        let key = format!("ns{}/p{number}", number % NAMESPACES);
        let mut pod = mk::pod(
            &key,
            &format!("n{}", number / 100),
            &[],
            &format!("app=a{} pod={number}", number % 1009),
        );
        pod.addresses.push(Addr::v4([10, (number >> 16) as u8, (number >> 8) as u8, number as u8]));
        objects.push(Object::Pod(pod));
    }
    for number in 0..policies {
        let namespace = format!("ns{}", number % NAMESPACES);
        let mut policy = mk::policy(
            &format!("{namespace}/np{number}"),
            &format!("app=a{}|a{}", number % 1009, number % 7),
        );
        let port =
            Ports::OneOf(vec![mk::range(TCP, 1 + (number % 60_000) as u16, 1 + (number % 60_000) as u16)]);
        let peers = vec![
            mk::pods_where(
                &format!("isolator.dev/tenant=t{}", number % 50),
                &format!("app=a{}", (number * 7) % 1009),
            ),
            mk::pods_in(&namespace, &format!("app!=a{}", number % 13)),
            mk::block(&format!("203.{}.{}.0/24", number >> 8 & 0xff, number & 0xff), &[]),
        ];
        policy.parts[0].ingress = mk::isolating(vec![mk::allow(Peers::OneOf(peers.clone()), port.clone())]);
        policy.parts[0].egress =
            mk::isolating(vec![mk::allow(Peers::OneOf(peers), Ports::Any), mk::allow(Peers::Any, port)]);
        objects.push(Object::Policy(policy));
    }
    objects
}

/// Seconds that this thread has run so far: other work on the machine does not count.
fn busy_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Seconds to compile one node of a cluster, the best of three. The first look at who owns what is included.
fn seconds(pods: u32, policies: u32) -> f64 {
    let objects = cluster(pods, policies);
    let times = (0..3).map(|_| {
        let snapshot = mk::snapshot(objects.clone());
        let start = busy_seconds();
        let compiled = compile(&snapshot, "n0");
        let time = busy_seconds() - start;
        assert_eq!(compiled.addresses.len(), (pods + pods.div_ceil(100)) as usize);
        println!(
            "{pods} pods, {policies} policies: {time:.3} s, {} groups, {} rows",
            compiled.groups,
            compiled.rows.rows().len()
        );
        time
    });
    times.fold(f64::INFINITY, f64::min)
}

#[test]
fn ten_times_the_cluster_takes_about_ten_times_the_time() {
    let small = seconds(10_000, 1_000);
    let large = seconds(100_000, 10_000);
    assert!(large / small < 40.0, "10 times the pods and policies took {:.0} times as long", large / small);
}
