//! Manifests as a snapshot: of a folder that was named, or of the one that the daemon watches, then with all that
//! the daemon adds to it. Not here: reading of files (`source`).

use super::args::{FolderArgs, Global};
use crate::datapath::discover::local_addresses;
use crate::enforce::read_placements;
use crate::source::placement::Overlay;
use crate::status::Status;
use crate::{lab, source};
use anyhow::{Context, Result, bail};
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options, TENANT_LABEL};
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
    /// Where it was read from.
    pub(super) folder: PathBuf,
}

/// Reads the folder that was named, or the one that the daemon watches.
pub(super) fn load(args: &FolderArgs, global: &Global) -> Result<Offline> {
    let FolderArgs { filename, tenant_label } = args;
    let (folder, changes, mut problems, label) = match filename {
        Some(folder) => {
            let mut loaded = read(folder)?;
            lab::place(&mut loaded.objects);
            (folder.clone(), vec![Change::Reset(loaded.objects)], loaded.problems, None)
        }
        None => {
            let Some(status) = daemon(global)? else {
                bail!(
                    "no manifests: name a folder with -f DIR (no daemon has left its folder in {})",
                    global.run_dir.display()
                );
            };
            let (changes, problems) = watched(&status)?;
            (status.manifests, changes, problems, Some(status.tenant_label))
        }
    };
    let tenant_label = tenant_label.clone().or(label).unwrap_or_else(|| TENANT_LABEL.to_owned());
    let snapshot = snapshot(tenant_label, changes);
    problems.extend(snapshot.problems());
    Ok(Offline { snapshot, problems, folder })
}

fn snapshot(tenant_label: String, changes: Vec<Change>) -> Arc<Snapshot> {
    let mut index = Index::new(Options { tenant_label });
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
    Some(snapshot(status.tenant_label, changes))
}

/// As [`load`], for commands that do not print problems themselves: says on standard error that there are some.
pub(super) fn load_and_warn(args: &FolderArgs, global: &Global) -> Result<Offline> {
    let offline = load(args, global)?;
    warn(&offline.problems);
    Ok(offline)
}

/// Says on standard error that not everything is as written.
pub(super) fn warn(problems: &[Problem]) {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let count = errors.clone().count();
    if let Some(first) = errors.clone().next() {
        let more =
            if count > 1 { format!(" ({} more: isolator policy lint)", count - 1) } else { String::new() };
        eprintln!("warning: not everything is as written: {first}{more}");
    }
}

/// What the daemon says of itself; `None` where none has run.
pub(super) fn daemon(global: &Global) -> Result<Option<Status>> {
    let status = Status::read(&global.run_dir)
        .with_context(|| format!("cannot read the daemon's status in {}", global.run_dir.display()))?;
    Ok(status.filter(|status| !status.manifests.as_os_str().is_empty()))
}

/// What the daemon makes of the folder that it watches, and what is wrong there.
pub(super) fn watched(status: &Status) -> Result<(Vec<Change>, Vec<Problem>)> {
    let source::Loaded { objects, mut problems } = read(&status.manifests)?;
    let mut overlay = Overlay::new(&status.node, local_addresses()?.into_iter().collect());
    let mut changes = overlay.change(Change::Reset(objects));
    match status.placements.as_deref().map(read_placements) {
        Some(Ok(placements)) => changes.extend(overlay.place(placements)),
        Some(Err(problem)) => problems.push(problem),
        None => {}
    }
    Ok((changes, problems))
}

fn read(folder: &Path) -> Result<source::Loaded> {
    source::load_folder(folder).with_context(|| format!("cannot read {}", folder.display()))
}
