//! Reads the compiled form: the exact address, else the longest prefix; the cell; the last interval at or
//! below the port. A list search each time: plainness is its use. Not here: map numbers.

use isolator_common::addr::Addr;
use isolator_common::policy::{Direction, port_key};
use isolator_policy::datapath::compiled::{Behind, CellSpec, Compiled, Effect, VerdictSpec};
use isolator_policy::meaning::oracle::Side;
use isolator_policy::model::PodKey;

/// What is behind an address.
pub(crate) fn locate(compiled: &Compiled, addr: &Addr) -> Behind {
    compiled.addresses.get(addr).copied().unwrap_or_else(|| {
        let holding = compiled.prefixes.iter().filter(|(prefix, _)| prefix.contains(addr));
        *holding.max_by_key(|(prefix, _)| prefix.bits).expect("every family has a prefix for all of it").1
    })
}

/// The cell of an endpoint's row for an address.
pub(crate) fn cell<'c>(
    compiled: &'c Compiled,
    endpoint: &PodKey,
    direction: Direction,
    peer: &Addr,
) -> &'c CellSpec {
    let row = compiled.endpoints[endpoint].rows[direction.index()];
    compiled.rows.cell(row, locate(compiled, peer).group)
}

/// The verdict of a cell for a port.
pub(crate) fn verdict(cell: &CellSpec, protocol: u8, port: u16) -> VerdictSpec {
    match cell {
        CellSpec::All(verdict) => *verdict,
        CellSpec::ByPort(verdicts) => {
            let key = port_key(protocol, port);
            verdicts.iter().rfind(|(first, _)| *first <= key).expect("the first interval starts at 0").1
        }
    }
}

/// What the compiled form says at one side.
pub(crate) fn side(
    compiled: &Compiled,
    endpoint: &PodKey,
    direction: Direction,
    peer: &Addr,
    (protocol, port): (u8, u16),
) -> (Side, Effect) {
    let verdict = verdict(cell(compiled, endpoint, direction, peer), protocol, port);
    (
        Side { allowed: passes(verdict.effect), by: compiled.reasons[verdict.reason.0 as usize].clone() },
        verdict.effect,
    )
}

fn passes(effect: Effect) -> bool {
    matches!(effect, Effect::Allow | Effect::AllowTracked | Effect::Service | Effect::ServiceTracked)
}

/// Whether a cell allows every port.
pub(crate) fn is_open(cell: &CellSpec) -> bool {
    match cell {
        CellSpec::All(verdict) => passes(verdict.effect),
        CellSpec::ByPort(verdicts) => verdicts.iter().all(|(_, verdict)| passes(verdict.effect)),
    }
}
