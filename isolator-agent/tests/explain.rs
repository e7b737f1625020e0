//! `isolator policy explain`: the answer, why, and what to do. Not here: the reading (`isolator-policy`).

mod command;

use command::{isolator, manifests};
use serde_json::Value;
use std::fs;

#[test]
fn explain_says_why_in_prose_and_in_json() {
    let ran = isolator("policy explain tc-alpha/curl tc-alpha/nginx TCP/81 -f FILES", "");
    let wanted = "\
tc-alpha/curl -> tc-alpha/nginx TCP/81: DENIED
It may leave tc-alpha/curl. It may not enter tc-alpha/nginx: default deny of ingress by NetworkPolicy tc-alpha/web.

egress ALLOWED: no policy isolates the endpoint for egress
  judged at   tc-alpha/curl (tenant alpha)
  to          Pod tc-alpha/nginx at 10.244.1.2 (tenant alpha)
  policies    none selects it for egress

ingress DENIED: default deny of ingress by NetworkPolicy tc-alpha/web
  judged at   tc-alpha/nginx (tenant alpha)
  from        Pod tc-alpha/curl at 10.244.2.2 (tenant alpha)
  policies    NetworkPolicy tc-alpha/web: isolates it  FILE:56:1 (document 10)
              ingress[0] allow: matches the peer, not the port  FILE:63:7 (document 10)
              ingress[1] allow: matches the port, not the peer  FILE:65:7 (document 10)
  allowed if  ingress[0] of NetworkPolicy tc-alpha/web names this port, too
  or if       ingress[1] of NetworkPolicy tc-alpha/web names this peer, too
  or if       a rule that allows it, in a new policy or in NetworkPolicy tc-alpha/web
  or with     this policy, which allows it here, for pods with these labels:
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: allow-from-curl, namespace: \"tc-alpha\"}
    spec:
      podSelector: {matchLabels: {app: \"nginx\"}}
      policyTypes: [Ingress]
      ingress:
        - from:
            - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: \"tc-alpha\"}}
              podSelector: {matchLabels: {app: \"curl\"}}
          ports: [{protocol: TCP, port: 81}]
";
    let wanted = wanted.replace("FILE", &format!("{}/tenants.yaml", manifests()));
    assert_eq!((ran.out.as_str(), ran.code), (wanted.as_str(), Some(1)), "{}", ran.err);
    let ran = isolator("policy explain tc-gamma/curl tc-alpha/nginx TCP/80 -f FILES -o json", "");
    let view: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(view["ingress"]["by"], "tenancy: alpha and gamma are different tenants");
    assert_eq!(view["ingress"]["peer"]["tenant"], "gamma");
    assert!(view["summary"].as_str().unwrap().ends_with("Both sides need a change."), "{}", view["summary"]);
    assert_eq!((view["verdict"].as_str(), ran.code), (Some("denied"), Some(1)));
    let ran = isolator("policy explain tc-alpha/curl tc-alpha/nginx -f FILES", "");
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.contains("            > ingress[0] allow: matches  "), "{}", ran.out);
    let ran = isolator("policy explain node:n1 tc-alpha/nginx TCP/81 -f FILES", "");
    assert!(ran.out.contains("              1 rule matches neither peer nor port\n"), "{}", ran.out);
}

/// Two isolated pods, one of them without labels, and two nodes.
const ISOLATED: &str = "\
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 172.18.0.3}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: v1
kind: Namespace
metadata: {name: \"1\"}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: \"1.0\", pod-template-hash: x, app.kubernetes.io/name: \"on\", empty: \"\"}}
spec: {nodeName: n1, containers: []}
status: {podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: \"1\"}
spec: {nodeName: n2, containers: []}
status: {podIPs: [{ip: 10.0.0.2}, {ip: \"fd00::2\"}]}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: isolate}
spec: {endpointSelector: {}, ingress: [{}], egress: [{}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ports, namespace: a}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 1}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: layer-7, namespace: a}
spec:
  endpointSelector: {}
  egress:
    - toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: /}]}}]
";

#[test]
fn what_is_suggested_allows_the_flow() {
    let folder = std::env::temp_dir().join(format!("isolator-explain-{}", std::process::id()));
    for (flow, sides) in [
        ("a/web 1/bare TCP/80", 2),
        ("1/bare a/web SCTP/9", 2),
        ("a/web 1/bare icmp/8", 2),
        ("a/web 1/bare icmpv6/128", 2),
        ("a/web 192.0.2.7 UDP/53", 1),
        ("a/web 2001:db8:: UDP/53", 1),
        ("192.0.2.7 a/web icmp/8", 1),
        ("a/web node:n1 TCP/22", 1),
        ("a/web node:n1 icmp/8", 1),
        ("node:n2 a/web TCP/80", 1),
        ("node:n2 a/web icmp/8", 1),
    ] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cluster.yaml"), ISOLATED).unwrap();
        let command = format!("policy explain {flow} -o json -f {}", folder.display());
        let ran = isolator(&command, "");
        assert_eq!(ran.code, Some(1), "{flow}: {}{}", ran.out, ran.err);
        let view: Value = serde_json::from_str(&ran.out).unwrap();
        let suggested: Vec<&str> =
            ["egress", "ingress"].iter().filter_map(|side| view[side]["suggestion"].as_str()).collect();
        assert_eq!(suggested.len(), sides, "{flow}");
        fs::write(folder.join("suggested.yaml"), suggested.join("---\n")).unwrap();
        let ran = isolator(&command, "");
        let lint = isolator(&format!("policy lint -f {}", folder.display()), "").out;
        assert_eq!(ran.code, Some(0), "{flow}: {}\n{}{lint}", suggested.join("---\n"), ran.out);
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_rule_that_is_not_enforced_is_called_so() {
    let ran = isolator("policy explain a/web 192.0.2.7 TCP/80 -f -", ISOLATED);
    assert!(ran.out.contains("egress[0] allow: allows nobody, because it is not enforced:"), "{}", ran.out);
    assert!(
        ran.out.contains("spec.egress[0].toPorts[0].rules: layer 7 rules are not enforced"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("names this peer"), "no peer would help it: {}", ran.out);
}

#[test]
fn what_is_wrong_near_the_flow_is_said_before_what_is_wrong_elsewhere() {
    let elsewhere = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: broken, namespace: elsewhere}
spec: {podSelector: {}, ingres: []}
---
";
    for (flow, wanted) in [
        ("192.0.2.7 a/web TCP/80", "CiliumNetworkPolicy a/layer-7: spec.egress[0]"),
        ("1/bare 10.0.0.1 TCP/80", "CiliumNetworkPolicy a/layer-7: spec.egress[0]"),
        ("192.0.2.7 1/bare TCP/80", "NetworkPolicy elsewhere/broken: spec.ingres"),
    ] {
        let ran = isolator(&format!("policy explain {flow} -f -"), &format!("{elsewhere}{ISOLATED}"));
        assert!(ran.err.starts_with("warning: not everything is as written: "), "{ran:?}");
        assert!(ran.err.contains(wanted), "{flow}: {ran:?}");
        assert!(ran.err.ends_with(" more: isolator policy lint)\n"), "{ran:?}");
    }
}

#[test]
fn ports_are_no_help_against_icmp() {
    let ran = isolator("policy explain 192.0.2.7 a/web icmp/8 -f -", ISOLATED);
    let wanted = "ingress[0] of NetworkPolicy a/ports has no list of ports: in this kind of policy it never matches ICMP";
    assert!(ran.out.contains(wanted), "{}", ran.out);
}

/// A client that may go to one of the two backends of a service, which has a port of every node, too.
const SERVED: &str = r#"
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
 "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}}
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "client", "labels": {"app": "client"}},
 "spec": {"nodeName": "n1", "containers": []}, "status": {"podIP": "10.0.0.1"}}
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "good", "labels": {"app": "web", "is": "good"}},
 "spec": {"nodeName": "n1", "containers": []}, "status": {"podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]}}
{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "bad", "labels": {"app": "web", "is": "bad"}},
 "spec": {"nodeName": "n1", "containers": []}, "status": {"podIP": "10.0.0.6"}}
{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web"},
 "spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"app": "web"},
  "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]}}
{"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "none"},
 "spec": {"clusterIP": "10.96.0.8", "selector": {"app": "nobody"}, "ports": [{"port": 80}]}}
{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "a", "name": "client"},
 "spec": {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"],
  "egress": [{"to": [{"podSelector": {"matchLabels": {"is": "good"}}}], "ports": [{"port": 8080}]}]}}
"#;

#[test]
fn a_flow_to_a_service_is_explained_for_each_backend() {
    for to in ["10.96.0.7 TCP/80", "svc:a/web TCP/80", "node:n1 TCP/30080", "172.18.0.2 TCP/30080"] {
        let ran = isolator(&format!("policy explain a/client {to} -o json -f -"), SERVED);
        let view: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{to}: {ran:?}"));
        assert_eq!((view["verdict"].as_str(), ran.code), (Some("depends"), Some(1)), "{to}");
        assert_eq!(view["services"], serde_json::json!(["a/web"]), "{to}");
        let told: Vec<_> = view["backends"].as_array().unwrap().iter().collect();
        let [good, bad] = told.as_slice() else { panic!("{to}: {view:#}") };
        for (backend, to, verdict) in [(good, "10.0.0.5", "allowed"), (bad, "10.0.0.6", "denied")] {
            assert_eq!((&backend["to"], &backend["port"]), (&to.into(), &8080.into()));
            assert_eq!(backend["verdict"], verdict, "{to}");
        }
        assert_eq!(bad["egress"]["by"], "default deny of egress by NetworkPolicy a/client");
    }
    let ran = isolator("policy explain a/client svc:a/web TCP/80 -f -", SERVED);
    let head = "\
a/client -> svc:a/web (service a/web) TCP/80: DEPENDS
1 of 2 backends may be reached; which one it is, the node's service proxy picks.

a/client -> 10.0.0.5 TCP/8080: ALLOWED
It may leave a/client. It may enter a/good.
";
    assert!(ran.out.starts_with(head), "{}", ran.out);
    assert!(ran.out.contains("\na/client -> 10.0.0.6 TCP/8080: DENIED\n"), "{}", ran.out);
    // Who is not restricted reaches every backend that has an address of its family.
    let ran = isolator("policy explain a/bad svc:a/web TCP/80 -f -", SERVED);
    assert!(ran.code == Some(0) && ran.out.contains("Every backend may be reached."), "{ran:?}");
    for (to, wanted) in [
        ("svc:a/other TCP/80", "no service a/other"),
        ("svc:a/web TCP/81", "service a/web has no port TCP/81; it has TCP/80"),
        ("svc:a/none TCP/80", "service a/none has no ready backend behind TCP/80: nothing answers there"),
        ("10.96.0.8 TCP/80", "no ready backend is behind TCP/80: nothing answers there"),
        ("svc:web TCP/80", "`svc:web` is no service: write svc:NAMESPACE/NAME"),
    ] {
        let ran = isolator(&format!("policy explain a/client {to} -f -"), SERVED);
        assert!(ran.code == Some(2) && ran.err.contains(wanted), "{to}: {ran:?}");
    }
}
