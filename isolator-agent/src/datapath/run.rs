//! Runs the loaded programs on frames in memory (BPF_PROG_TEST_RUN), where no packet is sent. For
//! `policy verdicts --engine kernel`, tests and benchmarks. Not here: building frames.

use super::load::Programs;
use aya::programs::{ProgramError, TestRun, TestRunOptions};
use isolator_common::policy::Direction;

/// The programs that the benchmark compares with (`isolator-ebpf/src/floor.rs`), an object of their own.
pub static FLOOR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/floor"));

/// What one test run gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// What the program returned: see [`RunResult::passes`].
    pub retval: i32,
    /// Mean duration of one run, nanoseconds.
    pub duration_ns: u64,
}

impl RunResult {
    /// `TC_ACT_UNSPEC` of `include/uapi/linux/pkt_cls.h`: go on.
    pub const PASS: i32 = -1;
    /// `TC_ACT_SHOT` of the same header: drop.
    pub const DROP: i32 = 2;

    /// Whether the packet goes on. Everything but [`RunResult::PASS`] counts as a drop.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.retval == RunResult::PASS
    }
}

impl Programs {
    /// Runs the program of a direction `repeat` times on a frame, from its Ethernet header on. The kernel
    /// takes no frame shorter than that header (14 bytes). The packet arrives at interface 1, the loopback
    /// interface of this thread's network namespace: the endpoint under test is the one at index 1.
    ///
    /// # Errors
    /// When the kernel refuses the frame.
    pub fn run(&self, direction: Direction, frame: &[u8], repeat: u32) -> Result<RunResult, ProgramError> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let result = self.program(direction).test_run(options)?;
        let duration_ns = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(RunResult { retval: result.return_value as i32, duration_ns })
    }
}
