//! Finding and reading manifest files: `.yaml`, `.yml` and `.json` in a folder and its sub-folders. Names
//! that begin with a dot are skipped: editors' files, `.git`, and the `..data` machinery of mounted
//! ConfigMaps, whose visible symbolic links are followed. Not here: what the files say.

use super::documents::{Format, MAX_FILE_BYTES};
use super::files::Content;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last write and of the last change of the inode.
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The manifest files of a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files by path, in order. Without a stamp: something of that name is there, and is no ordinary file or
    /// cannot be looked at.
    pub(crate) files: BTreeMap<String, Option<Stamp>>,
    /// Sub-folders that could not be read, with the reason: what is in them is not known.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// Whether a name is one that we look at.
pub(crate) fn is_visible(name: &str) -> bool {
    !name.starts_with('.')
}

/// Whether a path is that of a manifest, by its name.
pub(crate) fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_visible(&name.to_string_lossy())) && Format::of(path).is_some()
}

/// A path as a key and as people read it.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Lists a folder.
///
/// # Errors
/// The folder itself is not there or cannot be read.
pub(crate) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut seen = HashSet::new();
    let meta = fs::metadata(folder)?;
    seen.insert((meta.dev(), meta.ino()));
    list_into(folder, &mut seen, &mut listing)?;
    Ok(listing)
}

fn list_into(folder: &Path, seen: &mut HashSet<(u64, u64)>, listing: &mut Listing) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_visible(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let manifest = is_manifest(&path);
        // Follows symbolic links. One into nowhere is listed: what it led to may be gone by mistake.
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                // A folder that links to one of its parents would never end.
                if seen.insert((meta.dev(), meta.ino()))
                    && let Err(error) = list_into(&path, seen, listing)
                {
                    listing.unreadable.push((text(&path), error.to_string()));
                }
            }
            Err(error)
                if !manifest
                    || error.kind() == io::ErrorKind::NotFound && !entry.file_type()?.is_symlink() => {}
            found if manifest => {
                let stamp = found.ok().filter(Metadata::is_file).map(|meta| Stamp::of(&meta));
                listing.files.insert(text(&path), stamp);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The stamp and the content of a file.
pub(crate) fn read(path: &Path) -> (Option<Stamp>, Content) {
    match read_file(path) {
        Ok((stamp, bytes)) => (Some(stamp), Content::Bytes(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(to) => {
                (None, Content::Unreadable(format!("it is a link to {}, which is not there", to.display())))
            }
            Err(_) => (None, Content::Gone),
        },
        Err(error) => (None, Content::Unreadable(error.to_string())),
    }
}

fn read_file(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    // A pipe would block at open, a device never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not an ordinary file"));
    }
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    // One byte above the limit is enough for the reader of documents to refuse it.
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((stamp, bytes))
}

/// The content of standard input, up to the limit.
pub(crate) fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
