//! Tests of the source that watches a cluster. Not here: converting objects.

mod memory;
mod odd;
mod order;
pub(crate) mod server;
mod state;
mod watch;

use serde_json::{Value, json};

pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const PODS: &str = "/api/v1/pods";
pub(crate) const NODES: &str = "/api/v1/nodes";
pub(crate) const POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
pub(crate) const CILIUM: &str = "/apis/cilium.io/v2/ciliumnetworkpolicies";
pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

pub(crate) fn mk_namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": "1", "managedFields": [{"manager": "kubectl"}]},
           "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
}

/// A pod `a/NAME` at 10.0.0.`last`.
pub(crate) fn mk_pod(name: &str, last: u8) -> Value {
    mk_pod_in("a", name, &format!("10.0.0.{last}"))
}

pub(crate) fn mk_pod_in(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

/// A policy `a/NAME` that allows ingress on a port.
pub(crate) fn mk_policy(name: &str, port: i64) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "a", "generation": 1},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]},
    })
}

pub(crate) fn mk_cilium(name: &str) -> Value {
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"endpointSelector": {}, "ingress": [{}]},
    })
}

pub(crate) fn mk_definition(plural: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|name| json!({"name": name, "served": true, "storage": true})).collect();
    json!({
        "metadata": {"name": format!("{plural}.cilium.io")},
        "spec": {"group": "cilium.io", "versions": versions},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    })
}
