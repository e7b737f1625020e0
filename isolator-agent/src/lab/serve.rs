//! What answers in the lab: a listener for every port that a pod declares. Each says who it is, so that a probe
//! knows whom it reached. Not here: who listens where (`plan`).

use super::cgroups::enter_thread;
use super::netns::Netns;
use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// IP protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(crate) const UDP: u8 = 17;
/// IP protocol number of SCTP.
pub(crate) const SCTP: u8 = 132;

/// Connections that are answered at the same time.
const AT_ONCE: usize = 1024;
/// How long a client may think about its request before it is told who it talks to.
const SILENCE: Duration = Duration::from_millis(200);
/// How long one connection may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients that may wait for a listener.
const BACKLOG: i32 = 1024;

/// Opens listeners. Clones share their bounds and their list of problems.
#[derive(Clone)]
pub(crate) struct Server {
    slots: Arc<Semaphore>,
    problems: Arc<Mutex<Vec<String>>>,
}

/// Listeners of one pod; they close when this is dropped.
pub(crate) struct Listeners {
    _tasks: JoinSet<()>,
}

enum Socket {
    Stream(OwnedFd),
    Datagram(OwnedFd),
}

impl Server {
    /// A server with nothing to serve yet.
    pub(crate) fn new() -> Self {
        Server { slots: Arc::new(Semaphore::new(AT_ONCE)), problems: Arc::default() }
    }

    /// Listeners that could not be opened, since the last call.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.lock().map(|mut problems| std::mem::take(&mut *problems)).unwrap_or_default()
    }

    /// Listens inside `netns`, and in `cgroup` if there is one, on every port at every address. `who` is the answer.
    pub(crate) fn listen(
        &self,
        netns: &Netns,
        cgroup: Option<&Path>,
        who: &str,
        addresses: &[IpAddr],
        ports: &[(u8, u16)],
    ) -> Result<Listeners> {
        let sockets = netns.run(|| {
            if let Some(cgroup) = cgroup {
                enter_thread(cgroup)?;
            }
            let mut sockets = Vec::new();
            for (protocol, port) in ports {
                for address in addresses {
                    let at = SocketAddr::new(*address, *port);
                    sockets.push((*protocol, at, open(*protocol, at)));
                }
            }
            Ok(sockets)
        })?;
        let mut tasks = JoinSet::new();
        for (protocol, at, socket) in sockets {
            let line: Arc<str> = format!("{who} {}\n", at.port()).into();
            match socket {
                Ok(Socket::Stream(socket)) => {
                    let socket = std::net::TcpListener::from(socket);
                    let listener = TcpListener::from_std(socket).context("cannot serve a socket")?;
                    tasks.spawn(accept(listener, line, who.into(), Arc::clone(&self.slots)));
                }
                Ok(Socket::Datagram(socket)) => {
                    let socket = std::net::UdpSocket::from(socket);
                    let socket = UdpSocket::from_std(socket).context("cannot serve a socket")?;
                    tasks.spawn(answer_datagrams(socket, line));
                }
                Err(error) => {
                    let why = match (protocol, error.raw_os_error().map(rustix::io::Errno::from_raw_os_error))
                    {
                        (SCTP, Some(rustix::io::Errno::PROTONOSUPPORT)) => {
                            "this kernel has no SCTP".to_string()
                        }
                        _ => error.to_string(),
                    };
                    let problem = format!("{who}: no listener at {at}, protocol {protocol}: {why}");
                    if let Ok(mut problems) = self.problems.lock() {
                        problems.push(problem);
                    }
                }
            }
        }
        Ok(Listeners { _tasks: tasks })
    }
}

/// A socket of the calling thread's namespace, non-blocking, for a client or a server.
pub(crate) fn socket(protocol: u8, at: IpAddr) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match protocol {
        TCP => (SocketType::STREAM, ipproto::TCP),
        SCTP => (SocketType::STREAM, ipproto::SCTP),
        UDP => (SocketType::DGRAM, ipproto::UDP),
        other => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("protocol {other} has no ports")));
        }
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, kind, flags, Some(protocol))?)
}

fn open(protocol: u8, at: SocketAddr) -> io::Result<Socket> {
    let socket = socket(protocol, at.ip())?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == UDP {
        rustix::net::bind(&socket, &at)?;
        return Ok(Socket::Datagram(socket));
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &at)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Socket::Stream(socket))
}

async fn accept(listener: TcpListener, line: Arc<str>, who: Arc<str>, slots: Arc<Semaphore>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, most likely: some will be closed soon.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (line, who) = (Arc::clone(&line), Arc::clone(&who));
        tokio::spawn(async move {
            // A client that gives up is no news.
            let _ = tokio::time::timeout(PATIENCE, answer(stream, &line, &who)).await;
            drop(slot);
        });
    }
}

/// Answers one client: a page to a browser, a line to everybody else, at once or when they have spoken.
async fn answer(mut stream: TcpStream, line: &str, who: &str) -> io::Result<()> {
    let mut request = [0; 1024];
    let asked = tokio::time::timeout(SILENCE, stream.read(&mut request)).await;
    let asked = request.get(..asked.unwrap_or(Ok(0))?).unwrap_or_default();
    if asked.starts_with(b"GET ") || asked.starts_with(b"HEAD ") || asked.starts_with(b"POST ") {
        let page = format!("<title>{who}</title>\n");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        let body = if asked.starts_with(b"HEAD ") { "" } else { &page };
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
    } else {
        stream.write_all(line.as_bytes()).await?;
    }
    stream.shutdown().await?;
    // Whatever else the client says is heard: closing before that would reset the connection, and the client
    // might lose the answer.
    while stream.read(&mut request).await? > 0 {}
    Ok(())
}

async fn answer_datagrams(socket: UdpSocket, line: Arc<str>) {
    let mut request = [0; 1024];
    loop {
        // An error is that of an earlier answer (its receiver is gone), and is of no use here.
        if let Ok((_, client)) = socket.recv_from(&mut request).await {
            let _ = socket.try_send_to(line.as_bytes(), client);
        }
    }
}
