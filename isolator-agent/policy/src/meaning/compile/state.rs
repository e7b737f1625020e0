//! Everything that one compilation leaves for the next. Matchers, sections, programs, groups, cells and reasons
//! are only ever added: what was said of a number stays true, and what nobody uses any more does no harm. When
//! that becomes much, or when something changes that concerns everybody, the next compilation starts from
//! nothing. Not here: what the parts mean.

use super::blocks::Blocks;
use super::columns::Reach;
use super::groups::{Ground, Groups};
use super::identity::{Identities, tenant_number};
use super::peers::Matchers;
use super::problems;
use super::rows::Rows;
use super::select::{Selection, sorted};
use crate::cluster::snapshot::Snapshot;
use crate::datapath::compiled::{Behind, Compiled, EndpointSpec, GroupIndex};
use crate::model::PodKey;
use isolator_common::addr::{Addr, Prefix};
use isolator_common::policy::Direction;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Things that nobody uses which are never too many.
const SPARE: usize = 1024;

/// What is known of the last snapshot.
#[derive(Debug)]
pub(super) struct State {
    snapshot: Arc<Snapshot>,
    matchers: Matchers,
    selection: Selection,
    blocks: Blocks,
    groups: Groups,
    identities: Identities,
    rows: Rows,
    /// The reasons of the compiled form, as numbers among all that there ever were.
    reasons: Vec<u32>,
    /// The matchers that rules in use speak of, and their prefixes.
    active: Vec<u32>,
    prefixes: Vec<Prefix>,
}

/// What the compiled form must be brought up to date in.
struct Dirty {
    addresses: BTreeSet<Addr>,
    /// Pods that changed.
    pods: BTreeSet<PodKey>,
    /// Endpoints, their programs, or the active rules.
    selected: bool,
    /// Numbers of identities that pods which did not change had, and have no more.
    identities: BTreeSet<u32>,
    reach: Reach,
}

impl State {
    /// Compiles from nothing.
    pub(super) fn new(snapshot: &Arc<Snapshot>, node: &str) -> (Self, Compiled) {
        let mut matchers = Matchers::default();
        let selection = Selection::new(snapshot, node, &mut matchers);
        let mut blocks = Blocks::default();
        for (number, peer) in (0..).zip(matchers.peers()) {
            blocks.add(snapshot, number, peer);
        }
        let ground = Ground { snapshot, node, matchers: &matchers, selection: &selection, blocks: &blocks };
        let groups = Groups::new(ground);
        let mut state = State {
            snapshot: Arc::clone(snapshot),
            identities: Identities::new(snapshot),
            rows: Rows::default(),
            reasons: Vec::new(),
            active: Vec::new(),
            prefixes: Vec::new(),
            matchers,
            selection,
            blocks,
            groups,
        };
        let reach = state.finish(true);
        let mut compiled = Compiled::default();
        let State { groups, rows, identities, .. } = &state;
        compiled.addresses = groups
            .addresses
            .iter()
            .map(|(addr, group)| {
                let identity = identities.of_address(snapshot, addr, node);
                (*addr, Behind { identity, group: GroupIndex(rows.merged(*group)) })
            })
            .collect();
        let dirty = Dirty {
            addresses: BTreeSet::new(),
            pods: BTreeSet::new(),
            selected: true,
            identities: BTreeSet::new(),
            reach,
        };
        state.write(node, &dirty, &mut compiled);
        (state, compiled)
    }

    /// Compiles what has changed. `None`: this must be done from nothing.
    pub(super) fn update(
        &mut self,
        snapshot: &Arc<Snapshot>,
        node: &str,
        compiled: &mut Compiled,
    ) -> Option<()> {
        let before = std::mem::replace(&mut self.snapshot, Arc::clone(snapshot));
        let changes = snapshot.since(&before).filter(|_| !self.is_wasteful())?;
        let (matchers, names) = (self.matchers.peers().len(), self.selection.names.len());
        let tenants = self.selection.tenants.clone();
        let selected = self.selection.update(snapshot, node, &changes, &mut self.matchers);
        // Every group depends on whose tenants and which names matter here.
        if self.selection.tenants != tenants || self.selection.names.len() != names {
            return None;
        }
        for (number, peer) in (matchers as u32..).zip(&self.matchers.peers()[matchers..]) {
            self.blocks.add(snapshot, number, peer);
        }
        let State { matchers: all, selection, blocks, groups, .. } = self;
        let ground = Ground { snapshot, node, matchers: all, selection, blocks };
        let (mut addresses, prefixes) = groups.learn(ground, matchers as u32);
        addresses.extend(&changes.addresses);
        for addr in &addresses {
            groups.place(ground, *addr);
        }
        for prefix in &prefixes {
            groups.place_prefix(ground, *prefix);
        }
        let mut identities = BTreeSet::new();
        for (_, before, after) in &changes.pods {
            self.identities.replace(*before, *after, &mut identities);
        }
        let pods = changes.pods.iter().map(|(key, ..)| (*key).clone()).collect();
        let reach = self.finish(selected || !prefixes.is_empty());
        self.write(node, &Dirty { addresses, pods, selected, identities, reach }, compiled);
        Some(())
    }

    /// Whether most of what is kept is of no use.
    fn is_wasteful(&self) -> bool {
        let State { matchers, selection, groups, active, .. } = self;
        let living = groups.counts.iter().filter(|count| **count > 0).count();
        let programs = selection.programs.len() / (2 * selection.local.len() + 2);
        let waste = |all: usize, used: usize| all > 2 * used + SPARE;
        waste(matchers.peers().len(), active.len()) || waste(groups.groups.len(), living) || programs > SPARE
    }

    /// Brings what depends on the rules in use up to date.
    fn finish(&mut self, selected: bool) -> Reach {
        let State { matchers, selection, blocks, groups, identities, rows, active, prefixes, .. } = self;
        let live = selection.live();
        if selected {
            *active = selection.speaking_of(&live);
            let of_rules = active.iter().flat_map(|matcher| blocks.of(*matcher)).copied();
            let ranges = self.snapshot.service_ranges().iter().copied();
            let now = sorted(of_rules.chain([Prefix::ALL_V4, Prefix::ALL_V6]).chain(ranges));
            if *prefixes != now {
                *prefixes = now;
                identities.prefixes(prefixes.iter().copied());
            }
        }
        rows.update(selection, groups, matchers, &live)
    }

    /// Writes down what changed.
    fn write(&mut self, node: &str, dirty: &Dirty, compiled: &mut Compiled) {
        let State { snapshot, groups, identities, rows, .. } = &*self;
        let Dirty { addresses, pods: _, selected, identities: moved, reach } = dirty;
        let merged = |group: u32| GroupIndex(rows.merged(group));
        let identity = |addr: &Addr| identities.of_address(snapshot, addr, node);
        for addr in addresses {
            match groups.addresses.get(addr) {
                Some(group) => {
                    let behind = Behind { identity: identity(addr), group: merged(*group) };
                    compiled.addresses.insert(*addr, behind);
                }
                None => drop(compiled.addresses.remove(addr)),
            }
        }
        if let Reach::Moved(elsewhere) = reach {
            let there = groups.addresses.iter().filter(|(_, group)| elsewhere[**group as usize]);
            there.for_each(|(addr, group)| {
                let known = compiled.addresses.get(addr).map(|behind| behind.identity);
                let identity = known.unwrap_or_else(|| identity(addr));
                compiled.addresses.set(*addr, Some(Behind { identity, group: merged(*group) }));
            });
        }
        if !moved.is_empty() {
            let renamed = compiled.addresses.iter().filter(|(_, behind)| moved.contains(&behind.identity));
            let renamed: Vec<(Addr, Behind)> = renamed.map(|(addr, behind)| (*addr, *behind)).collect();
            for (addr, behind) in renamed {
                compiled.addresses.set(addr, Some(Behind { identity: identity(&addr), ..behind }));
            }
        }
        let of_ours = compiled.endpoints.values().any(|endpoint| moved.contains(&endpoint.identity));
        if *selected || of_ours || *reach != Reach::Nothing {
            self.write_prefixes(compiled);
            self.write_endpoints(dirty, compiled);
        }
        let State { snapshot, identities, rows, prefixes, .. } = &*self;
        compiled.groups = rows.groups();
        compiled.identities = identities.names();
        compiled.problems = problems(snapshot, node);
        debug_assert_eq!(compiled.prefixes.len(), prefixes.len());
    }

    /// Endpoints, and the rows that they have.
    fn write_endpoints(&mut self, dirty: &Dirty, compiled: &mut Compiled) {
        let State { snapshot, selection, identities, rows, .. } = &*self;
        let mut writer = rows.writer();
        compiled.endpoints.retain(|key, _| selection.local.contains_key(key));
        for (key, local) in &selection.local {
            let free = local.programs.into_iter().all(|program| selection.admits_freely(program));
            let there = compiled.endpoints.get_mut(key);
            let known = there.as_ref().map(|there| there.identity);
            let known =
                known.filter(|number| !dirty.pods.contains(key) && !dirty.identities.contains(number));
            let spec = EndpointSpec {
                identity: known.unwrap_or_else(|| identities.of_pod(&local.pod)),
                tenant: snapshot.tenant_of(&key.namespace).map_or(0, tenant_number),
                addrs: local.pod.addrs(),
                rows: writer.pair(local.programs),
                connection_first: [!free; 2],
            };
            match there {
                Some(there) => *there = spec,
                None => drop(compiled.endpoints.insert(key.clone(), spec)),
            }
        }
        let startup = writer.pair(selection.startup);
        let (written, reasons) = writer.finished();
        if compiled.rows != written {
            compiled.rows = written;
        }
        compiled.startup = Direction::BOTH.map(|direction| Some(startup[direction.index()]));
        if self.reasons != reasons {
            compiled.reasons = reasons.iter().map(|number| rows.reason(*number).clone()).collect();
            self.reasons = reasons;
        }
    }

    fn write_prefixes(&self, compiled: &mut Compiled) {
        let State { groups, identities, rows, prefixes, .. } = self;
        let is_gone = |prefix: &&Prefix| prefixes.binary_search(prefix).is_err();
        let gone: Vec<Prefix> = compiled.prefixes.keys().filter(is_gone).copied().collect();
        for prefix in gone {
            compiled.prefixes.remove(&prefix);
        }
        let behind = |prefix: &Prefix| Behind {
            identity: identities.of_prefix(prefix),
            group: GroupIndex(rows.merged(groups.prefixes[prefix])),
        };
        if compiled.prefixes.is_empty() {
            compiled.prefixes = prefixes.iter().map(|prefix| (*prefix, behind(prefix))).collect();
        }
        for prefix in prefixes {
            let now = behind(prefix);
            if compiled.prefixes.get(prefix) != Some(&now) {
                compiled.prefixes.insert(*prefix, now);
            }
        }
    }
}
