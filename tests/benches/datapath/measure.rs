//! What is measured, and how: every case beside its floor, several rounds in rotating order, the least of all.
//! Not here: the cluster, the printing.

mod service;

use crate::cluster::{Role, compiled, first, first_outside, outside, peer};
use crate::floor::{self, Floor, by_id};
use crate::shape::Shape;
use anyhow::{Context, Result};
use aya::programs::ProgramFd;
use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_common::endpoint::Endpoint;
use isolator_common::floor::Turn;
use isolator_common::policy::Direction;
use isolator_policy::datapath::compiled::Compiled;
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::frame::{CLIENT_PORT, Frame};
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{Attachment, Params, layout};
use isolator_policy::model::PodKey;
use std::path::Path;

/// Test runs arrive at the loopback interface.
const IFINDEX: u32 = 1;
/// Live peers: one flow, few, many.
const LIVE: [u32; 3] = [1, 512, 65_536];

/// A packet whose cost is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Of a connection without an entry.
    Stateless,
    /// Of a connection with one, in the opener's direction.
    Tracked,
    /// An answer in one.
    Reply,
    /// The same from outside the cluster, to an endpoint that admits pods freely: those are looked for first.
    Outside,
    /// First of a connection that needs an entry.
    New,
    /// Not allowed, and opens a connection: what is denied most.
    Denied,
    /// Not allowed, and might be an answer.
    Stray,
    /// Of a flow through a service to a backend on the same node, sent and received.
    Here,
    /// The same to a backend elsewhere, sent and leaving the node.
    Elsewhere,
}

impl Case {
    const DIRECT: [Case; 7] =
        [Case::Stateless, Case::Tracked, Case::Reply, Case::Outside, Case::New, Case::Denied, Case::Stray];
    const THROUGH_SERVICES: [Case; 2] = [Case::Here, Case::Elsewhere];

    /// As printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Stateless => "established, no entry",
            Case::Tracked => "established, entry",
            Case::Reply => "reply",
            Case::Outside => "reply, outside",
            Case::New => "new connection",
            Case::Denied => "denied, opening",
            Case::Stray => "denied, not opening",
            Case::Here => "service, backend here",
            Case::Elsewhere => "service, elsewhere",
        }
    }

    fn role(self) -> Role {
        match self {
            Case::Stateless | Case::Outside | Case::Here | Case::Elsewhere => Role::Open,
            Case::Tracked | Case::New => Role::Server,
            Case::Reply => Role::Client,
            Case::Denied | Case::Stray => Role::Closed,
        }
    }

    /// The floor program it is held to. `None`: floors know no prefixes, so they would not come to the new entry.
    pub(crate) fn floor(self, shape: Shape) -> Option<&'static str> {
        Some(match self {
            Case::New if !shape.peers_are_pods() => return None,
            Case::Stateless | Case::Denied | Case::Stray => floor::DENSE,
            Case::Tracked | Case::Reply | Case::Outside => floor::LRU,
            Case::New => floor::INSERT,
            Case::Here | Case::Elsewhere => service::DIRECT,
        })
    }
}

/// One line of the result, in nanoseconds: the least of all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) case: Case,
    /// IPv4 or IPv6.
    pub(crate) v4: bool,
    /// Peers that took turns.
    pub(crate) live: u32,
    /// The empty program.
    pub(crate) empty: f64,
    /// The programs under test.
    pub(crate) ours: f64,
    /// The floor program of the case; no number where it has none.
    pub(crate) floor: f64,
}

/// Programs and maps of one cluster.
pub(crate) struct Bench<'a> {
    pins: &'a Path,
    addresses: u32,
    shape: Shape,
    loaded: Loaded,
    compiled: Compiled,
    image: Image,
    programs: [ProgramFd; 2],
}

impl<'a> Bench<'a> {
    /// Compiles the cluster and loads the programs, with maps pinned in `pins`.
    pub(crate) fn new(pins: &'a Path, addresses: u32, policies: u32, shape: Shape) -> Result<Bench<'a>> {
        let compiled = compiled(addresses, policies, shape);
        let loaded = Loaded::open(pins, &Capacities::default())?;
        let fd = |direction| by_id(loaded.programs.id(direction));
        let programs = [fd(Direction::Egress)?, fd(Direction::Ingress)?];
        Ok(Bench { pins, addresses, shape, loaded, compiled, image: Image::default(), programs })
    }

    /// All cases.
    pub(crate) fn run(mut self, rounds: u32, packets: u32) -> Result<Vec<Line>> {
        let cases: &[Case] = if self.shape.services() > 0 { &Case::THROUGH_SERVICES } else { &Case::DIRECT };
        let mut lines: Vec<Line> = Vec::new();
        let cases: Vec<Case> =
            cases.iter().copied().filter(|case| *case != Case::Stateless || self.shape.is_free()).collect();
        for case in cases.iter().copied() {
            let live = LIVE.into_iter().filter(|live| *live <= self.addresses);
            // A new connection of one peer would soon find its port taken.
            let live = live.filter(|live| case != Case::New || *live > 1);
            for (live, v4) in live.flat_map(|live| [(live, true), (live, false)]) {
                let (empty, ours, floor) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
                lines.push(Line { case, v4, live, empty, ours, floor });
            }
        }
        for round in 0..rounds {
            for turn in 0..cases.len() {
                let case = cases[(turn + round as usize) % cases.len()];
                let endpoint = self.attach([(IFINDEX, case.role().pod())])?;
                let row = endpoint.row(self.image.state.generation, Direction::Ingress);
                let generation = self.image.state.generation;
                let mut floor = Floor::load(self.pins, row.base, generation, endpoint.id, 0)?;
                for line in lines.iter_mut().filter(|line| line.case == case) {
                    let [empty, ours, least] = match case {
                        Case::Here | Case::Elsewhere => self.through_service(line, packets)?,
                        _ => self.measure(&mut floor, line, round, packets)?,
                    };
                    line.empty = line.empty.min(empty);
                    line.ours = line.ours.min(ours);
                    line.floor = line.floor.min(least);
                }
            }
        }
        Ok(lines)
    }

    /// Makes these pods the endpoints. Answers the one at the interface of test runs.
    fn attach<const N: usize>(&mut self, pods: [(u32, PodKey); N]) -> Result<Endpoint> {
        let params =
            Params { ticks_per_second: 1 << 20, events_per_second: 100, capacities: Default::default() };
        let attachments = pods.map(|(ifindex, pod)| (ifindex, Attachment::of(Some(pod)))).into();
        let mut next = layout(&self.image, &self.compiled, &attachments, &params)?;
        next.marking = service::MARKING;
        self.loaded.store.apply(&diff(&self.image, &next))?;
        self.image = next;
        self.image.endpoints.get(&IFINDEX).copied().context("the endpoint is not in the image")
    }

    /// Nanoseconds of the empty program, of ours, and of the floor.
    fn measure(&self, floor: &mut Floor, line: &Line, round: u32, packets: u32) -> Result<[f64; 3]> {
        let Line { case, v4, live, .. } = *line;
        let own = case.role().addr(v4);
        let (other, first) = match case {
            Case::Outside => (outside(v4), first_outside(v4)),
            _ => (peer(v4, 0), first(v4)),
        };
        let received = |flags| Frame::tcp(other, own, CLIENT_PORT, 80, flags).payload(&[0; 80]).bytes();
        let sent = |flags| Frame::tcp(own, other, 80, CLIENT_PORT, flags).payload(&[0; 80]).bytes();
        let (source, destination, ports) = if v4 { (26, 30, 34) } else { (34, 50, 54) };
        let turn = |address_at, port_at| Turn {
            count: round.wrapping_mul(packets).wrapping_mul(4),
            mask: live - 1,
            first,
            address_at,
            port_at,
            port: u32::from(CLIENT_PORT),
            fresh: u32::from(case == Case::New),
        };
        let (mut peers_send, mut peers_receive) = (turn(source, ports), turn(destination, ports + 2));
        let [from_pod, to_pod] = &self.programs;
        // One handshake for each live peer.
        match case {
            Case::Tracked => {
                floor.run(to_pod, &received(Frame::SYN), &mut peers_send, live)?;
                floor.run(from_pod, &sent(Frame::SYN_ACK), &mut peers_receive, live)?;
            }
            Case::Reply | Case::Outside => {
                floor.run(from_pod, &sent(Frame::SYN), &mut peers_receive, live)?;
                floor.run(to_pod, &received(Frame::SYN_ACK), &mut peers_send, live)?;
            }
            _ => {}
        }
        let opens = matches!(case, Case::New | Case::Denied);
        let frame = received(if opens { Frame::SYN } else { Frame::ACK });
        let empty = floor.fd(floor::EMPTY)?;
        let least = case.floor(self.shape).map(|name| floor.fd(name)).transpose()?;
        let mut cost = |program: &ProgramFd| -> Result<f64> {
            floor.run(program, &frame, &mut peers_send, live.min(packets))?;
            floor.run(program, &frame, &mut peers_send, packets)
        };
        let (nothing, ours) = (cost(&empty)?, cost(to_pod)?);
        Ok([nothing, ours, least.as_ref().map_or(Ok(f64::INFINITY), cost)?])
    }
}
