//! Against a server that behaves well and badly. Not here: the odd orders of events, which need no server.

use super::super::{Heard, KubernetesSource};
use super::server::Server;
use super::*;
use crate::source::Update;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{Problem, Severity};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever takes the updates.
struct Taker {
    source: KubernetesSource,
    index: Index,
    updates: Vec<Update>,
    problems: Vec<Problem>,
}

impl Taker {
    async fn start(server: &Server) -> Taker {
        let source = KubernetesSource::start(Some(&server.kubeconfig)).await.unwrap();
        Taker { source, index: Index::new(Options::default()), updates: Vec::new(), problems: Vec::new() }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.index.snapshot()
    }

    fn pods(&self) -> Vec<String> {
        self.snapshot().pods().keys().map(ToString::to_string).collect()
    }

    fn policies(&self) -> Vec<String> {
        self.snapshot().policies().keys().map(ToString::to_string).collect()
    }

    fn is_told(&self) -> bool {
        self.updates.iter().flat_map(|update| &update.changes).any(|one| matches!(one, Change::Reset(_)))
    }

    fn says(&self, code: &str, part: &str) -> bool {
        self.problems.iter().any(|problem| problem.code == code && problem.to_string().contains(part))
    }

    fn heard(&self, kind: &str) -> Heard {
        self.source.heard.borrow().iter().find(|heard| heard.kind == kind).unwrap().clone()
    }

    /// Waits until what is heard of a kind is as wanted: each watch sees what happens in its own time.
    async fn until_heard(&self, kind: &str, wanted: impl Fn(&Heard) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.heard(kind)) {
            assert!(Instant::now() < deadline, "never: {:?}", self.heard(kind));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes updates until it is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Taker) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let update = timeout(left, self.source.updates.recv()).await;
            let Ok(update) = update else { panic!("{what}: never; {:?} {:?}", self.pods(), self.problems) };
            let update = update.unwrap();
            self.problems.clone_from(&update.problems);
            for change in &update.changes {
                self.index.apply(change.clone());
            }
            self.updates.push(update);
        }
    }
}

/// A server with a namespace, a node, two pods and a policy.
async fn small(streams: bool) -> Server {
    let server = Server::start(streams).await;
    server.put(NAMESPACES, mk_namespace("a"));
    server.put(NODES, serde_json::json!({"metadata": {"name": "n1"}}));
    server.put(PODS, mk_pod("p", 1));
    server.put(PODS, mk_pod("q", 2));
    server.put(POLICIES, mk_policy("np", 80));
    server
}

#[tokio::test]
async fn everything_is_told_at_once_and_then_each_change() {
    for streams in [true, false] {
        let server = small(streams).await;
        let mut taker = Taker::start(&server).await;
        taker.until("all", Taker::is_told).await;
        assert_eq!((taker.pods(), taker.problems.len()), (vec!["a/p".to_owned(), "a/q".to_owned()], 0));
        assert_eq!(taker.policies(), ["NetworkPolicy a/np"]);
        server.put(PODS, mk_pod("r", 3));
        taker.until("a new pod", |taker| taker.pods().len() == 3).await;
        server.delete(PODS, "a/p");
        taker.until("a pod less", |taker| taker.pods() == ["a/q", "a/r"]).await;
        let lists = server.requests(&[PODS, if streams { "sendInitialEvents" } else { "limit" }]);
        assert_eq!(lists, 1, "one list, streamed where the server can");
    }
}

#[tokio::test]
async fn nothing_is_told_before_every_kind_was_listed() {
    let server = small(true).await;
    server.refuse(POLICIES, 403);
    let mut taker = Taker::start(&server).await;
    taker.until("a refusal", |taker| taker.says("forbidden", "networkpolicies")).await;
    assert!(taker.says("forbidden", "\"networking.k8s.io\"") && taker.says("forbidden", "list and watch"));
    // The others were listed meanwhile.
    taker.until_heard("Pod", |pods| pods.synced).await;
    assert!(!taker.is_told(), "half of it was told: {:?}", taker.updates);
    server.refuse(POLICIES, 0);
    taker.until("all", Taker::is_told).await;
    assert_eq!(taker.policies().len(), 1);
    taker.until("no complaint", |taker| taker.problems.is_empty()).await;
}

#[tokio::test]
async fn an_outage_changes_nothing_and_is_said() {
    let server = small(true).await;
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    server.away(true);
    taker.until("the outage", |taker| taker.says("api-server-away", "What is enforced stays")).await;
    assert!(
        taker.problems.iter().all(|problem| problem.severity == Severity::Warning),
        "{:?}",
        taker.problems
    );
    taker.until_heard("Pod", |pods| pods.away_ms > 0).await;
    assert_eq!(taker.pods().len(), 2);
    server.put(PODS, mk_pod("r", 3));
    server.delete(PODS, "a/p");
    server.away(false);
    taker.until("what happened meanwhile", |taker| taker.pods() == ["a/q", "a/r"]).await;
    taker.until("no complaint", |taker| taker.problems.is_empty()).await;
    taker.until_heard("Pod", |pods| pods.away_ms == 0).await;
    assert_eq!(taker.heard("Pod").lists, 1, "a watch goes on where it ended");
}

#[tokio::test]
async fn a_gap_is_one_batch_and_changes_only_what_differs() {
    for streams in [true, false] {
        let server = small(streams).await;
        let mut taker = Taker::start(&server).await;
        taker.until("all", Taker::is_told).await;
        server.away(true);
        taker.until("the outage", |taker| !taker.problems.is_empty()).await;
        server.delete(PODS, "a/p");
        server.put(PODS, mk_pod("r", 3));
        server.forget();
        let before = taker.updates.len();
        server.away(false);
        taker.until("what happened meanwhile", |taker| taker.pods() == ["a/q", "a/r"]).await;
        let changes: Vec<&Vec<Change>> = taker.updates[before..]
            .iter()
            .map(|update| &update.changes)
            .filter(|all| !all.is_empty())
            .collect();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].len(), 2, "one pod is gone, one is new: {changes:?}");
        taker.until("no complaint", |taker| taker.problems.is_empty()).await;
    }
}

#[tokio::test]
async fn a_watch_whose_place_gets_too_old_in_the_middle_is_listed_anew() {
    for streams in [true, false] {
        let server = small(streams).await;
        let mut taker = Taker::start(&server).await;
        taker.until("all", Taker::is_told).await;
        server.expire_watches(PODS);
        server.put(PODS, mk_pod("r", 3));
        taker.until("a new pod", |taker| taker.pods() == ["a/p", "a/q", "a/r"]).await;
        assert_eq!(taker.heard("Pod").lists, 2);
        assert!(taker.problems.is_empty(), "{:?}", taker.problems);
    }
}

#[tokio::test]
async fn a_watch_that_goes_back_in_time_is_not_believed_and_all_is_listed_anew() {
    let server = small(true).await;
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    server.delete(PODS, "a/p");
    taker.until("a pod less", |taker| taker.pods() == ["a/q"]).await;
    // It comes late, and would bring the pod back for ever.
    server.go_back(PODS, mk_pod("p", 1));
    taker.until("the complaint", |taker| taker.says("garbled", "back in time")).await;
    server.put(PODS, mk_pod("r", 3));
    taker.until("a new pod", |taker| taker.pods() == ["a/q", "a/r"]).await;
    taker.until("no complaint", |taker| taker.problems.is_empty()).await;
    let named = |update: &Update| update.changes.iter().any(|change| format!("{change:?}").contains("\"p\""));
    let back =
        taker.updates.iter().skip_while(|update| !named(update)).filter(|update| named(update)).count();
    assert_eq!(back, 2, "told at first and when it went, and never since");
    assert_eq!(taker.heard("Pod").lists, 2);
}

#[tokio::test]
async fn long_lists_come_by_pages_and_one_that_gets_too_old_begins_again() {
    let server = small(false).await;
    server.fill(
        PODS,
        (0..600).map(|n| mk_pod_in("a", &format!("many-{n}"), &format!("10.1.{}.{}", n / 200, n % 200))),
    );
    server.expire_pages(1);
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    assert_eq!(taker.pods().len(), 602);
    assert_eq!(server.requests(&[PODS, "limit", "continue"]), 3, "one was too old, then two");
}

#[tokio::test]
async fn connections_that_end_go_on_where_they_ended() {
    let server = small(true).await;
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    for n in 3..8 {
        server.cut();
        server.put(PODS, mk_pod(&format!("p{n}"), n));
        taker.until("the next pod", |taker| taker.pods().len() == usize::from(n)).await;
    }
    assert_eq!(taker.heard("Pod").lists, 1);
}

#[tokio::test]
async fn a_watch_that_ends_before_its_time_does_not_come_back_at_once() {
    let server = small(true).await;
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    let again = |server: &Server| server.requests(&[PODS, "watch=true"]) > 1;
    // Every node sees this at one moment.
    let cut = Instant::now();
    server.cut();
    let deadline = cut + PATIENCE;
    while !again(&server) {
        assert!(Instant::now() < deadline, "it never comes back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The shortest of random waits.
    assert!(cut.elapsed() >= Duration::from_millis(250), "{:?}", cut.elapsed());
}

#[tokio::test]
async fn a_clock_that_differs_is_noticed_by_any_answer() {
    for refused in [0, 401] {
        let server = small(true).await;
        server.set_clock(3600);
        server.refuse("/version", refused);
        let mut taker = Taker::start(&server).await;
        taker.until("the complaint", |taker| taker.says("clock-skew", "60 min behind")).await;
        assert!(taker.says("clock-skew", "chrony"));
    }
}

#[tokio::test]
async fn kinds_come_and_go_with_their_definitions() {
    let server = small(true).await;
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    assert_eq!(server.requests(&[CILIUM]), 0, "it is not asked for before it is defined");
    server.put(CILIUM, mk_cilium("cnp"));
    server.put(CRDS, mk_definition("ciliumnetworkpolicies", &["v2"]));
    taker.until("the new kind", |taker| taker.policies().len() == 2).await;
    server.delete(CRDS, "ciliumnetworkpolicies.cilium.io");
    taker.until("the old kinds", |taker| taker.policies() == ["NetworkPolicy a/np"]).await;
    server.put(CRDS, mk_definition("ciliumnetworkpolicies", &["v3"]));
    taker.until("a complaint", |taker| taker.says("crd-version", "v3")).await;
}

#[tokio::test]
async fn a_definition_that_was_there_before_is_waited_for() {
    let server = small(true).await;
    server.put(CRDS, mk_definition("ciliumnetworkpolicies", &["v2"]));
    server.put(CILIUM, mk_cilium("cnp"));
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    assert_eq!(taker.policies().len(), 2);
}

#[tokio::test]
async fn a_kind_that_an_older_server_does_not_have_is_not_missed() {
    let server = small(true).await;
    server.refuse("/apis/networking.k8s.io/v1/servicecidrs", 404);
    let mut taker = Taker::start(&server).await;
    taker.until("all", Taker::is_told).await;
    assert!(taker.problems.is_empty(), "{:?}", taker.problems);
}

#[tokio::test]
async fn a_server_that_has_trouble_is_asked_again() {
    let server = small(true).await;
    server.refuse(PODS, 500);
    let mut taker = Taker::start(&server).await;
    taker.until("the trouble", |taker| taker.says("api-server-away", "the test wants it so")).await;
    server.refuse(PODS, 401);
    taker.until("the refusal", |taker| taker.says("unauthorized", "Renew the token")).await;
    server.refuse(PODS, 0);
    taker.until("all", Taker::is_told).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_with_what_was_tried() {
    let server = small(true).await;
    server.away(true);
    let mut taker = Taker::start(&server).await;
    taker.until("the outage", |taker| taker.says("api-server-away", "it is tried again")).await;
    assert!(taker.says("api-server-away", "every kind was read once"), "{:?}", taker.problems);
    assert!(!taker.is_told());
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_said_with_the_cure() {
    let path = std::env::temp_dir().join(format!("isolator-no-kubeconfig-{}", std::process::id()));
    let missing = KubernetesSource::start(Some(&path)).await.err().unwrap();
    assert!(format!("{missing:#}").contains("kubectl --kubeconfig"), "{missing:#}");
    std::fs::write(&path, "current-context: nobody\n").unwrap();
    let empty = KubernetesSource::start(Some(&path)).await.err().unwrap();
    assert!(format!("{empty:#}").contains("kubectl --kubeconfig"), "{empty:#}");
    std::fs::remove_file(&path).unwrap();
}
