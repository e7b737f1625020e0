//! Manifests as a snapshot: of a folder that was named, or of the one that the daemon watches, then with all that
//! the daemon adds to it. Not here: reading of files (`source`).

use super::args::{FolderArgs, Global};
use crate::datapath::discover::local_addresses;
use crate::lab;
use crate::source::placement::Overlay;
use crate::source::placement_file::read_placements;
use crate::source::{Loaded, Manifests, prefix};
use crate::status::Status;
use anyhow::{Context, Result, bail};
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{Problem, Severity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a folder says.
pub(super) struct Offline {
    /// The objects, taken together.
    pub(super) snapshot: Arc<Snapshot>,
    /// What could not be read, or is not as written.
    pub(super) problems: Vec<Problem>,
    /// The texts that say it.
    pub(super) manifests: Manifests,
    /// Where it was read from.
    pub(super) folder: PathBuf,
}

/// Reads the folder that was named, or the one that the daemon watches.
pub(super) fn load(args: &FolderArgs, global: &Global) -> Result<Offline> {
    let FolderArgs { filename, tenant_label } = args;
    let (folder, manifests, changes, mut problems, daemon_options) = match filename {
        Some(folder) => {
            let manifests = read(folder)?;
            let mut loaded = manifests.load();
            lab::place(&mut loaded.objects);
            (folder.clone(), manifests, vec![Change::Reset(loaded.objects)], loaded.problems, None)
        }
        None => {
            let Some(status) = daemon(global)? else {
                bail!(
                    "no manifests: name a folder with -f DIR (no daemon has left its folder in {})",
                    global.run_dir.display()
                );
            };
            let manifests = read(&status.manifests)?;
            let (changes, problems) = taken(&status, &manifests)?;
            let options = options(&status);
            (status.manifests, manifests, changes, problems, Some(options))
        }
    };
    let mut options = daemon_options.unwrap_or_default();
    options.tenant_label = tenant_label.clone().unwrap_or(options.tenant_label);
    let snapshot = snapshot(options, changes);
    problems.extend(snapshot.problems());
    Ok(Offline { snapshot, problems, manifests, folder })
}

/// What the daemon was told.
pub(super) fn options(status: &Status) -> Options {
    Options {
        tenant_label: status.tenant_label.clone(),
        service_ranges: status.service_ranges.iter().filter_map(|text| prefix(text).ok()).collect(),
        ..Options::default()
    }
}

fn snapshot(options: Options, changes: Vec<Change>) -> Arc<Snapshot> {
    let mut index = Index::new(options);
    for change in changes {
        index.apply(change);
    }
    index.snapshot()
}

/// The cluster as the daemon's folder has it now; `None` where nothing is known. For names, so nothing is said of
/// what is wrong there.
pub(super) fn last_known(global: &Global) -> Option<Arc<Snapshot>> {
    let status = daemon(global).ok()??;
    let (changes, _) = watched(&status).ok()?;
    Some(snapshot(options(&status), changes))
}

/// As [`load`], for commands that do not print problems themselves: says on standard error that there are some.
pub(super) fn load_and_warn(args: &FolderArgs, global: &Global) -> Result<Offline> {
    let offline = load(args, global)?;
    warn(&offline.problems, &[]);
    Ok(offline)
}

/// Says on standard error that not everything is as written, and the first of it: in these namespaces, if there is
/// something, else in what no namespace has.
pub(super) fn warn(problems: &[Problem], namespaces: &[&str]) {
    let errors = || problems.iter().filter(|problem| problem.severity == Severity::Error);
    let distance = |problem: &&Problem| {
        let (kind, name) = problem.object.split_once(' ').unwrap_or_default();
        match name.split_once('/') {
            Some((namespace, _)) if namespaces.contains(&namespace) => 0,
            None if kind == "Namespace" && namespaces.contains(&name) => 0,
            None => 1,
            Some(_) => 2,
        }
    };
    let Some(first) = errors().min_by_key(distance) else { return };
    let more = match errors().count() {
        1 => String::new(),
        count => format!(" ({} more: isolator policy lint)", count - 1),
    };
    eprintln!("warning: not everything is as written: {first}{more}");
}

/// What the daemon says of itself; `None` where none has run.
pub(super) fn daemon(global: &Global) -> Result<Option<Status>> {
    let status = Status::read(&global.run_dir)
        .with_context(|| format!("cannot read the daemon's status in {}", global.run_dir.display()))?;
    Ok(status.filter(|status| !status.manifests.as_os_str().is_empty()))
}

/// What the daemon makes of the folder that it watches, and what is wrong there.
pub(super) fn watched(status: &Status) -> Result<(Vec<Change>, Vec<Problem>)> {
    taken(status, &read(&status.manifests)?)
}

fn taken(status: &Status, manifests: &Manifests) -> Result<(Vec<Change>, Vec<Problem>)> {
    let Loaded { objects, mut problems } = manifests.load();
    let mut overlay = Overlay::new(&status.node, local_addresses()?.into_iter().collect());
    let mut changes = overlay.change(Change::Reset(objects));
    match status.placements.as_deref().map(read_placements) {
        Some(Ok(placements)) => changes.extend(overlay.place(placements)),
        Some(Err(problem)) => problems.push(problem),
        None => {}
    }
    Ok((changes, problems))
}

fn read(folder: &Path) -> Result<Manifests> {
    Manifests::read(folder).with_context(|| format!("cannot read {}", folder.display()))
}
