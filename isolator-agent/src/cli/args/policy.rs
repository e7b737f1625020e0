//! Flags of `isolator policy …`. Not here: what they mean.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `isolator policy …`
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// All policies: what they select and in which directions they isolate.
    #[command(visible_alias = "ls", after_help = "Example:\n  isolator policy list -f manifests/")]
    List(ListPoliciesArgs),
    /// One policy as understood, with the pods it selects.
    #[command(after_help = "Example:\n  isolator policy get tc-alpha/deny-cross-tenant -f manifests/")]
    Get(GetPolicyArgs),
    /// What is wrong or suspicious, by file, document and field.
    #[command(after_help = LINT)]
    Lint(LintArgs),
    /// Why a flow gets its verdict.
    #[command(after_help = "Exit code 1 when the flow is denied.\n\n\
                            Examples:\n  isolator policy explain tc-gamma/curl tc-alpha/nginx TCP/80 -f manifests/\n  \
                            isolator policy explain node:n1 tc-alpha/nginx tcp/80 -f manifests/\n  \
                            isolator policy explain 192.0.2.7 tc-alpha/nginx icmp/8 -f manifests/")]
    Explain(ExplainArgs),
    /// Who may talk to whom: pods by pods, for each port.
    #[command(after_help = "Example:\n  isolator policy matrix -f manifests/ --port TCP/80")]
    Matrix(MatrixArgs),
    /// Judges many flows, one JSON object a line, by one of three engines. The interface for other tools.
    #[command(after_help = VERDICTS)]
    Verdicts(VerdictsArgs),
}

const LINT: &str = "\
Exit codes:
  0  nothing is found, or only what --fail-on does not ask for
  1  something is found that is at least as bad as --fail-on says
  2  the input cannot be used: it is not there, or not one object in it can be read

Examples:
  isolator policy lint -f manifests/ --fail-on warning
  isolator policy lint -f manifests/ -o sarif > isolator.sarif";

const VERDICTS: &str = "\
A flow is one line:
  {\"from\":\"ns/pod\", \"to\":\"10.1.2.3\", \"protocol\":\"TCP\", \"port\":80}
  {\"from\":\"node:n1\", \"to\":\"ns/pod\", \"protocol\":\"ICMP\", \"type\":8}
and its answer is one line, in the same order:
  {\"verdict\":\"allowed\", \"egress\":{\"verdict\":…,\"by\":…}, \"ingress\":{\"verdict\":…,\"by\":…}}
A flow that cannot be judged is answered by {\"error\":…}, and the exit code is 2.

Example:
  isolator policy verdicts -f manifests/ --flows flows.jsonl --engine compiled -o json";

/// Where policies are read from.
#[derive(Args, Clone, Debug)]
pub struct FolderArgs {
    /// Folder of manifests, or one file; unless given, the folder that the daemon of this node watches.
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    pub filename: Option<PathBuf>,
    /// Namespace label that names the tenant: isolator.dev/tenant, or what the daemon uses.
    #[arg(long, value_name = "KEY")]
    pub tenant_label: Option<String>,
}

/// `isolator policy list`
#[derive(Args, Debug)]
pub struct ListPoliciesArgs {
    /// Where policies are read from.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// Only policies of this namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// `isolator policy get`
#[derive(Args, Debug)]
pub struct GetPolicyArgs {
    /// The policy.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Where policies are read from.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `isolator policy lint`
#[derive(Args, Debug)]
pub struct LintArgs {
    /// Where policies are read from.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// What makes the exit code 1.
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "error")]
    pub fail_on: FailOn,
}

/// What makes a check fail.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// Anything that is found.
    Warning,
    /// Only what is not enforced as written.
    Error,
}

/// `isolator policy explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The sender: a pod, an address, or `node:NAME`.
    #[arg(value_name = "FROM")]
    pub from: String,
    /// The receiver: a pod, an address, `node:NAME`, or `svc:NAMESPACE/NAME`. For a service, each backend is explained.
    #[arg(value_name = "TO")]
    pub to: String,
    /// Protocol and port, or ICMP and its type.
    #[arg(value_name = "PROTOCOL/PORT", default_value = "TCP/80")]
    pub port: String,
    /// Where policies are read from.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// `isolator policy matrix`
#[derive(Args, Debug)]
pub struct MatrixArgs {
    /// Where policies are read from.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// Protocol and port, several times or by commas; unless given, every port that a pod declares.
    #[arg(short, long = "port", value_name = "PROTOCOL/PORT", value_delimiter = ',')]
    pub ports: Vec<String>,
    /// Only pods of this namespace, several times or by commas.
    #[arg(short, long = "namespace", value_name = "NAME", value_delimiter = ',')]
    pub namespaces: Vec<String>,
}

/// `isolator policy verdicts`
#[derive(Args, Debug)]
pub struct VerdictsArgs {
    /// Where policies are read from.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// File of flows, one JSON object a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub flows: PathBuf,
    /// Who judges.
    #[arg(long, value_enum, default_value = "reading")]
    pub engine: Engine,
}

/// Who judges a flow.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The direct reading of the policies' texts.
    Reading,
    /// The kernel program's own code over the compiled maps, in memory.
    Compiled,
    /// The program loaded into the kernel, on real packets (needs root).
    Kernel,
}
