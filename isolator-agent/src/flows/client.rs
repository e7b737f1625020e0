//! The other end of the daemon's socket. Not here: what is done with the records.

use super::filter::Filter;
use super::format::Record;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A daemon that tells us flows.
#[derive(Debug)]
pub struct Subscription {
    stream: BufReader<UnixStream>,
    /// The line that is being read.
    line: Vec<u8>,
}

impl Subscription {
    /// Asks the daemon of `run_dir` for flows.
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` when no daemon serves there.
    pub fn open(run_dir: &Path, filter: &Filter) -> io::Result<Self> {
        let mut stream = UnixStream::connect(run_dir.join(super::SOCKET))?;
        let mut request = serde_json::to_vec(filter)?;
        request.push(b'\n');
        stream.write_all(&request)?;
        Ok(Subscription { stream: BufReader::new(stream), line: Vec::new() })
    }

    /// The next record; `None` when none comes within `wait`, which must not be zero.
    ///
    /// # Errors
    /// `UnexpectedEof` when the daemon ended; `InvalidData` when it said something else than a record.
    pub fn next(&mut self, wait: Duration) -> io::Result<Option<Record>> {
        self.stream.get_ref().set_read_timeout(Some(wait))?;
        match self.stream.read_until(b'\n', &mut self.line) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if self.line.ends_with(b"\n") => {
                let record = serde_json::from_slice(&self.line).map_err(|error| {
                    let said = String::from_utf8_lossy(&self.line);
                    io::Error::new(ErrorKind::InvalidData, format!("{}: {error}", said.trim_end()))
                });
                self.line.clear();
                record.map(Some)
            }
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
