//! `cargo xtask cluster` and `kind`: a real Kubernetes cluster of several nodes on this machine, with our DaemonSet on it.
//! Nodes are namespaces, made by the scripts in `tests/cluster`, or kind's containers (`kind`); what runs in the former is
//! built here, once. Not here: how a node is made (`up.sh`), what the tests are (`suites`).

mod images;
mod kind;
mod needs;
mod other;
mod suites;
mod tools;

pub(crate) use suites::Selection;

use crate::image;
use crate::process::{command, root, run, target_dir};
use crate::progress::{seconds, step};
use crate::test::Count;
use anyhow::{Context as _, Result, bail};
use images::Images;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What a person wants of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Build what takes long, once.
    Build,
    /// Start it; without our DaemonSet when `bare`.
    Up { bare: bool },
    /// Start and interrupt some, and look for what they leave.
    Traces,
    /// Run tests on it.
    Test(Selection),
    /// End it.
    Down,
}

/// What its nodes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Namespaces of this machine.
    Namespaces,
    /// Containers of Docker, made by kind.
    Kind,
}

impl Place {
    /// The command of `cargo xtask`, and the folder below `target`.
    const fn name(self) -> &'static str {
        match self {
            Place::Namespaces => "cluster",
            Place::Kind => "kind",
        }
    }

    /// Whether it has what one of our own tests takes hold of: most want nodes that end, start and obey as ours do.
    pub(crate) fn runs(self, test: &str) -> bool {
        self == Place::Namespaces || test == "tenants"
    }
}

/// Does it. `Ok(false)`: tests failed.
pub(crate) fn act(place: Place, action: &Action) -> Result<bool> {
    let cluster = Cluster::new(place);
    match action {
        Action::Up { bare } => cluster.up(*bare).map(|()| true),
        Action::Test(selection) => suites::run(&cluster, selection).map(|count| count.failed == 0),
        Action::Traces => cluster.traces().map(|()| true),
        Action::Build => cluster.build().map(|()| true),
        Action::Down => cluster.down().map(|()| true),
    }
}

/// Why a sample cannot be run here and now, with the cure. What is built once is not built for it: that takes longer
/// than all other tests together.
pub(crate) fn not_ready() -> Result<Option<String>> {
    let cluster = Cluster::new(Place::Namespaces);
    if let Err(missing) = needs::check() {
        return Ok(Some(format!("{missing:#}")));
    }
    if !tools::built(&cluster.bin, &tools::CLUSTER)? || !tools::built(&cluster.bin, &tools::E2E)? {
        return Ok(Some(
            "Kubernetes and its end-to-end suite are not built yet; cure: cargo xtask cluster build (once, 15 to 30 minutes)"
                .to_owned(),
        ));
    }
    Ok(cluster
        .runs()
        .then(|| "a cluster of this folder runs already; cure: cargo xtask cluster down".to_owned()))
}

/// A tenth of the tests, on a cluster that lives no longer.
pub(crate) fn sample() -> Result<Count> {
    let cluster = Cluster::new(Place::Namespaces);
    let tested = cluster
        .up(false)
        .and_then(|()| suites::run(&cluster, &Selection { sample: true, ..Selection::default() }));
    let down = cluster.down();
    let count = tested?;
    down.map(|()| count)
}

/// Where everything of the cluster is.
pub(crate) struct Cluster {
    place: Place,
    /// Programs, built once for each version.
    bin: PathBuf,
    images: PathBuf,
    /// What lives as long as the cluster.
    folder: PathBuf,
    logs: PathBuf,
}

impl Cluster {
    fn new(place: Place) -> Cluster {
        // What is built is the same for both.
        let [built, own] = [Place::Namespaces, place].map(|place| target_dir().join(place.name()));
        Cluster {
            place,
            bin: built.join("bin"),
            images: built.join("images"),
            folder: own.join("run"),
            logs: own.join("logs"),
        }
    }

    /// Builds what others wrote, upstream's suite included.
    fn build(&self) -> Result<()> {
        self.programs()?;
        tools::build(&self.bin, &self.logs, &tools::E2E)?;
        println!("all of it is built, in {}", self.bin.display());
        Ok(())
    }

    fn folders(&self) -> Result<()> {
        for folder in [&self.bin, &self.images, &self.logs] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// What outlives a cluster and belongs to no other kind of it.
    fn cache(&self) -> PathBuf {
        target_dir().join(self.place.name())
    }

    fn programs(&self) -> Result<()> {
        needs::check()?;
        self.folders()?;
        tools::build(&self.bin, &self.logs, &tools::CLUSTER)
    }

    /// Builds everything that a cluster runs.
    fn prepare(&self) -> Result<()> {
        self.programs()?;
        Images { bin: &self.bin, folder: &self.images }.all()?;
        let ours = image::write()?;
        for (from, to) in
            [(ours, self.images.join("isolator.tar")), (image::program(), self.bin.join("isolator"))]
        {
            fs::copy(&from, &to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        }
        Ok(())
    }

    fn up(&self, bare: bool) -> Result<()> {
        let start = Instant::now();
        match self.place {
            Place::Namespaces => {
                self.prepare()?;
                run(&mut self.script("up.sh"))?;
            }
            Place::Kind => self.kind_up(bare)?,
        }
        if !bare {
            self.deploy()?;
        }
        println!("the cluster is up after {}. A shell that talks to it:", seconds(start.elapsed()));
        let folder = match self.place {
            Place::Namespaces => String::new(),
            Place::Kind => format!("CLUSTER_DIR={} ", self.folder.display()),
        };
        println!("  {folder}{}/tests/cluster/kubectl.sh get pods -A", root().display());
        Ok(())
    }

    fn down(&self) -> Result<()> {
        run(&mut self.script(match self.place {
            Place::Namespaces => "down.sh",
            Place::Kind => "kind/down.sh",
        }))
    }

    fn runs(&self) -> bool {
        self.folder.join("kubeconfig").exists()
    }

    fn traces(&self) -> Result<()> {
        if self.folder.exists() {
            bail!("a cluster runs; cure: cargo xtask {} down", self.place.name());
        }
        match self.place {
            Place::Namespaces => {
                self.prepare()?;
                run(&mut self.script("traces.sh"))
            }
            Place::Kind => self.kind_traces(),
        }
    }

    /// Rolls our DaemonSet out and waits until every node enforces.
    fn deploy(&self) -> Result<()> {
        step("rolling the DaemonSet out", &mut self.script("deploy.sh"), &self.logs.join("deploy.log"))
    }

    /// A script of `tests/cluster`, with the settings that all of them read.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut script = command(&root().join("tests/cluster").join(name).display().to_string());
        script
            .env("CLUSTER_DIR", &self.folder)
            .env("CLUSTER_BIN", &self.bin)
            .env("CLUSTER_IMAGES", &self.images)
            .env("CLUSTER_LOGS", &self.logs)
            .env("CLUSTER_OTHER", self.other())
            .env("CLUSTER_CACHE", self.cache());
        script
    }

    /// Archive of another build of ours; nodes do not load it when they start.
    fn other(&self) -> PathBuf {
        self.bin.with_file_name("other.tar")
    }

    /// # Errors
    /// When there is no cluster to test.
    fn must_run(&self) -> Result<()> {
        if !self.runs() {
            bail!("there is no cluster; cure: cargo xtask {} up", self.place.name());
        }
        Ok(())
    }
}
