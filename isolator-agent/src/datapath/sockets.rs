//! The connections of a pod, read in its network namespace from the kernel's own tables
//! (`Documentation/networking/proc_net_tcp.rst`; that of UDP has the same columns). Not here: what they need
//! (`isolator_policy::datapath::adopt`); UDP sockets that serve many peers, whose peers no table shows.

use isolator_common::addr::Addr;
use isolator_common::conntrack::protocol;
use isolator_policy::datapath::adopt::Socket;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::Path;

/// The tables in `/proc/thread-self/net` of one protocol, and what the states in them mean
/// (`include/net/tcp_states.h`).
struct Kind {
    protocol: u8,
    tables: [&'static str; 2],
    /// The state of a socket that takes what any peer sends: `TCP_LISTEN`; UDP calls it `TCP_CLOSE`.
    listens: u8,
    /// States in which data may still come: established, and for TCP FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT.
    alive: &'static [u8],
}

const KINDS: [Kind; 2] = [
    Kind { protocol: protocol::TCP, tables: ["tcp", "tcp6"], listens: 10, alive: &[1, 4, 5, 8] },
    Kind { protocol: protocol::UDP, tables: ["udp", "udp6"], listens: 7, alive: &[1] },
];

/// One line of the table.
struct Line {
    local_port: u16,
    remote: Addr,
    remote_port: u16,
    state: u8,
}

/// The connections inside the namespace that `sandbox` leads to.
///
/// # Errors
/// When the namespace cannot be entered or its tables not be read.
pub fn connections(sandbox: &Path) -> io::Result<Vec<Socket>> {
    let namespace = File::open(sandbox)?;
    // A thread of its own: it never comes back from there.
    let (tables, dealt_out) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            let read = |table| fs::read_to_string(Path::new("/proc/thread-self/net").join(table));
            let both = |kind: &Kind| {
                let [v4, v6] = kind.tables;
                // A kernel without IPv6 has no such table.
                Ok(read(v4)? + &read(v6).unwrap_or_default())
            };
            let tables = KINDS.iter().map(both).collect::<io::Result<Vec<String>>>()?;
            Ok((tables, dealt_out(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?)?))
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread inside it has panicked")))
    })?;
    let found = KINDS.iter().zip(&tables).flat_map(|(kind, table)| sockets(kind, table, &dealt_out));
    Ok(found.collect())
}

/// The connections that tables of one protocol show.
fn sockets(kind: &Kind, tables: &str, dealt_out: &RangeInclusive<u16>) -> Vec<Socket> {
    let lines: Vec<Line> = tables.lines().filter_map(line).collect();
    let listening: BTreeSet<u16> =
        lines.iter().filter(|line| line.state == kind.listens).map(|line| line.local_port).collect();
    let alive = lines.iter().filter(|line| kind.alive.contains(&line.state));
    let socket = |line: &Line| Socket {
        protocol: kind.protocol,
        remote: line.remote,
        local_port: line.local_port,
        remote_port: line.remote_port,
        // A server may have closed its listener: then its port tells, which no client gets unless it asks for it.
        accepted: listening.contains(&line.local_port) || !dealt_out.contains(&line.local_port),
    };
    alive.map(socket).collect()
}

/// Ports that the kernel deals out to those who connect (`Documentation/networking/ip-sysctl.rst`).
fn dealt_out(text: &str) -> io::Result<RangeInclusive<u16>> {
    let ends: Vec<u16> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match ends[..] {
        [first, last] => Ok(first..=last),
        _ => Err(io::Error::other(format!("ip_local_port_range is no pair of ports: {text:?}"))),
    }
}

/// Reads `sl: LOCAL:PORT REMOTE:PORT STATE …`; the heading is no such line.
fn line(text: &str) -> Option<Line> {
    let mut fields = text.split_whitespace().skip(1);
    let (_, local_port) = end(fields.next()?)?;
    let (remote, remote_port) = end(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    Some(Line { local_port, remote, remote_port, state })
}

/// An address in words of the machine's byte order, and a port.
fn end(text: &str) -> Option<(Addr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let addr = match address.len() {
        8 => Addr::v4(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for (i, chunk) in bytes.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i * 8)?);
            }
            Addr(bytes)
        }
        _ => return None,
    };
    Some((addr, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_dealt_out_are_a_pair() {
        assert_eq!(dealt_out("32768\t60999\n").expect("a pair"), 32_768..=60_999);
        assert!(dealt_out("32768").is_err());
    }

    #[test]
    fn lines_of_both_families_are_read_and_the_heading_is_not() {
        assert!(
            line("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt").is_none()
        );
        let v4 = line("   0: 0A00F40A:1F90 0700F40A:C350 01 00000000:00000000 00:00000000").expect("a line");
        assert_eq!((v4.local_port, v4.remote, v4.remote_port), (8080, Addr::v4([10, 244, 0, 7]), 50_000));
        let v6 =
            line("   1: 00000000000000000000000001000000:0050 0000000000000000FFFF00000700F40A:C350 0A 0:0");
        let v6 = v6.expect("a line");
        assert_eq!((v6.local_port, v6.remote, v6.state), (80, Addr::v4([10, 244, 0, 7]), 10));
    }

    #[test]
    fn who_listens_or_has_a_port_that_nobody_is_dealt_is_a_server() {
        let table = "\
            sl local_address rem_address st\n\
            1: 0A00F40A:9000 00000000:0000 LL 0\n\
            2: 0A00F40A:9000 0700F40A:C350 01 0\n\
            3: 0A00F40A:0050 0700F40A:C351 01 0\n\
            4: 0A00F40A:9001 0700F40A:0050 01 0\n\
            5: 0A00F40A:9002 0700F40A:0050 06 0\n";
        for kind in &KINDS {
            let table = table.replace("LL", &format!("{:02X}", kind.listens));
            let found = sockets(kind, &table, &(0x9000..=0xc000));
            let short = |socket: &Socket| (socket.protocol, socket.local_port, socket.accepted);
            let wanted = [(0x9000, true), (0x50, true), (0x9001, false)];
            assert_eq!(
                found.iter().map(short).collect::<Vec<_>>(),
                wanted.map(|(port, accepted)| (kind.protocol, port, accepted))
            );
        }
    }
}
