//! Flags of `isolator run`. Not here: what they mean (`config`).

use clap::{Args, ValueEnum};
use isolator_policy::cluster::index::TENANT_LABEL;
use std::path::PathBuf;

/// `isolator run`
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Where objects come from.
    #[arg(long, value_enum, default_value = "manifests")]
    pub source: SourceKind,
    /// Folder of manifests, with its sub-folders; watched.
    #[arg(long, value_name = "DIR", required_if_eq("source", "manifests"))]
    pub manifests: Option<PathBuf>,
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
    /// Attach by clsact filters even where the kernel has TCX.
    #[arg(long)]
    pub force_clsact: bool,
}

/// Where objects come from.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A folder of manifests.
    Manifests,
}

/// What an interface may do before its pod is known.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    /// Only the local host may talk to it.
    Strict,
    /// It is not enforced until its pod is known.
    Permissive,
}
