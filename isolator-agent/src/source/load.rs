//! Reads manifests once, for commands that judge files without a daemon. Not here: watching.

use super::files::{Content, Folder};
use super::last_good::error;
use super::scan;
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{Place, Problem};
use std::fs;
use std::io;
use std::path::Path;

/// The texts of a folder, as they were when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifests {
    /// The files by name, in order.
    pub(super) files: Vec<(String, Content)>,
    /// What is wrong with sub-folders.
    problems: Vec<Problem>,
}

/// Objects and what is wrong with their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The objects, sorted by name.
    pub objects: Vec<Object>,
    /// The problems, in the order of the files.
    pub problems: Vec<Problem>,
}

impl Manifests {
    /// Reads a folder with its sub-folders, one file, or standard input where `path` is `-`.
    ///
    /// # Errors
    /// There is no such file or folder, or it cannot be read. Trouble inside is a problem of [`Manifests::load`].
    pub fn read(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Manifests::of_text("standard input", scan::read_stdin()?));
        }
        if !fs::metadata(path)?.is_dir() {
            return match scan::read(path).1 {
                Content::Bytes(bytes) => Ok(Manifests::of_text(&path.to_string_lossy(), bytes)),
                Content::Unreadable(reason) => Err(io::Error::other(reason)),
                Content::Gone => Err(io::ErrorKind::NotFound.into()),
            };
        }
        let listing = scan::list(path)?;
        let read = |file: String| {
            let content = scan::read(Path::new(&file)).1;
            (file, content)
        };
        Ok(Manifests {
            files: listing.files.into_keys().map(read).collect(),
            problems: listing
                .unreadable
                .iter()
                .map(|(path, reason)| unreadable_folder(path, reason))
                .collect(),
        })
    }

    /// One text. Its format follows from `name`: `.json` is JSON, everything else YAML (or JSON in it).
    #[must_use]
    pub fn of_text(name: &str, bytes: Vec<u8>) -> Self {
        Manifests { files: vec![(name.to_owned(), Content::Bytes(bytes))], problems: Vec::new() }
    }

    /// What the texts say.
    #[must_use]
    pub fn load(&self) -> Loaded {
        let mut folder = Folder::new();
        folder.apply(self.files.clone());
        let mut problems = folder.problems();
        problems.extend(self.problems.iter().cloned());
        Loaded { objects: folder.objects(), problems }
    }
}

/// What to say of a sub-folder that cannot be read.
pub(super) fn unreadable_folder(path: &str, reason: &str) -> Problem {
    let message = format!("the folder cannot be read ({reason}); what it said before, if anything, is kept");
    error("unreadable", Place::file(path), String::new(), message)
}
