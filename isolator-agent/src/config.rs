//! From what was typed to what the daemon needs: paths made absolute, the node's name found. No I/O beyond
//! that. Not here: flags (`cli::args`).

use crate::cli::args::{Global, RunArgs, Startup};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this node.
    pub node: String,
    /// Folder of manifests.
    pub manifests: PathBuf,
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
    /// No TCX.
    pub force_clsact: bool,
}

impl Config {
    /// Makes sense of the flags of `isolator run`.
    ///
    /// # Errors
    /// When a folder has no absolute path, or the node has no name.
    pub fn new(global: &Global, args: &RunArgs) -> Result<Config> {
        let Some(manifests) = &args.manifests else {
            bail!("--manifests DIR is needed: the folder whose policies are enforced");
        };
        let node = match &args.node {
            Some(node) => node.clone(),
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        if node.is_empty() {
            bail!("this machine has no host name: say --node NAME");
        }
        Ok(Config {
            node,
            manifests: absolute(manifests)?,
            placements: args.placements.as_deref().map(absolute).transpose()?,
            sandboxes: absolute(&args.sandboxes)?,
            pin_dir: absolute(&global.pin_dir)?,
            run_dir: absolute(&global.run_dir)?,
            tenant_label: args.tenant_label.clone(),
            permissive: args.startup == Startup::Permissive,
            force_clsact: args.force_clsact,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no usable path", path.display()))
}
