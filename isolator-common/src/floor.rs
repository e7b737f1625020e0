//! How the benchmark lets peers take turns in one packet: shared by its kernel program and its loader. Not
//! part of what is enforced.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The state of a rotation of peers. Host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Turn {
    /// Packets so far.
    pub count: u32,
    /// Number of peers less 1; the number is a power of two.
    pub mask: u32,
    /// Last four bytes of the first peer's address; the others follow.
    pub first: u32,
    /// Offset of those bytes in the frame, below 128.
    pub address_at: u32,
    /// Offset of the peer's port in the frame, below 128.
    pub port_at: u32,
    /// The peer's port.
    pub port: u32,
    /// 1: after each round of all peers the port is the next one; 0: it stays.
    pub fresh: u32,
}

impl Turn {
    /// The next peer's address, its last four bytes, and port. Peers come in a scattered order, so that the
    /// processor cannot guess the next.
    #[inline(always)]
    pub fn draw(&mut self) -> (u32, u16) {
        let count = self.count;
        self.count = count.wrapping_add(1);
        // An odd factor makes it a permutation of any power of two.
        let peer = count.wrapping_mul(0x9e37_79b1) & self.mask;
        let round = count.checked_div(self.mask.wrapping_add(1)).unwrap_or(0).wrapping_mul(self.fresh);
        (self.first.wrapping_add(peer), self.port.wrapping_add(round) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_one_turn_in_each_round() {
        let mut turn = Turn { mask: 63, first: 100, port: 9, fresh: 1, ..Turn::default() };
        for round in 0..3 {
            let mut met = [false; 64];
            for _ in 0..64 {
                let (address, port) = turn.draw();
                met[(address - 100) as usize] = true;
                assert_eq!(port, 9 + round);
            }
            assert!(met.iter().all(|met| *met));
        }
    }
}
