//! Tests of kinds, metadata, namespaces, nodes and pods.

use super::{assert_said, load, one, said};
use isolator_common::addr::{Addr, Prefix};
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{ContainerPort, Labels, Namespace, Node, Pod, PodKey, Severity};
use std::collections::BTreeSet;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn a_namespace_carries_its_labels_its_name_and_the_tenants_it_accepts() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels: {isolator.dev/tenant: alpha, empty: }\n  \
                annotations: {isolator.dev/accept-tenants: ' beta, gamma,,'}\n";
    assert_eq!(
        one(text),
        Object::Namespace(Namespace {
            name: "a".into(),
            labels: labels(&[
                ("empty", ""),
                ("isolator.dev/tenant", "alpha"),
                ("kubernetes.io/metadata.name", "a")
            ]),
            accept_tenants: BTreeSet::from(["beta".into(), "gamma".into()]),
        })
    );
}

#[test]
fn a_tenant_that_cannot_be_one_admits_nobody_and_leaves_the_rest() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {isolator.dev/accept-tenants: '*,b'}}\n";
    let loaded = load(text);
    assert_said(&loaded, &["`*` cannot be a tenant", "metadata.annotations[isolator.dev/accept-tenants]"]);
    let [Object::Namespace(namespace)] = &loaded.objects[..] else { panic!("{:?}", said(&loaded)) };
    assert_eq!(namespace.accept_tenants, BTreeSet::from(["b".into()]));
}

#[test]
fn a_node_carries_addresses_that_are_addresses_and_its_pods_ranges() {
    let text = "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {zone: a}}\nspec: {podCIDR: 10.1.0.0/24, \
                podCIDRs: [10.1.0.0/24, 'fd00:1::/64']}\nstatus:\n  unheardOf: 1\n  addresses:\n  \
                - {type: Hostname, address: n1}\n  - {type: InternalIP, address: 172.20.0.1}\n  \
                - {type: ExternalIP, address: 'fd00::1'}\n  - {type: InternalIP, address: 172.20.0.1}\n";
    let mut v6 = [0; 16];
    v6[0] = 0xfd;
    let mut v6_range = v6;
    v6_range[3] = 1;
    v6[15] = 1;
    assert_eq!(
        one(text),
        Object::Node(Node {
            name: "n1".into(),
            labels: labels(&[("zone", "a")]),
            addresses: vec![Addr::v4([172, 20, 0, 1]), Addr(v6)],
            pod_cidrs: vec![Prefix::new(Addr::v4([10, 1, 0, 0]), 96 + 24), Prefix::new(Addr(v6_range), 64)],
        })
    );
}

#[test]
fn a_pod_carries_what_enforcement_needs() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: x, labels: {app: web}}\nspec:\n  \
                nodeName: n1\n  serviceAccountName: robot\n  containers:\n  - name: a\n    image: i\n    ports:\n    \
                - {name: http, containerPort: 80}\n    - {containerPort: 53, protocol: UDP}\n  initContainers:\n  \
                - {name: side, restartPolicy: Always, ports: [{name: mesh, containerPort: 15001}]}\n  \
                - {name: once, ports: [{name: never, containerPort: 1}]}\n\
                status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], someday: true}\n";
    let port = |name: &str, protocol, port| ContainerPort { name: name.into(), protocol, port };
    let mut v6 = [0; 16];
    (v6[0], v6[15]) = (0xfd, 1);
    let wanted = Pod {
        key: PodKey { namespace: "x".into(), name: "p".into() },
        labels: labels(&[("app", "web")]).into(),
        node: Some("n1".into()),
        addresses: vec![Addr::v4([10, 0, 0, 1]), Addr(v6)],
        host_network: false,
        finished: false,
        ports: vec![port("http", 6, 80), port("", 17, 53), port("mesh", 6, 15001)],
        service_account: "robot".into(),
    };
    assert_eq!(one(text), Object::Pod(wanted.clone()));
    for (from, to, change) in [
        ("phase: Running", "phase: Failed", Pod { finished: true, ..wanted.clone() }),
        ("phase: Running", "phase: Succeeded", Pod { finished: true, ..wanted.clone() }),
        ("nodeName: n1", "hostNetwork: true", Pod { host_network: true, node: None, ..wanted.clone() }),
        (
            "podIP: 10.0.0.1",
            "podIP: 10.0.0.2",
            Pod { addresses: vec![Addr::v4([10, 0, 0, 2])], ..wanted.clone() },
        ),
        ("podIP: 10.0.0.1, ", "", wanted.clone()),
        ("serviceAccountName", "serviceAccount", wanted),
    ] {
        assert_eq!(one(&text.replace(from, to)), Object::Pod(change), "{to}");
    }
}

#[test]
fn a_pod_without_anything_has_the_defaults() {
    let wanted = Pod {
        key: PodKey { namespace: "default".into(), name: "p".into() },
        labels: Labels::new().into(),
        node: None,
        addresses: Vec::new(),
        host_network: false,
        finished: false,
        ports: Vec::new(),
        service_account: "default".into(),
    };
    for metadata in ["{name: p}", "{name: p, namespace: }", "{name: p, namespace: '', labels: }"] {
        assert_eq!(
            one(&format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\n")),
            Object::Pod(wanted.clone())
        );
    }
}

#[test]
fn what_the_api_server_refuses_is_refused_by_field() {
    let long = "a".repeat(64);
    for (kind, body, field, says) in [
        ("Pod", "metadata: {name: P}", "metadata.name", "is not a name"),
        ("Pod", "metadata: {name: p, namespace: A.b}", "metadata.namespace", "is not a namespace's name"),
        ("Pod", "metadata: {name: p, labels: {a: 1}}", "metadata.labels.a", "expected a string"),
        ("Pod", "metadata: {name: p, labels: {a: -x}}", "metadata.labels.a", "not a label's value"),
        ("Pod", &format!("metadata: {{name: p, labels: {{a: {long}}}}}"), "metadata.labels.a", "at most 63"),
        ("Pod", "metadata: {name: p, labels: {A/b: x}}", "metadata.labels[A/b]", "prefix"),
        ("Pod", "metadata: {name: p, labels: {a/b/c: x}}", "metadata.labels[a/b/c]", "not a label's key"),
        ("Pod", "metadata: {name: p, labels: {'': x}}", "metadata.labels[]", "not a label's key"),
        ("Pod", "metadata: {name: p, annotations: {a b: x}}", "metadata.annotations[a b]", "the key"),
        ("Pod", "metadata: {name: p, label: {a: b}}", "metadata.label", "`label` is not known"),
        (
            "Pod",
            "metadata: {name: p}\nspec: {containers: [{name: a, port: []}]}",
            "spec.containers[0].port",
            "not known",
        ),
        ("Pod", "metadata: {name: p}\nspec: []", "spec", "invalid type: sequence"),
        ("Pod", "metadata: {name: p}\nstatus: {phase: Done}", "status.phase", "not a phase"),
        ("Pod", "metadata: {name: p}\nstatus: {podIP: 10.0.0.01}", "status.podIP", "leading zeros"),
        (
            "Pod",
            "metadata: {name: p}\nstatus: {podIP: '::ffff:10.0.0.1'}",
            "status.podIP",
            "write it as IPv4",
        ),
        (
            "Pod",
            "metadata: {name: p}\nstatus: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}",
            "status.podIPs[1].ip",
            "second",
        ),
        (
            "Pod",
            "metadata: {name: p}\nspec: {containers: [{ports: [{containerPort: 0}]}]}",
            "ports[0].containerPort",
            "1 to",
        ),
        (
            "Pod",
            "metadata: {name: p}\nspec: {containers: [{ports: [{containerPort: 65536}]}]}",
            "containerPort",
            "65535",
        ),
        (
            "Pod",
            "metadata: {name: p}\nspec: {containers: [{ports: [{containerPort: 1, name: Http}]}]}",
            "ports[0].name",
            "lower",
        ),
        (
            "Pod",
            "metadata: {name: p}\nspec: {containers: [{ports: [{containerPort: 1, protocol: tcp}]}]}",
            "protocol",
            "capital",
        ),
        (
            "Pod",
            "metadata: {name: p}\nspec: {containers: [{ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]}]}",
            "spec.containers[0].ports[1].name",
            "twice",
        ),
        ("Namespace", "metadata: {name: a.b}", "metadata.name", "is not a name"),
        ("Namespace", "metadata: {name: a}\nspecs: {}", "specs", "not known"),
        ("Node", "metadata: {name: n1}\nspec: {podCIDR: 10.0.0.0}", "spec.podCIDR", "not a CIDR"),
        ("Node", "metadata: {name: n1}\nspec: {podCIDRs: [10.0.0.0/33]}", "spec.podCIDRs[0]", "above 32"),
        (
            "Node",
            "metadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: x}]}",
            "status.addresses[0].address",
            "not an IP address",
        ),
    ] {
        let loaded = load(&format!("apiVersion: v1\nkind: {kind}\n{body}\n"));
        assert!(loaded.objects.is_empty(), "{body}");
        assert_said(&loaded, &["f.yaml:", "(document 1)", &format!("{kind} "), field, says]);
        assert_said(&loaded, &["not-enforced", "left out"]);
        assert!(loaded.problems.iter().all(|problem| problem.severity == Severity::Error));
    }
}

#[test]
fn an_object_without_a_name_is_unreadable() {
    for metadata in [
        "",
        "metadata: {generateName: p-}",
        "metadata: {name: 5}",
        "metadata: {name: n}",
        "metadata: x",
        "metadata: {name: ''}",
    ] {
        let loaded = load(&format!("apiVersion: v1\nkind: Pod\n{metadata}\n"));
        assert_said(&loaded, &["unreadable", "`metadata.name` is missing or is not text"]);
    }
}

#[test]
fn kinds_are_told_apart() {
    for (api_version, kind, code) in [
        ("networking.k8s.io/v1beta1", "NetworkPolicy", "wrong-api-version"),
        ("extensions/v1beta1", "NetworkPolicy", "wrong-api-version"),
        ("v1", "NetworkPolicy", "wrong-api-version"),
        ("v2", "Pod", "wrong-api-version"),
        ("projectcalico.org/v3", "NetworkPolicy", "unsupported-kind"),
        ("projectcalico.org/v3", "GlobalNetworkPolicy", "unsupported-kind"),
        ("cilium.io/v1", "CiliumNetworkPolicy", "wrong-api-version"),
        ("cilium.io/v2alpha1", "CiliumClusterwideNetworkPolicy", "wrong-api-version"),
        ("cilium.io/v2alpha2", "CiliumCIDRGroup", "wrong-api-version"),
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", "unsupported-kind"),
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", "unsupported-kind"),
        ("policy.networking.k8s.io/v1alpha1", "ClusterNetworkPolicy", "wrong-api-version"),
        ("apps/v1", "Deployment", "creates-pods"),
        ("apps/v1", "DaemonSet", "creates-pods"),
        ("apps/v1", "StatefulSet", "creates-pods"),
        ("apps/v1", "ReplicaSet", "creates-pods"),
        ("batch/v1", "Job", "creates-pods"),
        ("batch/v1", "CronJob", "creates-pods"),
        ("v1", "ConfigMap", ""),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization", ""),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", ""),
        ("example.com/v1", "Thing", "unknown-kind"),
        ("example.com/v1", "Service", "unknown-kind"),
    ] {
        let loaded =
            load(&format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n"));
        assert!(loaded.objects.is_empty());
        let codes: Vec<_> =
            loaded.problems.iter().map(|p| p.code).filter(|code| *code != "not-enforced").collect();
        assert_eq!(codes.join(""), code, "{api_version} {kind}");
        if code.ends_with("-kind") {
            assert_said(&loaded, &[api_version, kind]);
        }
        let wanted =
            if matches!(code, "creates-pods" | "unknown-kind") { Severity::Warning } else { Severity::Error };
        assert!(loaded.problems.iter().all(|problem| problem.severity == wanted), "{kind}");
    }
}

#[test]
fn lists_are_flattened_and_typed_lists_lend_their_type() {
    let text = "apiVersion: v1\nkind: List\nitems:\n\
                - {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n\
                - {apiVersion: v1, kind: Pod, metadata: {name: P}}\n\
                - {apiVersion: v1, kind: PodList, items: [{metadata: {name: p}}, {metadata: {name: q}}]}\n\
                - 5\n\
                - {apiVersion: v1, kind: List, items: }\n";
    let loaded = load(text);
    assert_eq!(loaded.objects.len(), 3, "{:?}", said(&loaded));
    assert_said(&loaded, &["f.yaml:5:42 (document 1, items[1]): Pod default/P: metadata.name"]);
    assert_said(&loaded, &["f.yaml:7:3 (document 1, items[3])", "not a Kubernetes object"]);
    assert_eq!(loaded.problems.len(), 3, "{:?}", said(&loaded));
    assert_said(&load("apiVersion: v1\nkind: List\nitems: 5\n"), &["items", "must be a list"]);
}
