//! One HTTP request from inside a lab, for machines without curl: prints the body, or says why there is none, with
//! curl's exit codes. Not here: a table of many (`probe`).

use super::flows::{End, Flow};
use super::netns::Netns;
use super::record::Record;
use anyhow::{Result, anyhow};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// curl: failed to connect to host.
const NOT_CONNECTED: u8 = 7;
/// curl: operation timed out.
const TIMED_OUT: u8 = 28;
/// curl: nothing was returned from the server, or receiving failed.
const NO_ANSWER: u8 = 52;
/// What is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Asks `to` for its page from the network of `from`, within `limit`.
pub(crate) fn connect(lab: &Record, from: &End, to: &End, port: u16, limit: Duration) -> Result<ExitCode> {
    let flow = Flow {
        from: from.clone(),
        to: to.clone(),
        protocol: "TCP".into(),
        port: Some(port),
        icmp_type: None,
        ip: None,
    };
    let route = flow.resolve(lab).map_err(|why| anyhow!(why))?;
    Netns::open(&route.netns)?.enter()?;
    let at = SocketAddr::new(route.target, port);
    let begun = Instant::now();
    match ask(at, limit) {
        Ok(body) => {
            io::stdout().write_all(&body)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            eprintln!("timed out: {from} to {at}, no answer after {} ms", begun.elapsed().as_millis());
            Ok(TIMED_OUT.into())
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            eprintln!("no answer: {from} to {at}: {error}");
            Ok(NO_ANSWER.into())
        }
        Err(error) => {
            eprintln!("failed to connect: {from} to {at}: {error}");
            Ok(NOT_CONNECTED.into())
        }
    }
}

/// The body of the page, or all that was said where it was no HTTP.
fn ask(at: SocketAddr, limit: Duration) -> io::Result<Vec<u8>> {
    let end = Instant::now() + limit;
    let left = || Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    let out_of_time = || io::Error::from(io::ErrorKind::TimedOut);
    let mut stream = TcpStream::connect_timeout(&at, left().ok_or_else(out_of_time)?)?;
    let host = match at.ip() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    stream.set_write_timeout(Some(left().ok_or_else(out_of_time)?))?;
    let request = format!("GET / HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left().ok_or_else(out_of_time)?))?;
        let size = stream.read(&mut piece)?;
        if size == 0 || answer.len() > LONGEST_ANSWER {
            break;
        }
        answer.extend_from_slice(&piece[..size]);
    }
    let separator = b"\r\n\r\n";
    let body = answer.windows(separator.len()).position(|window| window == separator);
    match body.filter(|_| answer.starts_with(b"HTTP/")) {
        Some(head) => Ok(answer.split_off(head + separator.len())),
        None => Ok(answer),
    }
}
