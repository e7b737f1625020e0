//! What is measured, and how: every case beside its floor and in several rounds, the least of which counts.
//! Not here: the cluster, the printing.

mod service;

use crate::cluster::{Cluster, Role, compiled, first, first_outside, outside, peer};
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

    /// The floor program it is held to. `None`: floors know no prefixes, so they would end where the address is not found.
    pub(crate) fn floor(self, shape: Shape) -> Option<&'static str> {
        let name = match self {
            Case::Stateless | Case::Denied | Case::Stray => floor::DENSE,
            Case::Tracked | Case::Reply | Case::Outside => floor::LRU,
            Case::New => floor::INSERT,
            Case::Here | Case::Elsewhere => service::DIRECT,
        };
        (name == floor::LRU || shape.peers_are_pods()).then_some(name)
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

impl Line {
    /// What the packet costs above the empty program.
    pub(crate) fn cost(&self) -> f64 {
        self.ours - self.empty
    }
}

fn same_case(one: &Line, next: &Line) -> bool {
    one.case == next.case
}

/// All cases of a cluster, with nothing measured yet.
fn lines(addresses: u32, shape: Shape) -> Vec<Line> {
    let cases: &[Case] = if shape.services() > 0 { &Case::THROUGH_SERVICES } else { &Case::DIRECT };
    let cases = cases.iter().copied().filter(|case| *case != Case::Stateless || shape.is_free());
    let mut lines = Vec::new();
    for case in cases {
        let live = LIVE.into_iter().filter(|live| *live <= addresses);
        // A new connection of one peer would soon find its port taken.
        let live = live.filter(|live| case != Case::New || *live > 1);
        for (live, v4) in live.flat_map(|live| [(live, true), (live, false)]) {
            let (empty, ours, floor) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
            lines.push(Line { case, v4, live, empty, ours, floor });
        }
    }
    lines
}

/// Programs and maps of one cluster.
pub(crate) struct Bench<'a> {
    pins: &'a Path,
    shape: Shape,
    loaded: Loaded,
    compiled: Compiled,
    image: Image,
    programs: [ProgramFd; 2],
    /// What was measured so far, those of one case beside each other.
    pub(crate) lines: Vec<Line>,
}

impl<'a> Bench<'a> {
    /// Compiles the cluster and loads the programs, with maps pinned in `pins`.
    pub(crate) fn new(pins: &'a Path, cluster: Cluster) -> Result<Bench<'a>> {
        let Cluster { addresses, policies, shape } = cluster;
        let compiled = compiled(addresses, policies, shape);
        let loaded = Loaded::open(pins, &Capacities::default())?;
        let fd = |direction| by_id(loaded.programs.id(direction));
        let programs = [fd(Direction::Egress)?, fd(Direction::Ingress)?];
        let lines = lines(addresses, shape);
        Ok(Bench { pins, shape, loaded, compiled, image: Image::default(), programs, lines })
    }

    /// The cases that there are.
    pub(crate) fn cases(&self) -> Vec<Case> {
        self.lines.chunk_by(same_case).map(|lines| lines[0].case).collect()
    }

    /// A case once more, if there is such; the least of all times counts.
    pub(crate) fn again(&mut self, case: Case, round: u32, packets: u32) -> Result<()> {
        let mut lines = std::mem::take(&mut self.lines);
        let endpoint = self.attach([(IFINDEX, case.role().pod())])?;
        let generation = self.image.state.generation;
        let row = endpoint.row(generation, Direction::Ingress);
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
        self.lines = lines;
        Ok(())
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
