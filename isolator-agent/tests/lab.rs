//! Labs made, probed, killed and taken away, as a person does it. Not here: policies in a lab.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use isolator_agent::lab::{Record, load_record};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::RouteType;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const OUTSIDE: &str = "203.0.113.10,2001:db8::10";

/// A folder of manifests and a folder of labs; all labs in it end with it.
struct Bench {
    folder: PathBuf,
}

impl Bench {
    /// `None`, and the reason on standard error, where this process may make no lab.
    fn new(pods: &[Value]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("isolator-lab-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("manifests")).unwrap();
        let bench = Bench { folder };
        bench.write(pods);
        Some(bench)
    }

    fn write(&self, pods: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        let (draft, file) = (self.folder.join("pods"), self.folder.join("manifests/pods.json"));
        fs::write(&draft, list.to_string()).unwrap();
        fs::rename(draft, file).unwrap();
    }

    fn labs(&self) -> PathBuf {
        self.folder.join("labs")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isolator"));
        command.arg("lab").args(arguments).env("ISOLATOR_LAB_DIR", self.labs()).env_remove("ISOLATOR_LAB");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it printed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "isolator lab {arguments:?}: {}\n{out}{err}", output.status);
        out
    }

    fn up(&self, name: &str, more: &[&str]) {
        let manifests = self.folder.join("manifests");
        let manifests = manifests.to_str().unwrap();
        let mut arguments = vec!["up", "--no-agents", "--name", name, "-f", manifests];
        arguments.extend(more);
        self.ok(&arguments);
    }

    fn record(&self, name: &str) -> Record {
        load_record(Some(&self.labs()), Some(name)).unwrap().1
    }

    /// Results of a probe of all pods.
    fn probe(&self, name: &str) -> Vec<Value> {
        lines(&self.ok(&["probe", "--lab", name, "-o", "json", "--timeout", "5s"]))
    }

    /// Results of a probe of these flows.
    fn probe_flows(&self, name: &str, timeout: &str, flows: &[Value]) -> Vec<Value> {
        let file = self.folder.join("flows");
        fs::write(&file, flows.iter().map(|flow| format!("{flow}\n")).collect::<String>()).unwrap();
        let file = file.to_str().unwrap();
        let output = self.run(&["probe", "--lab", name, "-o", "json", "--timeout", timeout, "--flows", file]);
        lines(&text(&output.stdout))
    }

    fn state(&self, name: &str) -> Option<String> {
        let labs: Vec<Value> = serde_json::from_str(&self.ok(&["list", "-o", "json"])).unwrap();
        let lab = labs.iter().find(|lab| lab["name"] == name)?;
        Some(lab["state"].as_str().unwrap().to_string())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.run(&["down", "--all"]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn mk_pod(key: &str, node: Option<&str>, ports: &[(&str, u16)]) -> Value {
    let (namespace, name) = key.split_once('/').unwrap();
    let ports: Vec<Value> =
        ports.iter().map(|(protocol, port)| json!({"containerPort": port, "protocol": protocol})).collect();
    let container = json!({"name": "main", "image": "none", "ports": ports});
    let mut spec = json!({"containers": [container]});
    if let Some(node) = node {
        spec["nodeName"] = json!(node);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// Three pods in three namespaces on two nodes; one in the node's own network.
fn three() -> Vec<Value> {
    let mut host = mk_pod("gamma/host", Some("n2"), &[("TCP", 9100)]);
    host["spec"]["hostNetwork"] = json!(true);
    vec![
        mk_pod("alpha/web", Some("n1"), &[("TCP", 80), ("UDP", 53)]),
        mk_pod("beta/web", Some("n2"), &[("TCP", 80)]),
        mk_pod("gamma/web", Some("n1"), &[("TCP", 8080)]),
        host,
    ]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn results(outcomes: &[Value]) -> Vec<&str> {
    outcomes.iter().map(|outcome| outcome["result"].as_str().unwrap()).collect()
}

/// Waits until `true`, and fails after a while.
fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "not after 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What of the machine's own network and mounts a lab could have changed.
fn machine() -> (Vec<String>, String, String) {
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let mut names: Vec<String> =
        devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_string())).collect();
    names.sort();
    let routes = fs::read_to_string("/proc/self/net/route").unwrap();
    (names, routes, fs::read_to_string("/proc/self/mountinfo").unwrap())
}

/// Processes that hold the network namespace `inode`.
fn inside(inode: u64) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let here = |entry: &fs::DirEntry| {
        fs::metadata(entry.path().join("ns/net")).is_ok_and(|netns| netns.ino() == inode)
    };
    processes.filter(here).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn netns_of(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().ino()
}

#[test]
fn every_pod_reaches_every_other_over_both_ip_versions() {
    let Some(bench) = Bench::new(&three()) else { return };
    for network in ["routed", "bridged"] {
        bench.up(network, &["--network", network]);
        let outcomes = bench.probe(network);
        let bad: Vec<&Value> = outcomes.iter().filter(|outcome| outcome["result"] != "connected").collect();
        assert!(bad.is_empty(), "{network}: {bad:#?}");
        // Three receivers for each of five ports, over two IP versions.
        assert_eq!(outcomes.len(), 30, "{network}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome["ip"] == 6).count(), 15, "{network}");
    }
}

#[test]
fn the_host_outside_has_its_addresses_and_nodes_can_be_named() {
    let Some(bench) = Bench::new(&three()) else { return };
    bench.up("lab", &["--external", OUTSIDE]);
    let flow = |from: &str, to: &str, protocol: &str, port: u16| json!({"from": from, "to": to, "protocol": protocol, "port": port});
    let flows = [
        flow("alpha/web", "203.0.113.10", "TCP", 443),
        flow("beta/web", "2001:db8::10", "UDP", 53),
        flow("203.0.113.10", "alpha/web", "UDP", 53),
        flow("2001:db8::10", "beta/web", "TCP", 80),
        flow("node:n1", "alpha/web", "TCP", 80),
        flow("node:n2", "alpha/web", "TCP", 80),
        flow("gamma/web", "node:n2", "TCP", 9100),
        json!({"from": "alpha/web", "to": "beta/web", "protocol": "ICMP", "type": 8}),
        json!({"from": "2001:db8::10", "to": "beta/web", "protocol": "ICMPv6"}),
        flow("198.51.100.1", "alpha/web", "TCP", 80),
        flow("alpha/web", "alpha/gone", "TCP", 80),
    ];
    let outcomes = bench.probe_flows("lab", "5s", &flows);
    assert_eq!(results(&outcomes[..9]), ["connected"; 9], "{outcomes:#?}");
    assert_eq!(results(&outcomes[9..]), ["error"; 2]);
    assert!(outcomes[9]["detail"].as_str().unwrap().contains("--external"));
}

#[test]
fn refused_and_dropped_are_told_apart() {
    let Some(bench) = Bench::new(&three()) else { return };
    bench.up("lab", &[]);
    let record = bench.record("lab");
    let beta = record.pods["beta/web"].place.addresses[0];
    blackhole(&record.netns(&record.pods["gamma/web"].place), beta);
    let flows = [
        json!({"from": "alpha/web", "to": "beta/web", "protocol": "TCP", "port": 81}),
        json!({"from": "alpha/web", "to": "beta/web", "protocol": "UDP", "port": 81}),
        json!({"from": "beta/web", "to": "gamma/web", "protocol": "TCP", "port": 8080}),
        json!({"from": "beta/web", "to": "gamma/web", "protocol": "UDP", "port": 8080}),
        json!({"from": "beta/web", "to": "gamma/web", "protocol": "TCP", "port": 8080, "ip": 6}),
        json!({"from": "alpha/web", "to": "gamma/web", "protocol": "TCP", "port": 8080}),
    ];
    let outcomes = bench.probe_flows("lab", "700ms", &flows);
    let expected = ["refused", "refused", "timeout", "timeout", "connected", "connected"];
    assert_eq!(results(&outcomes), expected, "{outcomes:#?}");

    let connect = |arguments: &[&str]| bench.run(&[&["connect"], arguments].concat());
    let page = connect(&["alpha/web", "beta/web", "80"]);
    assert_eq!((page.status.code(), text(&page.stdout).as_str()), (Some(0), "<title>beta/web</title>\n"));
    assert_eq!(connect(&["alpha/web", "beta/web", "81"]).status.code(), Some(7));
    assert_eq!(connect(&["beta/web", "gamma/web", "8080", "-m", "300ms"]).status.code(), Some(28));
}

/// Loses every packet from a namespace to an address.
fn blackhole(netns: &Path, to: IpAddr) {
    let IpAddr::V4(to) = to else { panic!("{to} is not IPv4") };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let netns = File::open(netns).unwrap();
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, 32);
                handle.route().add(route.kind(RouteType::BlackHole).build()).execute().await.unwrap();
            });
        });
    });
}

#[test]
fn labs_with_the_same_addresses_do_not_meet() {
    let Some(bench) = Bench::new(&three()) else { return };
    bench.up("one", &[]);
    bench.up("two", &[]);
    let (one, two) = (bench.record("one"), bench.record("two"));
    assert_eq!(one.pods["alpha/web"].place.addresses, two.pods["alpha/web"].place.addresses);
    bench.ok(&["down", "one"]);
    assert_eq!(bench.state("one"), None);
    let outcomes = bench.probe("two");
    assert_eq!(results(&outcomes), ["connected"; 30]);
}

#[test]
fn a_lab_changes_nothing_outside_and_leaves_nothing() {
    let Some(bench) = Bench::new(&three()) else { return };
    let before = machine();
    bench.up("lab", &["--external", OUTSIDE]);
    assert_eq!(machine(), before, "while the lab is up");
    let record = bench.record("lab");
    let own = netns_of(Path::new("/proc/self/ns/net"));
    let fabric = netns_of(&PathBuf::from(format!("/proc/{}/ns/net", record.supervisor.pid)));
    let pod = netns_of(&record.netns(&record.pods["alpha/web"].place));
    assert!(own != fabric && own != pod && fabric != pod);
    assert!(!inside(fabric).is_empty());
    bench.ok(&["down"]);
    assert!(!record.supervisor.is_alive());
    assert!(inside(fabric).is_empty() && inside(pod).is_empty());
    assert_eq!(fs::read_dir(bench.labs()).unwrap().count(), 0);
    assert_eq!(machine(), before, "after the lab");
    assert!(!bench.run(&["down"]).status.success(), "there is nothing to take down");
}

#[test]
fn a_killed_lab_is_dead_and_can_be_removed_or_made_again() {
    let Some(bench) = Bench::new(&three()) else { return };
    for again in [true, false] {
        bench.up("lab", &[]);
        let record = bench.record("lab");
        let refused =
            bench.run(&["up", "--no-agents", "-f", bench.folder.join("manifests").to_str().unwrap()]);
        assert!(!refused.status.success() && text(&refused.stderr).contains("exists already"));
        assert_eq!(bench.state("lab").as_deref(), Some("running"), "the second `up` did no harm");
        let pid = rustix::process::Pid::from_raw(record.supervisor.pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        eventually("the lab is dead", || bench.state("lab").as_deref() == Some("dead"));
        assert!(text(&bench.run(&["probe"]).stderr).contains("no lab is running"));
        if again {
            bench.up("lab", &[]);
            assert_eq!(results(&bench.probe("lab")), ["connected"; 30]);
        }
        bench.ok(&["down"]);
        assert_eq!(bench.state("lab"), None);
    }
}

#[test]
fn an_interrupted_up_leaves_nothing() {
    let pods: Vec<Value> = (0..150).map(|n| mk_pod(&format!("many/pod-{n}"), None, &[("TCP", 80)])).collect();
    let Some(bench) = Bench::new(&pods) else { return };
    let manifests = bench.folder.join("manifests");
    let up = ["up", "--no-agents", "--nodes", "4", "-f", manifests.to_str().unwrap()];
    let mut child = bench.command(&up).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let supervisor = bench.labs().join("lab/supervisor.json");
    eventually("the supervisor runs", || supervisor.exists());
    let id: Value = serde_json::from_slice(&fs::read(&supervisor).unwrap()).unwrap();
    assert_eq!(bench.state("lab").as_deref(), Some("starting"));
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    let mut words = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut words).unwrap();
    assert!(words.contains("interrupted"), "{words}");
    assert!(!Path::new(&format!("/proc/{}/exe", id["pid"])).exists());
    assert_eq!(fs::read_dir(bench.labs()).unwrap().count(), 0);
}

#[test]
fn agents_end_with_their_lab_and_start_only_when_told() {
    let Some(bench) = Bench::new(&three()) else { return };
    let manifests = bench.folder.join("manifests");
    bench.ok(&["up", "-f", manifests.to_str().unwrap()]);
    let status = |node: &str| -> Value {
        let file = bench.labs().join("lab/agents").join(node).join("status.json");
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    let runs = |status: &Value| Path::new(&format!("/proc/{}/exe", status["process"]["pid"])).exists();
    let (first, other) = (status("n1"), status("n2"));
    assert!(runs(&first) && runs(&other));
    assert_eq!((&first["counts"]["endpoints"], &other["counts"]["endpoints"]), (&json!(2), &json!(1)));

    bench.ok(&["agent", "kill", "n1"]);
    assert!(!runs(&first) && runs(&other));
    let again = bench.run(&["agent", "kill", "n1"]);
    assert!(text(&again.stderr).contains("no agent runs on node n1"), "{}", text(&again.stderr));
    assert!(!bench.run(&["agent", "restart", "n9"]).status.success());
    bench.ok(&["agent", "restart", "n1"]);
    let second = status("n1");
    assert!(runs(&second) && second["process"] != first["process"]);
    assert_eq!(second["counts"]["endpoints"], json!(2));

    let told = bench.ok(&[
        "exec",
        "alpha/web",
        "--",
        "sh",
        "-c",
        "echo $ISOLATOR_NODE; ls $ISOLATOR_PIN_DIR | wc -l",
    ]);
    let (node, pins) = told.trim().split_once('\n').unwrap();
    assert!(node == "n1" && pins.parse::<u32>().unwrap() > 0, "{told}");

    let pid = rustix::process::Pid::from_raw(bench.record("lab").supervisor.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("the agents have ended", || !runs(&second) && !runs(&other));
}

#[test]
fn a_lab_follows_its_manifests() {
    let Some(bench) = Bench::new(&three()) else { return };
    for network in ["routed", "bridged"] {
        bench.write(&three());
        bench.up(network, &["--network", network]);
        let before = bench.record(network);
        let mut pods = three();
        pods.remove(1);
        pods.push(mk_pod("delta/web", Some("n3"), &[("TCP", 80)]));
        pods.push(mk_pod("delta/other", None, &[("UDP", 7)]));
        bench.write(&pods);
        eventually("the pods are there", || bench.record(network).pods.contains_key("delta/web"));
        let after = bench.record(network);
        let names: Vec<&String> = after.pods.keys().collect();
        assert_eq!(names, ["alpha/web", "delta/other", "delta/web", "gamma/host", "gamma/web"]);
        assert_eq!(after.nodes.keys().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        let (old, new) = (&before.pods["alpha/web"].place, &after.pods["alpha/web"].place);
        assert_eq!(
            (old.netns, &old.addresses),
            (new.netns, &new.addresses),
            "a pod that did not change was touched"
        );
        let outcomes = bench.probe(network);
        let bad: Vec<&Value> = outcomes.iter().filter(|outcome| outcome["result"] != "connected").collect();
        assert!(bad.is_empty() && outcomes.len() == 4 * 6 * 2, "{network}: {bad:#?}");
        let gone = before.pods["beta/web"].place.addresses[0].to_string();
        let flow = json!({"from": "alpha/web", "to": gone, "protocol": "TCP", "port": 80});
        assert_ne!(results(&bench.probe_flows(network, "500ms", &[flow])), ["connected"]);

        let sandboxes = |node: &str| -> Vec<String> {
            let folder = bench.labs().join(network).join("sandboxes").join(node);
            let mut names: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(sandboxes("n1"), ["alpha_web", "gamma_web"]);
        assert!(sandboxes("n3").contains(&"delta_web".to_string()));
        let link = bench.labs().join(network).join("sandboxes/n1/alpha_web");
        assert_eq!(netns_of(&link), netns_of(&after.netns(&after.pods["alpha/web"].place)));
        let placement = fs::read(bench.labs().join(network).join("placement.json")).unwrap();
        let placement: Value = serde_json::from_slice(&placement).unwrap();
        assert_eq!(placement["pods"]["delta/other"]["node"], json!(after.pods["delta/other"].node));
        assert_eq!(placement["nodes"]["n3"], json!(after.nodes["n3"].addresses));

        bench.write(&three());
        eventually("the pods are gone", || bench.record(network).nodes.len() == 2);
        assert_eq!(results(&bench.probe(network)), ["connected"; 30]);
        bench.ok(&["down", network]);
    }
}

#[test]
fn exec_passes_exit_codes_and_says_what_is_wrong() {
    let Some(bench) = Bench::new(&three()) else { return };
    bench.up("lab", &[]);
    let exec = |place: &str, command: &[&str]| bench.run(&[&["exec", place, "--"], command].concat());
    assert_eq!(exec("alpha/web", &["sh", "-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(exec("alpha/web", &["/no/such/program"]).status.code(), Some(127));
    let gone = exec("alpha/gone", &["true"]);
    assert!(text(&gone.stderr).contains("there is no pod alpha/gone"), "{}", text(&gone.stderr));
    let devices = text(&exec("node:n1", &["cat", "/proc/net/dev"]).stdout);
    assert_eq!(devices.matches("veth").count(), 2, "{devices}");
    let mounts = text(&exec("node:n1", &["cat", "/proc/self/mounts"]).stdout);
    assert!(mounts.contains("/labs/lab/bpf bpf "), "no bpffs among the lab's mounts: {mounts}");
}

#[test]
fn a_lab_that_cannot_be_made_says_why_and_names_its_log() {
    let Some(bench) = Bench::new(&[]) else { return };
    let many: Vec<Value> = (0..300).map(|n| mk_pod(&format!("many/pod-{n}"), None, &[])).collect();
    bench.write(&many);
    let manifests = bench.folder.join("manifests");
    let manifests = manifests.to_str().unwrap();
    let late = bench.run(&["up", "--no-agents", "-f", manifests, "--timeout", "20ms"]);
    let words = text(&late.stderr);
    assert!(
        !late.status.success() && words.contains("not ready after") && words.contains("lab.log"),
        "{words}"
    );
    assert_eq!(bench.state("lab").as_deref(), Some("dead"));
    let wrong = bench.run(&["up", "--no-agents", "-f", "/no/such/folder", "--name", "other"]);
    assert!(text(&wrong.stderr).contains("/no/such/folder"));
    assert_eq!(bench.state("other"), None);
    let name = bench.run(&["up", "--no-agents", "-f", manifests, "--name", "../up"]);
    assert!(text(&name.stderr).contains("cannot be the name"), "{}", text(&name.stderr));
}
