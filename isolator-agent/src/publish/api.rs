//! Writes one thing to the API server. What is written is ours alone: Events are made and never changed, and of the
//! node's object only the status. What it is about is looked up by a list of one, which the watches' permission covers.
//! Not here: what is written, when (`agenda`).

use super::account::Account;
use super::agenda::{Outcome, Write};
use super::complaint::Complaint;
use crate::source::kubernetes::Api;
use crate::source::kubernetes::kinds;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Error;
use kube::api::{ListParams, Patch, PatchParams, PostParams, Request};
use kube::core::{ObjectList, PartialObjectMeta};
use serde_json::{Value, json};

/// What the role must permit beside the watches: API group, resource, verb.
#[cfg(test)]
pub(crate) const WRITES: [(&str, &str, &str); 3] = [
    ("events.k8s.io", "events", "create"),
    (GROUP, "isolatornodes", "create"),
    (GROUP, "isolatornodes/status", "patch"),
];

/// API group of the node's object.
const GROUP: &str = "isolator.dev";
/// Its version.
const VERSION: &str = "v1alpha1";
/// Its kind, once for each node.
const KIND: &str = "IsolatorNode";
/// Where they are.
const NODES: &str = "/apis/isolator.dev/v1alpha1/isolatornodes";
/// Who says it.
const CONTROLLER: &str = "isolator.dev/agent";
/// Bytes of the name of who says it.
const INSTANCE: usize = 128;

/// Writes it in the name of `node`.
pub(super) async fn write(api: &Api, node: &str, write: &Write) -> Outcome {
    let written = match write {
        Write::Account(account) => tell_account(api, node, account).await,
        Write::Event(complaint) => tell_event(api, node, complaint).await,
    };
    written.unwrap_or_else(|error| refused(&error))
}

/// Replaces the status of the node's object, which is made where it is not there.
async fn tell_account(api: &Api, node: &str, account: &Account) -> Result<Outcome, Error> {
    match patch(api, node, account).await {
        Err(Error::Api(status)) if status.code == 404 => {}
        patched => return patched.map(|()| Outcome::Done),
    }
    let Some(uid) = uid(api, kinds::of("Node"), "", node).await? else {
        return Ok(Outcome::Refused(format!(
            "there is no Node {node}: nothing would remove what is said of it. Say the node's name (--node)"
        )));
    };
    // Who goes with the Node is removed by the cluster's garbage collector.
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.into(),
        uid,
        ..Default::default()
    };
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND,
        "metadata": {"name": node, "ownerReferences": [owner]},
    });
    match create(api, NODES, &object).await {
        Err(Error::Api(status)) if status.code == 404 => {
            return Ok(Outcome::Refused(format!(
                "it does not serve {KIND}: apply deploy/crd.yaml, and `kubectl get isolatornodes` has something to show"
            )));
        }
        Err(Error::Api(status)) if status.code == 409 => {}
        created => created?,
    }
    patch(api, node, account).await.map(|()| Outcome::Done)
}

async fn patch(api: &Api, node: &str, account: &Account) -> Result<(), Error> {
    let mut status: Value = serde_json::to_value(account).map_err(Error::SerdeError)?;
    status["seen"] = json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let patch = Patch::Merge(json!({"status": status}));
    let request = Request::new(NODES).patch_subresource("status", node, &PatchParams::default(), &patch);
    api.ask(request.map_err(Error::BuildRequest)?).await.map(drop)
}

/// Makes the Event that says it, unless it is there or the policy is not any more.
async fn tell_event(api: &Api, node: &str, complaint: &Complaint) -> Result<Outcome, Error> {
    let policy = &complaint.policy;
    let resource = kinds::of(&policy.kind);
    let Some(uid) = uid(api, resource, &policy.namespace, &policy.name).await? else {
        return Ok(Outcome::There);
    };
    // What is of the whole cluster has its Events where the API server wants them.
    let namespace = if policy.namespace.is_empty() { "default" } else { &policy.namespace };
    let mut instance = node.to_owned();
    instance.truncate(instance.floor_char_boundary(INSTANCE));
    let event = Event {
        metadata: ObjectMeta {
            name: Some(complaint.name(&uid)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        type_: Some("Warning".to_owned()),
        reason: Some(complaint.reason.to_owned()),
        action: Some("Enforce".to_owned()),
        note: Some(complaint.note.clone()),
        regarding: Some(ObjectReference {
            api_version: resource.map(|resource| resource.api_version()),
            kind: Some(policy.kind.clone()),
            namespace: (!policy.namespace.is_empty()).then(|| policy.namespace.clone()),
            name: Some(policy.name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance),
        ..Event::default()
    };
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    match create(api, &path, &event).await {
        Err(Error::Api(status)) if status.code == 409 => Ok(Outcome::There),
        created => created.map(|()| Outcome::Done),
    }
}

async fn create(api: &Api, path: &str, object: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(object).map_err(Error::SerdeError)?;
    let request = Request::new(path).create(&PostParams::default(), text);
    api.ask(request.map_err(Error::BuildRequest)?).await.map(drop)
}

/// The uid of an object; `None` where it is not there.
async fn uid(
    api: &Api,
    resource: Option<&'static kinds::Resource>,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    let Some(resource) = resource else { return Ok(None) };
    let params = ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
    let request = Request::new(resource.path_in(namespace)).list_metadata(&params);
    let text = match api.ask(request.map_err(Error::BuildRequest)?).await {
        Err(Error::Api(status)) if status.code == 404 => return Ok(None),
        answer => answer?,
    };
    let list: ObjectList<PartialObjectMeta> = serde_json::from_str(&text).map_err(Error::SerdeError)?;
    Ok(list.items.into_iter().next().and_then(|object| object.metadata.uid))
}

/// What a refusal or silence means.
fn refused(error: &Error) -> Outcome {
    let Error::Api(status) = error else { return Outcome::Away };
    let details = status.details.iter().flat_map(|details| &details.causes);
    match status.code {
        // Its policies go with it.
        403 if details.clone().any(|cause| cause.reason == "NamespaceTerminating") => Outcome::There,
        401 | 403 => Outcome::Refused(format!(
            "{} ({}). Apply deploy/rbac.yaml; enforcement does not depend on it",
            status.message, status.code
        )),
        408 | 429 | 500..=599 => Outcome::Away,
        _ => Outcome::Odd(format!("{} ({})", status.message, status.code)),
    }
}
