//! Against an API server: what it is really asked. Not here: when.

use super::super::agenda::{Outcome, Write};
use super::super::api::{WRITES, write};
use super::super::complaint::Complaint;
use super::*;
use crate::source::kubernetes::tests::server::Server;
use crate::source::kubernetes::tests::{NODES, POLICIES, mk_policy};
use crate::source::kubernetes::{Api, KubernetesSource};
use serde_json::json;
use std::collections::BTreeSet;

const OF_A: &str = "/apis/events.k8s.io/v1/namespaces/a/events";
const OWN: &str = "/apis/isolator.dev/v1alpha1/isolatornodes";

async fn connected() -> (Server, Api) {
    let server = Server::start(true).await;
    server.put(NODES, json!({"metadata": {"name": "n1", "uid": "node-1"}}));
    server.put(POLICIES, mk_policy("np", 80));
    let KubernetesSource { api, .. } = KubernetesSource::start(Some(&server.kubeconfig)).await.unwrap();
    (server, api)
}

fn mk_event(object: &str) -> Write {
    Write::Event(Complaint::all(&[mk_problem(object, "not-enforced", "spec", "it is wrong")]).remove(0))
}

#[tokio::test]
async fn an_event_names_its_policy_and_there_is_one_whoever_says_it() {
    let (server, api) = connected().await;
    let event = mk_event("NetworkPolicy a/np");
    assert_eq!(write(&api, "n1", &event).await, Outcome::Done);
    assert_eq!(write(&api, "n2", &event).await, Outcome::There, "another node, or the same after a restart");
    let writes = server.writes();
    assert_eq!(
        writes.iter().map(|write| (write.path.as_str(), write.code)).collect::<Vec<_>>(),
        [(OF_A, 201), (OF_A, 409)]
    );
    let said = &writes[0].body;
    let uid = server.object(POLICIES, "a/np").unwrap()["metadata"]["uid"].clone();
    assert_eq!(
        said["regarding"],
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "namespace": "a", "name": "np", "uid": uid})
    );
    assert_eq!(
        (&said["type"], &said["reason"], &said["note"]),
        (&json!("Warning"), &json!("Rejected"), &json!("spec: it is wrong"))
    );
    for needed in ["eventTime", "action", "reportingController", "reportingInstance"] {
        assert!(said[needed].as_str().is_some_and(|text| !text.is_empty()), "{needed} is missing: {said}");
    }
    // A policy of the same name that is made anew is another.
    server.delete(POLICIES, "a/np");
    assert_eq!(write(&api, "n1", &event).await, Outcome::There, "it is gone: nothing to say");
    server.put(POLICIES, mk_policy("np", 80));
    assert_eq!(write(&api, "n1", &event).await, Outcome::Done);
}

#[tokio::test]
async fn what_is_of_the_whole_cluster_has_its_events_in_the_namespace_default() {
    let (server, api) = connected().await;
    let path = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
    server.put(path, json!({"metadata": {"name": "guard"}}));
    assert_eq!(write(&api, "n1", &mk_event("ClusterNetworkPolicy guard")).await, Outcome::Done);
    let writes = server.writes();
    assert_eq!(writes[0].path, "/apis/events.k8s.io/v1/namespaces/default/events");
    assert_eq!(writes[0].body["metadata"]["namespace"], "default");
    assert!(writes[0].body["regarding"]["namespace"].is_null());
}

#[tokio::test]
async fn the_nodes_object_is_made_once_goes_with_the_node_and_has_its_status_replaced() {
    let (server, api) = connected().await;
    assert_eq!(write(&api, "n1", &Write::Account(mk_account(3))).await, Outcome::Done);
    assert_eq!(write(&api, "n1", &Write::Account(mk_account(4))).await, Outcome::Done);
    let codes: Vec<_> = server.writes().into_iter().map(|write| (write.method, write.code)).collect();
    let wanted = [("PATCH", 404), ("POST", 201), ("PATCH", 200), ("PATCH", 200)];
    assert_eq!(codes, wanted.map(|(method, code)| (method.to_owned(), code)));
    let object = server.object(OWN, "n1").unwrap();
    assert_eq!(
        object["metadata"]["ownerReferences"],
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-1"}])
    );
    assert_eq!(
        (&object["status"]["endpoints"], &object["status"]["health"]),
        (&json!(4), &json!("Enforcing"))
    );
    assert!(object["status"]["seen"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn refusals_and_silence_are_told_apart_with_the_cure() {
    let (server, api) = connected().await;
    let account = Write::Account(mk_account(3));
    let refused = |outcome: Outcome| match outcome {
        Outcome::Refused(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(write(&api, "elsewhere", &account).await).contains("--node"));
    server.refuse(OWN, 404);
    assert!(refused(write(&api, "n1", &account).await).contains("deploy/crd.yaml"));
    server.refuse(OWN, 403);
    assert!(refused(write(&api, "n1", &account).await).contains("deploy/rbac.yaml"));
    server.refuse(OF_A, 403);
    let event = mk_event("NetworkPolicy a/np");
    assert!(refused(write(&api, "n1", &event).await).contains("deploy/rbac.yaml"));
    server.refuse(OF_A, 422);
    assert!(matches!(write(&api, "n1", &event).await, Outcome::Odd(_)));
    server.refuse(OF_A, 503);
    assert_eq!(write(&api, "n1", &event).await, Outcome::Away);
    server.away(true);
    assert_eq!(write(&api, "n1", &event).await, Outcome::Away);
}

#[tokio::test]
async fn what_is_asked_of_the_api_server_is_what_the_role_permits() {
    let (server, api) = connected().await;
    write(&api, "n1", &Write::Account(mk_account(3))).await;
    write(&api, "n1", &mk_event("NetworkPolicy a/np")).await;
    let writes = server.writes();
    let asked: BTreeSet<(&str, String, &str)> = writes
        .iter()
        .map(|write| {
            let path = write.path.strip_prefix("/apis/").unwrap();
            let (group, path) = path.split_once('/').unwrap();
            let resource = if path.contains("/events") {
                "events"
            } else if path.ends_with("/status") {
                "isolatornodes/status"
            } else {
                "isolatornodes"
            };
            let verb = if write.method == "POST" { "create" } else { "patch" };
            (group, resource.to_owned(), verb)
        })
        .collect();
    let named =
        |(group, resource, verb): (&'static str, &str, &'static str)| (group, resource.to_owned(), verb);
    assert_eq!(asked, WRITES.map(named).into_iter().collect());
}
