//! Ethernet frames for test runs and raw sockets. Checksums are not filled in: the programs do not look.

use isolator_common::addr::Addr;

/// A UDP or TCP (SYN) frame; the family is that of the addresses, which must agree.
#[must_use]
pub fn frame(source: Addr, destination: Addr, protocol: u8, ports: (u16, u16)) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(ports.0.to_be_bytes());
    transport.extend(ports.1.to_be_bytes());
    if protocol == isolator_common::conntrack::protocol::TCP {
        transport.extend([
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            5 << 4,
            isolator_common::conntrack::tcp::SYN,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
        ]);
    } else {
        transport.extend([0, 8, 0, 0]);
    }
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if source.is_v4() {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + transport.len() as u16).to_be_bytes());
        frame.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
        frame.extend(&source.0[12..]);
        frame.extend(&destination.0[12..]);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((transport.len() as u16).to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend(source.0);
        frame.extend(destination.0);
    }
    frame.extend(transport);
    frame
}
