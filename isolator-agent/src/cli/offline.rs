//! A folder of manifests as a snapshot, without a daemon. Not here: reading of files (`source`).

use super::args::{FolderArgs, Global};
use crate::source;
use crate::status::Status;
use anyhow::{Context, Result, bail};
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::{Index, Options, TENANT_LABEL};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{Problem, Severity};
use std::path::PathBuf;
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
    let (folder, label) = match filename {
        Some(folder) => (folder.clone(), None),
        None => {
            let status = Status::read(&global.run_dir).with_context(|| {
                format!("cannot read the daemon's status in {}", global.run_dir.display())
            })?;
            match status {
                Some(status) if !status.manifests.as_os_str().is_empty() => {
                    (status.manifests, Some(status.tenant_label))
                }
                _ => bail!(
                    "no manifests: name a folder with -f DIR (no daemon has left its folder in {})",
                    global.run_dir.display()
                ),
            }
        }
    };
    let tenant_label = tenant_label.clone().or(label).unwrap_or_else(|| TENANT_LABEL.to_owned());
    let loaded = source::load_folder(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut index = Index::new(Options { tenant_label });
    index.apply(Change::Reset(loaded.objects));
    let snapshot = index.snapshot();
    let mut problems = loaded.problems;
    problems.extend(snapshot.problems());
    Ok(Offline { snapshot, problems, folder })
}

/// As [`load`], for commands that do not print problems themselves: says on standard error that there are some.
pub(super) fn load_and_warn(args: &FolderArgs, global: &Global) -> Result<Offline> {
    let offline = load(args, global)?;
    let errors = offline.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let count = errors.clone().count();
    if let Some(first) = errors.clone().next() {
        let more =
            if count > 1 { format!(" ({} more: isolator policy lint)", count - 1) } else { String::new() };
        eprintln!("warning: not everything is as written: {first}{more}");
    }
    Ok(offline)
}
