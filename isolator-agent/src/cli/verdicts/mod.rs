//! `isolator policy verdicts`: many flows in, one line of verdict for each out, in the same order. The
//! interface that other tools call; its names and exit codes are stable. Not here: what policies mean.

mod compiled;
mod flow;
mod kernel;
mod sides;

use super::Exit;
use super::args::{Engine, Format, Global, VerdictsArgs};
use super::offline::load_and_warn;
use super::output::{self, Screen};
use anyhow::{Context, Result};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::meaning::flow::FlowSpec;
use isolator_policy::meaning::oracle::{self, FlowVerdict, Side};
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

/// A verdict on a flow, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Answer {
    /// `allowed` if both sides allow.
    pub(super) verdict: &'static str,
    /// The sender's side.
    pub(super) egress: SideAnswer,
    /// The receiver's side.
    pub(super) ingress: SideAnswer,
}

/// A verdict of one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SideAnswer {
    /// `allowed` or `denied`.
    pub(super) verdict: &'static str,
    /// Policy and rule, or why none was needed.
    pub(super) by: String,
}

/// A flow that cannot be judged, as JSON.
#[derive(Debug, Serialize)]
struct Refusal {
    error: String,
}

/// Who judges flows.
trait Judge {
    /// Judges one new flow. The error says why it cannot be judged.
    fn judge(&mut self, flow: &FlowSpec) -> Result<Answer>;
}

impl Answer {
    fn new(egress: SideAnswer, ingress: SideAnswer) -> Self {
        let both = egress.verdict == ALLOWED && ingress.verdict == ALLOWED;
        Answer { verdict: word(both), egress, ingress }
    }
}

impl From<FlowVerdict> for Answer {
    fn from(verdict: FlowVerdict) -> Self {
        let FlowVerdict { egress, ingress } = verdict;
        Answer::new(egress.into(), ingress.into())
    }
}

impl From<Side> for SideAnswer {
    fn from(side: Side) -> Self {
        let Side { allowed, by } = side;
        SideAnswer { verdict: word(allowed), by: by.to_string() }
    }
}

const ALLOWED: &str = "allowed";

/// The word for a verdict.
pub(super) const fn word(allowed: bool) -> &'static str {
    if allowed { ALLOWED } else { "denied" }
}

/// The direct reading.
struct Reading<'a>(&'a Snapshot);

impl Judge for Reading<'_> {
    fn judge(&mut self, flow: &FlowSpec) -> Result<Answer> {
        Ok(oracle::judge(self.0, flow)?.into())
    }
}

/// Judges all flows. [`Exit::Failure`] when one could not be judged.
pub(super) fn run(args: &VerdictsArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let VerdictsArgs { folder, flows, engine } = args;
    let offline = load_and_warn(folder, global)?;
    let snapshot = offline.snapshot.as_ref();
    let mut judge: Box<dyn Judge + '_> = match engine {
        Engine::Reading => Box::new(Reading(snapshot)),
        Engine::Compiled => Box::new(compiled::engine(snapshot)),
        Engine::Kernel => Box::new(kernel::engine(snapshot)?),
    };
    let input = open(flows)?;
    judge_lines(BufReader::new(input), snapshot, judge.as_mut(), screen)
}

fn open(flows: &Path) -> Result<Box<dyn Read>> {
    if flows == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(flows).with_context(|| format!("cannot open the flows {}", flows.display()))?;
    Ok(Box::new(file))
}

/// Line by line. Answers are held back while more lines are at hand, and never while waiting for one.
fn judge_lines(
    mut input: BufReader<Box<dyn Read>>,
    snapshot: &Snapshot,
    judge: &mut dyn Judge,
    screen: &Screen,
) -> Result<Exit> {
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let mut exit = Exit::Good;
    let mut line = Vec::new();
    loop {
        if input.buffer().is_empty() {
            stdout.flush()?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line).context("cannot read the flows")? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = flow::parse(&line, snapshot).and_then(|flow| judge.judge(&flow));
        if answer.is_err() {
            exit = Exit::Failure;
        }
        stdout.write_all(text(&answer, screen)?.as_bytes())?;
    }
    stdout.flush()?;
    Ok(exit)
}

fn text(answer: &Result<Answer>, screen: &Screen) -> Result<String> {
    fn machine<T: Serialize>(format: Format, value: &T) -> Result<String> {
        match format {
            Format::Yaml => output::yaml_document(value),
            _ => Ok(format!("{}\n", output::json_line(value)?)),
        }
    }
    match (answer, screen.for_people()) {
        (Ok(answer), true) => {
            let Answer { verdict, egress, ingress } = answer;
            let side = |side: &SideAnswer| format!("{} ({})", side.verdict, side.by);
            Ok(format!("{verdict:<7}  egress {}  ingress {}\n", side(egress), side(ingress)))
        }
        (Ok(answer), false) => machine(screen.format, answer),
        (Err(error), true) => Ok(format!("error    {error:#}\n")),
        (Err(error), false) => machine(screen.format, &Refusal { error: format!("{error:#}") }),
    }
}
