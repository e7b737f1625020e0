//! Writes tar archives (ustar) that depend on nothing but their content: no times, no owners, no order of a folder.
//! Not here: what is in them, reading.

/// Size of a block; everything is padded to it.
const BLOCK: usize = 512;
/// Longest name that fits into a header.
const NAME: usize = 100;

/// An archive being written.
#[derive(Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.header(path, mode, b'0', "", content.len());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.header(&format!("{path}/"), mode, b'5', "", 0);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.header(path, 0o777, b'2', target, 0);
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn header(&mut self, path: &str, mode: u32, kind: u8, target: &str, size: usize) {
        assert!(path.len() <= NAME && target.len() <= NAME, "{path} is too long a name for this writer");
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{size:011o}"));
        put(136, "00000000000");
        // The sum is taken with blanks in its own place.
        put(148, "        ");
        put(157, target);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes.extend_from_slice(&header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{command, output};
    use std::fs;

    #[test]
    fn tar_reads_what_is_written() {
        let mut tar = Tar::default();
        tar.folder("bin", 0o755);
        tar.file("bin/tool", 0o755, &[7; 513]);
        tar.link("bin/sh", "tool");
        let bytes = tar.finish();
        assert_eq!(bytes.len() % BLOCK, 0);
        let path = std::env::temp_dir().join(format!("isolator-tar-{}.tar", std::process::id()));
        fs::write(&path, &bytes).unwrap();
        let listed = output(command("tar").args(["--numeric-owner", "-tvf"]).arg(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..3], ["drwxr-xr-x", "0/0", "0"], "{listed}");
        assert_eq!((lines[1][0], lines[1][2], lines[1].last()), ("-rwxr-xr-x", "513", Some(&"bin/tool")));
        assert_eq!(lines[2][5..], ["bin/sh", "->", "tool"], "{listed}");
    }
}
