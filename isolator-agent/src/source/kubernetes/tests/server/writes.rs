//! What the server does with a write: it makes objects that are not there and merges the status of those that are, and
//! keeps who asked for what. Not here: reading, watching.

use super::{Body, World, name, refusal, whole};
use hyper::Method;
use hyper::http::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// A write that was asked for, whatever came of it.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// The code of the answer.
    pub(crate) code: u16,
}

impl World {
    pub(super) fn write(&mut self, method: &Method, path: &str, body: Value) -> Response<Body> {
        let answer = match (self.refused(path), method.as_str()) {
            (Some(code), _) => refusal(code, "the test wants it so"),
            (None, "POST") => self.create(path, body.clone()),
            (None, "PATCH") => self.patch_status(path, &body),
            _ => refusal(405, "the test does not want it"),
        };
        let code = answer.status().as_u16();
        self.writes.push(Write { method: method.to_string(), path: path.to_owned(), body, code });
        answer
    }

    fn create(&mut self, path: &str, object: Value) -> Response<Body> {
        let (all, namespace) = collection(path);
        assert_eq!(object["metadata"]["namespace"].as_str().unwrap_or_default(), namespace, "{object}");
        if self.objects.get(&all).is_some_and(|known| known.contains_key(&name(&object))) {
            return refusal(409, "already exists");
        }
        let text = object.to_string();
        self.put(&all, object);
        Response::builder().status(201).body(whole(text)).unwrap()
    }

    fn patch_status(&mut self, path: &str, patch: &Value) -> Response<Body> {
        let Some((all, name)) = path.strip_suffix("/status").and_then(|path| path.rsplit_once('/')) else {
            return refusal(405, "only a status is patched");
        };
        let Some(object) = self.objects.get(all).and_then(|known| known.get(name)) else {
            return refusal(404, "not found");
        };
        let mut object = Value::clone(object);
        object["status"] = patch["status"].clone();
        self.put(all, object.clone());
        Response::new(whole(object.to_string()))
    }

    /// An object of a kind, by `namespace/name`.
    pub(super) fn object(&self, path: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(path)?.get(name).cloned()
    }
}

/// The path of all objects of a kind, and the namespace that a path is restricted to.
pub(super) fn collection(path: &str) -> (String, String) {
    if let Some((root, rest)) = path.split_once("/namespaces/")
        && let Some((namespace, plural)) = rest.split_once('/')
    {
        return (format!("{root}/{plural}"), namespace.to_owned());
    }
    (path.to_owned(), String::new())
}

/// The objects of a list that has a field selector.
pub(super) fn selected(selector: &str, namespace: &str, object: &Value) -> bool {
    let metadata = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    let named = selector.strip_prefix("metadata.name=").is_none_or(|name| metadata("name") == name);
    named && (namespace.is_empty() || metadata("namespace") == namespace)
}

/// As a test writes it: no cluster has an object without.
pub(super) fn uid(all: &str, object: &Value, version: u64) -> Value {
    json!(format!("{all}-{}-{version}", name(object)))
}
