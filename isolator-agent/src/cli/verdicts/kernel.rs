//! The engine `kernel`: the programs loaded into the kernel, beside those in force and without touching them,
//! each run on the flow's packet (BPF_PROG_TEST_RUN). Nothing is attached and nothing is sent.

use super::sides::{Engine, Machine, Ruling};
use crate::datapath::features;
use crate::datapath::load::{Capacities, Loaded};
use crate::flows::reader::Reader;
use anyhow::{Context, Result, bail};
use isolator_common::endpoint::Endpoint;
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_common::tables::name;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::diff::diff;
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::shared::SharedMap;

/// Where test runs arrive: the loopback interface.
const INTERFACE: u32 = 1;
/// Tries until the kernel tells its reason. It does not tell a flow that it told lately, and takes two flows
/// with one hash for the same.
const TRIES: u32 = 3;

/// Judges flows in the kernel.
pub(super) fn engine(snapshot: &Snapshot) -> Result<Engine<'_, Kernel>> {
    // Said once, not flow by flow.
    if let Some(missing) = features::missing(None).first() {
        bail!("{missing}");
    }
    Ok(Engine::new(snapshot))
}

/// Programs and maps of one node.
pub(super) struct Kernel {
    loaded: Loaded,
    events: Reader,
    endpoints: SharedMap<u32, Endpoint>,
    /// Id of the endpoint under test, never used twice: so no connection is found that an earlier flow left.
    id: u32,
}

impl Machine for Kernel {
    fn load(mut image: Image) -> Result<Self> {
        let mut loaded =
            Loaded::ephemeral(&room(&image)).context("cannot load the programs into the kernel")?;
        let events = Reader::new(loaded.take_events()?);
        // Only the endpoint under test is there at a time, and names are for people.
        let endpoints = std::mem::take(&mut image.endpoints);
        image.names.clear();
        loaded.store.apply(&diff(&Image::default(), &image)).context("cannot fill the maps")?;
        Ok(Kernel { loaded, events, endpoints, id: 0 })
    }

    fn judge(&mut self, ifindex: u32, frame: &[u8], direction: Direction) -> Result<Ruling> {
        let Some(endpoint) = self.endpoints.get(&ifindex).copied() else {
            bail!("no endpoint at interface {ifindex}");
        };
        for _ in 0..TRIES {
            self.id += 1;
            let endpoint = Endpoint { ifindex: INTERFACE, slot: 0, id: self.id, ..endpoint };
            self.loaded.store.apply(&[Op::Endpoint(INTERFACE, Some(endpoint))])?;
            let passes = self.loaded.programs.run(direction, frame, 1)?.passes();
            let told = std::iter::from_fn(|| self.events.event()).last();
            let Some(event) = told else { continue };
            let Some(reason) = Reason::from_number(event.reason) else {
                bail!("the kernel told an unknown reason, {}", event.reason);
            };
            if reason.passes() != passes {
                bail!("the program's verdict and its event disagree: passes {passes}, {}", reason.name());
            }
            return Ok(Ruling { reason, rule: event.rule });
        }
        bail!("the kernel judged the packet but did not tell why")
    }
}

/// Room for an image and no more: maps of full size would take a second and a gigabyte per node.
fn room(image: &Image) -> Capacities {
    fn after<V>(map: &SharedMap<u32, V>) -> usize {
        map.last().map_or(0, |(index, _)| *index as usize + 1)
    }
    let v4 = image.blocks.keys().filter(|block| block.is_v4()).count();
    [
        (name::BLOCKS4, v4),
        (name::BLOCKS6, image.blocks.len() - v4),
        (name::BLOCK_PEERS, after(&image.block_peers).max((image.blocks.len() + 1) * 256)),
        (name::HOSTS, image.hosts.len()),
        (name::PREFIXES, image.prefixes.len()),
        (name::CELLS, after(&image.cells)),
        (name::INTERVALS, after(&image.intervals)),
    ]
    .into_iter()
    .fold(Capacities::small().with(name::NAMES, 1), |all, (map, needed)| {
        all.with(map, u32::try_from(needed).unwrap_or(u32::MAX).max(64))
    })
}
