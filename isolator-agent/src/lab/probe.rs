//! Sends real packets and says what became of them. Not here: which flows (`flows`, `matrix`).

use super::flows::{End, Flow, ICMP, ICMPV6, Route};
use super::netns::Netns;
use super::record::Record;
use super::serve::{UDP, socket};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Threads that probe; each is inside one sender's namespace at a time.
const SENDERS: usize = 16;
/// Flows of one sender that are tried at the same time.
const FLOWS_OF_SENDER: usize = 32;
/// A connection that was accepted may wait this many times longer for the listener's line: what is tried is the
/// network, not the speed of this machine.
const LINE_PATIENCE: u32 = 10;
/// What a client says. Any answer will do.
const REQUEST: &[u8] = b"probe\n";

/// How to probe.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long to wait for an answer from the other end.
    pub timeout: Duration,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The answer of the listener arrived.
    Connected,
    /// Nothing came back.
    Timeout,
    /// The other end answered that nobody listens there.
    Refused,
    /// It could not be tried, or something else happened.
    Error,
}

/// What became of a flow, and how that was known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The flow.
    #[serde(flatten)]
    pub flow: Flow,
    /// Where it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What became of it.
    pub result: Verdict,
    /// More about it, empty where there is no more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

type Answer = (Verdict, String);

/// Tries all `flows` and returns the outcomes in their order. Takes as long as [`Settings::timeout`] allows for
/// each, many at a time.
#[must_use]
pub fn probe(lab: &Record, flows: &[Flow], settings: Settings) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; flows.len()];
    let mut work: BTreeMap<PathBuf, Vec<(usize, Route)>> = BTreeMap::new();
    for (index, flow) in flows.iter().enumerate() {
        match flow.resolve(lab) {
            Ok(route) => work.entry(route.netns.clone()).or_default().push((index, route)),
            Err(why) => outcomes[index] = Some(outcome(flow, None, (Verdict::Error, why), Duration::ZERO)),
        }
    }
    let threads = work.len().min(SENDERS);
    let queue: Mutex<VecDeque<_>> = Mutex::new(work.into_iter().collect());
    let next = || queue.lock().ok()?.pop_front();
    let results = std::thread::scope(|scope| {
        let worker = || {
            let mut results = Vec::new();
            while let Some((netns, routes)) = next() {
                results.extend(probe_from(&netns, routes, settings));
            }
            results
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect::<Vec<_>>()
    });
    for (index, address, answer, took) in results {
        outcomes[index] = Some(outcome(&flows[index], Some(address), answer, took));
    }
    let lost = || (Verdict::Error, "the thread that tried it failed".to_string());
    let complete = |(index, found): (usize, Option<Outcome>)| {
        found.unwrap_or_else(|| outcome(&flows[index], None, lost(), Duration::ZERO))
    };
    outcomes.into_iter().enumerate().map(complete).collect()
}

fn outcome(flow: &Flow, address: Option<IpAddr>, (result, detail): Answer, took: Duration) -> Outcome {
    let address = address.filter(|_| !matches!(flow.to, End::Address(_)));
    Outcome { flow: flow.clone(), address, result, detail, ms: took.as_millis() as u64 }
}

/// A flow's place in the list, where it was sent, what came of it, and how long it took.
type Tried = (usize, IpAddr, Answer, Duration);

/// Tries the flows of one sender, on the calling thread, which stays in the sender's namespace.
fn probe_from(netns: &Path, routes: Vec<(usize, Route)>, settings: Settings) -> Vec<Tried> {
    let inside = Netns::open(netns).and_then(|netns| netns.enter());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match (inside, runtime) {
        (Ok(()), Ok(runtime)) => runtime,
        (Err(error), _) => return fail(routes, &format!("{error:#}")),
        (_, Err(error)) => return fail(routes, &error.to_string()),
    };
    runtime.block_on(async {
        let (mut waiting, mut running, mut results) = (routes.into_iter(), JoinSet::new(), Vec::new());
        loop {
            while running.len() < FLOWS_OF_SENDER
                && let Some((index, route)) = waiting.next()
            {
                running.spawn(try_one(index, route, settings));
            }
            match running.join_next().await {
                Some(Ok(result)) => results.push(result),
                Some(Err(_)) => {}
                None => return results,
            }
        }
    })
}

fn fail(routes: Vec<(usize, Route)>, why: &str) -> Vec<Tried> {
    let failed = |(index, route): (usize, Route)| {
        (index, route.target, (Verdict::Error, why.to_string()), Duration::ZERO)
    };
    routes.into_iter().map(failed).collect()
}

async fn try_one(index: usize, route: Route, settings: Settings) -> Tried {
    let begun = Instant::now();
    let answer = match route.protocol {
        UDP | ICMP | ICMPV6 => try_datagram(&route, settings).await,
        _ => try_stream(&route, settings).await,
    };
    (index, route.target, answer.unwrap_or_else(|error| judge_error(&error)), begun.elapsed())
}

async fn try_stream(route: &Route, settings: Settings) -> io::Result<Answer> {
    let stream = std::net::TcpStream::from(connect(route)?);
    let mut stream = TcpStream::from_std(stream)?;
    if timeout(settings.timeout, stream.writable()).await.is_err() {
        return Ok((Verdict::Timeout, String::new()));
    }
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    let exchange = async {
        stream.write_all(REQUEST).await?;
        let mut line = Vec::new();
        stream.read_to_end(&mut line).await?;
        Ok(judge_line(&line, route))
    };
    match timeout(settings.timeout * LINE_PATIENCE, exchange).await {
        Ok(answer) => answer,
        Err(_) => Ok((Verdict::Timeout, "the connection was accepted, but no answer came".to_string())),
    }
}

async fn try_datagram(route: &Route, settings: Settings) -> io::Result<Answer> {
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(connect(route)?))?;
    // An echo request (RFC 792, RFC 4443): the kernel fills in the checksum and the identifier.
    let request: &[u8] = match route.protocol {
        ICMP => &[8, 0, 0, 0, 0, 0, 0, 1],
        ICMPV6 => &[128, 0, 0, 0, 0, 0, 0, 1],
        _ => REQUEST,
    };
    let exchange = async {
        let mut line = [0; 512];
        loop {
            socket.send(request).await?;
            // Once more now and then: a datagram may be lost for want of room, and that says nothing.
            if let Ok(size) = timeout(settings.timeout / 3, socket.recv(&mut line)).await {
                let line = line.get(..size?).unwrap_or_default();
                return Ok(judge_line(line, route));
            }
        }
    };
    timeout(settings.timeout, exchange).await.unwrap_or_else(|_| Ok((Verdict::Timeout, String::new())))
}

/// A socket of the calling thread's namespace that is being connected.
fn connect(route: &Route) -> io::Result<OwnedFd> {
    let socket = match route.protocol {
        ICMP | ICMPV6 => echo_socket(route.protocol)?,
        other => socket(other, route.target)?,
    };
    if let Some(source) = route.source {
        rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match rustix::net::connect(&socket, &SocketAddr::new(route.target, route.port)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

fn echo_socket(protocol: u8) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    let (family, protocol) = match protocol {
        ICMP => (AddressFamily::INET, ipproto::ICMP),
        _ => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::DGRAM, flags, Some(protocol))?)
}

/// Whether the answer is that of the pod that was meant.
fn judge_line(line: &[u8], route: &Route) -> Answer {
    let line = String::from_utf8_lossy(line);
    match &route.answers {
        Some(pod) if line.trim_end() != format!("{pod} {}", route.port) => {
            (Verdict::Error, format!("the answer is not that of {pod}: {:?}", line.trim_end()))
        }
        _ => (Verdict::Connected, String::new()),
    }
}

fn judge_error(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (Verdict::Refused, String::new()),
        // The kernel gave up by itself, before the time-out.
        io::ErrorKind::TimedOut => (Verdict::Timeout, String::new()),
        _ => (Verdict::Error, error.to_string()),
    }
}
