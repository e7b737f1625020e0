//! What a packet through a service costs at all the places that judge it, beside one that goes to its backend
//! straight: what is sent is marked, what is received or leaves is judged by its mark. Not here: translation, which is
//! the proxy's.

use super::{Bench, IFINDEX, Line};
use crate::cluster::{Role, first, first_service, peer, sender, sender_addr, service};
use crate::floor::{EMPTY, Floor, by_id};
use anyhow::{Result, ensure};
use aya::programs::ProgramFd;
use isolator_agent::datapath::hook::Hook;
use isolator_common::addr::Addr;
use isolator_common::endpoint::Marking;
use isolator_common::floor::Turn;
use isolator_policy::datapath::frame::{CLIENT_PORT, Frame};

/// What stands where floor programs are named: ours, for a packet without a service.
pub(super) const DIRECT: &str = "direct";
/// How the sender is said; the agent's default.
pub(super) const MARKING: Marking = Marking { mask: 0xff00_0000, shift: 24, slots: 255, reserved: 0 };
/// Where the other pod is.
const OTHER: u32 = 2;

/// Offsets in a frame: source, destination, source port.
fn offsets(v4: bool) -> (u32, u32, u32) {
    if v4 { (26, 30, 34) } else { (34, 50, 54) }
}

/// Whose packets, which program, and what the next peer is written over.
struct Run<'a> {
    floor: &'a mut Floor,
    program: &'a ProgramFd,
    frame: &'a [u8],
    turn: Turn,
    packets: u32,
}

impl Run<'_> {
    fn cost(mut self) -> Result<f64> {
        self.floor.run(self.program, self.frame, &mut self.turn, self.packets.min(1000))?;
        self.floor.run(self.program, self.frame, &mut self.turn, self.packets)
    }
}

impl Bench<'_> {
    /// Nanoseconds of the empty program, of all judgements of a packet through a service, and of those of one that
    /// goes straight to its backend. Sums hold the empty program once.
    pub(super) fn through_service(&mut self, line: &Line, packets: u32) -> Result<[f64; 3]> {
        let Line { case, v4, live, .. } = *line;
        let here = matches!(case, super::Case::Here);
        let (own, backend) = (sender_addr(v4), Role::Open.addr(v4));
        let to = |addr: Addr| Frame::tcp(own, addr, CLIENT_PORT, 80, Frame::ACK).payload(&[0; 80]).bytes();
        let (source, destination, port) = offsets(v4);
        let turn = |mask, first, address_at| Turn {
            mask,
            first,
            address_at,
            port_at: port,
            port: u32::from(CLIENT_PORT),
            ..Turn::default()
        };
        let [from_pod, to_pod] = &self.programs;
        let (from_pod, to_pod) = (from_pod.try_clone()?, to_pod.try_clone()?);
        let to_wire = by_id(self.loaded.programs.id(Hook::ToWire))?;

        // Sent: the sender is at the interface of test runs.
        let endpoint = self.attach([(IFINDEX, sender()), (OTHER, Role::Open.pod())])?;
        let mark = MARKING.marked(0, endpoint.slot);
        let (through, straight) = (to(service(v4, 0)), to(peer(v4, 0)));
        let programs = &self.loaded.programs;
        let (sent, marked) = programs.run_marked(Hook::FromPod, &through, 0, 1)?;
        ensure!(
            sent.passes() && marked == mark,
            "what goes to a service is not marked: {sent:?} {marked:#x}"
        );
        let (left, marked) = programs.run_marked(Hook::ToWire, &straight, mark, 1)?;
        ensure!(left.passes() && marked == 0, "what leaves is not judged: {left:?} {marked:#x}");
        let generation = self.image.state.generation;
        let mut plain = Floor::load(self.pins, 0, generation, endpoint.id, 0)?;
        let mut with_mark = Floor::load(self.pins, 0, generation, endpoint.id, mark)?;
        let empty = plain.fd(EMPTY)?;
        let to_peers = turn(live - 1, first(v4), destination);
        let to_services = turn(live - 1, first_service(v4), destination);
        let cost = |floor: &mut Floor, program: &ProgramFd, frame: &[u8], turn: Turn| {
            Run { floor, program, frame, turn, packets }.cost()
        };
        let nothing = cost(&mut plain, &empty, &straight, to_peers)?;
        let sent_through = cost(&mut plain, &from_pod, &through, to_services)?;
        let sent_straight = cost(&mut plain, &from_pod, &straight, to_peers)?;
        if !here {
            let left = cost(&mut with_mark, &to_wire, &straight, to_peers)?;
            return Ok([nothing, sent_through + left - nothing, sent_straight]);
        }

        // Received: the backend is.
        self.attach([(IFINDEX, Role::Open.pod()), (OTHER, sender())])?;
        let slot = self.image.endpoints.get(&OTHER).map_or(0, |sender| sender.slot);
        let mark = MARKING.marked(0, slot);
        let frame = to(backend);
        let (received, marked) = self.loaded.programs.run_marked(Hook::ToPod, &frame, mark, 1)?;
        ensure!(received.passes() && marked == 0, "what is received is not judged: {received:?} {marked:#x}");
        let mut with_mark = Floor::load(self.pins, 0, self.image.state.generation, endpoint.id, mark)?;
        let last: [u8; 4] = std::array::from_fn(|index| own.0[12 + index]);
        let from_sender = turn(0, u32::from_be_bytes(last), source);
        let received_marked = cost(&mut with_mark, &to_pod, &frame, from_sender)?;
        let received_straight = cost(&mut plain, &to_pod, &frame, from_sender)?;
        Ok([nothing, sent_through + received_marked - nothing, sent_straight + received_straight - nothing])
    }
}
