//! Frames of every kind from random numbers, whole and broken. Not here: what becomes of them.

use crate::maps::{SENDER_SLOT, SLOT, peer, pod};
use isolator_common::addr::Addr;
use isolator_common::policy::Direction;
use isolator_policy::datapath::frame::{Frame, arp};
use proptest::prelude::*;

/// Whose addresses a packet has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// Those of the pod and of a peer, as the direction says.
    Right,
    /// The other way around.
    Backwards,
    /// Two peers': the pod is neither end.
    Strange,
}

/// A frame, from random numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) direction: bool,
    /// Not marked, or by whom and where it is met: see [`Packet::mark`].
    pub(crate) mark: u8,
    pub(crate) ends: Ends,
    pub(crate) six: bool,
    pub(crate) peer: u8,
    pub(crate) what: u8,
    pub(crate) ports: (u8, u8),
    pub(crate) flags: u8,
    pub(crate) around: u8,
    /// Bytes that are left; most frames are shorter.
    pub(crate) cut: u16,
    /// Where one byte is changed, and how; no change where the frame ends before.
    pub(crate) flip: (u16, u8),
}

impl Packet {
    /// The slot in the packet's mark, if it is marked.
    pub(crate) fn mark(self) -> Option<u32> {
        match self.mark % 8 {
            0 | 1 => Some(SENDER_SLOT),
            2 => Some(SLOT),
            // Nobody has it.
            3 if self.mark > 128 => Some(7),
            _ => None,
        }
    }

    pub(crate) fn direction(self) -> Direction {
        if self.direction { Direction::Ingress } else { Direction::Egress }
    }

    fn flow(self, source: Addr, destination: Addr) -> Frame {
        let (from, to) = (u16::from(self.ports.0 % 5), u16::from(self.ports.1 % 5));
        let flags = [0x02, 0x12, 0x10, 0x10, 0x11, 0x04, 0x18, 0x14][usize::from(self.flags % 8)];
        match self.what % 16 {
            0..=5 => Frame::tcp(source, destination, from, to, flags),
            6..=8 => Frame::udp(source, destination, from, to),
            9 => Frame::sctp(source, destination, from, to),
            10 => Frame::echo(source, destination, from, self.flags & 1 == 1),
            11 => Frame::icmp(source, destination, self.ports.0, self.flags % 16),
            12 => Frame::other(source, destination, self.ports.0, &[0, 1, 0, 2, 0, 8, 0, 0]),
            13 => Frame::neighbour(source, destination, 133 + self.flags % 5, source),
            // Quotes the flow that it answers.
            _ => {
                let error = if source.is_v4() { [3, 4, 11, 12] } else { [1, 2, 3, 4] };
                let quoted = Packet { what: self.flags, flags: self.ports.0, ..self };
                let quoted = if quoted.what % 16 > 12 { Packet { what: 6, ..quoted } } else { quoted };
                Frame::icmp(source, destination, error[usize::from(self.around % 4)], 0)
                    .quoting(&quoted.flow(destination, source))
            }
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let (own, other) = (pod(self.six), peer(self.peer, self.six));
        let sends = self.direction() == Direction::Egress;
        let (source, destination) = match (self.ends, sends) {
            (Ends::Right, true) | (Ends::Backwards, false) => (own, other),
            (Ends::Right, false) | (Ends::Backwards, true) => (other, own),
            (Ends::Strange, _) => (peer(self.peer.wrapping_add(1), self.six), other),
        };
        let frame = self.flow(source, destination).payload(&[7; 12]);
        let place = u16::from(self.flags % 4);
        let mut bytes = match self.around % 32 {
            0 => frame.vlan(5),
            1 => frame.qinq(5).vlan(6),
            2 => frame.qinq(5).vlan(6).vlan(7),
            3 => frame.options(&[1; 7]),
            4 => frame.options(&[1; 40]),
            5 | 6 => frame.fragment(u32::from(self.ports.0 % 2), 0, true),
            7 | 8 => frame.fragment(u32::from(self.ports.0 % 2), place * 2, self.flags & 4 == 0),
            9 => frame.extension(0, &[1; 6]),
            10 => frame.extension(0, &[]).extension(43, &[3; 20]).extension(60, &[]),
            11 => frame.extension(60, &[]).extension(51, &[9; 14]).extension(0, &[]),
            12 => (0..6).fold(frame, |frame, _| frame.extension(60, &[])),
            13 => (0..7).fold(frame, |frame, _| frame.extension(60, &[])),
            14 => frame.extension(0, &[]).fragment(3, place, self.flags & 4 == 0),
            15 => frame.hop_limit(self.flags),
            16 => return arp(u16::from(self.flags), source, destination),
            _ => frame,
        }
        .bytes();
        // The kernel takes no frame without an Ethernet header.
        bytes.truncate(usize::from(self.cut).max(14));
        if let Some(byte) = bytes.get_mut(usize::from(self.flip.0)) {
            *byte ^= self.flip.1;
        }
        bytes
    }
}

/// The same flow from its other end.
pub(crate) fn answer(packet: Packet) -> Packet {
    Packet { direction: !packet.direction, ports: (packet.ports.1, packet.ports.0), ..packet }
}

pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    let whole = prop_oneof![8 => Just(u16::MAX), 1 => 14..100_u16];
    let flip = prop_oneof![8 => Just((u16::MAX, 0)), 1 => (12..90_u16, any::<u8>())];
    let ends = prop_oneof![8 => Just(Ends::Right), 1 => Just(Ends::Backwards), 1 => Just(Ends::Strange)];
    let ends = (any::<bool>(), ends, any::<bool>(), any::<u8>(), any::<u8>());
    (ends, any::<(u8, (u8, u8), u8, u8)>(), whole, flip).prop_map(
        |((direction, ends, six, peer, mark), (what, ports, flags, around), cut, flip)| Packet {
            direction,
            mark,
            ends,
            six,
            peer,
            what,
            ports,
            flags,
            around,
            cut,
            flip,
        },
    )
}

/// Test runs take no frame that ends inside the first IP header (Linux 6.18); behind a VLAN tag they do.
pub(crate) fn refused(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame.len() < 14 + 20,
        [0x86, 0xdd] => frame.len() < 14 + 40,
        _ => false,
    }
}
