//! What may be typed, exactly as it was typed. Also the only reader of environment variables. Not here:
//! what it means; each command's own file says that.

mod observe;
mod policy;
mod run;

pub use observe::{ObserveArgs, VerdictFilter};
pub use policy::{
    Engine, ExplainArgs, FailOn, FolderArgs, GetPolicyArgs, LintArgs, ListPoliciesArgs, MatrixArgs,
    PolicyCommand, VerdictsArgs,
};
pub use run::{RunArgs, SourceKind, Startup};

use crate::boot::FOLDER;
use crate::lab::LabCommand;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where pins live unless told otherwise.
pub const PIN_DIR: &str = "/sys/fs/bpf/isolator";
/// Where the daemon keeps its status file, its socket and its lock unless told otherwise.
pub const RUN_DIR: &str = "/run/isolator";

const EXIT_CODES: &str = "\
Exit codes:
  0  done, healthy, or allowed
  1  unhealthy, denied, or problems found
  2  wrong usage, or the command could not do its work";

/// Isolates the tenants of a Kubernetes cluster in the kernel, and says which rule decided.
#[derive(Parser, Debug)]
#[command(name = "isolator", version = crate::VERSION, after_help = EXIT_CODES, arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes, before or after its name.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Folder of the pinned maps and links, on a bpf file system.
    #[arg(long, global = true, value_name = "DIR", env = "ISOLATOR_PIN_DIR", default_value = PIN_DIR)]
    #[arg(help_heading = "Global options", hide_env_values = true)]
    pub pin_dir: PathBuf,
    /// Folder of the daemon's status file and socket.
    #[arg(long, global = true, value_name = "DIR", env = "ISOLATOR_RUN_DIR", default_value = RUN_DIR)]
    #[arg(help_heading = "Global options", hide_env_values = true)]
    pub run_dir: PathBuf,
    /// How to print: table, wide (all columns), json or yaml, whose names are stable; some commands: sarif, html.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    #[arg(help_heading = "Global options", hide_possible_values = true)]
    pub output: Format,
    /// When to colour: auto, always or never; NO_COLOR turns auto off.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Global options", hide_possible_values = true)]
    pub color: Color,
}

/// An output format.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for a person.
    Table,
    /// Columns for a person, all of them.
    Wide,
    /// JSON; the names are stable.
    Json,
    /// YAML; the same names as JSON.
    Yaml,
    /// SARIF 2.1.0, for code review tools: `policy lint` alone.
    Sarif,
    /// One page that needs nothing else: `policy matrix` alone.
    Html,
}

/// When to colour.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Where standard output is a terminal that can.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether the environment asks for plain text: `NO_COLOR` (<https://no-color.org>), or a terminal that is dumb.
#[must_use]
pub fn plain_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_some() || set("TERM").is_none_or(|term| term == "dumb")
}

/// Everything that isolator does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The daemon: keeps the kernel right for the pods of this node.
    #[command(
        after_help = "Example:\n  isolator run --manifests /etc/isolator/manifests\n  isolator run --kubeconfig /etc/kubernetes/kubelet.conf"
    )]
    Run(RunArgs),
    /// Health, attachments, map occupancy and problems of this node.
    #[command(after_help = "Exit code 1 when anything is unhealthy.\n\nExample:\n  isolator status -o json")]
    Status,
    /// Identities, read from the pinned maps.
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Endpoints of this node, read from the pinned maps.
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// The pinned maps themselves.
    #[command(subcommand)]
    Map(MapCommand),
    /// Policies as understood: list, lint, explain, judge.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Live drops and new connections, with names, verdict and deciding rule.
    #[command(after_help = "Examples:\n  isolator observe --verdict dropped --pod tc-alpha/nginx\n  \
                            isolator observe -o json --count 10 --timeout 5")]
    Observe(ObserveArgs),
    /// Compares the kernel with what was wanted: maps, links, programs.
    #[command(after_help = "Exit code 1 when anything differs.\n\nExample:\n  isolator verify")]
    Verify,
    /// Removes every link, pin and map that isolator owns on this node, and nothing else.
    #[command(after_help = "Pods are no longer isolated afterwards.\n\nExample:\n  isolator uninstall --yes")]
    Uninstall(UninstallArgs),
    /// Nodes and pods out of network namespaces, from a folder of manifests.
    #[command(subcommand)]
    Lab(LabCommand),
    /// Prints a completion script.
    #[command(after_help = "Example:\n  isolator completion bash > /etc/bash_completion.d/isolator")]
    Completion(CompletionArgs),
}

/// `isolator identity …`
#[derive(Subcommand, Debug)]
pub enum IdentityCommand {
    /// All identities that an address of the maps has.
    #[command(visible_alias = "ls", after_help = "Example:\n  isolator identity list -o wide")]
    List,
    /// One identity, by number.
    #[command(after_help = "Example:\n  isolator identity get 2")]
    Get {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        number: u32,
    },
}

/// `isolator endpoint …`
#[derive(Subcommand, Debug)]
pub enum EndpointCommand {
    /// All endpoints of this node.
    #[command(visible_alias = "ls", after_help = "Example:\n  isolator endpoint list -o wide")]
    List,
    /// One endpoint, with its counters by reason.
    #[command(after_help = "Example:\n  isolator endpoint get tc-alpha/nginx -o yaml")]
    Get {
        /// Its pod, or the number of its interface.
        #[arg(value_name = "NAMESPACE/POD")]
        endpoint: String,
    },
}

/// `isolator map …`
#[derive(Subcommand, Debug)]
pub enum MapCommand {
    /// All maps with their occupancy.
    #[command(visible_alias = "ls", after_help = "Example:\n  isolator map list")]
    List,
    /// What is in one map, decoded, or in all that the agent writes.
    #[command(after_help = "Examples:\n  isolator map dump endpoints\n  isolator map dump -o json")]
    Dump {
        /// The map, as `isolator map list` names it.
        #[arg(value_name = "MAP")]
        map: Option<String>,
    },
}

/// `isolator uninstall`
#[derive(Args, Debug)]
pub struct UninstallArgs {
    /// Do it without asking. Needed where standard input is no terminal.
    #[arg(short, long)]
    pub yes: bool,
    /// Folder of the container runtime's network configurations, where pods may be held at a boot.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    pub held_at: PathBuf,
}

/// `isolator completion`
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
