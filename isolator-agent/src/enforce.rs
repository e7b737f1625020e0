//! One step of enforcing: look which interfaces there are, plan, write, attach, say what happened. Owns the
//! maps, the programs and the controller. Not here: when a step is due (`run`).

use crate::boot::Gate;
use crate::config::{Config, Source};
use crate::controller::{Controller, Plan};
use crate::cut_off;
use crate::datapath::attach::{self, AttachError, Attacher};
use crate::datapath::audit::{Difference, Patrol};
use crate::datapath::discover::{self, Found, Interface, Unenforced};
use crate::datapath::features::{Feature, Features};
use crate::datapath::load::Loaded;
use crate::datapath::sockets;
use crate::known::Known;
use crate::metrics::{Measured, Published};
use crate::source::Took;
use crate::source::kubernetes::Heard;
use crate::source::placement::Overlay;
use crate::source::placement_file::read_placements;
use crate::status::{Counts, MapUse, Phases, ProblemEntry, Process, Status, WatchStatus};
use crate::ways::Ways;
use isolator_common::endpoint::Endpoint;
use isolator_common::tables::{MAX_ENDPOINTS, capacity, name};
use isolator_policy::cluster::change::Change;
use isolator_policy::datapath::adopt;
use isolator_policy::datapath::image::{Image, Op};
use isolator_policy::datapath::memory::Memory;
use isolator_policy::model::{Place, Problem, Severity, cidr};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tracing::{error, info, warn};

mod hold;
mod repair;
mod said;

use self::said::Said;

/// The node's enforcement.
pub struct Enforcer {
    config: Config,
    loaded: Loaded,
    attacher: Attacher,
    controller: Controller,
    overlay: Overlay,
    known: Known,
    ways: Ways,
    /// Interfaces that both programs are on.
    attached: BTreeSet<u32>,
    /// Interfaces that were kept when others were last let go.
    kept: BTreeSet<u32>,
    /// What the input and the plan say is wrong.
    planned: Vec<Problem>,
    /// What kept the last step from being whole; a step is due again soon while there is any.
    failures: Vec<Problem>,
    /// Why packets to Service addresses are dropped.
    closed: Vec<Problem>,
    /// The source has said everything once.
    told: bool,
    /// How fresh its news are, where it says so.
    heard: Option<watch::Receiver<Vec<Heard>>>,
    status: Status,
    /// The same, for whoever wants to know.
    published: watch::Sender<Published>,
    /// What the last edit has taken so far.
    took: Phases,
    /// When the first sign was seen of what is not enforced yet.
    seen: Option<Instant>,
    said: Said,
    measured: Measured,
    patrol: Patrol,
    /// Differences that are somebody else's, and the turn that saw them last.
    foreign: Vec<(Difference, u64)>,
    /// What holds pods at a boot, and why it will not.
    gate: Option<Gate>,
    not_held: Option<Problem>,
}

impl Enforcer {
    /// Takes over what the kernel has. Nothing is changed before the first step.
    #[must_use]
    pub fn new(
        config: Config,
        loaded: Loaded,
        controller: Controller,
        overlay: Overlay,
        known: Known,
    ) -> Self {
        let attacher = Attacher::new(&config.pin_dir, &loaded.features, config.force_clsact);
        let status = Status {
            version: crate::VERSION.to_owned(),
            node: config.node.clone(),
            source: match config.source {
                Source::Manifests(_) => "manifests",
                Source::Kubernetes(_) => "kubernetes",
            }
            .to_owned(),
            manifests: match &config.source {
                Source::Manifests(folder) => folder.clone(),
                Source::Kubernetes(_) => PathBuf::new(),
            },
            placements: config.placements.clone(),
            sandboxes: config.sandboxes.clone(),
            permissive: config.permissive,
            tenant_label: config.tenant_label.clone(),
            service_ranges: config.service_ranges.iter().map(cidr).collect(),
            process: Process::own(),
            started_ms: now_ms(),
            attach_mode: attacher.mode().to_string(),
            features: present(&loaded.features),
            kernel: loaded.features.kernel.clone(),
            cut_off: Status::read(&config.run_dir).ok().flatten().unwrap_or_default().cut_off,
            ..Status::default()
        };
        let ways = Ways::new(&config.pin_dir, config.marking, config.host_backends.clone());
        let gate = config.hold_at_boot.as_deref().map(|folder| Gate::new(folder, &config.run_dir));
        Enforcer {
            config,
            loaded,
            attacher,
            controller,
            overlay,
            known,
            ways,
            attached: BTreeSet::new(),
            kept: BTreeSet::new(),
            planned: Vec::new(),
            failures: Vec::new(),
            closed: Vec::new(),
            told: false,
            heard: None,
            status,
            published: watch::Sender::default(),
            took: Phases::default(),
            seen: None,
            said: Said::default(),
            measured: Measured::default(),
            patrol: Patrol::default(),
            foreign: Vec::new(),
            gate,
            not_held: None,
        }
    }

    /// What is said after each step.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Learns where to look how fresh the source's news are.
    pub fn hears(&mut self, heard: watch::Receiver<Vec<Heard>>) {
        self.heard = Some(heard);
    }

    /// Whether the last step left something undone that may work later.
    #[must_use]
    pub fn must_retry(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Takes changes of the source in.
    pub fn source(&mut self, changes: Vec<Change>, problems: Vec<Problem>, took: Took) {
        let began = Instant::now();
        let seen = began.checked_sub(took.wait + took.read + took.convert).unwrap_or(began);
        self.seen = Some(self.seen.map_or(seen, |before| before.min(seen)));
        for change in changes {
            self.told |= matches!(change, Change::Reset(_));
            for change in self.overlay.change(change) {
                self.controller.change(change);
            }
        }
        self.took = Phases {
            wait_us: micros(took.wait),
            read_us: micros(took.read),
            convert_us: micros(took.convert),
            index_us: micros(began.elapsed()),
            ..Phases::default()
        };
        self.controller.source_problems(problems);
    }

    /// Looks for interfaces and placements.
    pub fn discover(&mut self) {
        let mut problems = Vec::new();
        if let Some(path) = &self.config.placements {
            match read_placements(path) {
                Ok(placements) => {
                    for change in self.overlay.place(placements) {
                        self.controller.change(change);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        match discover::discover(&self.config.sandboxes) {
            Ok(Found { mut interfaces, unenforced, devices, own, marks }) => {
                self.ways.found(devices);
                for change in self.overlay.own(own.into_iter().collect()) {
                    self.controller.change(change);
                }
                let collision = self.ways.collision(&marks).map(|message| Problem {
                    severity: Severity::Warning,
                    message,
                    ..self.problem("marks-taken")
                });
                problems.extend(collision);
                problems.extend(unenforced.iter().map(|sandbox| self.unenforced(sandbox)));
                let missing =
                    self.controller.enforced().into_iter().filter(|known| !interfaces.contains(known));
                for kept in missing.filter(|known| self.still_there(known, &interfaces)).collect::<Vec<_>>() {
                    problems.push(self.kept(&kept));
                    interfaces.push(kept);
                }
                self.controller.interfaces(interfaces, problems);
            }
            Err(error) => {
                problems.push(Problem {
                    message: format!("{error}. What is attached stays."),
                    ..self.problem("no-sandboxes")
                });
                self.controller.discovery_problems(problems);
            }
        }
    }

    /// Whether an interface that is enforced, and was not found this time, is on the node all the same. A sandbox
    /// that is gone or cannot be read is no reason to let go: that would let everything pass.
    fn still_there(&self, known: &Interface, found: &[Interface]) -> bool {
        self.attached.contains(&known.ifindex)
            && found.iter().all(|other| other.ifindex != known.ifindex)
            && discover::name_of(known.ifindex).is_some_and(|name| name == known.name)
    }

    fn kept(&self, interface: &Interface) -> Problem {
        let Interface { name, sandbox, .. } = interface;
        let message = format!(
            "interface {name} is there, but its sandbox {sandbox} is not, or cannot be read; what was enforced on it \
             stays. It is let go when the interface vanishes"
        );
        Problem { severity: Severity::Warning, message, ..self.problem("sandbox-lost") }
    }

    fn unenforced(&self, sandbox: &Unenforced) -> Problem {
        let Unenforced { sandbox, why } = sandbox;
        let message = format!("sandbox {sandbox} is NOT enforced: {why}");
        Problem { message, ..self.problem("sandbox-not-enforced") }
    }

    fn problem(&self, code: &'static str) -> Problem {
        Problem {
            severity: Severity::Error,
            code,
            place: Place::Thing(format!("node {}", self.config.node)),
            object: String::new(),
            field: String::new(),
            message: String::new(),
        }
    }

    /// Brings the kernel from what it enforces to what it should. Before the source has said everything once, what
    /// is enforced stays.
    pub fn step(&mut self) {
        self.failures.clear();
        if !self.told {
            return self.hold();
        }
        // A new interface is enforced before its pod is known: without an entry everything is dropped. At
        // the first step the entries come first, so that pods that ran before are not cut off meanwhile.
        if self.status.synced {
            self.attach();
        }
        self.judge_ways();
        self.plan();
        self.attach();
        if self.judge_ways() {
            self.plan();
        }
        self.let_go();
        self.say();
        self.report();
        self.let_pods_start();
    }

    fn plan(&mut self) {
        match self.controller.plan() {
            Ok(plan) => self.apply(plan),
            Err(too_large) => self.fail("capacity", too_large.to_string()),
        }
    }

    /// Judges the ways to the backends of services, and marks only while that is true of all of them. Answers
    /// whether there is something to write.
    fn judge_ways(&mut self) -> bool {
        let pods: BTreeSet<u32> = self.controller.enforced().iter().map(|found| found.ifindex).collect();
        let (mut marking, failures) = self.ways.judge(&self.attacher, &self.loaded.programs, &pods);
        if !pods.iter().all(|ifindex| self.attached.contains(ifindex)) {
            // Not yet: a failure to attach is a problem of its own.
            marking = marking.closed();
        }
        let snapshot = self.controller.snapshot();
        let mut messages = failures;
        let unmarked =
            self.controller.image().endpoints.values().filter(|one| one.slot >= marking.slots).count();
        if marking.slots != 0 && unmarked != 0 {
            messages.push(format!("{unmarked} endpoints have no place in --service-mark: give it more bits"));
        }
        // Without services nobody misses anything.
        if snapshot.service_addresses().next().is_none() {
            messages.clear();
        }
        let problem = |message| Problem {
            message: format!("{message}. What pods send to Service addresses is dropped meanwhile"),
            ..self.problem("services-closed")
        };
        self.closed = messages.into_iter().map(problem).collect();
        self.controller.marking(marking)
    }

    /// Nothing is programmed. Where an earlier run has enforced, a new interface is attached without an entry, so
    /// that everything is dropped on it. A node that was never enforced is not cut off by an API server that is away.
    fn hold(&mut self) {
        if self.controller.image().state.generation > 0 && !self.config.permissive {
            self.attach();
        }
        self.planned = self.controller.problems();
        self.say();
        self.report();
    }

    fn apply(&mut self, plan: Plan) {
        let Plan { ops, next, snapshot, problems, compile, layout, diff, compiled } = plan;
        self.status.compile_us = micros(compile + layout + diff);
        self.status.counts = Counts {
            namespaces: snapshot.namespaces().len() as u64,
            nodes: snapshot.nodes().len() as u64,
            pods: snapshot.pods().len() as u64,
            policies: snapshot.policies().len() as u64,
            endpoints: 0,
            unknown_interfaces: 0,
        };
        self.planned = problems;
        let next = self.adopt(next, &ops);
        if !ops.is_empty() {
            match self.loaded.store.apply(&ops) {
                Ok(applied) => {
                    let now = since_1970();
                    let settling = applied.duration - applied.switched;
                    self.status.apply_us = micros(applied.duration);
                    self.status.took = Phases {
                        compile_us: micros(compile),
                        layout_us: micros(layout),
                        diff_us: micros(diff),
                        write_us: micros(applied.switched),
                        settle_us: micros(settling),
                        in_force_us: micros(now.saturating_sub(settling)),
                        done_us: micros(now),
                        ..std::mem::take(&mut self.took)
                    };
                    self.status.writes = applied.writes as u64;
                    self.measured.compile.observe((compile + layout + diff).as_secs_f64());
                    self.measured.apply.observe(applied.duration.as_secs_f64());
                    if let Some(seen) = self.seen {
                        self.measured.programming.observe(seen.elapsed().as_secs_f64());
                    }
                    self.status.last_change_ms = now_ms();
                    if let Some(changes) = self.said.one_more(Instant::now()) {
                        info!(
                            generation = next.state.generation,
                            changes,
                            writes = applied.writes,
                            compile_us = self.status.compile_us,
                            apply_us = self.status.apply_us,
                            endpoints = compiled.endpoints.len(),
                            groups = compiled.groups,
                            "enforced"
                        );
                    }
                }
                Err(failed) => {
                    self.fail("write-failed", failed.to_string());
                    // What the kernel really holds decides what the next step writes.
                    match self.loaded.store.read_image() {
                        Ok(image) => self.controller.found(image),
                        Err(unreadable) => self.fail("maps-unreadable", unreadable.to_string()),
                    }
                    return;
                }
            }
            self.controller.done(next);
        }
        self.seen = None;
        self.known.replace(self.controller.image(), snapshot);
        self.status.synced = true;
    }

    /// Writes entries for connections that run without one and will need one under `next`, which it hands back.
    fn adopt(&mut self, next: Image, ops: &[Op]) -> Image {
        let image = self.controller.image();
        let interfaces = self.controller.enforced();
        let now = ticks(next.state.ticks_per_second);
        let memory = Memory::new(next);
        for endpoint in adopt::changed(&image, &memory.image, ops) {
            let Some(interface) = interfaces.iter().find(|found| found.ifindex == endpoint.ifindex) else {
                continue;
            };
            let sockets = match sockets::connections(&self.config.sandboxes.join(&interface.sandbox)) {
                Ok(sockets) => sockets,
                Err(error) => {
                    // Nothing widens: connections that wait for an answer may have to start again.
                    warn!(interface = interface.name, %error, "cannot list the pod's connections");
                    continue;
                }
            };
            let entries = adopt::adopt(&memory, endpoint, &sockets, now);
            if let Err(error) = self.loaded.store.adopt(&entries) {
                warn!(interface = interface.name, %error, "cannot remember the pod's connections");
            }
        }
        memory.image
    }

    /// Attaches to every interface that is wanted and not attached yet.
    fn attach(&mut self) {
        for interface in self.controller.enforced() {
            if self.attached.contains(&interface.ifindex) {
                continue;
            }
            match self.attacher.attach(&self.loaded.programs, interface.ifindex) {
                Ok(()) => {
                    self.attached.insert(interface.ifindex);
                    info!(interface = interface.name, ifindex = interface.ifindex, "attached");
                }
                // The next look at the sandboxes will not find it.
                Err(AttachError::Gone(_)) => {}
                Err(refused) => {
                    self.fail(
                        "not-attached",
                        format!("interface {} is NOT enforced: {refused}", interface.name),
                    );
                }
            }
        }
    }

    /// Removes what belongs to interfaces that are gone, those of an earlier run included.
    fn let_go(&mut self) {
        let keep: BTreeSet<u32> = self.controller.enforced().iter().map(|found| found.ifindex).collect();
        self.status.cut_off.retain(|one| {
            !keep.contains(&one.ifindex)
                && discover::name_of(one.ifindex).is_some_and(|name| name == one.interface)
        });
        if !self.failures.is_empty() || keep == self.kept {
            return;
        }
        let mut spared: BTreeSet<u32> = keep.iter().copied().chain(self.ways.attached()).collect();
        if !self.config.permissive {
            // What an earlier run has enforced and nobody finds now stays attached: without an entry it drops all.
            match attach::attachments(&self.config.pin_dir) {
                Ok(all) => {
                    let pods = all.iter().filter(|one| one.hook.of_pod()).map(|one| one.ifindex);
                    let there = pods.filter(|index| !keep.contains(index));
                    let named = there.filter_map(|index| Some((index, discover::name_of(index)?)));
                    self.status.cut_off = cut_off::update(&self.status.cut_off, named, now_ms());
                    spared.extend(self.status.cut_off.iter().map(|one| one.ifindex));
                }
                Err(refused) => return self.fail("not-swept", refused.to_string()),
            }
        }
        match self.attacher.sweep(&spared) {
            Ok(gone) => {
                for ifindex in gone {
                    info!(ifindex, "let go");
                }
                self.attached.retain(|ifindex| keep.contains(ifindex));
                self.kept = keep;
            }
            Err(refused) => self.fail("not-swept", refused.to_string()),
        }
    }

    fn fail(&mut self, code: &'static str, message: String) {
        self.failures.push(Problem { message, ..self.problem(code) });
    }

    /// Logs what is new among the problems and what is over, once each; keeps them for the status.
    fn say(&mut self) {
        let cut_off: Vec<Problem> =
            self.status.cut_off.iter().map(|one| one.problem(&self.config.sandboxes)).collect();
        let foreign = self.foreign_problems();
        let all: BTreeSet<ProblemEntry> = self
            .planned
            .iter()
            .chain(&self.failures)
            .chain(&self.closed)
            .chain(&cut_off)
            .chain(&foreign)
            .chain(&self.not_held)
            .map(ProblemEntry::from)
            .collect();
        let before: BTreeSet<ProblemEntry> = self.status.problems.drain(..).collect();
        for entry in all.difference(&before) {
            let ProblemEntry { severity: _, code, place, position: _, object, field, message } = entry;
            if entry.is_error() {
                error!(code, place, object, field, message, "problem");
            } else {
                warn!(code, place, object, field, message, "problem");
            }
        }
        for entry in before.difference(&all) {
            info!(code = entry.code, object = entry.object, field = entry.field, "problem is over");
        }
        self.status.problems = all.into_iter().collect();
    }

    /// Writes the status file.
    pub fn report(&mut self) {
        let image = self.controller.image();
        self.status.generation = image.state.generation;
        let known = image.endpoints.values().filter(|endpoint| endpoint.flags & Endpoint::KNOWN != 0).count();
        self.status.counts.endpoints = known as u64;
        self.status.counts.unknown_interfaces = (image.endpoints.len() - known) as u64;
        self.status.maps = occupancy(&image);
        self.status.lost = self.known.lost();
        if let Some(heard) = &self.heard {
            self.status.watches = heard.borrow().iter().map(watch_status).collect();
        }
        let endpoints = image.endpoints.values().map(|endpoint| (endpoint.id, endpoint.slot)).collect();
        self.published.send_replace(Published {
            status: self.status.clone(),
            measured: self.measured.clone(),
            endpoints,
            stepped: Some(Instant::now()),
        });
        if let Err(refused) = self.status.write(&self.config.run_dir) {
            warn!(run_dir = %self.config.run_dir.display(), error = %refused, "cannot write the status file");
        }
    }
}

fn watch_status(heard: &Heard) -> WatchStatus {
    let Heard { kind, synced, objects, heard_ms, away_ms, lists, restarts } = *heard;
    WatchStatus { kind: kind.to_owned(), synced, objects, heard_ms, away_ms, lists, restarts }
}

/// Names of the optional features that are there.
fn present(features: &Features) -> Vec<String> {
    Feature::ALL
        .iter()
        .filter(|feature| features.has(**feature))
        .map(|feature| feature.name().to_owned())
        .collect()
}

/// How full the maps are that the agent writes.
fn occupancy(image: &Image) -> Vec<MapUse> {
    let used = [
        (name::ENDPOINTS, image.endpoints.len(), MAX_ENDPOINTS),
        (name::BLOCK_PEERS, image.blocks.len() << 8, capacity::BLOCK_PEERS),
        (name::HOSTS, image.hosts.len(), capacity::HOSTS),
        (name::PREFIXES, image.prefixes.len(), capacity::PREFIXES),
        (name::CELLS, image.cells.len(), capacity::CELLS),
        (name::INTERVALS, image.intervals.len(), capacity::INTERVALS),
        (name::NAMES, image.names.len(), capacity::NAMES),
    ];
    let entry = |(map, entries, capacity): (&str, usize, u32)| MapUse {
        map: map.to_owned(),
        entries: entries as u64,
        capacity: u64::from(capacity),
    };
    used.map(entry).into()
}

/// The kernel's tick counter as programs see it: it starts five minutes before its first wrap
/// (`INITIAL_JIFFIES` of `include/linux/jiffies.h`), and advances with the monotonic clock.
fn ticks(per_second: u32) -> u32 {
    let since_boot = clock_gettime(ClockId::Monotonic);
    let seconds = u32::try_from(since_boot.tv_sec & 0xffff_ffff).unwrap_or_default();
    seconds.wrapping_sub(300).wrapping_mul(per_second)
}

/// Milliseconds since 1970, UTC.
fn now_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
