//! `isolator run`: starts everything, waits for something to happen, lets the enforcer do a step. Ends on
//! SIGTERM or SIGINT and leaves enforcement as it is. Not here: what a step does (`enforce`).

use crate::alone;
use crate::config::{Config, Source};
use crate::controller::Controller;
use crate::datapath::load::{Capacities, Loaded};
use crate::datapath::{discover, features, watch};
use crate::enforce::Enforcer;
use crate::flows;
use crate::known::Known;
use crate::metrics;
use crate::publish;
use crate::source::kubernetes::{Api, Heard, KubernetesSource};
use crate::source::placement::Overlay;
use crate::source::{self, ManifestSource, Took, Update};
use anyhow::{Context, Result, bail};
use isolator_policy::cluster::change::Change;
use isolator_policy::cluster::index::Options;
use isolator_policy::datapath::layout::{self, Params};
use rustix::time::{ClockId, clock_getres};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch as latest};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

/// Looked at anyway after this long: a missed notification must not last.
const SAFETY_NET: Duration = Duration::from_secs(30);
/// Folder of last good manifests in the run folder.
const LAST_GOOD: &str = "last-good";
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How often a piece of the kernel is compared with what was written. A change that comes meanwhile waits for the end
/// of it, so that pieces are small and come often.
const AUDIT: Duration = Duration::from_millis(200);
/// How often it is looked whether pods are still held at the next boot. Whoever takes the link away gets this long
/// between two tries.
const HELD: Duration = Duration::from_secs(1);
/// Events that one tenant may cause per second and CPU.
const EVENTS_PER_SECOND: u32 = 2000;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What keeps it from starting: a missing precondition, another agent, unusable pins. Nothing is changed then.
pub fn run(config: Config) -> Result<ExitCode> {
    let missing = features::missing(Some(&config.pin_dir));
    if !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        bail!("{}", lines.join("\n"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon(config))
}

async fn daemon(config: Config) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    alone::claim().await?;
    std::fs::create_dir_all(&config.run_dir)
        .with_context(|| format!("cannot make the run folder {}", config.run_dir.display()))?;
    let loaded = Loaded::open(&config.pin_dir, &Capacities::default())?;
    let image = loaded.store.read_image()?;
    info!(
        node = config.node,
        kernel = loaded.features.kernel,
        generation = image.state.generation,
        endpoints = image.endpoints.len(),
        "opened the maps"
    );

    let Started { initial, mut updates, heard, api } = start(&config).await?;
    let mut interfaces = watch::watch(&config.sandboxes)?;
    let options = Options {
        tenant_label: config.tenant_label.clone(),
        service_ranges: config.service_ranges.clone(),
        ..Options::default()
    };
    let controller = Controller::new(&config.node, options, params()?, image, config.permissive);
    let known = Known::new(&config.node, controller.image(), controller.snapshot());
    let shutdown = Arc::new(AtomicBool::new(false));
    let flows = flows::serve::start(
        &config.pin_dir,
        &config.run_dir,
        known.reader(&config.pin_dir),
        Arc::clone(&shutdown),
    )?;
    let mut overlay = Overlay::new(&config.node, discover::local_addresses()?.into_iter().collect());
    if config.placements.is_none() {
        overlay = overlay.without_placements();
    }
    let (metrics_at, pin_dir, node) = (config.metrics, config.pin_dir.clone(), config.node.clone());
    let mut enforcer = Enforcer::new(config, loaded, controller, overlay, known.clone());
    if let Some(address) = metrics_at {
        metrics::serve(address, &pin_dir, enforcer.published()).await?;
    }

    if let Some(heard) = heard {
        enforcer.hears(heard);
    }
    if let Some(api) = api {
        publish::start(api, &node, enforcer.published(), known);
    }
    if let Some(initial) = initial {
        enforcer.source(vec![Change::Reset(initial.objects)], initial.problems, Took::default());
    }
    enforcer.discover();
    enforcer.step();
    let mut audit = tokio::time::interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut held = tokio::time::interval(HELD);
    held.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stepped = Instant::now();
    loop {
        let wait = if enforcer.must_retry() { RETRY } else { SAFETY_NET };
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => enforcer.source(update.changes, update.problems, update.took),
                None => bail!("the source of objects has ended; what is enforced stays"),
            },
            seen = interfaces.changed() => match seen {
                Some(()) => enforcer.discover(),
                None => bail!("the watch of the interfaces has ended; what is enforced stays"),
            },
            () = tokio::time::sleep_until(stepped + wait) => enforcer.discover(),
            _ = audit.tick() => {
                enforcer.audit();
                continue;
            }
            _ = held.tick() => {
                enforcer.let_pods_start();
                continue;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        // Whatever else has arrived meanwhile is part of the same step.
        while let Ok(update) = updates.try_recv() {
            enforcer.source(update.changes, update.problems, update.took);
        }
        enforcer.step();
        stepped = Instant::now();
    }
    info!("stopping; enforcement stays on");
    shutdown.store(true, Ordering::Relaxed);
    if flows.join().is_err() {
        warn!("the thread of flows had ended by a panic");
    }
    Ok(ExitCode::SUCCESS)
}

/// A source that has begun.
struct Started {
    /// What it says at the start; `None`: that comes with the first updates.
    initial: Option<source::Loaded>,
    updates: mpsc::Receiver<Update>,
    heard: Option<latest::Receiver<Vec<Heard>>>,
    /// Where there is an API server, the way to tell it something.
    api: Option<Api>,
}

async fn start(config: &Config) -> Result<Started> {
    match &config.source {
        Source::Manifests(folder) => {
            let ManifestSource { initial, updates } =
                ManifestSource::start_remembering(folder, &config.run_dir.join(LAST_GOOD))
                    .with_context(|| format!("cannot watch the manifests in {}", folder.display()))?;
            Ok(Started { initial: Some(initial), updates, heard: None, api: None })
        }
        Source::Kubernetes(kubeconfig) => {
            let KubernetesSource { updates, heard, api } =
                KubernetesSource::start(kubeconfig.as_deref()).await?;
            Ok(Started { initial: None, updates, heard: Some(heard), api: Some(api) })
        }
    }
}

/// What the datapath needs to know of this machine.
fn params() -> Result<Params> {
    // The coarse clock advances by one tick: CONFIG_HZ, which no interface tells otherwise.
    let tick = clock_getres(ClockId::MonotonicCoarse);
    let nanoseconds = tick.tv_sec.saturating_mul(1_000_000_000).saturating_add(tick.tv_nsec);
    let ticks_per_second = 1_000_000_000_i64
        .checked_div(nanoseconds)
        .and_then(|ticks| u32::try_from(ticks).ok())
        .filter(|ticks| (1..=10_000).contains(ticks))
        .with_context(|| format!("the kernel's tick of {nanoseconds} ns makes no sense"))?;
    Ok(Params {
        ticks_per_second,
        events_per_second: EVENTS_PER_SECOND,
        capacities: layout::Capacities::default(),
    })
}
