//! Services, slices and CIDR groups at the door. Not here: what is done with them.

use super::{assert_said, load, one};
use isolator_common::addr::{Addr, Prefix};
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{
    Backend, BackendPort, CidrGroup, EndpointSlice, Labels, PodKey, Service, ServiceKey, ServicePort,
    TargetPort,
};

fn key(name: &str) -> ServiceKey {
    ServiceKey { namespace: "a".into(), name: name.into() }
}

#[test]
fn a_service_has_every_address_that_means_it_once() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a, labels: {tier: x}}\n\
                spec:\n  selector: {app: web}\n  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.1, 'fd00::1']\n  \
                externalIPs: [203.0.113.1]\n  ports:\n  - {name: http, port: 80, targetPort: web, nodePort: 30080}\n  \
                - {port: 53, protocol: UDP, targetPort: 1053}\n  - {port: 443}\n\
                status: {loadBalancer: {ingress: [{ip: 203.0.113.2}, {hostname: x}]}}\n";
    let port = |name: &str, protocol, port, target, node_port| ServicePort {
        name: name.into(),
        protocol,
        port,
        target,
        node_port,
    };
    let wanted = Service {
        key: key("s"),
        labels: Labels::from([("tier".into(), "x".into())]),
        selector: Labels::from([("app".into(), "web".into())]),
        addresses: vec![
            Addr::v4([10, 96, 0, 1]),
            Addr::v4([203, 0, 113, 1]),
            Addr::v4([203, 0, 113, 2]),
            Addr::from_words(0xfd00 << 48, 1),
        ],
        ports: vec![
            port("http", 6, 80, TargetPort::Named("web".into()), Some(30080)),
            port("", 17, 53, TargetPort::Number(1053), None),
            port("", 6, 443, TargetPort::Number(443), None),
        ],
    };
    assert_eq!(one(text), Object::Service(wanted));
}

#[test]
fn a_headless_service_has_no_address() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\n\
                spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}\n";
    let Object::Service(service) = one(text) else { panic!("not a service") };
    assert_eq!(service.addresses, []);
}

#[test]
fn a_slice_names_its_service_and_its_ready_backends() {
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                metadata: {name: s-1, namespace: a, labels: {kubernetes.io/service-name: s}}\n\
                endpoints:\n- addresses: [10.0.0.1]\n  targetRef: {kind: Pod, name: p}\n\
                - {addresses: [10.0.0.2], conditions: {ready: false}}\nports: [{name: http, port: 8080}, {}]\n";
    let pod = PodKey { namespace: "a".into(), name: "p".into() };
    let backend = |last, ready, pod| Backend { addresses: vec![Addr::v4([10, 0, 0, last])], ready, pod };
    let wanted = EndpointSlice {
        namespace: "a".into(),
        name: "s-1".into(),
        service: "s".into(),
        backends: vec![backend(1, true, Some(pod)), backend(2, false, None)],
        ports: vec![
            BackendPort { name: "http".into(), protocol: 6, port: Some(8080) },
            BackendPort { name: String::new(), protocol: 6, port: None },
        ],
    };
    assert_eq!(one(text), Object::EndpointSlice(wanted));
}

#[test]
fn backends_of_another_family_and_ports_out_of_range_are_named() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv6\n\
                 metadata: {name: s, namespace: a}\nendpoints: [{addresses: [10.0.0.1]}]\nports: [{port: 0}]\n";
    assert_said(&load(slice), &["endpoints[0].addresses[0]", "not of the addressType IPv6"]);
    assert_said(&load(slice), &["ports[0].port", "0 is not a port"]);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\n\
                   spec: {clusterIP: 10.0.0.256, ports: [{port: 70000}]}\n";
    assert_said(&load(service), &["spec.clusterIP", "is not an IP address"]);
    assert_said(&load(service), &["spec.ports[0].port", "70000 is not a port"]);
}

#[test]
fn a_group_of_ranges_is_read_whole_or_not_at_all() {
    let text = |cidrs: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {{name: g}}\nspec: {{externalCIDRs: {cidrs}}}\n"
        )
    };
    let wanted = CidrGroup {
        name: "g".into(),
        labels: Labels::from([("io.cilium.policy.cidrgroupname/g".into(), "*".into())]),
        cidrs: vec![Prefix::new(Addr::v4([203, 0, 113, 0]), 96 + 24)],
    };
    let older = text("[203.0.113.0/24]").replace("cilium.io/v2", "cilium.io/v2alpha1");
    assert_eq!(one(&older), Object::CidrGroup(wanted.clone()));
    assert_eq!(one(&text("[203.0.113.0/24]")), Object::CidrGroup(wanted));
    let broken = load(&text("[203.0.113.0/24, 203.0.113.1]"));
    assert_said(&broken, &["spec.externalCIDRs[1]", "is not a CIDR"]);
    assert!(broken.objects.is_empty());
    let null = load(&text("[203.0.113.0/24, null]"));
    assert_said(&null, &["spec.externalCIDRs[1]: ", "must not be null"]);
    assert!(null.objects.is_empty());
}
