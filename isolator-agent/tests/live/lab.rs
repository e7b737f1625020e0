//! A lab with agents for one test: made from manifests, changed, probed, taken away. Not here: expectations.

use isolator_agent::lab::{Record, load_record};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long an agent may take to enforce what a file says. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where programs are looked for: among those that xtask has fetched, too.
pub(super) fn path() -> OsString {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin:");
    let mut path = OsString::from(fetched);
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// Says that the calling test cannot run here, past the test runner, which would keep it; `cargo xtask test` counts it.
pub(super) fn skip(why: &str) {
    // One piece, so that nothing gets into the line.
    std::io::stdout().write_all(format!("\nSKIPPED: {why}\n").as_bytes()).unwrap();
}

/// One lab, with a folder of its own; both go with this value.
pub(super) struct Live {
    folder: PathBuf,
    name: String,
}

impl Live {
    /// Makes a lab of `objects`. `None`, and the reason on standard error, where this process may make none.
    pub(super) fn up(objects: &[Value], more: &[&str]) -> Option<Live> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            skip("labs need root");
            return None;
        }
        let name = format!("live-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let live = Live { folder: std::env::temp_dir().join(format!("isolator-{name}")), name };
        fs::create_dir_all(live.folder.join("manifests")).unwrap();
        live.put("cluster", objects);
        let manifests = live.folder.join("manifests").display().to_string();
        let mut arguments = vec!["lab", "up", "--timeout", "120s", "--name", &live.name, "-f", &manifests];
        arguments.extend(more);
        live.ok(&arguments);
        Some(live)
    }

    /// Replaces a file of the folder, whole.
    pub(super) fn put(&self, file: &str, objects: &[Value]) {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let draft = self.folder.join(file);
        fs::write(&draft, list.to_string()).unwrap();
        fs::rename(draft, self.folder.join("manifests").join(format!("{file}.json"))).unwrap();
    }

    /// A command of the binary, about this lab.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isolator"));
        command.args(arguments).env("PATH", path()).env("ISOLATOR_LAB_DIR", self.folder.join("labs"));
        command.env("ISOLATOR_LAB", &self.name).env("TERM", "dumb").stdin(Stdio::null());
        command
    }

    /// Runs a command.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub(super) fn ok(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "isolator {arguments:?}: {status}\n{out}{err}");
        out.into_owned()
    }

    /// What becomes of flows, in their order: `connected`, `timeout`, `refused` or `error`.
    pub(super) fn probe(&self, flows: &[Value], timeout: &str) -> Vec<String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let file = self.folder.join(format!("flows-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let lines: Vec<String> = flows.iter().map(Value::to_string).collect();
        fs::write(&file, lines.join("\n")).unwrap();
        let file = file.display().to_string();
        let output = self.run(&["lab", "probe", "--flows", &file, "-o", "json", "--timeout", timeout]);
        let said = String::from_utf8(output.stdout).unwrap();
        let results: Vec<String> = said
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["result"].as_str().unwrap().to_owned())
            .collect();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(results.len(), flows.len(), "one line for each flow\n{said}{complaint}");
        results
    }

    /// What is in the lab.
    pub(super) fn record(&self) -> Record {
        load_record(Some(&self.labs()), Some(&self.name)).unwrap().1
    }

    /// A connection between two pods: the server's end and the client's, whose reads give up after some seconds. The
    /// client connects to `through`, if that is given. Nobody listens any more: only ports tell who the server is.
    pub(super) fn connection(
        &self,
        server: &str,
        client: &str,
        port: u16,
        through: Option<SocketAddr>,
    ) -> (TcpStream, TcpStream) {
        let address = self.v4(server);
        let through = through.unwrap_or((address, port).into());
        let listener = self.inside(server, move || TcpListener::bind((address, port)).unwrap());
        let connected = self.inside(client, move || TcpStream::connect_timeout(&through, PATIENCE).unwrap());
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_read_timeout(Some(PATIENCE)).unwrap();
        connected.set_read_timeout(Some(PATIENCE)).unwrap();
        (accepted, connected)
    }

    /// A flow between two pods: the server's socket, which has no peer, and the client's.
    pub(super) fn datagrams(&self, server: &str, client: &str, port: u16) -> (UdpSocket, UdpSocket) {
        let at = (self.v4(server), port);
        let server = self.inside(server, move || UdpSocket::bind(at).unwrap());
        let client = self.inside(client, move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.connect(at).unwrap();
            socket
        });
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        (server, client)
    }

    fn v4(&self, pod: &str) -> IpAddr {
        let addresses = self.record().pods[pod].place.addresses.clone();
        addresses.into_iter().find(IpAddr::is_ipv4).unwrap()
    }

    /// Does something in a pod's namespace. Sockets stay in the one that they were made in; threads that have moved never
    /// come back.
    fn inside<R: Send + 'static>(&self, pod: &str, work: impl FnOnce() -> R + Send + 'static) -> R {
        let record = self.record();
        let namespace = File::open(record.netns(&record.pods[pod].place)).unwrap();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    /// The folder of labs, and the name of this one in it.
    pub(super) fn labs(&self) -> PathBuf {
        self.folder.join("labs")
    }

    /// See [`Live::labs`].
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The run folder of a node's agent.
    pub(super) fn agent(&self, node: &str) -> PathBuf {
        self.folder.join("labs").join(&self.name).join("agents").join(node)
    }

    /// What the agent of a node says of itself.
    pub(super) fn status(&self, node: &str) -> Value {
        serde_json::from_slice(&fs::read(self.account(node)).unwrap()).unwrap()
    }

    fn account(&self, node: &str) -> PathBuf {
        self.agent(node).join("status.json")
    }

    /// Waits until the agent's account fulfils a condition.
    pub(super) fn until(&self, node: &str, what: &str, fulfilled: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // One that has just been started has said nothing yet.
            let status = if self.account(node).exists() { self.status(node) } else { Value::Null };
            if fulfilled(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what} did not happen; the agent says {status:#}");
            std::thread::yield_now();
        }
    }

    /// The generation in force on a node.
    pub(super) fn generation(&self, node: &str) -> u64 {
        self.status(node)["generation"].as_u64().unwrap()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _already_gone = self.command(&["lab", "down", &self.name]).output();
        let _already_gone = fs::remove_dir_all(&self.folder);
    }
}
