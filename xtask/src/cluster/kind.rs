//! `cargo xtask kind`: the cluster as kind makes it, out of Docker's containers. Where kind's node image can be fetched it
//! is used; elsewhere one is made here. Not here: how (`tests/cluster/kind`), what is tested (`suites`).

use super::images::Images;
use super::needs::{self, Daemon};
use super::{Cluster, tools};
use crate::image;
use crate::process::{exists, run, shown};
use crate::progress::step;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// How `up.sh` says that kind's node image cannot be fetched.
const NO_IMAGE: i32 = 3;

impl Cluster {
    /// Starts kind's nodes, and puts our image onto them unless they stay `bare`.
    pub(super) fn kind_up(&self, bare: bool) -> Result<()> {
        let daemon = self.kind_tools()?;
        let mut up = self.script("kind/up.sh");
        match daemon {
            // It reaches nobody who has images.
            Daemon::Private => run(self.with_image(&mut up)?.env("CLUSTER_PRIVATE", "1"))?,
            Daemon::Running => {
                let status = up.status().with_context(|| format!("cannot start {}", shown(&up)))?;
                match status.code() {
                    Some(0) => {}
                    Some(NO_IMAGE) => {
                        println!("kind's node image cannot be fetched, so one is made here");
                        run(self.with_image(&mut up)?)?;
                    }
                    _ => bail!("{} failed ({status})", shown(&up)),
                }
            }
        }
        if bare { Ok(()) } else { self.load(&[image::write()?]) }
    }

    /// Starts and interrupts some, and looks for what they leave.
    pub(super) fn kind_traces(&self) -> Result<()> {
        if self.kind_tools()? == Daemon::Running {
            bail!(
                "a Docker daemon runs already, and what it has may come from others; cure: stop it, so that one of our own is used"
            );
        }
        let mut script = self.script("traces.sh");
        run(self.with_image(script.arg("kind"))?.env("CLUSTER_PRIVATE", "1"))
    }

    /// What makes a kind cluster, and the Docker daemon for it.
    fn kind_tools(&self) -> Result<Daemon> {
        let daemon = needs::docker()?;
        self.folders()?;
        for (program, tool) in [("kind", &tools::KIND), ("kubectl", &tools::KUBECTL)] {
            if !exists(program) {
                needs::go()?;
                tools::build(&self.bin, &self.logs, [tool])?;
            }
        }
        Ok(daemon)
    }

    /// Puts what the tests start onto the nodes.
    pub(super) fn kind_tests(&self) -> Result<()> {
        needs::kind_tests()?;
        tools::build(&self.bin, &self.logs, [&tools::AGNHOST])?;
        Images { bin: &self.bin, folder: &self.images }.tests()?;
        self.load(&["agnhost.tar", "web.tar"].map(|file| self.images.join(file)))
    }

    fn load(&self, archives: &[PathBuf]) -> Result<()> {
        let mut load = self.script("kind/load.sh");
        step("loading images onto the nodes", load.args(archives), &self.logs.join("load.log"))
    }

    /// Tells `up.sh` to make a node image, out of what is built here.
    fn with_image<'a>(&self, up: &'a mut Command) -> Result<&'a mut Command> {
        needs::node_image()?;
        tools::build(&self.bin, &self.logs, tools::CLUSTER.iter().chain([&tools::KUBEADM]))?;
        let folder = self.cache().join("control-plane");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let version = tools::version_of(&tools::KUBEADM)?;
        Images { bin: &self.bin, folder: &folder }.control_plane(&version)?;
        println!("the node image is made out of Debian and what is built here (2 to 5 minutes, once)");
        Ok(up.env("CLUSTER_CONTROL_PLANE", folder))
    }
}
