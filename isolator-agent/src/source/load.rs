//! Reads manifests once, for commands that judge files without a daemon. Not here: watching.

use super::files::{Content, Folder, error};
use super::scan;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::Problem;
use std::fs;
use std::io;
use std::path::Path;

/// Objects and what is wrong with their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The objects, sorted by name.
    pub objects: Vec<Object>,
    /// The problems, in the order of the files.
    pub problems: Vec<Problem>,
}

/// Reads a folder with its sub-folders, one file, or standard input where `path` is `-`.
///
/// # Errors
/// There is no such file or folder, or it cannot be read. Trouble inside is a problem in the result.
pub fn load_folder(path: &Path) -> io::Result<Loaded> {
    if path.as_os_str() == "-" {
        return Ok(load_text("standard input", &scan::read_stdin()?));
    }
    if !fs::metadata(path)?.is_dir() {
        return match scan::read(path).1 {
            Content::Bytes(bytes) => Ok(load_text(&path.to_string_lossy(), &bytes)),
            Content::Unreadable(reason) => Err(io::Error::other(reason)),
            Content::Gone => Err(io::ErrorKind::NotFound.into()),
        };
    }
    let listing = scan::list(path)?;
    let mut folder = Folder::new();
    let read = |file: String| {
        let content = scan::read(Path::new(&file)).1;
        (file, content)
    };
    folder.apply(listing.files.into_keys().map(read).collect());
    let mut problems = folder.problems();
    problems.extend(listing.unreadable.iter().map(|(path, reason)| unreadable_folder(path, reason)));
    Ok(Loaded { objects: folder.objects(), problems })
}

/// Reads a text. Its format follows from `name`: `.json` is JSON, everything else YAML (or JSON in it).
#[must_use]
pub fn load_text(name: &str, bytes: &[u8]) -> Loaded {
    let mut folder = Folder::new();
    folder.update(name, Content::Bytes(bytes.to_vec()));
    Loaded { objects: folder.objects(), problems: folder.problems() }
}

/// What to say of a sub-folder that cannot be read.
pub(super) fn unreadable_folder(path: &str, reason: &str) -> Problem {
    let message = format!("the folder cannot be read ({reason}); what it said before, if anything, is kept");
    error("unreadable", path, String::new(), message)
}
