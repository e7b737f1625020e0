//! Random compiled policies of a small node, and what they say of a flow, read directly from the compiled
//! value. Not here: maps.

use isolator_common::addr::{Addr, Prefix};
use isolator_common::conntrack::protocol;
use isolator_common::policy::{Direction, port_key};
use isolator_policy::datapath::compiled::{
    Behind, CellSpec, Compiled, Effect, EndpointSpec, GroupIndex, ReasonIndex, RowIndex, VerdictSpec,
};
use isolator_policy::datapath::layout::Attachment;
use isolator_policy::meaning::why::By;
use isolator_policy::model::PodKey;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(crate) const GROUPS: u8 = 8;
pub(crate) const PODS: usize = 5;
pub(crate) const INTERFACES: std::ops::RangeInclusive<u32> = 2..=6;
/// Port keys on both sides of every border that cells have.
pub(crate) const PORTS: [(u8, u16); 4] =
    [(protocol::TCP, 80), (protocol::TCP, 443), (protocol::UDP, 80), (protocol::SCTP, 7)];

/// One decision of a row: for all ports, or by port.
pub(crate) type Cell = Vec<(u32, bool)>;

/// The knobs that a [`World`] is made from; small numbers, so that two of them can be mixed.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    pub(crate) addresses: Vec<Option<u8>>,
    pub(crate) prefixes: Vec<Option<u8>>,
    /// Cells of each program, by direction and group.
    pub(crate) programs: Vec<Vec<Cell>>,
    /// Program and addresses of each pod.
    pub(crate) pods: Vec<Option<(u8, u8, u8)>>,
    /// What is behind each interface.
    pub(crate) interfaces: Vec<Option<Option<u8>>>,
    pub(crate) connection_first: bool,
    /// Group indexes are dealt out anew at each compilation.
    pub(crate) rotate: u8,
}

/// Compiled policy and the interfaces it is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) compiled: Compiled,
    pub(crate) attachments: BTreeMap<u32, Attachment>,
}

/// Addresses that exist in some world: two IPv4 blocks, an IPv6 block.
pub(crate) fn pool() -> Vec<Addr> {
    let v4 = (1..=12).map(|i| Addr::v4([10, 0, 0, i])).chain((1..=6).map(|i| Addr::v4([10, 0, 1, i * 40])));
    v4.chain((1..=10).map(v6)).collect()
}

fn v6(last: u8) -> Addr {
    Addr([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

/// Addresses that only prefixes know.
pub(crate) fn outside() -> Vec<Addr> {
    vec![
        Addr::v4([192, 0, 2, 1]),
        Addr::v4([192, 0, 2, 200]),
        Addr::v4([10, 0, 1, 77]),
        v6(99),
        Addr([0x20; 16]),
    ]
}

fn prefix_pool() -> Vec<Prefix> {
    let v4 = |a: u8, b: u8, c: u8, d: u8, bits: u32| Prefix::new(Addr::v4([a, b, c, d]), 96 + bits);
    vec![
        Prefix::ALL_V4,
        Prefix::ALL_V6,
        v4(10, 0, 0, 0, 8),
        v4(10, 0, 0, 0, 24),
        v4(10, 0, 0, 0, 29),
        v4(10, 0, 1, 0, 24),
        v4(10, 0, 1, 77, 32),
        v4(192, 0, 2, 0, 24),
        v4(192, 0, 2, 128, 25),
        Prefix::new(v6(0), 64),
        Prefix::new(v6(99), 128),
    ]
}

pub(crate) fn pod(index: u8) -> PodKey {
    PodKey { namespace: "lab".into(), name: format!("pod-{index}") }
}

pub(crate) fn knobs() -> impl Strategy<Value = Knobs> {
    let group = || 0..GROUPS;
    let cell = prop_oneof![
        3 => Just(vec![(0, true)]),
        2 => Just(vec![(0, false)]),
        2 => prop::collection::btree_map(prop::sample::select(vec![
            port_key(protocol::TCP, 80),
            port_key(protocol::TCP, 81),
            port_key(protocol::UDP, 0),
            port_key(protocol::SCTP, 0),
        ]), any::<bool>(), 1..4).prop_flat_map(|map| any::<bool>().prop_map(move |first| {
            let mut cell = vec![(0, first)];
            for (start, allow) in &map {
                if cell.last().is_some_and(|(_, before)| before != allow) {
                    cell.push((*start, *allow));
                }
            }
            cell
        })),
    ];
    (
        // Few, some or most: blocks become dense and stop being so.
        prop::sample::select(vec![0.1, 0.5, 0.95]).prop_flat_map(move |share| {
            prop::collection::vec(prop::option::weighted(share, group()), pool().len())
        }),
        prop::collection::vec(prop::option::weighted(0.6, group()), prefix_pool().len()),
        prop::collection::vec(prop::collection::vec(cell, 2 * GROUPS as usize), 3),
        prop::collection::vec(prop::option::weighted(0.9, (0..3u8, 0..18u8, 18..28u8)), PODS),
        prop::collection::vec(prop::option::weighted(0.9, prop::option::weighted(0.8, 0..PODS as u8)), PODS),
        any::<bool>(),
        group(),
    )
        .prop_map(|(addresses, prefixes, programs, pods, interfaces, connection_first, rotate)| Knobs {
            addresses,
            prefixes,
            programs,
            pods,
            interfaces,
            connection_first,
            rotate,
        })
}

/// `a` with some knobs of `b`.
pub(crate) fn mixed(a: &Knobs, b: &Knobs, mask: &[u8]) -> Knobs {
    let mut bits = mask.iter().cycle().enumerate().map(|(i, byte)| (byte >> (i % 8)) & 1 == 1);
    fn each<T: Clone>(a: &[T], b: &[T], bits: &mut impl Iterator<Item = bool>, whole: bool) -> Vec<T> {
        a.iter()
            .zip(b)
            .map(|(a, b)| if whole && bits.next().unwrap_or(false) { b.clone() } else { a.clone() })
            .collect()
    }
    let mut parts = bits.by_ref().take(7).collect::<Vec<_>>().into_iter();
    let mut part = || parts.next().unwrap_or(false);
    Knobs {
        addresses: if part() {
            b.addresses.clone()
        } else {
            each(&a.addresses, &b.addresses, &mut bits, part())
        },
        prefixes: each(&a.prefixes, &b.prefixes, &mut bits, part()),
        programs: each(&a.programs, &b.programs, &mut bits, part()),
        pods: each(&a.pods, &b.pods, &mut bits, part()),
        interfaces: each(&a.interfaces, &b.interfaces, &mut bits, part()),
        connection_first: if part() { b.connection_first } else { a.connection_first },
        rotate: b.rotate,
    }
}

/// The cells of a row, with `Allow` where it and the row of the opposite direction allow the group everything.
fn row(cells: &[Cell], opposite: &[Cell], rotate: u8) -> Vec<CellSpec> {
    let mut specs = vec![CellSpec::ByPort([].into()); GROUPS as usize];
    for (group, (cell, other)) in cells.iter().zip(opposite).enumerate() {
        let open = |cell: &Cell| cell[..] == [(0, true)];
        let allow = if open(cell) && open(other) { Effect::Allow } else { Effect::AllowTracked };
        let verdict = |allowed: bool| VerdictSpec {
            effect: if allowed { allow } else { Effect::DefaultDeny },
            reason: ReasonIndex(u32::from(allowed) + 2 * (group as u32 % 2)),
        };
        specs[(group + rotate as usize) % GROUPS as usize] = match &cell[..] {
            [(0, allowed)] => CellSpec::All(verdict(*allowed)),
            by_port => {
                CellSpec::ByPort(by_port.iter().map(|(start, allowed)| (*start, verdict(*allowed))).collect())
            }
        };
    }
    specs
}

impl From<&Knobs> for World {
    fn from(knobs: &Knobs) -> World {
        let Knobs { addresses, prefixes, programs, pods, interfaces, connection_first, rotate } = knobs;
        let behind = |group: u8| Behind {
            identity: 100 + u32::from(group),
            group: GroupIndex(u32::from((group + rotate) % GROUPS)),
        };
        let half = GROUPS as usize;
        let mut rows = Vec::new();
        for cells in programs {
            let (egress, ingress) = cells.split_at(half);
            rows.push(row(egress, ingress, *rotate));
            rows.push(row(ingress, egress, *rotate));
        }
        // Group 0 plays the local host.
        let startup: Vec<Cell> = (0..GROUPS).map(|group| vec![(0, group == 0)]).collect();
        rows.push(row(&startup, &startup, *rotate));
        let startup = RowIndex(rows.len() as u32 - 1);
        let always = |(i, (prefix, group)): (usize, (Prefix, &Option<u8>))| match group {
            None if i < 2 => Some((prefix, behind(7))),
            group => group.map(|group| (prefix, behind(group))),
        };
        let pool = pool();
        let endpoint = |(program, v4, v6): &(u8, u8, u8)| EndpointSpec {
            identity: 7,
            tenant: 0,
            addrs: [Some(pool[*v4 as usize]), Some(pool[*v6 as usize])],
            rows: [RowIndex(u32::from(*program) * 2), RowIndex(u32::from(*program) * 2 + 1)],
            connection_first: [*connection_first, true],
        };
        let numbered = pods.iter().enumerate();
        let compiled = Compiled {
            groups: u32::from(GROUPS),
            addresses: pool.iter().zip(addresses).filter_map(|(a, g)| g.map(|g| (*a, behind(g)))).collect(),
            prefixes: prefix_pool().into_iter().zip(prefixes).enumerate().filter_map(always).collect(),
            rows: rows.into(),
            startup: [Some(startup); 2],
            endpoints: numbered
                .filter_map(|(i, spec)| spec.as_ref().map(|spec| (pod(i as u8), endpoint(spec))))
                .collect(),
            reasons: vec![
                By::DefaultDeny { direction: Direction::Egress, policies: Vec::new() },
                By::NoPolicy { direction: Direction::Egress },
                By::NotEnforced,
                By::LocalHost,
            ],
            identities: (0..GROUPS).map(|g| (100 + u32::from(g), format!("group={g}"))).collect(),
            problems: Vec::new(),
        };
        let attachments = INTERFACES
            .zip(interfaces)
            .filter_map(|(ifindex, what)| what.map(|p| (ifindex, Attachment::of(p.map(pod)))))
            .collect();
        World { compiled, attachments }
    }
}

impl World {
    /// The addresses of what is behind an interface.
    pub(crate) fn owned(&self, ifindex: u32) -> Vec<Addr> {
        let spec = self.attachments.get(&ifindex).and_then(|a| self.compiled.endpoints.get(a.pod.as_ref()?));
        spec.into_iter().flat_map(|spec| spec.addrs).flatten().collect()
    }

    /// Whether a new flow passes at one interface.
    pub(crate) fn allows(
        &self,
        ifindex: u32,
        local: &Addr,
        remote: &Addr,
        direction: Direction,
        port: (u8, u16),
    ) -> bool {
        let compiled = &self.compiled;
        let Some(attachment) = self.attachments.get(&ifindex) else { return false };
        let owned = self.owned(ifindex);
        if direction == Direction::Egress {
            if !owned.contains(local) {
                return false;
            }
            if owned.contains(remote) {
                return true;
            }
        }
        let spec = attachment.pod.as_ref().and_then(|pod| compiled.endpoints.get(pod));
        let row = spec.map_or(compiled.startup, |spec| spec.rows.map(Some))[direction.index()];
        let prefixes =
            || compiled.prefixes.iter().filter(|(p, _)| p.contains(remote)).max_by_key(|(p, _)| p.bits);
        let behind = compiled.addresses.get(remote).or_else(|| prefixes().map(|(_, behind)| behind));
        let (Some(row), Some(behind)) = (row, behind) else { return false };
        let verdict = match compiled.rows.cell(row, behind.group) {
            CellSpec::All(verdict) => *verdict,
            CellSpec::ByPort(cells) => {
                let key = port_key(port.0, port.1);
                let at = cells.iter().rev().find(|(start, _)| *start <= key);
                at.expect("the first starts at 0").1
            }
        };
        matches!(verdict.effect, Effect::Allow | Effect::AllowTracked)
    }
}
