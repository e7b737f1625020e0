//! What a pod of another node costs in memory, from a watch to the index. The server and whoever is measured are
//! processes of their own. Not here: what its addresses cost when they are compiled.

use super::super::KubernetesSource;
use super::server::Server;
use crate::source::placement::Overlay;
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Tells a process its part, and gives it what it needs to play it.
const SERVED: &str = "ISOLATOR_TEST_SERVES_PODS";
const READ: &str = "ISOLATOR_TEST_READS_PODS";
/// Pods, unless `ISOLATOR_PODS` says otherwise. With fewer, the buffers of the connections count more.
const USUAL: usize = 20_000;
/// Bytes that one may cost.
const LIMIT: usize = 1024;
/// A busy machine reads some hundred a second in a debug build.
const PATIENCE: Duration = Duration::from_secs(1200);

/// A pod as a cluster has it, with what nobody needs here.
fn pod(number: usize) -> Value {
    let owner = number / 20;
    let address = format!("10.{}.{}.{}", 1 + number / 62_500, (number / 250) % 250, 1 + number % 250);
    let env: Vec<Value> =
        (0..8).map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "value"})).collect();
    let managed: Value = (0..40).map(|n| (format!("f:field-{n}"), json!({"f:a": {}, "f:b": {}}))).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("deployment-{owner}-7d4b9c6f5d-{number:05}"), "namespace": format!("team-{}", owner % 200),
            "uid": format!("{number:032x}"), "resourceVersion": number.to_string(),
            "labels": {"app.kubernetes.io/name": format!("app-{owner}"), "app.kubernetes.io/instance": "main",
                       "app.kubernetes.io/component": "api", "pod-template-hash": "7d4b9c6f5d", "tier": "backend"},
            "annotations": {"checksum/config": "0123456789abcdef0123456789abcdef"},
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": managed}],
        },
        "spec": {
            "nodeName": format!("node-{}", number % 1000), "serviceAccountName": "default",
            "containers": [{"name": "main", "image": "registry.example/team/image:1.2.3", "env": env,
                            "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}]}],
        },
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

/// Resident memory of this process but for its program, bytes: the part of VmRSS that pods can take.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// This program again, for one part only. It ends with its standard input.
struct Part(Child, BufReader<std::process::ChildStdout>);

impl Part {
    fn start(test: &str, variable: &str, value: &str) -> Part {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        command.args(["--exact", &name, "--nocapture"]).env(variable, value);
        // The C library keeps up to 64 MiB of what was freed, however many pods there are: that is not theirs.
        command.envs([("MALLOC_TRIM_THRESHOLD_", "131072"), ("MALLOC_MMAP_THRESHOLD_", "131072")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Part(child, lines)
    }

    /// The rest of the first line that begins so.
    fn says(&mut self, begin: &str) -> String {
        let mut lines = (&mut self.1).lines();
        lines.find_map(|line| line.unwrap().strip_prefix(begin).map(str::to_owned)).unwrap()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

#[test]
fn a_remote_pod_takes_a_kibibyte_at_most() {
    let pods = std::env::var("ISOLATOR_PODS").ok().and_then(|text| text.parse().ok()).unwrap_or(USUAL);
    let mut server = Part::start("the_server", SERVED, &pods.to_string());
    let mut reader = Part::start("the_reader", READ, &format!("{pods} {}", server.says("kubeconfig ")));
    let bytes: usize = reader.says("bytes ").parse().unwrap();
    let each = bytes / pods;
    println!("{pods} pods: {each} B each, read in {} s", reader.says("seconds "));
    assert!(each <= LIMIT, "{each} B for each of {pods} pods");
}

/// A part of the test above, in a process of its own; otherwise nothing.
#[tokio::test]
async fn the_server() {
    let Some(pods) = std::env::var(SERVED).ok().and_then(|text| text.parse().ok()) else { return };
    let server = Server::start(true).await;
    server.fill("/api/v1/namespaces", (0..200).map(|n| json!({"metadata": {"name": format!("team-{n}")}})));
    server.fill("/api/v1/pods", (0..pods).map(pod));
    println!("\nkubeconfig {}", server.kubeconfig.display());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

/// The other part.
#[tokio::test]
async fn the_reader() {
    let Ok(told) = std::env::var(READ) else { return };
    let (pods, kubeconfig) = told.split_once(' ').unwrap();
    let pods: usize = pods.parse().unwrap();
    let (before, began) = (resident(), Instant::now());
    let mut source = KubernetesSource::start(Some(Path::new(kubeconfig))).await.unwrap();
    let mut overlay = Overlay::new("node-0", Vec::new()).without_placements();
    let mut index = Index::new(Options::default());
    while index.snapshot().pods().len() < pods {
        let update = tokio::time::timeout(PATIENCE, source.updates.recv()).await.unwrap().unwrap();
        let resets = update.changes.iter().any(|change| matches!(change, Change::Reset(_)));
        assert!(resets || update.changes.is_empty(), "the first change is everything");
        for change in update.changes {
            for change in overlay.change(change) {
                index.apply(change);
            }
        }
    }
    println!("\nbytes {}\nseconds {:.1}", resident().saturating_sub(before), began.elapsed().as_secs_f64());
}
