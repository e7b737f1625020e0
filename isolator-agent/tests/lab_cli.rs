//! The commands that read the kernel, on a node of a lab, with its agent alive and dead. Not here: what packets do
//! (`lab_matrix`), how a lab is made (`lab`).
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A lab with agents on the shared manifests; it ends with this value.
struct Lab {
    folder: PathBuf,
}

impl Lab {
    /// `None`, and the reason on standard error, where this process may make no lab.
    fn up() -> Option<Lab> {
        if let Some(missing) = isolator_agent::datapath::features::missing(None).first() {
            eprintln!("skipped: {missing}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("isolator-lab-cli-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        let lab = Lab { folder };
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/tenants.yaml");
        std::fs::copy(shared, lab.manifest()).unwrap();
        let folder = lab.folder.join("manifests");
        let up = lab.run(&["lab", "up", "-f", folder.to_str().unwrap()]);
        assert!(up.status.success(), "{}", text(&up.stderr));
        Some(lab)
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join("manifests/tenants.yaml")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isolator"));
        command.args(arguments).env("ISOLATOR_LAB_DIR", self.folder.join("labs")).env("TERM", "dumb");
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// Runs `isolator` with these words on node n1; answers its output and exit code.
    fn on_node(&self, words: &str) -> (String, Option<i32>) {
        let mut arguments = vec!["lab", "exec", "node:n1", "--", env!("CARGO_BIN_EXE_isolator")];
        arguments.extend(words.split_whitespace());
        let ran = self.run(&arguments);
        (text(&ran.stdout) + &text(&ran.stderr), ran.status.code())
    }

    /// As [`Lab::on_node`], for a command that must succeed and prints JSON.
    fn json(&self, words: &str) -> Value {
        let (out, code) = self.on_node(&format!("{words} -o json"));
        assert_eq!(code, Some(0), "{words}: {out}");
        serde_json::from_str(&out).unwrap()
    }

    /// A packet that n1 drops: no rule allows the port.
    fn knock(&self) {
        let ran =
            self.run(&["lab", "connect", "tc-alpha/curl", "tc-alpha/nginx", "81", "--max-time", "200ms"]);
        // As curl says it.
        assert_eq!(ran.status.code(), Some(28), "{}", text(&ran.stderr));
    }

    /// The drop of [`Lab::knock`], as `observe` tells it.
    fn observe_the_knock(&self) {
        let words = "observe --history --count 1 --timeout 20 --verdict dropped --to-pod tc-alpha/nginx --protocol tcp --port 81";
        let record = self.json(words);
        let flow = &record["flow"];
        assert_eq!(flow["source"]["pod"], "tc-alpha/curl", "{flow}");
        assert_eq!(flow["by"], "default deny of ingress by NetworkPolicy tc-alpha/web", "{flow}");
        assert_eq!((&flow["direction"], &flow["reason"]), (&"ingress".into(), &"default-deny".into()));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = self.run(&["lab", "down"]);
        let gone = std::fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            assert!(down.status.success() && gone.is_ok(), "{}", text(&down.stderr));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_kernel_can_be_read_with_the_agent_alive_and_dead() {
    let Some(lab) = Lab::up() else { return };

    let (status, code) = lab.on_node("status");
    assert_eq!(code, Some(0), "{status}");
    assert!(status.starts_with("isolator ") && status.contains(" on node n1: healthy\n"), "{status}");

    let endpoints = lab.json("endpoint list");
    let seen: Vec<_> =
        endpoints.as_array().unwrap().iter().map(|row| [&row["endpoint"], &row["ingress"]]).collect();
    assert_eq!(
        seen,
        [[&Value::from("dns/coredns"), &"open".into()], [&"tc-alpha/nginx".into(), &"isolated".into()]]
    );
    let identities = lab.json("identity list");
    assert_eq!(identities[0]["labels"], "reserved:host");
    assert!(identities[0]["addresses"].as_array().unwrap().contains(&"172.18.0.2".into()), "{identities}");
    let names = lab.json("map dump names").to_string();
    assert!(names.contains("NetworkPolicy tc-alpha/web ingress[0]"), "{names}");
    let (verified, code) = lab.on_node("verify");
    assert_eq!(code, Some(0), "{verified}");

    lab.knock();
    lab.observe_the_knock();
    let nginx = lab.json("endpoint get tc-alpha/nginx");
    assert!(nginx["dropped"].as_u64().unwrap() > 0, "{nginx}");

    assert!(lab.run(&["lab", "agent", "kill", "n1"]).status.success());
    let (status, code) = lab.on_node("status");
    assert_eq!(code, Some(1), "{status}");
    assert!(status.contains("FAIL  daemon      not running"), "{status}");
    assert_eq!(lab.json("endpoint list").as_array().unwrap().len(), 2);
    lab.knock();
    lab.observe_the_knock();

    // Nobody brings the kernel after the manifests now, and `verify` says so.
    let manifests = std::fs::read_to_string(lab.manifest()).unwrap();
    std::fs::write(lab.manifest(), manifests.replace("port: http", "port: 81")).unwrap();
    let (verified, code) = lab.on_node("verify");
    assert_eq!(code, Some(1), "{verified}");
    assert!(verified.contains("STATE[0] is "), "{verified}");

    let (removed, code) = lab.on_node("uninstall --yes");
    assert_eq!(code, Some(0), "{removed}");
    // Of both pods, and of the way out of the node.
    assert!(removed.starts_with("removed programs from 3 interfaces"), "{removed}");
    let (left, code) = lab.on_node("endpoint list");
    assert_eq!(code, Some(2), "{left}");
    assert!(left.starts_with("error: no maps in "), "{left}");
}
