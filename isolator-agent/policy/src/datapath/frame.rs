//! Builds Ethernet frames: for engines that judge flows, for tests and benchmarks. Lengths and checksums
//! are right unless a test asks otherwise. Not here: parsing (`isolator_common::packet`), sending.
//!
//! ```
//! use isolator_common::addr::Addr;
//! use isolator_policy::datapath::frame::Frame;
//! let (a, b) = (Addr::v4([10, 0, 0, 1]), Addr::v4([10, 0, 0, 2]));
//! let syn = Frame::tcp(a, b, 40000, 80, Frame::SYN).vlan(7).bytes();
//! let error = Frame::icmp(b, a, 3, 1).quoting(&Frame::udp(a, b, 40000, 53)).bytes();
//! # assert_eq!((syn.len(), error.len()), (18 + 40, 14 + 28 + 28));
//! ```

use isolator_common::addr::Addr;
use isolator_common::conntrack::{protocol, tcp};

/// Where a fragment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fragment {
    identification: u32,
    /// Offset in units of 8 bytes.
    place: u16,
    more: bool,
}

/// An IP packet in an Ethernet frame, under construction. Both addresses are of one family: IPv4 if the
/// source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    tags: Vec<(u16, u16)>,
    source: Addr,
    destination: Addr,
    hop_limit: u8,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<Fragment>,
    protocol: u8,
    /// Transport header and payload, its checksum still 0.
    transport: Vec<u8>,
    /// Where the transport's checksum goes; `None` for unknown protocols and SCTP (CRC32c, left 0).
    checksum: Option<usize>,
}

/// The source port of [`Frame::flow`].
pub const CLIENT_PORT: u16 = 40000;

impl Frame {
    /// TCP flags of the first packet of a connection.
    pub const SYN: u8 = tcp::SYN;
    /// TCP flags of the answer to it.
    pub const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
    /// TCP flags of most packets.
    pub const ACK: u8 = tcp::ACK;

    /// Any protocol: `transport` is all that follows the IP header.
    #[must_use]
    pub fn other(source: Addr, destination: Addr, protocol: u8, transport: &[u8]) -> Self {
        Frame {
            tags: Vec::new(),
            source,
            destination,
            hop_limit: 64,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            protocol,
            transport: transport.to_vec(),
            checksum: None,
        }
    }

    /// TCP with the given flags and no payload.
    #[must_use]
    pub fn tcp(source: Addr, destination: Addr, source_port: u16, destination_port: u16, flags: u8) -> Self {
        let mut head = ports(source_port, destination_port);
        // Sequence and acknowledgement 0; header of 20 bytes; window.
        head.extend([0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        Frame { checksum: Some(16), ..Frame::other(source, destination, protocol::TCP, &head) }
    }

    /// UDP with no payload.
    #[must_use]
    pub fn udp(source: Addr, destination: Addr, source_port: u16, destination_port: u16) -> Self {
        let mut head = ports(source_port, destination_port);
        head.extend([0, 8, 0, 0]);
        Frame { checksum: Some(6), ..Frame::other(source, destination, protocol::UDP, &head) }
    }

    /// SCTP: the common header alone.
    #[must_use]
    pub fn sctp(source: Addr, destination: Addr, source_port: u16, destination_port: u16) -> Self {
        let mut head = ports(source_port, destination_port);
        head.extend([0; 8]);
        Frame::other(source, destination, protocol::SCTP, &head)
    }

    /// ICMP or ICMPv6, by the family of `source`; the rest of the header is 0.
    #[must_use]
    pub fn icmp(source: Addr, destination: Addr, kind: u8, code: u8) -> Self {
        let protocol = if source.is_v4() { protocol::ICMP } else { protocol::ICMPV6 };
        Frame {
            checksum: Some(2),
            ..Frame::other(source, destination, protocol, &[kind, code, 0, 0, 0, 0, 0, 0])
        }
    }

    /// An echo request, or the reply to it.
    #[must_use]
    pub fn echo(source: Addr, destination: Addr, identifier: u16, reply: bool) -> Self {
        let kind = match (source.is_v4(), reply) {
            (true, false) => 8,
            (true, true) => 0,
            (false, false) => 128,
            (false, true) => 129,
        };
        let mut frame = Frame::icmp(source, destination, kind, 0);
        frame.transport[4..6].copy_from_slice(&identifier.to_be_bytes());
        frame
    }

    /// A neighbour solicitation or advertisement for `target`, or a router's message: hop limit 255, no options.
    #[must_use]
    pub fn neighbour(source: Addr, destination: Addr, kind: u8, target: Addr) -> Self {
        Frame::icmp(source, destination, kind, 0).hop_limit(255).payload(&target.0)
    }

    /// The first packet of a flow. `port` is the destination port; for ICMP and ICMPv6 the type; for protocols
    /// without either it does not count.
    #[must_use]
    pub fn flow(source: Addr, destination: Addr, protocol: u8, port: u16) -> Self {
        match protocol {
            protocol::TCP => Frame::tcp(source, destination, CLIENT_PORT, port, Frame::SYN),
            protocol::UDP => Frame::udp(source, destination, CLIENT_PORT, port),
            protocol::SCTP => Frame::sctp(source, destination, CLIENT_PORT, port),
            protocol::ICMP | protocol::ICMPV6 => {
                let mut frame = Frame::icmp(source, destination, port.to_be_bytes()[1], 0);
                frame.transport[4..6].copy_from_slice(&CLIENT_PORT.to_be_bytes());
                frame
            }
            other => Frame::other(source, destination, other, &[0; 8]),
        }
    }

    /// Adds bytes after the transport header.
    #[must_use]
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.transport.extend(bytes);
        if self.protocol == protocol::UDP && self.transport.len() >= 8 {
            let length = u16::try_from(self.transport.len()).unwrap_or(0);
            self.transport[4..6].copy_from_slice(&length.to_be_bytes());
        }
        self
    }

    /// Quotes the IP packet of another frame, as an ICMP error does.
    #[must_use]
    pub fn quoting(self, quoted: &Frame) -> Self {
        self.payload(&quoted.ip())
    }

    /// Adds an 802.1Q tag; the first added is the outermost.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((0x8100, id));
        self
    }

    /// Adds an 802.1ad tag.
    #[must_use]
    pub fn qinq(mut self, id: u16) -> Self {
        self.tags.push((0x88a8, id));
        self
    }

    /// Replaces the TTL or hop limit, 64 otherwise.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets IPv4 options; filled with zeros to a multiple of 4, at most 40 bytes.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4).min(40), 0);
        self
    }

    /// Adds an IPv6 extension header of this kind. `body` follows the next-header and length bytes and is
    /// filled with zeros to what the length can say. Fragment headers come from [`Frame::fragment`].
    #[must_use]
    pub fn extension(mut self, kind: u8, body: &[u8]) -> Self {
        let mut header = vec![0, 0];
        header.extend(body);
        // The authentication header counts in units of 4, less 2; the others in units of 8, less 1.
        let (unit, less) = if kind == 51 { (4, 2) } else { (8, 1) };
        header.resize(header.len().max(8).next_multiple_of(unit), 0);
        header[1] = u8::try_from(header.len() / unit - less).unwrap_or(u8::MAX);
        self.extensions.push((kind, header));
        self
    }

    /// Makes it a fragment at `place` × 8 bytes. The transport bytes are taken as they are: the caller cuts.
    #[must_use]
    pub fn fragment(mut self, identification: u32, place: u16, more: bool) -> Self {
        self.fragment = Some(Fragment { identification, place, more });
        self
    }

    /// The frame, from the Ethernet header on. Both hardware addresses are locally administered ones.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let kind = if self.source.is_v4() { 0x0800 } else { 0x86dd };
        let mut out = ethernet(&self.tags, kind);
        out.extend(self.ip());
        out
    }

    /// The IP packet alone.
    #[must_use]
    pub fn ip(&self) -> Vec<u8> {
        if self.source.is_v4() { self.ipv4() } else { self.ipv6() }
    }

    fn ipv4(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        // BIG TCP: a length that the field cannot hold is 0.
        let total = u16::try_from(header + self.transport.len()).unwrap_or(0);
        let Fragment { identification, place, more } =
            self.fragment.unwrap_or(Fragment { identification: 0, place: 0, more: false });
        let mut out = vec![0x40 | (header / 4) as u8, 0];
        out.extend(total.to_be_bytes());
        out.extend((identification as u16).to_be_bytes());
        out.extend((place & 0x1fff | if more { 0x2000 } else { 0 }).to_be_bytes());
        out.extend([self.hop_limit, self.protocol, 0, 0]);
        out.extend(&self.source.0[12..]);
        out.extend(&self.destination.0[12..]);
        out.extend(&self.options);
        let sum = checksum(&out);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(self.summed());
        out
    }

    fn ipv6(&self) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some(Fragment { identification, place, more }) = self.fragment {
            let mut header = vec![0, 0];
            header.extend((place << 3 | u16::from(more)).to_be_bytes());
            header.extend(identification.to_be_bytes());
            chain.push((44, header));
        }
        let mut next = self.protocol;
        for (kind, header) in chain.iter_mut().rev() {
            header[0] = std::mem::replace(&mut next, *kind);
        }
        let length = chain.iter().map(|(_, header)| header.len()).sum::<usize>() + self.transport.len();
        let mut out = vec![0x60, 0, 0, 0];
        out.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
        out.extend([next, self.hop_limit]);
        out.extend(self.source.0);
        out.extend(self.destination.0);
        out.extend(chain.into_iter().flat_map(|(_, header)| header));
        out.extend(self.summed());
        out
    }

    /// The transport bytes with their checksum. A fragment's is left 0: it covers bytes that are elsewhere.
    fn summed(&self) -> Vec<u8> {
        let mut out = self.transport.clone();
        let Some(at) = self.checksum.filter(|at| self.fragment.is_none() && out.len() >= at + 2) else {
            return out;
        };
        let mut covered = Vec::new();
        if self.protocol != protocol::ICMP {
            // The pseudo-header of both families sums to the same: addresses, length, protocol.
            let from = if self.source.is_v4() { 12 } else { 0 };
            covered.extend(&self.source.0[from..]);
            covered.extend(&self.destination.0[from..]);
            covered.extend((out.len() as u32).to_be_bytes());
            covered.extend([0, self.protocol]);
        }
        covered.extend(&out);
        let sum = match checksum(&covered) {
            // In UDP 0 says that there is none (RFC 768).
            0 if self.protocol == protocol::UDP => 0xffff,
            sum => sum,
        };
        out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// An ARP message for IPv4 over Ethernet: operation 1 asks, 2 answers.
#[must_use]
pub fn arp(operation: u16, sender: Addr, target: Addr) -> Vec<u8> {
    let mut out = ethernet(&[], 0x0806);
    out.extend([0, 1, 8, 0, 6, 4]);
    out.extend(operation.to_be_bytes());
    out.extend(HARDWARE[1]);
    out.extend(&sender.0[12..]);
    out.extend([0; 6]);
    out.extend(&target.0[12..]);
    out
}

/// Destination and source of every frame.
const HARDWARE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

fn ethernet(tags: &[(u16, u16)], kind: u16) -> Vec<u8> {
    let mut out = HARDWARE.concat();
    for (ethertype, id) in tags {
        out.extend(ethertype.to_be_bytes());
        out.extend(id.to_be_bytes());
    }
    out.extend(kind.to_be_bytes());
    out
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_common::packet::{Parsed, parse};

    #[test]
    fn checksums_verify() {
        // Summing over a header with its right checksum gives 0.
        let frame = Frame::tcp(Addr::v4([192, 0, 2, 1]), Addr::v4([198, 51, 100, 2]), 1, 2, Frame::SYN)
            .options(&[1; 5]);
        assert_eq!(checksum(&frame.ip()[..28]), 0);
        let mut pseudo = vec![192, 0, 2, 1, 198, 51, 100, 2, 0, 6, 0, 20];
        pseudo.extend(&frame.ip()[28..]);
        assert_eq!(checksum(&pseudo), 0);
    }

    #[test]
    fn what_is_built_parses_to_the_same() {
        let (a, b) = (Addr([0xfd; 16]), Addr([0xfc; 16]));
        let frame = Frame::udp(a, b, 1000, 53)
            .vlan(3)
            .extension(0, &[])
            .extension(51, &[0; 14])
            .extension(60, &[0; 9]);
        let mut parsed = Parsed::NOTHING;
        assert_eq!(parse(&frame.bytes()[..], &mut parsed), None);
        assert_eq!((parsed.source, parsed.destination), (a, b));
        assert_eq!((parsed.protocol, parsed.source_port, parsed.destination_port), (17, 1000, 53));
    }
}
