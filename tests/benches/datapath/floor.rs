//! Loads the floor programs over the maps of the programs under test. Not here: what they do
//! (`isolator-ebpf/src/floor.rs`).

use anyhow::{Context, Result};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, SchedClassifier, TestRun, TestRunOptions, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use isolator_agent::datapath::run::FLOOR;
use isolator_common::floor::Turn;
use isolator_common::tables;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use zerocopy::IntoBytes;

/// The programs, by their names in the object.
pub(crate) const EMPTY: &str = "empty";
/// Addresses and ports.
pub(crate) const PARSE: &str = "parse";
/// Parse and dense tables.
pub(crate) const DENSE: &str = "dense";
/// Parse and one look-up of the connection.
pub(crate) const LRU: &str = "lru";
/// Parse, dense tables, a look-up that misses and an insertion.
pub(crate) const INSERT: &str = "insert";
const TURN: &str = "turn";
/// Packets in one run: about a millisecond, beside which the call costs nothing.
const RUN: u32 = 20_000;

/// Words of [`Turn`].
type TurnBytes = [u8; size_of::<Turn>()];

/// The floor programs, loaded.
pub(crate) struct Floor {
    ebpf: Ebpf,
    next: ProgramArray<MapData>,
    turn: Array<MapData, TurnBytes>,
}

impl Floor {
    /// Loads them over the maps pinned in `pins`. `base` is the first cell of the row that the floor reads, `mark`
    /// what every packet carries.
    pub(crate) fn load(pins: &Path, base: u32, generation: u32, endpoint: u32, mark: u32) -> Result<Floor> {
        let mut loader = EbpfLoader::new();
        for (map, ..) in tables::ALL {
            loader.map_pin_path(map, pins.join(map));
        }
        loader.override_global("BASE", &base, true).override_global("GENERATION", &generation, true);
        loader.override_global("ENDPOINT", &endpoint, true).override_global("MARK", &mark, true);
        let mut ebpf = loader.load(FLOOR).context("load the floor programs")?;
        for name in [EMPTY, PARSE, DENSE, LRU, INSERT, TURN] {
            let program: &mut SchedClassifier =
                ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
            program.load()?;
        }
        let next = ProgramArray::try_from(ebpf.take_map("NEXT").context("no map NEXT")?)?;
        let turn = Array::try_from(ebpf.take_map("TURN").context("no map TURN")?)?;
        Ok(Floor { ebpf, next, turn })
    }

    fn program(&self, name: &str) -> Result<&SchedClassifier> {
        Ok(self.ebpf.program(name).with_context(|| format!("no program {name}"))?.try_into()?)
    }

    /// A floor program, to run.
    pub(crate) fn fd(&self, name: &str) -> Result<ProgramFd> {
        Ok(self.program(name)?.fd()?.try_clone()?)
    }

    /// Runs a program on `packets` packets whose peers take turns, and answers nanoseconds per packet. By this
    /// thread's clock: the kernel's answer has whole nanoseconds, and other work on the machine does not count.
    /// In short runs, of which the quickest counts: what disturbs one does not disturb all.
    pub(crate) fn run(
        &mut self,
        program: &ProgramFd,
        frame: &[u8],
        turn: &mut Turn,
        packets: u32,
    ) -> Result<f64> {
        self.next.set(0, program, 0)?;
        self.turn.set(0, TurnBytes::try_from(turn.as_bytes())?, 0)?;
        let (mut left, mut least) = (packets, f64::INFINITY);
        while left > 0 {
            let repeat = left.min(RUN);
            let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
            let before = nanoseconds();
            self.program(TURN)?.test_run(options)?;
            least = least.min((nanoseconds() - before) as f64 / f64::from(repeat));
            left -= repeat;
        }
        turn.count = turn.count.wrapping_add(packets);
        Ok(least)
    }
}

/// Time that this thread has run, nanoseconds.
fn nanoseconds() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The program with this number.
pub(crate) fn by_id(id: u32) -> Result<ProgramFd> {
    for program in loaded_programs() {
        let program = program?;
        if program.id() == id {
            return Ok(program.fd()?);
        }
    }
    anyhow::bail!("the program {id} is gone")
}
