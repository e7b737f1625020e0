//! From what was typed to what the daemon needs: paths made absolute, the node's name found. No I/O beyond
//! that. Not here: flags (`cli::args`).

use crate::cli::args::{Global, RunArgs, SourceKind, Startup};
use anyhow::{Context, Result, bail};
use isolator_common::addr::Prefix;
use isolator_common::endpoint::Marking;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this node.
    pub node: String,
    /// Where objects come from.
    pub source: Source,
    /// File with the placement of pods, if somebody writes one.
    pub placements: Option<PathBuf>,
    /// Folder of the pods' network namespaces.
    pub sandboxes: PathBuf,
    /// Folder of the pins.
    pub pin_dir: PathBuf,
    /// Folder of the status file and the socket.
    pub run_dir: PathBuf,
    /// Namespace label that names the tenant.
    pub tenant_label: String,
    /// Interfaces whose pod is not known are left alone.
    pub permissive: bool,
    /// Where to serve metrics; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// No TCX.
    pub force_clsact: bool,
    /// How packets to Service addresses are marked; `None`: not at all.
    pub marking: Option<Marking>,
    /// Ranges of Service addresses, beside those that are declared.
    pub service_ranges: Vec<Prefix>,
    /// How backends on the node itself are judged.
    pub host_backends: HostBackends,
    /// Folder of the container runtime's network configurations, where pods are held at a boot; `None`: they are not.
    pub hold_at_boot: Option<PathBuf>,
}

/// What happens to a marked packet that the node itself receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostBackends {
    /// It is judged at the ingress of this cgroup.
    Cgroup(PathBuf),
    /// Somebody else drops it before.
    Dropped,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This folder of manifests.
    Manifests(PathBuf),
    /// The API server that this kubeconfig names, or without one that of the cluster that this is a pod of.
    Kubernetes(Option<PathBuf>),
}

/// Bits of marks by which kube-proxy says what to masquerade and what to drop, unless it is told others.
const KUBE_PROXY_MARKS: u32 = 0xc000;
/// What every pod of a cluster is told by its kubelet.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

impl Source {
    fn new(args: &RunArgs, in_cluster: bool) -> Result<Source> {
        let is_pod = in_cluster && args.manifests.is_none();
        let kind = match args.source {
            None if args.kubeconfig.is_some() || is_pod => SourceKind::Kubernetes,
            kind => kind.unwrap_or(SourceKind::Manifests),
        };
        match (kind, &args.manifests, &args.kubeconfig) {
            (SourceKind::Manifests, Some(folder), None) => Ok(Source::Manifests(absolute(folder)?)),
            (SourceKind::Kubernetes, None, kubeconfig) => {
                Ok(Source::Kubernetes(kubeconfig.as_deref().map(absolute).transpose()?))
            }
            (SourceKind::Manifests, None, None) => {
                bail!(
                    "--manifests DIR is needed: the folder whose policies are enforced (or --kubeconfig PATH: the cluster \
                     whose policies are)"
                )
            }
            (SourceKind::Manifests, _, Some(_)) => {
                bail!("--kubeconfig is for --source kubernetes; leave one of them out")
            }
            (SourceKind::Kubernetes, Some(_), _) => {
                bail!("--manifests is for --source manifests; leave one of them out")
            }
        }
    }
}

impl Config {
    /// Makes sense of the flags of `isolator run`.
    ///
    /// # Errors
    /// When a folder has no absolute path, or the node has no name.
    pub fn new(global: &Global, args: &RunArgs) -> Result<Config> {
        let source = Source::new(args, std::env::var_os(IN_CLUSTER).is_some())?;
        let node = match &args.node {
            Some(node) => node.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        if node.is_empty() {
            bail!("this machine has no host name: say --node NAME");
        }
        Ok(Config {
            node,
            source,
            placements: args.placements.as_deref().map(absolute).transpose()?,
            sandboxes: absolute(&args.sandboxes)?,
            pin_dir: absolute(&global.pin_dir)?,
            run_dir: absolute(&global.run_dir)?,
            tenant_label: args.tenant_label.clone(),
            permissive: args.startup == Startup::Permissive,
            metrics: args.metrics,
            force_clsact: args.force_clsact,
            marking: match args.service_mark {
                0 => None,
                mask if mask & KUBE_PROXY_MARKS != 0 => bail!(
                    "--service-mark {mask:#010x}: kube-proxy uses {KUBE_PROXY_MARKS:#010x} (to masquerade and to \
                     drop); give other bits"
                ),
                mask => {
                    Some(Marking::new(mask).with_context(|| {
                        format!("--service-mark {mask:#x}: the bits must lie side by side")
                    })?)
                }
            },
            service_ranges: args.service_cidr.clone(),
            host_backends: match args.host_backends.to_str() {
                Some("dropped") => HostBackends::Dropped,
                _ => HostBackends::Cgroup(absolute(&args.host_backends)?),
            },
            hold_at_boot: args.hold_at_boot.as_deref().map(absolute).transpose()?,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no usable path", path.display()))
}
