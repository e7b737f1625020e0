//! What the lab's kube-proxy is told. Not here: what it does with it (`tests/live/services.rs`).

use super::*;
use crate::lab::plan::PodPlan;
use isolator_common::addr::Addr;
use isolator_policy::model::{
    Backend, BackendPort, ContainerPort, EndpointSlice, Labels, PodKey, ServiceKey, TargetPort,
};

const VIP: Addr = Addr::v4([10, 96, 0, 10]);

fn service() -> Service {
    Service {
        key: ServiceKey { namespace: "a".into(), name: "web".into() },
        labels: Labels::new(),
        selector: Labels::from([("app".into(), "web".into())]),
        addresses: vec![VIP],
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: TCP,
            port: 80,
            target: TargetPort::Named("page".into()),
            node_port: Some(30080),
        }],
    }
}

fn pod(name: &str) -> Pod {
    Pod {
        key: PodKey { namespace: "a".into(), name: name.into() },
        labels: Labels::from([("app".into(), "web".into())]).into(),
        node: None,
        addresses: Vec::new(),
        host_network: false,
        finished: false,
        ports: vec![ContainerPort { name: "page".into(), protocol: TCP, port: 8080 }],
        service_account: String::new(),
    }
}

fn plan(pods: &[(&str, &str)]) -> Plan {
    let placed = |address: &str| PodPlan {
        node: "n1".into(),
        addresses: vec![address.parse().unwrap()],
        host_network: false,
        ports: Vec::new(),
    };
    let pods = pods.iter().map(|(name, address)| (format!("a/{name}"), placed(address)));
    Plan { pods: pods.collect(), ..Plan::default() }
}

#[test]
fn a_selector_finds_pods_where_no_slice_is_written() {
    let objects = [Object::Service(service()), Object::Pod(pod("one")), Object::Pod(pod("two"))];
    let plan = plan(&[("one", "10.1.0.1"), ("two", "10.1.0.2")]);
    let found = frontends(&objects, &plan);
    let ports: Vec<_> = found.iter().map(|one| (one.address, one.v4, one.port)).collect();
    assert_eq!(
        ports,
        [(None, false, 30080), (None, true, 30080), (Some("10.96.0.10".parse().unwrap()), true, 80)]
    );
    let wanted: Vec<SocketAddr> = vec!["10.1.0.1:8080".parse().unwrap(), "10.1.0.2:8080".parse().unwrap()];
    assert_eq!(found[2].backends, wanted);
}

#[test]
fn a_slice_says_who_is_behind_whatever_the_selector_says() {
    let backend = |last, ready| Backend { addresses: vec![Addr::v4([10, 2, 0, last])], ready, pod: None };
    let slice = EndpointSlice {
        namespace: "a".into(),
        name: "web-1".into(),
        service: "web".into(),
        backends: vec![backend(1, true), backend(2, false)],
        ports: vec![BackendPort { name: "http".into(), protocol: TCP, port: Some(9000) }],
    };
    let objects = [Object::Service(service()), Object::Pod(pod("one")), Object::EndpointSlice(slice)];
    let found = frontends(&objects, &plan(&[("one", "10.1.0.1")]));
    assert_eq!(found[2].backends, ["10.2.0.1:9000".parse().unwrap()]);
}

#[test]
fn rules_of_both_kinds_translate_every_port_once() {
    let objects = [Object::Service(service()), Object::Pod(pod("one")), Object::Pod(pod("two"))];
    let found = frontends(&objects, &plan(&[("one", "10.1.0.1"), ("two", "10.1.0.2")]));
    let proxy = Proxy { kind: KubeProxy::Nftables, masquerade: false, mark: 0xff };
    let text = proxy.nftables(&found);
    assert!(
        text.contains("ip daddr 10.96.0.10 tcp dport 80 numgen random mod 2 0 dnat ip to 10.1.0.1:8080\n")
    );
    assert!(text.contains("ip daddr 10.96.0.10 tcp dport 80 dnat ip to 10.1.0.2:8080\n"));
    assert!(text.contains("ip saddr 10.1.0.1 ip daddr 10.1.0.1 ct status dnat masquerade\n"));
    assert!(text.contains("meta mark & 0xff != 0 drop\n"));
    let judged = Proxy { mark: 0, ..proxy };
    assert!(![judged.nftables(&found), judged.iptables(&found, true)].concat().contains("mark"));
    let text = proxy.iptables(&found, true);
    assert!(text.contains("-d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.1.0.2:8080\n"));
    assert!(!proxy.iptables(&found, false).contains("10.96.0.10"));
}
