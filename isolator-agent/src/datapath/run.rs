//! Runs the loaded programs on frames in memory (BPF_PROG_TEST_RUN), where no packet is sent. For
//! `policy verdicts --engine kernel`, tests and benchmarks. Not here: building frames.

use super::hook::Hook;
use super::load::Programs;
use aya::programs::{ProgramError, TestRun, TestRunOptions, TestRunResult};

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

/// Where the mark lies in what programs see of a packet (`struct __sk_buff` of `include/uapi/linux/bpf.h`).
const MARK: usize = 8;

/// That structure; the kernel wants room for all of it.
type Context = [u8; 192];

impl Programs {
    /// Runs the program of a direction `repeat` times on a frame, from its Ethernet header on. The kernel
    /// takes no frame shorter than that header (14 bytes). The packet arrives at interface 1, the loopback
    /// interface of this thread's network namespace: the endpoint under test is the one at index 1.
    ///
    /// # Errors
    /// When the kernel refuses the frame.
    pub fn run(&self, hook: impl Into<Hook>, frame: &[u8], repeat: u32) -> Result<RunResult, ProgramError> {
        self.run_marked(hook, frame, 0, repeat).map(|(result, _)| result)
    }

    /// As [`Programs::run`], with a mark on the packet; says which it has afterwards. With `repeat` above 1 the
    /// mark is set once, before the first run.
    ///
    /// # Errors
    /// When the kernel refuses the frame.
    pub fn run_marked(
        &self,
        hook: impl Into<Hook>,
        frame: &[u8],
        mark: u32,
        repeat: u32,
    ) -> Result<(RunResult, u32), ProgramError> {
        run(self.program(hook.into()), frame, mark, repeat)
    }

    /// Runs the program for what the node itself receives. It sees the frame from its IP header on, and answers 1
    /// for passing.
    ///
    /// # Errors
    /// When the kernel refuses the frame.
    pub fn run_host(&self, frame: &[u8], mark: u32) -> Result<(RunResult, u32), ProgramError> {
        run(self.host(), frame, mark, 1)
    }
}

fn run<P>(program: &P, frame: &[u8], mark: u32, repeat: u32) -> Result<(RunResult, u32), ProgramError>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let (mut before, mut after): (Context, Context) = ([0; _], [0; _]);
    before[MARK..MARK + 4].copy_from_slice(&mark.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&before),
        ctx_out: Some(&mut after),
        repeat,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options)?;
    let duration_ns = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
    let mark = after[MARK..MARK + 4].try_into().map_or(0, u32::from_ne_bytes);
    Ok((RunResult { retval: result.return_value as i32, duration_ns }, mark))
}
