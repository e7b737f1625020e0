//! Writes an initial file system as the kernel reads it: `cpio` in its "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Not here: what is in it.

use std::collections::BTreeSet;

/// Type and permissions of a folder.
const FOLDER: u32 = 0o040_755;
/// Type and permissions of a program.
const PROGRAM: u32 = 0o100_755;
/// Name of the last entry.
const END: &str = "TRAILER!!!";

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a folder and those above it.
    pub(crate) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entry(path, FOLDER, &[]);
    }

    /// Adds a file that may be executed.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entry(path, PROGRAM, content);
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Inode, mode, user, group, links, time, size, device and special device in two parts each, length
        // of the name with its zero byte, checksum.
        let (size, name) = (content.len() as u32, path.len() as u32 + 1);
        self.bytes.extend(b"070701");
        for field in [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0] {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_lists_folders_before_files() {
        let mut archive = Archive::default();
        archive.file("/lib/a/b", b"12345");
        archive.folder("/lib/c");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let places =
            ["lib\0", "lib/a\0", "lib/a/b\0", "12345", "lib/c\0", "TRAILER!!!\0"].map(|part| text.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
        // The kernel looks for headers at multiples of four.
        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at % 4).collect();
        assert_eq!(headers, [0; 5]);
    }
}
