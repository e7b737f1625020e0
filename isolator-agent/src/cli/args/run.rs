//! Flags of `isolator run`. Not here: what they mean (`config`).

use crate::source::prefix;
use clap::{Args, ValueEnum};
use isolator_common::addr::Prefix;
use isolator_policy::cluster::index::TENANT_LABEL;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `isolator run`
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Where objects come from; the cluster's API server where this runs as a pod and no folder is given.
    #[arg(long, value_enum)]
    pub source: Option<SourceKind>,
    /// Folder of manifests, with its sub-folders; watched.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Kubeconfig that names the API server to watch; as a pod, its service account is used without one.
    #[arg(long, value_name = "PATH", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this node; the machine's host name unless given.
    #[arg(long, value_name = "NAME", env = "ISOLATOR_NODE", hide_env_values = true)]
    pub node: Option<String>,
    /// Folder where the container runtime keeps the pods' network namespaces.
    #[arg(long, value_name = "DIR", default_value = "/run/netns")]
    pub sandboxes: PathBuf,
    /// File that says where pods are when their manifests do not; the lab writes one.
    #[arg(long, value_name = "FILE")]
    pub placements: Option<PathBuf>,
    /// Namespace label that names the tenant.
    #[arg(long, value_name = "KEY", default_value = TENANT_LABEL)]
    pub tenant_label: String,
    /// What an interface may do before its pod is known.
    #[arg(long, value_enum, default_value = "strict")]
    pub startup: Startup,
    /// Serve metrics for Prometheus at this address, `/metrics`, and answer probes, `/healthz` and `/readyz`.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Attach by clsact filters even where the kernel has TCX.
    #[arg(long)]
    pub force_clsact: bool,
    /// Bits of packets' marks that are ours, side by side, and of nobody else on this node; 0: no services.
    #[arg(long, value_name = "MASK", default_value = "0xff000000", value_parser = mask)]
    pub service_mark: u32,
    /// A range that Service addresses come from, beside ServiceCIDR objects; may be given more than once.
    #[arg(long, value_name = "CIDR", value_parser = cidr)]
    pub service_cidr: Vec<Prefix>,
    /// The cgroup2 folder of all processes of the node, or `dropped`, if something else drops marked packets that
    /// the node itself receives.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/cgroup")]
    pub host_backends: PathBuf,
    /// Hold pods after a boot until this node enforces, by a link in this folder, from which the container runtime takes
    /// its network configuration (/etc/cni/net.d).
    #[arg(long, value_name = "DIR")]
    pub hold_at_boot: Option<PathBuf>,
}

/// Where objects come from.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A folder of manifests.
    Manifests,
    /// A cluster's API server.
    Kubernetes,
}

/// What an interface may do before its pod is known.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    /// Only the local host may talk to it.
    Strict,
    /// It is not enforced until its pod is known.
    Permissive,
}

fn mask(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{error}; write it as 0xff000000"))
}

fn cidr(text: &str) -> Result<Prefix, String> {
    prefix(text)
}
