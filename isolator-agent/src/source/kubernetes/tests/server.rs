//! An API server that lists, watches, forgets, refuses and goes away, as a test wants. Not here: admission, what it does
//! with writes (`writes`).

mod writes;

pub(crate) use writes::Write;

use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Method;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::DATE;
use hyper::http::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Version, type and object of an event.
type Logged = (u64, &'static str, Arc<Value>);

/// What the server has and how it behaves.
#[derive(Default)]
struct World {
    /// By path of the kind and `namespace/name`.
    objects: BTreeMap<String, BTreeMap<String, Arc<Value>>>,
    /// By path.
    log: BTreeMap<String, Vec<Logged>>,
    version: u64,
    /// Watches from before this version are told 410.
    forgotten: u64,
    streams: bool,
    /// Paths that are refused, with the code.
    refused: BTreeMap<String, u16>,
    /// The next pages after the first are refused with 410, this many.
    expired_pages: usize,
    away: bool,
    /// Seconds by which its clock is ahead.
    ahead: i64,
    /// Requests that were answered, as path and query.
    requests: Vec<String>,
    /// Writes that were answered.
    writes: Vec<Write>,
}

/// The server. It ends with the test's runtime.
pub(crate) struct Server {
    world: Arc<Mutex<World>>,
    /// Bumped at each change; every watch looks again.
    changed: watch::Sender<u64>,
    /// Bumped to cut every connection.
    cut: watch::Sender<u64>,
    /// Names the server.
    pub(crate) kubeconfig: PathBuf,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Server {
    /// A server without objects.
    pub(crate) async fn start(streams: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World { streams, version: 1, ..World::default() }));
        let (changed, cut) = (watch::Sender::new(0), watch::Sender::new(0));
        let kubeconfig = std::env::temp_dir().join(format!(
            "isolator-kube-{}-{}.yaml",
            std::process::id(),
            address.port()
        ));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let shared = Shared { world: Arc::clone(&world), changed: changed.subscribe(), cut: cut.subscribe() };
        tokio::spawn(accept(listener, shared));
        Server { world, changed, cut, kubeconfig }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut world = self.world();
        world.put(path, object);
        drop(world);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Adds many objects at once, without events.
    pub(crate) fn fill(&self, path: &str, objects: impl Iterator<Item = Value>) {
        let mut world = self.world();
        for object in objects {
            let name = name(&object);
            world.objects.entry(path.to_owned()).or_default().insert(name, Arc::new(object));
        }
    }

    /// Deletes an object, by `namespace/name`.
    pub(crate) fn delete(&self, path: &str, name: &str) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        let object = world.objects.get_mut(path).and_then(|all| all.remove(name)).unwrap();
        let mut object = Value::clone(&object);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        world.log.entry(path.to_owned()).or_default().push((version, "DELETED", Arc::new(object)));
        drop(world);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Tells every watch of a kind that its place is too old, in the middle.
    pub(crate) fn expire_watches(&self, path: &str) {
        self.event(path, "GONE", json!({}));
    }

    /// Tells every watch of a kind of an object as it was: its version is older than what was told before.
    pub(crate) fn go_back(&self, path: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!("1");
        self.event(path, "MODIFIED", object);
    }

    fn event(&self, path: &str, kind: &'static str, object: Value) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        world.log.entry(path.to_owned()).or_default().push((version, kind, Arc::new(object)));
        drop(world);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Sets its clock ahead of ours by some seconds.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.world().ahead = ahead;
    }

    /// Writes that were answered.
    pub(crate) fn writes(&self) -> Vec<Write> {
        self.world().writes.clone()
    }

    /// An object of a kind, by `namespace/name`.
    pub(crate) fn object(&self, path: &str, name: &str) -> Option<Arc<Value>> {
        self.world().object(path, name)
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|number| *number += 1);
    }

    /// Goes away, or comes back.
    pub(crate) fn away(&self, away: bool) {
        self.world().away = away;
        self.cut();
    }

    /// Forgets every event so far: whoever asks for them is told 410.
    pub(crate) fn forget(&self) {
        let mut world = self.world();
        world.version += 1;
        world.forgotten = world.version;
        world.log.clear();
    }

    /// Refuses a path with this code; 0: not any more.
    pub(crate) fn refuse(&self, path: &str, code: u16) {
        self.world().refused.insert(path.to_owned(), code);
    }

    /// Tells 410 in the middle of this many lists.
    pub(crate) fn expire_pages(&self, times: usize) {
        self.world().expired_pages = times;
    }

    /// How many requests had all these parts.
    pub(crate) fn requests(&self, parts: &[&str]) -> usize {
        let world = self.world();
        world.requests.iter().filter(|request| parts.iter().all(|part| request.contains(part))).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.kubeconfig);
    }
}

fn name(object: &Value) -> String {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    match text("namespace") {
        "" => text("name").to_owned(),
        namespace => format!("{namespace}/{}", text("name")),
    }
}

impl World {
    fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = writes::uid(path, &object, self.version);
        }
        let object = Arc::new(object);
        let all = self.objects.entry(path.to_owned()).or_default();
        let before = all.insert(name(&object), Arc::clone(&object));
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.log.entry(path.to_owned()).or_default().push((self.version, kind, object));
    }
}

impl World {
    /// The code with which a path is refused.
    fn refused(&self, path: &str) -> Option<u16> {
        self.refused.get(path).copied().filter(|code| *code > 0)
    }
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    changed: watch::Receiver<u64>,
    cut: watch::Receiver<u64>,
}

async fn accept(listener: TcpListener, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        if shared.world.lock().unwrap().away {
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut cut = shared.cut.clone();
            cut.mark_unchanged();
            let service = hyper::service::service_fn(move |request| answer(request, shared.clone()));
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ended = serving => {}
                _cut = cut.changed() => {}
            }
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Shared) -> Result<Response<Body>, Infallible> {
    let ahead = shared.world.lock().unwrap().ahead;
    let mut response = respond(request, shared).await;
    let now = Timestamp::now() + SignedDuration::from_secs(ahead);
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    response.headers_mut().insert(DATE, date.parse().unwrap());
    Ok(response)
}

async fn respond(request: Request<Incoming>, shared: Shared) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let text = request.uri().query().unwrap_or_default().to_owned();
    let query: BTreeMap<String, String> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3A", ":").replace("%3D", "=")))
        .collect();
    let get = |key: &str| query.get(key).map_or("", String::as_str);
    if request.method() != Method::GET {
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap();
        let answer = shared.world.lock().unwrap().write(&method, &path, body);
        return answer;
    }
    let mut world = shared.world.lock().unwrap();
    world.requests.push(format!("{path}?{text}"));
    if let Some(code) = world.refused(&path) {
        return refusal(code, "the test wants it so");
    }
    if get("watch") != "true" {
        let limit = get("limit").parse().unwrap_or(usize::MAX);
        return list(&mut world, &path, get("fieldSelector"), limit, get("continue"));
    }
    let initial = get("sendInitialEvents") == "true";
    if initial && !world.streams {
        return refusal(422, "sendInitialEvents: Forbidden");
    }
    let since = if initial { world.version } else { get("resourceVersion").parse().unwrap_or(0) };
    let mut lines = VecDeque::new();
    if initial {
        for object in world.objects.get(&path).into_iter().flat_map(BTreeMap::values) {
            lines.push_back(Line::Event("ADDED", Arc::clone(object)));
        }
        lines.push_back(Line::Bookmark(since, true));
    } else if since < world.forgotten {
        lines.push_back(Line::Gone);
    }
    drop(world);
    let watched = Watched { shared, path, since, lines };
    let body = StreamBody::new(stream::unfold(watched, Watched::next));
    Response::new(BodyExt::boxed(body))
}

fn list(world: &mut World, path: &str, selector: &str, limit: usize, token: &str) -> Response<Body> {
    if !token.is_empty() && world.expired_pages > 0 {
        world.expired_pages -= 1;
        return refusal(410, "The provided continue parameter is too old");
    }
    let skip: usize = token.parse().unwrap_or(0);
    let (path, namespace) = writes::collection(path);
    let all = world.objects.get(&path).into_iter().flat_map(BTreeMap::values);
    let all: Vec<_> = all.filter(|object| writes::selected(selector, &namespace, object)).collect();
    let items: Vec<&Value> = all.iter().skip(skip).take(limit).map(|object| &***object).collect();
    let more = all.len() > skip + items.len();
    let next = if more { (skip + items.len()).to_string() } else { String::new() };
    let list = json!({
        "kind": "List", "apiVersion": "v1", "items": items,
        "metadata": {"resourceVersion": world.version.to_string(), "continue": next},
    });
    Response::new(whole(list.to_string()))
}

fn refusal(code: u16, message: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "", "code": code,
    });
    Response::builder().status(code).body(whole(status.to_string())).unwrap()
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed()
}

/// A line of a watch.
enum Line {
    Event(&'static str, Arc<Value>),
    Bookmark(u64, bool),
    Gone,
}

/// A watch under way.
struct Watched {
    shared: Shared,
    path: String,
    since: u64,
    lines: VecDeque<Line>,
}

impl Watched {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, std::io::Error>, Self)> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                let event = match line {
                    Line::Event(kind, object) => json!({"type": kind, "object": &*object}),
                    Line::Bookmark(version, end) => {
                        let annotations =
                            if end { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
                        let metadata =
                            json!({"resourceVersion": version.to_string(), "annotations": annotations});
                        json!({"type": "BOOKMARK", "object": {"kind": "X", "apiVersion": "v1", "metadata": metadata}})
                    }
                    Line::Gone => json!({"type": "ERROR", "object": {
                        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                        "message": "too old resource version", "reason": "Expired",
                    }}),
                };
                return Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), self));
            }
            self.shared.changed.mark_unchanged();
            {
                let world = self.shared.world.lock().unwrap();
                let log = world.log.get(&self.path).into_iter().flatten();
                let new = log.filter(|(version, ..)| *version > self.since);
                self.lines.extend(new.map(|(_, kind, object)| match *kind {
                    "GONE" => Line::Gone,
                    kind => Line::Event(kind, Arc::clone(object)),
                }));
                self.since = self.since.max(world.version);
                if !self.lines.is_empty() {
                    self.lines.push_back(Line::Bookmark(self.since, false));
                }
            }
            if self.lines.is_empty() && self.shared.changed.changed().await.is_err() {
                return None;
            }
        }
    }
}
