//! The daemon's side of `observe`: one thread reads the ring and serves a unix socket. A client sends one
//! line, a [`Filter`] as JSON, and is sent lines, a [`Record`](super::format::Record) each. Slow clients lose,
//! the loop never waits for one. Not here: which flows are told to whom (`fanout`).

use super::enrich::{Names, enrich};
use super::fanout::{ClientId, Fanout};
use super::filter::Filter;
use super::format::LostEvents;
use super::reader::{self, Reader};
use crate::status::Lost;
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Below its fill mark the ring wakes nobody, so it is looked at this often.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How often losses are counted, names refreshed and a missing ring looked for.
const SECOND: Duration = Duration::from_secs(1);
/// Events taken from the ring before clients get their turn.
const BATCH: usize = 8192;
/// Clients at once; more are told to go away.
const MAX_CLIENTS: usize = 64;
/// Longest first line of a client, bytes.
const MAX_REQUEST: usize = 64 * 1024;

/// What the numbers in events mean, and how many events were lost, for as long as the loop runs.
pub trait Lookup: Names {
    /// Events that were not delivered since the maps were made.
    fn lost(&self) -> Lost;
    /// Called about once a second: a chance to read changed names.
    fn refresh(&mut self) {}
}

/// Starts the thread that reads the ring under `pin_dir` and serves the socket in `run_dir`, until
/// `shutdown` is true; it looks every 50 ms. If the ring is not there yet, or read by somebody else, the
/// thread tries again every second.
///
/// # Errors
/// When the socket cannot be made.
pub fn start<L: Lookup + Send + 'static>(
    pin_dir: &Path,
    run_dir: &Path,
    names: L,
    shutdown: Arc<AtomicBool>,
) -> Result<JoinHandle<()>> {
    let socket = run_dir.join(super::SOCKET);
    let listener = listen(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    let mut server = Server {
        pin_dir: pin_dir.to_owned(),
        run_dir: run_dir.to_owned(),
        listener,
        ring: None,
        complained: false,
        names,
        known_lost: None,
        fanout: Fanout::default(),
        clients: Vec::new(),
    };
    let thread = std::thread::Builder::new().name("flows".to_owned());
    let handle = thread.spawn(move || {
        server.run(&shutdown);
        let _already_gone = fs::remove_file(&socket);
    });
    handle.context("cannot start the thread of flows")
}

/// Makes the socket under another name first: under its own name it is only there with its final mode.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    let temporary = socket.with_extension(format!("sock.{}", std::process::id()));
    let _left_from_a_crash = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    fs::rename(&temporary, socket)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Server<L> {
    pin_dir: PathBuf,
    run_dir: PathBuf,
    listener: UnixListener,
    ring: Option<Reader>,
    /// Whether it was said that the ring cannot be read.
    complained: bool,
    names: L,
    known_lost: Option<Lost>,
    fanout: Fanout,
    clients: Vec<Client>,
}

struct Client {
    stream: UnixStream,
    /// Its number, once it has said what it wants.
    id: Option<ClientId>,
    request: Vec<u8>,
    /// A line that was sent in part.
    unsent: Vec<u8>,
}

impl<L: Lookup> Server<L> {
    fn run(&mut self, shutdown: &AtomicBool) {
        let mut second: Option<Instant> = None;
        while !shutdown.load(Ordering::Relaxed) {
            if second.is_none_or(|then| then.elapsed() >= SECOND) {
                second = Some(Instant::now());
                self.every_second();
            }
            self.wait();
            self.accept();
            self.read_ring();
            let fanout = &mut self.fanout;
            self.clients.retain_mut(|client| {
                let stays = client.turn(fanout);
                if !stays && let Some(id) = client.id {
                    fanout.leave(id);
                }
                stays
            });
        }
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        if let Some(ring) = &self.ring {
            fds.push(PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN));
        }
        for client in &self.clients {
            let waits = !client.unsent.is_empty() || client.id.is_some_and(|id| self.fanout.waits(id));
            let wanted = if waits { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::new(&client.stream, wanted));
        }
        // Interrupted or not, every turn looks at everything.
        let _ready = poll(&mut fds, Some(&TICK));
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.clients.len() >= MAX_CLIENTS {
                let _gone = stream.write_all(b"{\"error\":\"too many observers; end one of them\"}\n");
                continue;
            }
            self.clients.push(Client { stream, id: None, request: Vec::new(), unsent: Vec::new() });
        }
    }

    fn read_ring(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        let boot = reader::boot();
        for event in std::iter::from_fn(|| ring.event()).take(BATCH) {
            self.fanout.flow(enrich(&event, &self.names, boot));
        }
    }

    fn every_second(&mut self) {
        self.names.refresh();
        if self.ring.is_none() {
            match Reader::open(&self.pin_dir, &self.run_dir) {
                Ok(ring) => self.ring = ring,
                Err(error) if !self.complained => {
                    self.complained = true;
                    tracing::warn!(error = format!("{error:#}"), "flows cannot be observed yet");
                }
                Err(_) => {}
            }
        }
        let now = self.names.lost();
        // What was lost before this daemon started is in `status`, and no news.
        let before = self.known_lost.replace(now).unwrap_or(now);
        for (source, count) in [
            ("rate", now.over_rate - before.over_rate.min(now.over_rate)),
            ("ring", now.ring_full - before.ring_full.min(now.ring_full)),
        ] {
            if count > 0 {
                self.fanout.lost(LostEvents { source: source.to_owned(), count });
            }
        }
    }
}

impl Client {
    /// Reads and writes what can be without waiting. False when the client is done.
    fn turn(&mut self, fanout: &mut Fanout) -> bool {
        self.read(fanout).and_then(|()| self.write(fanout)).is_ok()
    }

    fn read(&mut self, fanout: &mut Fanout) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                // One line is all that a client has to say.
                Ok(_) if self.id.is_some() => {}
                Ok(n) => self.request.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.id.is_some() {
                continue;
            }
            if let Some(end) = self.request.iter().position(|byte| *byte == b'\n') {
                match serde_json::from_slice::<Filter>(&self.request[..end]) {
                    Ok(filter) => self.id = Some(fanout.join(filter)),
                    Err(error) => return self.refuse(&format!("this is no filter: {error}")),
                }
            } else if self.request.len() > MAX_REQUEST {
                return self.refuse("the first line is too long");
            }
        }
    }

    fn refuse(&mut self, why: &str) -> io::Result<()> {
        let answer = serde_json::json!({ "error": why });
        self.stream.write_all(format!("{answer}\n").as_bytes())?;
        Err(ErrorKind::InvalidInput.into())
    }

    fn write(&mut self, fanout: &mut Fanout) -> io::Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        loop {
            if self.unsent.is_empty() {
                let Some(line) = fanout.next(id) else { return Ok(()) };
                self.unsent.extend_from_slice(line.as_bytes());
            }
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Subscription;
    use super::super::enrich::tests::Known;
    use super::super::format::Record;
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Names of the tests, and a number of lost events that a test can move.
    struct Fake(Arc<AtomicU64>);

    impl Names for Fake {
        fn rule(&self, number: u32) -> Option<String> {
            Known.rule(number)
        }
        fn identity(&self, number: u32) -> Option<String> {
            Known.identity(number)
        }
        fn endpoint(&self, ifindex: u32) -> Option<String> {
            Known.endpoint(ifindex)
        }
        fn pod_at(&self, addr: &isolator_common::addr::Addr) -> Option<String> {
            Known.pod_at(addr)
        }
    }

    impl Lookup for Fake {
        fn lost(&self) -> Lost {
            Lost { over_rate: 5, ring_full: self.0.load(Ordering::Relaxed) }
        }
    }

    #[test]
    fn a_client_hears_of_losses_others_are_refused_and_the_socket_goes_with_the_server() {
        let folder = std::env::temp_dir().join(format!("isolator-serve-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (lost, shutdown) = (Arc::new(AtomicU64::new(2)), Arc::new(AtomicBool::new(false)));
        let server = start(&folder, &folder, Fake(Arc::clone(&lost)), Arc::clone(&shutdown)).unwrap();
        let mode = fs::metadata(folder.join(super::super::SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut bad = UnixStream::connect(folder.join(super::super::SOCKET)).unwrap();
        bad.write_all(b"{\"pod\":1}\n").unwrap();
        let mut answer = String::new();
        bad.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(r#"{"error":"this is no filter: unknown field `pod`"#), "{answer}");

        let mut client = Subscription::open(&folder, &Filter::default()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let heard = loop {
            // Until the server has met the client and counted once, a loss is no news: so there are more.
            lost.fetch_add(1, Ordering::Relaxed);
            if let Some(record) = client.next(Duration::from_millis(20)).unwrap() {
                break record;
            }
            assert!(Instant::now() < deadline, "no loss was told");
        };
        assert!(matches!(&heard, Record::Lost(LostEvents { source, .. }) if source == "ring"), "{heard:?}");

        shutdown.store(true, Ordering::Relaxed);
        server.join().unwrap();
        assert!(!folder.join(super::super::SOCKET).exists());
        let ended = loop {
            match client.next(Duration::from_secs(1)) {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        fs::remove_dir_all(&folder).unwrap();
    }
}
