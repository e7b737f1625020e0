//! What a person types: `isolator lab …`. Not here: how any of it is done.

use super::control::{self, Order};
use super::flows::{End, Flow};
use super::plan::{MOST_NODES, Network};
use super::probe::{Settings, Verdict, probe};
use super::proxy::{KubeProxy, Proxy};
use super::record::{RunDir, load, root};
use super::supervisor::{Report, Wanted, supervise};
use super::{agents, connect, exec, launch, list, matrix};
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What could not be done, as of all commands (`cli::Exit`).
const FAILED: u8 = 2;
/// The shell's code for a command that cannot be run.
const NO_COMMAND: u8 = 127;

/// `isolator lab …`
#[derive(Subcommand, Debug)]
pub enum LabCommand {
    /// Makes a lab from a folder of manifests: nodes, pods, listeners, and an agent on each node.
    #[command(after_help = "Example:\n  isolator lab up -f manifests/ --nodes 2 --external 203.0.113.10")]
    Up(UpArgs),
    /// Sends real packets between pods and prints what became of them.
    #[command(
        after_help = "Examples:\n  isolator lab probe\n  isolator lab probe --flows flows.jsonl -o json"
    )]
    Probe(ProbeArgs),
    /// Runs a command in the network of a pod or a node.
    #[command(after_help = "Example:\n  isolator lab exec tc-alpha/client -- curl -m 2 http://10.244.0.2/")]
    Exec(ExecArgs),
    /// Asks for one page from inside a pod, as curl would, with curl's exit codes.
    #[command(after_help = "Example:\n  isolator lab connect tc-alpha/client tc-beta/nginx 80 --max-time 2s")]
    Connect(ConnectArgs),
    /// Shows all labs, also dead ones.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Ends a lab. Nothing of it is left.
    Down(DownArgs),
    /// Kills or restarts the agent of a node.
    #[command(after_help = "Example:\n  isolator lab agent kill node-1")]
    Agent(AgentArgs),
    /// Is a lab. For `lab up` alone.
    #[command(hide = true)]
    Supervise,
    /// Becomes the agent of a node. For the supervisor alone.
    #[command(hide = true)]
    AgentProcess(AgentProcessArgs),
}

/// Where labs are.
#[derive(Args, Clone, Debug)]
pub struct Where {
    /// Folder that holds the labs' run directories [default: /run/isolator/lab]
    #[arg(long, value_name = "DIR", env = "ISOLATOR_LAB_DIR", hide_env_values = true)]
    pub lab_dir: Option<PathBuf>,
}

/// Which lab.
#[derive(Args, Clone, Debug)]
pub struct Which {
    /// Name of the lab; may be left out where only one is running
    #[arg(long, alias = "name", value_name = "NAME", env = "ISOLATOR_LAB", hide_env_values = true)]
    pub lab: Option<String>,
    /// Where labs are.
    #[command(flatten)]
    pub place: Where,
}

/// `isolator lab up`
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Folder of manifests
    #[arg(short = 'f', long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// Name of the lab; labs of different names run side by side
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// Nodes at least; the manifests may ask for more
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub nodes: usize,
    /// Addresses of the host outside
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub external: Vec<IpAddr>,
    /// How pods are connected to their node
    #[arg(long, value_enum, default_value = "routed")]
    pub network: Network,
    /// Who translates service addresses on the nodes; the programs nft or iptables do it
    #[arg(long, value_enum, default_value = "none")]
    pub kube_proxy: KubeProxy,
    /// What goes through a service comes from the node's address
    #[arg(long)]
    pub masquerade_all: bool,
    /// Only the network: no agent on any node, nothing is enforced
    #[arg(long)]
    pub no_agents: bool,
    /// How long it may take until the lab can be used
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Where labs are.
    #[command(flatten)]
    pub place: Where,
}

/// `isolator lab probe`
#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// Flows to try, one JSON object a line, `-` for standard input; all pods and ports unless given
    #[arg(long, value_name = "FILE")]
    pub flows: Option<PathBuf>,
    /// How long to wait for the other end
    #[arg(long, value_name = "TIME", default_value = "400ms", value_parser = duration)]
    pub timeout: Duration,
    /// Which lab.
    #[command(flatten)]
    pub which: Which,
}

/// `isolator lab exec`
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// NAMESPACE/POD, node:NAME or outside
    #[arg(value_name = "PLACE")]
    pub place: End,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Which lab.
    #[command(flatten)]
    pub which: Which,
}

/// `isolator lab connect`
#[derive(Args, Debug)]
pub struct ConnectArgs {
    /// NAMESPACE/POD, node:NAME or outside
    #[arg(value_name = "FROM")]
    pub from: End,
    /// NAMESPACE/POD, node:NAME, outside or an address
    #[arg(value_name = "TO")]
    pub to: End,
    /// The port
    pub port: u16,
    /// How long it may take in all
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub max_time: Duration,
    /// Which lab.
    #[command(flatten)]
    pub which: Which,
}

/// `isolator lab list`
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Where labs are.
    #[command(flatten)]
    pub place: Where,
}

/// `isolator lab down`
#[derive(Args, Debug)]
pub struct DownArgs {
    /// Name of the lab
    #[arg(default_value = "lab")]
    pub name: String,
    /// The same, as other commands take it
    #[arg(long = "lab", visible_alias = "name", value_name = "NAME", conflicts_with = "name")]
    pub lab: Option<String>,
    /// All labs
    #[arg(long, conflicts_with_all = ["name", "lab"])]
    pub all: bool,
    /// Where labs are.
    #[command(flatten)]
    pub place: Where,
}

/// `isolator lab agent`
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// What to do
    #[arg(value_enum)]
    pub action: AgentAction,
    /// The node
    pub node: String,
    /// Which lab.
    #[command(flatten)]
    pub which: Which,
}

/// What to do with an agent.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentAction {
    /// Kill it with SIGKILL; it stays dead
    Kill,
    /// Kill it if it runs, and start it again
    Restart,
}

/// `isolator lab agent-process`
#[derive(Args, Debug)]
pub struct AgentProcessArgs {
    supervisor: i32,
    netns: i32,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For a person.
    Table,
    /// For a program; the names are stable.
    Json,
}

impl ValueEnum for Network {
    fn value_variants<'a>() -> &'a [Self] {
        &[Network::Routed, Network::Bridged]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Network::Routed => PossibleValue::new("routed").help("A route for each pod, as Calico does"),
            Network::Bridged => {
                PossibleValue::new("bridged").help("A bridge for each node, as the bridge plugin does")
            }
        })
    }
}

impl ValueEnum for KubeProxy {
    fn value_variants<'a>() -> &'a [Self] {
        &[KubeProxy::None, KubeProxy::Nftables, KubeProxy::Iptables]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            KubeProxy::None => PossibleValue::new("none").help("Nobody"),
            KubeProxy::Nftables => PossibleValue::new("nftables").help("Rules of nftables"),
            KubeProxy::Iptables => PossibleValue::new("iptables").help("Rules of iptables"),
        })
    }
}

/// Does what was typed. Must be called before the process starts any thread: some commands change what threads
/// share.
///
/// # Errors
/// What was wrong, in words for a person.
pub fn run(command: LabCommand, output: Output) -> Result<ExitCode> {
    match command {
        LabCommand::Up(args) => up(args),
        LabCommand::Probe(args) => run_probe(&args, output),
        LabCommand::Exec(args) => {
            let (folder, lab) = load(args.which.place.lab_dir.as_deref(), args.which.lab.as_deref())?;
            let Err(error) = exec::exec(&folder, &lab, &args.place, &args.command);
            eprintln!("error: {error:#}");
            Ok(NO_COMMAND.into())
        }
        LabCommand::Connect(args) => {
            let (_, lab) = load(args.which.place.lab_dir.as_deref(), args.which.lab.as_deref())?;
            connect::connect(&lab, &args.from, &args.to, args.port, args.max_time)
        }
        LabCommand::List(args) => {
            let entries = list::entries(&root(args.place.lab_dir.as_deref()))?;
            match output {
                Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&entries)?))?,
                Output::Table => print(&list::table(&entries))?,
            }
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Down(args) => down(&args),
        LabCommand::Agent(args) => {
            let (folder, _) = load(args.which.place.lab_dir.as_deref(), args.which.lab.as_deref())?;
            let order = match args.action {
                AgentAction::Kill => Order::KillAgent(args.node),
                AgentAction::Restart => Order::RestartAgent(args.node),
            };
            print(&format!("{}\n", control::give(&folder, &order)?))?;
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Supervise => Ok(ExitCode::from(if supervise()? { 0 } else { FAILED })),
        LabCommand::AgentProcess(args) => {
            let Err(error) = agents::become_agent(args.supervisor, args.netns, &args.arguments);
            Err(error)
        }
    }
}

fn up(args: UpArgs) -> Result<ExitCode> {
    if args.nodes > MOST_NODES {
        bail!("--nodes {}: a lab has at most {MOST_NODES}", args.nodes);
    }
    let manifests = args.manifests.canonicalize();
    let manifests =
        manifests.with_context(|| format!("cannot open the folder {}", args.manifests.display()))?;
    let wanted = Wanted {
        root: root(args.place.lab_dir.as_deref()),
        name: args.name,
        manifests,
        nodes: args.nodes,
        external: args.external,
        network: args.network,
        proxy: Proxy { kind: args.kube_proxy, masquerade: args.masquerade_all, mark: agents::SERVICE_MARK },
        agents: !args.no_agents,
        limit: args.timeout,
    };
    if let Report::Ready { nodes, pods, ms, problems } = launch::up(&wanted)? {
        for problem in problems {
            eprintln!("warning: {problem}");
        }
        let dir = wanted.root.join(&wanted.name);
        let plural = |number: usize| if number == 1 { "" } else { "s" };
        print(&format!(
            "lab {}: {nodes} node{} and {pods} pod{} after {ms} ms, in {}\n",
            wanted.name,
            plural(nodes),
            plural(pods),
            dir.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_probe(args: &ProbeArgs, output: Output) -> Result<ExitCode> {
    let (_, lab) = load(args.which.place.lab_dir.as_deref(), args.which.lab.as_deref())?;
    let flows = match &args.flows {
        None => matrix::every_flow(&lab),
        Some(path) if path == Path::new("-") => read_flows(io::stdin().lock(), "standard input")?,
        Some(path) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            read_flows(BufReader::new(file), &path.display().to_string())?
        }
    };
    let outcomes = probe(&lab, &flows, Settings { timeout: args.timeout });
    match output {
        Output::Json => {
            for outcome in &outcomes {
                print(&format!("{}\n", serde_json::to_string(outcome)?))?;
            }
        }
        Output::Table => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            print(&format!("{}{}\n", matrix::table(&outcomes, colour), matrix::summary(&outcomes)))?;
            for outcome in outcomes.iter().filter(|outcome| outcome.result == Verdict::Error) {
                eprintln!("error: {} to {}: {}", outcome.flow.from, outcome.flow.to, outcome.detail);
            }
        }
    }
    let failed = outcomes.iter().any(|outcome| outcome.result == Verdict::Error);
    Ok(ExitCode::from(u8::from(failed)))
}

fn read_flows(input: impl BufRead, name: &str) -> Result<Vec<Flow>> {
    let mut flows = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {name}"))?;
        if !line.trim().is_empty() {
            let flow = serde_json::from_str(&line).with_context(|| format!("{name}, line {}", index + 1))?;
            flows.push(flow);
        }
    }
    Ok(flows)
}

fn down(args: &DownArgs) -> Result<ExitCode> {
    let root = root(args.place.lab_dir.as_deref());
    let labs = if args.all {
        super::record::all(&root)?
    } else {
        vec![RunDir::new(&root, args.lab.as_ref().unwrap_or(&args.name))?]
    };
    for lab in &labs {
        list::down(lab).with_context(|| format!("lab {}", lab.name()))?;
        print(&format!("lab {} is gone\n", lab.name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// A time with its unit: `400ms`, `5s`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| "write a number with its unit, such as 400ms or 5s".to_string())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        other => return Err(format!("unknown unit {other:?}: use ms, s or m")),
    };
    // A day is longer than anything here should take.
    let millis = millis.filter(|millis| (1..=86_400_000).contains(millis));
    millis.map(Duration::from_millis).ok_or_else(|| "use a time between 1ms and a day".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("400ms"), Ok(Duration::from_millis(400)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "5", "s", "-1s", "0s", "1h", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text:?} was accepted");
        }
    }
}
