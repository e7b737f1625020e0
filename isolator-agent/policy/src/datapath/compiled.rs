//! What policy compiles to for one node, before any number is dealt out: groups, rows, endpoints. A value;
//! equal input gives an equal value. Not here: map indexes, interface numbers.

use crate::meaning::why::By;
use crate::model::{PodKey, Problem};
use crate::shared::SharedMap;
use isolator_common::addr::{Addr, Prefix};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Index of a peer group in one [`Compiled`]: all addresses that every row treats alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub u32);

/// Index of a row in [`RowSpecs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowIndex(pub u32);

/// Index of a reason in [`Compiled::reasons`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonIndex(pub u32);

/// Everything that one node enforces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Number of peer groups.
    pub groups: u32,
    /// Exact addresses: pods and nodes of the whole cluster.
    pub addresses: SharedMap<Addr, Behind>,
    /// Prefixes; always with all of IPv4 and all of IPv6.
    pub prefixes: SharedMap<Prefix, Behind>,
    /// Distinct rows. Each has one cell per group.
    pub rows: RowSpecs,
    /// Row per direction of an interface whose pod is not known yet: only the local host may talk.
    pub startup: [Option<RowIndex>; 2],
    /// Local endpoints.
    pub endpoints: BTreeMap<PodKey, EndpointSpec>,
    /// Distinct reasons that cells speak of.
    pub reasons: Vec<By>,
    /// Labels behind identity numbers, for people.
    pub identities: SharedMap<u32, String>,
    /// What is not as written.
    pub problems: Vec<Problem>,
}

/// Rows, as numbers of distinct cells: rows are long, and few of their cells differ. Copies share all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSpecs(Arc<(Vec<CellSpec>, Vec<Vec<u32>>)>);

impl RowSpecs {
    /// From distinct cells, and rows of their numbers.
    #[must_use]
    pub fn new(cells: Vec<CellSpec>, rows: Vec<Vec<u32>>) -> Self {
        RowSpecs(Arc::new((cells, rows)))
    }

    /// The distinct cells.
    #[must_use]
    pub fn cells(&self) -> &[CellSpec] {
        &self.0.0
    }

    /// The rows, as numbers of cells by group.
    #[must_use]
    pub fn rows(&self) -> &[Vec<u32>] {
        &self.0.1
    }

    /// What a row says of a group.
    ///
    /// # Panics
    /// If there is no such row or group.
    #[must_use]
    pub fn cell(&self, row: RowIndex, group: GroupIndex) -> &CellSpec {
        &self.cells()[self.rows()[row.0 as usize][group.0 as usize] as usize]
    }

    /// Whether both are one value: no look at the contents. False says nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Vec<Vec<CellSpec>>> for RowSpecs {
    fn from(rows: Vec<Vec<CellSpec>>) -> Self {
        let (mut numbers, mut cells) = (HashMap::new(), Vec::new());
        let mut number = |cell: CellSpec| {
            *numbers.entry(cell).or_insert_with_key(|cell| {
                cells.push(cell.clone());
                cells.len() as u32 - 1
            })
        };
        let rows = rows.into_iter().map(|row| row.into_iter().map(&mut number).collect()).collect();
        RowSpecs::new(cells, rows)
    }
}

/// What is behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Behind {
    /// Identity number, for people.
    pub identity: u32,
    /// Peer group, for enforcement.
    pub group: GroupIndex,
}

/// One local endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Identity number.
    pub identity: u32,
    /// Tenant number, 0 for none: a hash of the tenant's name.
    pub tenant: u32,
    /// Its addresses: IPv4 (mapped) and IPv6.
    pub addrs: [Option<Addr>; 2],
    /// Row by direction.
    pub rows: [RowIndex; 2],
    /// By direction: what is allowed needs a connection entry, or nearly all of it, so that is looked up first.
    pub connection_first: [bool; 2],
}

/// A cell of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CellSpec {
    /// One verdict for every protocol and port.
    All(VerdictSpec),
    /// Verdicts by port: (first `port_key`, verdict), sorted by it, the first at 0, neighbours different.
    ByPort(Arc<[(u32, VerdictSpec)]>),
}

/// A verdict and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerdictSpec {
    /// What happens.
    pub effect: Effect,
    /// Why.
    pub reason: ReasonIndex,
}

/// What a verdict does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// A rule denies.
    Deny,
    /// Isolated, and nothing allows.
    DefaultDeny,
    /// Different tenants.
    Tenancy,
    /// Allowed, and both directions allow this group everything.
    Allow,
    /// Allowed; the connection needs an entry.
    AllowTracked,
    /// A Service address: judged after translation. Both directions allow it everything.
    Service,
    /// The same; the connection needs an entry.
    ServiceTracked,
}
