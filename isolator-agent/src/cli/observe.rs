//! `isolator observe`: flows as they happen. From the daemon's socket while it runs; else from the ring buffer
//! itself, until a daemon takes over. Not here: what a line looks like (`flows::format`).

use super::args::{Format, Global, ObserveArgs, VerdictFilter};
use super::output::{self, Screen, Tone};
use super::pinned::Pinned;
use super::{Exit, offline, words};
use crate::flows::client::Subscription;
use crate::flows::direct::Direct;
use crate::flows::enrich::Verdict;
use crate::flows::filter::Filter;
use crate::flows::format::{Detail, Record, line};
use crate::flows::reader;
use crate::flows::text::protocol_number;
use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Longest wait before deadlines and the daemon are looked at again.
const TURN: Duration = Duration::from_millis(500);

/// Where flows come from.
enum Tap {
    Daemon(Subscription),
    Ring(Box<Direct<Pinned>>),
}

/// Prints flows until told to stop.
pub(super) fn run(args: &ObserveArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    // Getting ready takes a while; what happens meanwhile is news, too.
    let since = reader::monotonic();
    let filter = filter(args)?;
    let deadline = args.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut tap = Tap::open(global, &filter, since)?;
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let left =
            deadline.map_or(TURN, |deadline| deadline.saturating_duration_since(Instant::now()).min(TURN));
        if left.is_zero() {
            return Ok(if args.count.is_some() { Exit::Bad } else { Exit::Good });
        }
        if let Some(record) = tap.next(left, global, &filter)? {
            seen += u64::from(matches!(record, Record::Flow(_)));
            output::text(&text(&record, screen)?)?;
        }
    }
    Ok(Exit::Good)
}

fn filter(args: &ObserveArgs) -> Result<Filter> {
    let ObserveArgs {
        pod,
        from_pod,
        to_pod,
        verdict,
        protocol,
        port,
        follow: _,
        history,
        count: _,
        timeout: _,
    } = args;
    if let Some(unknown) = protocol.iter().find(|name| protocol_number(name).is_none()) {
        bail!(words::unknown_protocol(unknown));
    }
    Ok(Filter {
        pods: pod.clone(),
        from_pods: from_pod.clone(),
        to_pods: to_pod.clone(),
        verdict: verdict.map(|verdict| match verdict {
            VerdictFilter::Forwarded => Verdict::Forwarded,
            VerdictFilter::Dropped => Verdict::Dropped,
        }),
        protocols: protocol.clone(),
        ports: port.clone(),
        history: *history,
    })
}

fn text(record: &Record, screen: &Screen) -> Result<String> {
    let detail = match screen.format {
        Format::Json => return Ok(format!("{}\n", output::json_line(record)?)),
        Format::Yaml => return output::yaml_document(record),
        Format::Wide => Detail::Wide,
        // SARIF and HTML were refused before.
        Format::Table | Format::Sarif | Format::Html => Detail::Compact,
    };
    let paint = |verdict: Verdict| {
        let tone = if verdict == Verdict::Dropped { Tone::Bad } else { Tone::Good };
        screen.paint(tone, verdict.name())
    };
    Ok(format!("{}\n", line(record, detail, |flow| paint(flow.verdict))))
}

impl Tap {
    fn open(global: &Global, filter: &Filter, since: u64) -> Result<Tap> {
        match Tap::daemon(global, filter)? {
            Some(tap) => Ok(tap),
            None => Tap::ring(global, filter, since),
        }
    }

    /// The daemon, if it runs.
    fn daemon(global: &Global, filter: &Filter) -> Result<Option<Tap>> {
        match Subscription::open(&global.run_dir, filter) {
            Ok(subscription) => Ok(Some(Tap::Daemon(subscription))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot ask the daemon in {}", global.run_dir.display()))
            }
        }
    }

    fn ring(global: &Global, filter: &Filter, since: u64) -> Result<Tap> {
        let names = Pinned::open(&global.pin_dir)?.with_pods(offline::last_known(global));
        std::fs::create_dir_all(&global.run_dir)
            .with_context(|| format!("cannot make {}", global.run_dir.display()))?;
        match Direct::open(&global.pin_dir, &global.run_dir, names, filter.clone(), since)? {
            Some(direct) => Ok(Tap::Ring(Box::new(direct))),
            None => bail!(
                "somebody else reads the ring buffer, and no daemon answers in {}",
                global.run_dir.display()
            ),
        }
    }

    fn next(&mut self, wait: Duration, global: &Global, filter: &Filter) -> Result<Option<Record>> {
        match self {
            Tap::Daemon(subscription) => match subscription.next(wait) {
                Ok(record) => Ok(record),
                Err(error)
                    if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) =>
                {
                    eprintln!("the daemon has ended; enforcement goes on, and so do these lines");
                    *self = Tap::open(global, filter, 0)?;
                    Ok(None)
                }
                Err(error) => Err(error).context("the daemon said something odd"),
            },
            Tap::Ring(direct) => {
                let record = direct.next(wait);
                if record.is_none()
                    && let Some(tap) = Tap::daemon(global, filter)?
                {
                    *self = tap;
                }
                Ok(record)
            }
        }
    }
}
