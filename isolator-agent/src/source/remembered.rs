//! The last good text of each manifest file, kept in a folder of the daemon's own: a restart must not forget what a
//! broken edit left in force. Not here: what is good (`files`), when it is asked for (`watch`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of remembered files, laid out as the folder of manifests is.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    root: PathBuf,
}

impl Remembered {
    /// The folder need not exist yet.
    pub(super) fn new(root: &Path) -> Self {
        Remembered { root: root.to_owned() }
    }

    /// What the file said when it was last good; `None` where nothing is remembered.
    pub(super) fn recall(&self, inside: &Path) -> Option<Vec<u8>> {
        fs::read(self.root.join(inside)).ok()
    }

    /// Remembers a good text, whole or not at all.
    pub(super) fn keep(&self, inside: &Path, text: &[u8]) -> io::Result<()> {
        let path = self.root.join(inside);
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // No manifest has such a name: what begins with a dot is not read.
        let draft = path.with_file_name(".draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, &path)
    }

    /// Forgets a file that was deleted.
    pub(super) fn forget(&self, inside: &Path) {
        let _nothing_was_remembered = fs::remove_file(self.root.join(inside));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_recalled_until_it_is_forgotten() {
        let root = std::env::temp_dir().join(format!("isolator-remembered-{}", std::process::id()));
        let remembered = Remembered::new(&root);
        let path = Path::new("team/policy.yaml");
        assert_eq!(remembered.recall(path), None);
        remembered.keep(path, b"one").unwrap();
        remembered.keep(path, b"two").unwrap();
        assert_eq!(remembered.recall(path).as_deref(), Some(&b"two"[..]));
        remembered.forget(path);
        assert_eq!(remembered.recall(path), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
