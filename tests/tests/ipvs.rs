//! Service addresses beside a kube-proxy in IPVS mode: packets of a pod are judged by the backend that IPVS picked, on
//! this node and on another. Skipped where the kernel has no IPVS; the tier `vm` boots kernels that have. Not here:
//! nftables and iptables, which labs have.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use isolator_agent::datapath::attach::Attacher;
use isolator_agent::datapath::hook::Hook;
use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_agent::datapath::read::ReadOnly;
use isolator_agent::source::Manifests;
use isolator_common::endpoint::Marking;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{self, Attachment, Params, layout};
use isolator_policy::meaning::compile::compile;
use isolator_policy::model::PodKey;
use isolator_tests::ipvs::Ipvs;
use isolator_tests::link::{Sandbox, add_addresses, index, netlink, up};
use isolator_tests::netns::isolated;
use rtnetlink::{LinkDummy, RouteMessageBuilder};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// A client that may go to port 8080 of two backends, one of them on another node; each has a Service with two ports.
const CLUSTER: &str = r#"
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"},
 "status": {"addresses": [{"type": "InternalIP", "address": "10.0.1.1"}]}}
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "client", "labels": {"app": "client"}},
 "spec": {"nodeName": "here", "containers": []}, "status": {"podIP": "10.0.1.2"}}
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "near", "labels": {"app": "near"}},
 "spec": {"nodeName": "here", "containers": []}, "status": {"podIP": "10.0.2.2"}}
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "far", "labels": {"app": "far"}},
 "spec": {"nodeName": "there", "containers": []}, "status": {"podIP": "10.0.3.2"}}
{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "near"},
 "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "near"}, "ports": [
  {"name": "good", "protocol": "UDP", "port": 80, "targetPort": 8080}, {"name": "bad", "protocol": "UDP", "port": 81, "targetPort": 8081}]}}
{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "far"},
 "spec": {"clusterIP": "10.96.0.2", "selector": {"app": "far"}, "ports": [
  {"name": "good", "protocol": "UDP", "port": 80, "targetPort": 8080}, {"name": "bad", "protocol": "UDP", "port": 81, "targetPort": 8081}]}}
{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "a", "name": "client"},
 "spec": {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"],
  "egress": [{"to": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["near", "far"]}]}}],
              "ports": [{"protocol": "UDP", "port": 8080}]}]}}
"#;

const WAIT: Option<Duration> = Some(Duration::from_secs(30));

/// A host behind a link of its own: it is `.2` of a network of which this node is `.1`, and its way to everybody.
fn neighbour(link: &str, network: u8) -> (Sandbox, u32) {
    let (host, at) = (Ipv4Addr::new(10, 0, network, 1), Ipv4Addr::new(10, 0, network, 2));
    let sandbox = Sandbox::new();
    let ifindex = sandbox.connect(link, &[(IpAddr::V4(at), 24)]);
    netlink(async |handle| add_addresses(&handle, link, &[(IpAddr::V4(host), 24)]).await);
    sandbox.enter(|| {
        netlink(async |handle| {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(host).build();
            handle.route().add(route).execute().await.unwrap();
        });
    });
    (sandbox, ifindex)
}

#[test]
fn a_pod_is_judged_by_the_backend_that_ipvs_picked() {
    isolated(|bpffs| {
        let Some(ipvs) = Ipvs::open() else {
            std::io::stdout().write_all(b"\nSKIPPED: this kernel has no IPVS\n").unwrap();
            return;
        };
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let services = [Ipv4Addr::new(10, 96, 0, 1), Ipv4Addr::new(10, 96, 0, 2)];
        let dummy = netlink(async |handle| {
            handle.link().add(LinkDummy::new("kube-ipvs0").build()).execute().await.unwrap();
            add_addresses(&handle, "kube-ipvs0", &services.map(|addr| (IpAddr::V4(addr), 32))).await;
            up(&handle, "kube-ipvs0").await;
            index(&handle, "kube-ipvs0").await
        });
        let ((client, pod0), (near, pod1), (far, wire)) =
            (neighbour("pod0", 1), neighbour("pod1", 2), neighbour("wire0", 3));
        let backends = [Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 3, 2)];
        for (service, backend) in services.into_iter().zip(backends) {
            for (port, target) in [(80, 8080), (81, 8081)] {
                ipvs.add(SocketAddrV4::new(service, port), SocketAddrV4::new(backend, target));
            }
        }

        let cluster = Manifests::of_text("cluster.json", CLUSTER.into()).load();
        assert_eq!(cluster.problems, []);
        let mut index = Index::new(Options::default());
        index.apply(Change::Reset(cluster.objects));
        let pod = |name: &str| Attachment::of(Some(PodKey { namespace: "a".into(), name: name.into() }));
        let capacities = layout::Capacities { cells: 1 << 16, intervals: 1 << 15, ..Default::default() };
        let params = Params { ticks_per_second: 100, events_per_second: 0, capacities };
        let compiled = compile(&index.snapshot(), "here");
        let attachments = [(pod0, pod("client")), (pod1, pod("near"))].into();
        let mut image = layout(&Image::default(), &compiled, &attachments, &params).unwrap();
        image.marking = Marking::new(0xff00_0000).unwrap();
        let dir = bpffs.join("isolator");
        let mut loaded = Loaded::open(&dir, &Capacities::small()).unwrap();
        loaded.store.apply(&diff(&Image::default(), &image)).unwrap();
        let attacher = Attacher::new(&dir, &loaded.features, false);
        for ifindex in [pod0, pod1] {
            attacher.attach(&loaded.programs, ifindex).unwrap();
        }
        for ifindex in [wire, dummy] {
            attacher.attach_way(&loaded.programs, ifindex, Hook::ToWire).unwrap();
        }

        let maps = ReadOnly::open(&dir).unwrap();
        let slot = image.endpoints[&pod0].slot;
        let denied = || {
            let counters = maps.counters(slot).unwrap();
            let mine = counters
                .iter()
                .filter(|c| c.direction == Direction::Egress && c.reason == Reason::DefaultDeny);
            mine.map(|c| c.packets).sum::<u64>()
        };
        for (service, backend, at) in [(services[0], backends[0], &near), (services[1], backends[1], &far)] {
            let [good, bad] = [8080, 8081].map(|port| at.enter(|| UdpSocket::bind((backend, port)).unwrap()));
            let [to_good, to_bad] = [80, 81].map(|port| {
                let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
                client.enter(|| socket.connect((service, port)).unwrap());
                socket
            });
            // A question and its answer, which comes from the Service's address.
            good.set_read_timeout(WAIT).unwrap();
            to_good.set_read_timeout(WAIT).unwrap();
            to_good.send(b"ping").unwrap();
            let mut buffer = [0; 16];
            let (length, from) = good.recv_from(&mut buffer).expect("the backend hears");
            good.send_to(&buffer[..length], from).unwrap();
            assert_eq!(to_good.recv(&mut buffer).expect("the client hears"), 4, "{service}");
            // The other port is the backend's business, not the Service's: denied by the client's own rules.
            let before = denied();
            let deadline = Instant::now() + WAIT.unwrap();
            while denied() < before + 5 {
                assert!(Instant::now() < deadline, "{service}: nothing is denied");
                to_bad.send(b"ping").unwrap();
                std::thread::yield_now();
            }
            bad.set_nonblocking(true).unwrap();
            assert!(bad.recv(&mut buffer).is_err(), "{service}: the backend hears what is denied");
        }
    });
}
