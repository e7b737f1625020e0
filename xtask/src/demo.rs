//! `cargo xtask demo`: three tenants out of network namespaces, first open, then isolated by one label each, with
//! the rule that decided; the agent killed and the block still holding. Each step prints the command that a person
//! would type. Not here: anything that those commands do.

use crate::build;
use crate::machine::Need;
use crate::process::{run, target_dir};
use crate::progress::seconds;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A server and a client for each of three tenants.
const PODS: &str = include_str!("../demo/pods.yaml");
/// Their namespaces without a tenant label.
const OPEN: &str = include_str!("../demo/namespaces-open.yaml");
/// The same with one.
const ISOLATED: &str = include_str!("../demo/namespaces-isolated.yaml");
/// A client and two servers.
const CURL: &str = "tc-gamma/curl";
const OWN: &str = "tc-gamma/nginx";
const FOREIGN: &str = "tc-alpha/nginx";
/// curl's exit code for a time-out.
const TIMED_OUT: i32 = 28;
/// How long the agent may take to enforce a changed file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demo. An error says which step did not show what it should.
pub(crate) fn demo() -> Result<()> {
    for need in Need::DATAPATH {
        if let Some(missing) = need.missing() {
            bail!("the demo cannot run: {missing}");
        }
    }
    build::release()?;
    let begun = Instant::now();
    let demo = Demo::new()?;

    demo.say("Three tenants, two pods each. Nothing isolates them yet.");
    demo.put("pods.yaml", PODS)?;
    demo.put("namespaces.yaml", OPEN)?;
    demo.must(&["lab", "up", "-f", &demo.manifests(), "--name", &demo.name])?;
    demo.must(&["lab", "probe", "--lab", &demo.name])?;

    demo.say("One label for each namespace: isolator.dev/tenant. No policy object.");
    let before = demo.generation()?;
    demo.put("namespaces.yaml", ISOLATED)?;
    demo.wait_for_another(before)?;
    demo.must(&["lab", "probe", "--lab", &demo.name])?;

    demo.say("A tenant asks another tenant's server. Silence, as curl's exit code 28 says; its own answers.");
    demo.ends_with(
        TIMED_OUT,
        &["lab", "connect", CURL, FOREIGN, "80", "--max-time", "1s", "--lab", &demo.name],
    )?;
    demo.ends_with(0, &["lab", "connect", CURL, OWN, "80", "--lab", &demo.name])?;

    demo.say("Why? The drop names the rule that decided.");
    let run_dir = demo.agent().display().to_string();
    let drops = ["--history", "--verdict", "dropped", "--from-pod", CURL, "--to-pod", FOREIGN];
    let observe = ["observe", "--run-dir", &run_dir, "--count", "1", "--timeout", "5"];
    demo.must(&[&observe[..], &drops].concat())?;

    demo.say("The agent is killed. The kernel goes on enforcing.");
    demo.must(&["lab", "agent", "kill", "node-1", "--lab", &demo.name])?;
    demo.ends_with(
        TIMED_OUT,
        &["lab", "connect", CURL, FOREIGN, "80", "--max-time", "1s", "--lab", &demo.name],
    )?;
    demo.ends_with(0, &["lab", "connect", CURL, OWN, "80", "--lab", &demo.name])?;

    demo.say("Done; nothing is left behind.");
    let name = demo.name.clone();
    drop(demo);
    println!("lab {name} is gone. The demo took {}.", seconds(begun.elapsed()));
    Ok(())
}

/// One run of the demo; the lab and its files go with this value.
struct Demo {
    name: String,
    folder: PathBuf,
    binary: PathBuf,
    colour: bool,
}

impl Demo {
    fn new() -> Result<Demo> {
        let name = format!("demo-{}", std::process::id());
        let folder = std::env::temp_dir().join(format!("isolator-{name}"));
        fs::create_dir_all(folder.join("manifests"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = std::io::stdout().is_terminal() && !plain;
        Ok(Demo { name, folder, binary: target_dir().join("release/isolator"), colour })
    }

    fn manifests(&self) -> String {
        self.folder.join("manifests").display().to_string()
    }

    /// Where the agent of the only node says how it is.
    fn agent(&self) -> PathBuf {
        self.folder.join("labs").join(&self.name).join("agents/node-1")
    }

    /// Writes a manifest, whole or not at all.
    fn put(&self, file: &str, text: &str) -> Result<()> {
        let path = Path::new(&self.manifests()).join(file);
        let temporary = self.folder.join(file);
        fs::write(&temporary, text).with_context(|| format!("cannot write {}", temporary.display()))?;
        fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn say(&self, text: &str) {
        if self.colour {
            println!("\n\x1b[1m# {text}\x1b[0m");
        } else {
            println!("\n# {text}");
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("ISOLATOR_LAB_DIR", self.folder.join("labs"));
        command
    }

    fn shown(&self, arguments: &[&str]) {
        println!("$ isolator {}", arguments.join(" "));
    }

    fn must(&self, arguments: &[&str]) -> Result<()> {
        self.shown(arguments);
        run(&mut self.command(arguments))
    }

    /// Runs a command that ends with `code`.
    fn ends_with(&self, code: i32, arguments: &[&str]) -> Result<()> {
        self.shown(arguments);
        let status: ExitStatus =
            self.command(arguments).status().context("cannot start target/release/isolator")?;
        println!("(exit code {})", status.code().map_or("none".to_owned(), |code| code.to_string()));
        if status.code() != Some(code) {
            bail!(
                "this should have ended with exit code {code}; the lab's log is in {}",
                self.agent().display()
            );
        }
        Ok(())
    }

    /// The generation that the agent says is in force.
    fn generation(&self) -> Result<u32> {
        let path = self.agent().join("status.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let number = text.split_once("\"generation\":").and_then(|(_, rest)| rest.split([',', '}']).next());
        number
            .and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("no generation in {}", path.display()))
    }

    fn wait_for_another(&self, before: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.generation()? == before {
            if Instant::now() > deadline {
                bail!("the agent did not enforce the change within {}", seconds(PATIENCE));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let ended = self.command(&["lab", "down", &self.name]).output();
        let gone = fs::remove_dir_all(&self.folder);
        if ended.is_err() || gone.is_err() {
            eprintln!("warning: something of the demo is left in {}", self.folder.display());
        }
    }
}
