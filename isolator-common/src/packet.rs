//! From bytes to the facts that policy needs: Ethernet, VLAN tags, IPv4 with options, IPv6 with its
//! extension headers, fragments, TCP, UDP, SCTP, ICMP and the packet quoted in an ICMP error.
//! Everything that cannot be parsed whole is an error with its reason; nothing is guessed. Not here:
//! checksums (the receiver checks them) and any decision.

use crate::addr::Addr;
use crate::conntrack::protocol;
use crate::reason::Reason;

/// A packet as bytes. Cheap to copy: the kernel passes it between subprograms in one register.
pub trait Bytes: Copy {
    /// `N` bytes at `offset`. `None` beyond the end, and never anything else.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// Ends a step: what follows knows of `value` only what lies in memory. Means nothing outside the
    /// kernel, where it keeps the verifier from following each way through one step to the end of all others
    /// (`docs/adr/0003-verifier.md`).
    #[inline(always)]
    fn settle<'a, T>(&self, value: &'a mut T) -> &'a mut T {
        value
    }
}

impl Bytes for &[u8] {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.get(offset as usize..)?.get(..N)?.try_into().ok()
    }
}

/// Ethernet types (IEEE 802 numbers).
pub(crate) mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const QINQ: u16 = 0x88a8;
    pub(crate) const IPV6: u16 = 0x86dd;
}

/// Length of an Ethernet header.
pub const ETHERNET: u32 = 14;
/// What kind of packet it is, as far as judging goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Class {
    /// TCP, UDP, SCTP, ICMP echo and everything else that policy judges by its own addresses.
    Flow = 0,
    /// An ICMP or ICMPv6 error: judged by the packet it quotes, see [`Parsed::quoted`].
    Error = 1,
    /// ARP. `source` is the sender protocol address.
    Arp = 2,
    /// ICMPv6 neighbour discovery from on-link (hop limit 255), or a multicast listener report.
    Neighbour = 3,
    /// Router advertisement or redirect: only routers may send them.
    Router = 4,
}

/// A position in a fragmented packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fragment {
    /// Not fragmented.
    Whole = 0,
    /// The first of several: it has the ports.
    First = 1,
    /// A later one: its ports are those of the first.
    Later = 2,
}

/// The facts of one packet. Ports in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Source address.
    pub source: Addr,
    /// Destination address.
    pub destination: Addr,
    /// Source port; for ICMP type << 8 | code.
    pub source_port: u16,
    /// Destination port; for ICMP the identifier of an echo, else 0.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags, 0 for others.
    pub tcp_flags: u8,
    /// What kind of packet it is.
    pub class: Class,
    /// Position in a fragmented packet.
    pub fragment: Fragment,
    /// Identification of the fragmented packet.
    pub identification: u32,
    /// Offset of the header that is read next: while parsing the network's, then the transport's, at last
    /// the packet that an ICMP error quotes or the target of a neighbour advertisement.
    pub offset: u32,
    /// Where the packet ends by its own length fields, from the start of the frame. 0: it does not say, as
    /// packets over 64 KiB (BIG TCP) and quoted ones.
    pub end: u32,
    /// Offset of a later fragment in units of 8 bytes.
    pub place: u16,
    /// Hop limit; 0 for IPv4, where nothing asks for it.
    pub hop_limit: u8,
    /// Whether the packet is IPv4, for the steps before its addresses are known.
    pub v4: bool,
}

impl Parsed {
    /// What is known before parsing: nothing.
    pub const NOTHING: Parsed = Parsed {
        source: Addr::UNSPECIFIED,
        destination: Addr::UNSPECIFIED,
        source_port: 0,
        destination_port: 0,
        protocol: 0,
        tcp_flags: 0,
        class: Class::Flow,
        fragment: Fragment::Whole,
        identification: 0,
        offset: 0,
        end: 0,
        place: 0,
        hop_limit: 0,
        v4: false,
    };

    /// The ICMP type, where the protocol is ICMP or ICMPv6.
    #[inline(always)]
    #[must_use]
    pub const fn icmp_type(&self) -> u8 {
        (self.source_port >> 8) as u8
    }

    /// Whether this is ICMP of either family.
    #[inline(always)]
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        matches!(self.protocol, protocol::ICMP | protocol::ICMPV6)
    }
}

#[inline(always)]
fn load<B: Bytes, const N: usize>(bytes: B, offset: u32) -> Result<[u8; N], Reason> {
    match bytes.load::<N>(offset) {
        Some(found) => Ok(found),
        None => Err(Reason::Truncated),
    }
}

/// Parses an Ethernet frame into `parsed`. Answers the drop reason of a packet that is truncated,
/// contradicts itself or is no IP at all; `parsed` then holds what was found before.
#[inline(always)]
pub fn parse<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Option<Reason> {
    *parsed = Parsed::NOTHING;
    steps(bytes, parsed).err()
}

#[inline(always)]
fn steps<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    ethernet(bytes, parsed)?;
    if matches!(parsed.class, Class::Arp) {
        return arp(bytes, parsed);
    }
    rest(bytes, parsed)
}

/// From the IP header on.
#[inline(always)]
fn rest<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    network(bytes, parsed, false)?;
    transport(bytes, parsed, false)
}

/// Where a packet's bytes begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Start {
    /// At its Ethernet header.
    Ethernet = 0,
    /// At its IP header: devices without one, and packets that the node receives itself.
    Network = 1,
}

/// As [`parse`], from another start.
#[inline(always)]
pub fn parse_from<B: Bytes>(bytes: B, start: Start, parsed: &mut Parsed) -> Option<Reason> {
    match start {
        Start::Ethernet => parse(bytes, parsed),
        Start::Network => {
            *parsed = Parsed::NOTHING;
            match version(bytes, parsed) {
                Ok(()) => rest(bytes, parsed).err(),
                Err(reason) => Some(reason),
            }
        }
    }
}

/// The family of a packet without an Ethernet header.
#[inline(always)]
fn version<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    // Two bytes, because LLVM turns the bounds check of one into a form that the verifier does not follow.
    let [first, _] = load(bytes, 0)?;
    match first >> 4 {
        4 => parsed.v4 = true,
        6 => {}
        _ => return Err(Reason::UnsupportedProtocol),
    }
    Ok(())
}

/// Parses the packet that an ICMP error quotes. Only its addresses, protocol and ports count; lengths
/// and checksums of a quotation are not to be trusted (RFC 792 quotes 8 bytes beyond the header).
#[inline(always)]
pub fn parse_quoted<B: Bytes>(bytes: B, outer: &Parsed, parsed: &mut Parsed) -> Option<Reason> {
    *parsed = Parsed::NOTHING;
    parsed.v4 = outer.v4;
    parsed.offset = outer.offset;
    match network(bytes, parsed, true) {
        Ok(()) => transport(bytes, bytes.settle(parsed), true).err(),
        Err(reason) => Some(reason),
    }
}

/// Ethernet.
#[inline(always)]
fn ethernet<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    let kind = u16::from_be_bytes(load(bytes, 12)?);
    parsed.offset = ETHERNET;
    match kind {
        ethertype::IPV4 => parsed.v4 = true,
        ethertype::IPV6 => {}
        _ => return uncommon(bytes, parsed, kind),
    }
    Ok(())
}

/// VLAN tags and ARP.
#[inline(never)]
fn uncommon<B: Bytes>(bytes: B, parsed: &mut Parsed, mut kind: u16) -> Result<(), Reason> {
    // Two tags at most: 802.1ad outside, 802.1Q inside. The kernel has usually taken the outer one off.
    let mut tags = 0;
    while tags < 2 && (kind == ethertype::VLAN || kind == ethertype::QINQ) {
        kind = u16::from_be_bytes(load(bytes, parsed.offset + 2)?);
        parsed.offset += 4;
        tags += 1;
    }
    match kind {
        ethertype::IPV4 => parsed.v4 = true,
        ethertype::IPV6 => {}
        ethertype::ARP => parsed.class = Class::Arp,
        _ => return Err(Reason::UnsupportedProtocol),
    }
    Ok(())
}

/// The IP header with its options or extension headers.
#[inline(always)]
fn network<B: Bytes>(bytes: B, parsed: &mut Parsed, quoted: bool) -> Result<(), Reason> {
    if parsed.v4 { ipv4(bytes, parsed, quoted) } else { ipv6(bytes, parsed, quoted) }
}

/// ARP for IPv4 over Ethernet (RFC 826); the sender's address is the packet's source.
#[inline(never)]
fn arp<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    let offset = parsed.offset;
    let head: [u8; 8] = load(bytes, offset)?;
    if head[0..6] != [0, 1, 8, 0, 6, 4] {
        return Err(Reason::BadHeader);
    }
    let sender: [u8; 4] = load(bytes, offset + 14)?;
    let target: [u8; 4] = load(bytes, offset + 24)?;
    parsed.source = Addr::v4(sender);
    parsed.destination = Addr::v4(target);
    parsed.class = Class::Arp;
    Ok(())
}

/// IPv4 (RFC 791).
#[inline(always)]
fn ipv4<B: Bytes>(bytes: B, parsed: &mut Parsed, quoted: bool) -> Result<(), Reason> {
    let head: [u8; 20] = load(bytes, parsed.offset)?;
    let header = if head[0] == 0x45 { 20 } else { with_options(head[0])? };
    let total = u32::from(u16::from_be_bytes([head[2], head[3]]));
    if !quoted {
        if total >= header {
            parsed.end = parsed.offset + total;
        } else if total != 0 {
            // 0 is what segmentation offload leaves on packets over 64 KiB (BIG TCP).
            return Err(Reason::BadHeader);
        }
    }
    let place = u16::from_be_bytes([head[6], head[7]]);
    parsed.source = Addr::v4([head[12], head[13], head[14], head[15]]);
    parsed.destination = Addr::v4([head[16], head[17], head[18], head[19]]);
    parsed.protocol = head[9];
    parsed.offset += header;
    // All but one bit of the field: that one asks not to be fragmented.
    if place & 0x3fff == 0 {
        return Ok(());
    }
    parsed.identification = u32::from(u16::from_be_bytes([head[4], head[5]]));
    set_place(parsed, place & 0x1fff, place & 0x2000 != 0)
}

/// Length of an IPv4 header that is not the shortest, from its first byte.
#[inline(always)]
fn with_options(first: u8) -> Result<u32, Reason> {
    if first >> 4 == 4 && first > 0x45 { Ok(u32::from(first & 0x0f) * 4) } else { Err(Reason::BadHeader) }
}

/// Notes where in a fragmented packet this one lies. `place` is in units of 8 bytes.
#[inline(always)]
fn set_place(parsed: &mut Parsed, place: u16, more: bool) -> Result<(), Reason> {
    parsed.place = place;
    if place != 0 {
        parsed.fragment = Fragment::Later;
        // A TCP header of 20 bytes spans three units: a fragment inside it could rewrite its ports or
        // flags (RFC 1858, RFC 3128).
        if parsed.protocol == protocol::TCP && place < 3 {
            return Err(Reason::BadFragment);
        }
    } else if more {
        parsed.fragment = Fragment::First;
    }
    Ok(())
}

/// IPv6 (RFC 8200), with its chain of extension headers.
#[inline(always)]
fn ipv6<B: Bytes>(bytes: B, parsed: &mut Parsed, quoted: bool) -> Result<(), Reason> {
    let head: [u8; 40] = load(bytes, parsed.offset)?;
    if head[0] >> 4 != 6 {
        return Err(Reason::BadHeader);
    }
    parsed.source = Addr(sixteen(&head, 8));
    parsed.destination = Addr(sixteen(&head, 24));
    // A mapped address on the wire (RFC 4291 forbids it there) would be taken for IPv4 by every map.
    if parsed.source.is_v4() || parsed.destination.is_v4() {
        return Err(Reason::BadHeader);
    }
    parsed.hop_limit = head[7];
    parsed.protocol = head[6];
    parsed.offset += 40;
    let payload = u32::from(u16::from_be_bytes([head[4], head[5]]));
    if payload != 0 && !quoted {
        parsed.end = parsed.offset + payload;
    }
    if is_extension(parsed.protocol) {
        return extensions(bytes, parsed);
    }
    Ok(())
}

/// The chain of extension headers, up to a later fragment.
#[inline(never)]
fn extensions<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    // One call after the other: LLVM may enter a loop in its middle, which kernels before 6.3 refuse.
    if extension(bytes, parsed, true)?
        && extension(bytes, parsed, false)?
        && extension(bytes, parsed, false)?
        && extension(bytes, parsed, false)?
        && extension(bytes, parsed, false)?
        && extension(bytes, parsed, false)?
    {
        return Err(Reason::BadExtension);
    }
    Ok(())
}

/// Hop-by-hop 0, routing 43, fragment 44, authentication 51, destination options 60, mobility 135, HIP 139,
/// shim6 140 (IANA, "IPv6 Extension Header Types").
#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// One extension header; whether another follows.
#[inline(never)]
fn extension<B: Bytes>(bytes: B, parsed: &mut Parsed, first: bool) -> Result<bool, Reason> {
    let ext: [u8; 8] = load(bytes, parsed.offset)?;
    let kind = parsed.protocol;
    parsed.protocol = ext[0];
    match kind {
        44 => {
            if !matches!(parsed.fragment, Fragment::Whole) {
                return Err(Reason::BadExtension);
            }
            let field = u16::from_be_bytes([ext[2], ext[3]]);
            parsed.identification = u32::from_be_bytes([ext[4], ext[5], ext[6], ext[7]]);
            parsed.offset += 8;
            set_place(parsed, field >> 3, field & 1 != 0)?;
        }
        // Hop-by-hop options come first or not at all.
        0 if !first => return Err(Reason::BadExtension),
        51 => parsed.offset += (u32::from(ext[1]) + 2) * 4,
        _ => parsed.offset += (u32::from(ext[1]) + 1) * 8,
    }
    Ok(is_extension(parsed.protocol) && parsed.place == 0)
}

/// Sixteen bytes of a header.
#[inline(always)]
fn sixteen(head: &[u8; 40], from: usize) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&head[from..from + 16]);
    out
}

/// The transport header, or its absence in a later fragment.
#[inline(always)]
fn transport<B: Bytes>(bytes: B, parsed: &mut Parsed, quoted: bool) -> Result<(), Reason> {
    if parsed.place != 0 {
        return Ok(());
    }
    match parsed.protocol {
        protocol::TCP if quoted => {
            let ports: [u8; 4] = load(bytes, parsed.offset)?;
            set_ports(parsed, ports);
        }
        protocol::TCP => {
            let tcp: [u8; 14] = match (bytes.load(parsed.offset), parsed.fragment) {
                (Some(found), _) => found,
                (None, Fragment::First) => return Err(Reason::BadFragment),
                (None, _) => return Err(Reason::Truncated),
            };
            if tcp[12] >> 4 < 5 {
                return Err(Reason::BadHeader);
            }
            set_ports(parsed, [tcp[0], tcp[1], tcp[2], tcp[3]]);
            parsed.tcp_flags = tcp[13];
        }
        protocol::UDP | protocol::SCTP => {
            let ports: [u8; 8] = load(bytes, parsed.offset)?;
            set_ports(parsed, [ports[0], ports[1], ports[2], ports[3]]);
        }
        protocol::ICMP if parsed.v4 => icmp(bytes, parsed)?,
        protocol::ICMPV6 if !parsed.v4 => icmp(bytes, parsed)?,
        // ICMP of the other family has no meaning (RFC 8200 section 8.1, RFC 792).
        protocol::ICMP | protocol::ICMPV6 => return Err(Reason::BadHeader),
        _ => {}
    }
    Ok(())
}

#[inline(always)]
fn set_ports(parsed: &mut Parsed, ports: [u8; 4]) {
    parsed.source_port = u16::from_be_bytes([ports[0], ports[1]]);
    parsed.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4443): type and code, and what kind of message it is.
#[inline(never)]
fn icmp<B: Bytes>(bytes: B, parsed: &mut Parsed) -> Result<(), Reason> {
    let head: [u8; 8] = load(bytes, parsed.offset)?;
    let kind = head[0];
    let identifier = u16::from_be_bytes([head[4], head[5]]);
    parsed.source_port = u16::from_be_bytes([kind, head[1]]);
    parsed.offset += 8;
    parsed.class = match (parsed.protocol, kind) {
        // Echo request and reply.
        (protocol::ICMP, 0 | 8) | (protocol::ICMPV6, 128 | 129) => {
            parsed.destination_port = identifier;
            Class::Flow
        }
        // Unreachable, source quench, redirect, time exceeded, parameter problem; in ICMPv6 unreachable,
        // packet too big, time exceeded, parameter problem.
        (protocol::ICMP, 3 | 4 | 5 | 11 | 12) | (protocol::ICMPV6, 1..=4) => Class::Error,
        // Neighbour discovery is on-link only: RFC 4861 demands a hop limit of 255.
        (protocol::ICMPV6, 133..=137) if parsed.hop_limit != 255 => return Err(Reason::BadHeader),
        (protocol::ICMPV6, 133 | 135 | 136) => Class::Neighbour,
        (protocol::ICMPV6, 134 | 137) => Class::Router,
        // Multicast listener discovery (RFC 2710, RFC 3810).
        (protocol::ICMPV6, 130..=132 | 143) => Class::Neighbour,
        _ => Class::Flow,
    };
    Ok(())
}
