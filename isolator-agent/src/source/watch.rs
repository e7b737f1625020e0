//! A folder of manifests as a stream of changes: inotify says when to look, a short pause gathers what
//! belongs together, and a slow re-read catches what inotify did not say. Not here: what files say
//! (`files`), how they are found (`scan`).

use super::files::{Content, Folder};
use super::last_good::error;
use super::load::{Loaded, unreadable_folder};
use super::remembered::Remembered;
use super::scan::{self, Listing, Stamp};
use super::update::{Took, Update};
use isolator_policy::cluster::change::Change;
use isolator_policy::model::{Place, Problem, Severity};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Events this close together belong together.
const QUIET: Duration = Duration::from_millis(10);
/// The same where all that happened so far is files that were closed after writing, or moved to where they are: they
/// are whole, and nothing that vanished may be about to come back elsewhere.
const SOON: Duration = Duration::from_millis(1);
/// Longest wait for quiet, and for a writer to close its file.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the folder itself is looked at: it may have been replaced. Also the pace of reading where
/// watching does not work, and the second look at a new sub-folder, whose first files may precede its watch.
const TICK: Duration = Duration::from_secs(1);
/// How often everything is compared with what was read.
const REREAD: Duration = Duration::from_secs(30);
/// Updates that may wait for their reader.
const BACKLOG: usize = 16;

/// A folder that is being watched. Dropping the receiver ends the watch within a second.
pub struct ManifestSource {
    /// What the folder says at the start. The updates continue from here.
    pub initial: Loaded,
    /// What changes afterwards.
    pub updates: mpsc::Receiver<Update>,
}

impl ManifestSource {
    /// Starts to watch a folder, in a thread of its own.
    ///
    /// # Errors
    /// The folder is not there or cannot be read. Once started, trouble with it is a problem in an update,
    /// and what it said before stays in force.
    pub fn start(folder: &Path) -> io::Result<ManifestSource> {
        ManifestSource::begin(folder, None)
    }

    /// The same with a memory: what was good in an earlier run, and is broken now, stays in force. The last good
    /// texts are kept in the folder `memory`.
    ///
    /// # Errors
    /// As [`ManifestSource::start`]. A memory that cannot be written to is a problem in an update.
    pub fn start_remembering(folder: &Path, memory: &Path) -> io::Result<ManifestSource> {
        ManifestSource::begin(folder, Some(Remembered::new(memory)))
    }

    fn begin(folder: &Path, remembered: Option<Remembered>) -> io::Result<ManifestSource> {
        let absolute = std::path::absolute(folder)?;
        let (signals, inbox) = channel();
        let (updates, outbox) = mpsc::channel(BACKLOG);
        let mut watch = Watch {
            shown: folder.to_owned(),
            absolute,
            signals,
            watcher: None,
            identity: None,
            folder: Folder::new(),
            remembered,
            forgetful: None,
            stamps: BTreeMap::new(),
            around: Vec::new(),
            problems: Vec::new(),
            converting: Duration::ZERO,
        };
        // Watch first, read second: an edit in between is seen twice rather than never.
        watch.attach(identity(folder)?);
        let listing = scan::list(folder)?;
        watch.take(&listing, &BTreeSet::new());
        watch.recall();
        watch.problems = watch.all_problems();
        let initial = Loaded { objects: watch.folder.objects(), problems: watch.problems.clone() };
        thread::Builder::new().name("manifests".to_owned()).spawn(move || watch.run(&inbox, &updates))?;
        Ok(ManifestSource { initial, updates: outbox })
    }
}

/// What inotify says, reduced to what matters here.
enum Signal {
    /// This file is whole now.
    Written(PathBuf),
    /// Something else happened to this path.
    Touched(PathBuf),
    /// Somebody writes to this file and has not closed it.
    Writing(PathBuf),
    /// A new folder: its watch may be younger than its files.
    NewFolder(PathBuf),
    /// Events were lost.
    Lost,
    /// Watching does not work (any more).
    Failed(String),
}

/// What is to be looked at.
#[derive(Default)]
struct Dirty {
    files: BTreeSet<String>,
    writing: BTreeSet<PathBuf>,
    everything: bool,
    new_folder: bool,
    /// Something may be under way of which this is a part.
    partial: bool,
}

struct Watch {
    /// The folder as it was given, for messages and keys.
    shown: PathBuf,
    /// The folder as inotify names it.
    absolute: PathBuf,
    signals: Sender<Signal>,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of the folder that was read; `None` while it is gone.
    identity: Option<(u64, u64)>,
    folder: Folder,
    /// Where last good texts are kept.
    remembered: Option<Remembered>,
    /// Why they could not be kept at the last try.
    forgetful: Option<Problem>,
    stamps: BTreeMap<String, Stamp>,
    /// What is wrong around the files: the folder, its sub-folders, the watch.
    around: Vec<Problem>,
    /// The problems as they were last told.
    problems: Vec<Problem>,
    /// Time spent on contents since it was last asked for.
    converting: Duration,
}

impl Watch {
    fn run(mut self, inbox: &Receiver<Signal>, updates: &mpsc::Sender<Update>) {
        let mut last_read = Instant::now();
        let mut second_look = false;
        while !updates.is_closed() {
            let mut dirty = Dirty::default();
            let mut took = Took::default();
            match inbox.recv_timeout(TICK) {
                Ok(signal) => {
                    let first = Instant::now();
                    self.note(signal, &mut dirty);
                    self.gather(inbox, &mut dirty);
                    took.wait = first.elapsed();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let due = last_read.elapsed() >= REREAD || self.watcher.is_none();
                    dirty.everything = due || std::mem::take(&mut second_look);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            second_look |= dirty.new_folder;
            if dirty.everything {
                last_read = Instant::now();
            }
            let began = Instant::now();
            let changes = self.look(&dirty);
            let problems = self.all_problems();
            took.convert = std::mem::take(&mut self.converting);
            took.read = began.elapsed().saturating_sub(took.convert);
            if changes.is_empty() && problems == self.problems {
                continue;
            }
            self.problems.clone_from(&problems);
            if updates.blocking_send(Update { changes, problems, took }).is_err() {
                return;
            }
        }
    }

    /// Waits for quiet, and for writers to close their files, but not for long.
    fn gather(&mut self, inbox: &Receiver<Signal>, dirty: &mut Dirty) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let quiet = if dirty.partial || dirty.everything { QUIET } else { SOON };
            match inbox.recv_timeout(left.min(quiet)) {
                Ok(signal) => self.note(signal, dirty),
                Err(RecvTimeoutError::Timeout) if dirty.writing.is_empty() || left.is_zero() => return,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if left.is_zero() {
                return;
            }
        }
    }

    fn note(&mut self, signal: Signal, dirty: &mut Dirty) {
        match signal {
            Signal::Writing(path) => {
                self.touch(&path, dirty);
                dirty.writing.insert(path);
            }
            Signal::Written(path) => {
                self.touch(&path, dirty);
                dirty.writing.remove(&path);
            }
            Signal::Touched(path) => {
                dirty.partial |= self.touch(&path, dirty);
                dirty.writing.remove(&path);
            }
            Signal::NewFolder(path) => {
                self.touch(&path, dirty);
                dirty.new_folder |= dirty.everything;
            }
            Signal::Lost => dirty.everything = true,
            Signal::Failed(reason) => {
                self.watcher = None;
                self.around.push(not_watched(&self.shown, &reason));
                dirty.everything = true;
            }
        }
    }

    /// Decides what a touched path means: a file to read, everything to compare, or nothing. Answers whether it
    /// means anything.
    fn touch(&self, path: &Path, dirty: &mut Dirty) -> bool {
        let Ok(inside) = path.strip_prefix(&self.absolute) else { return false };
        let hidden = inside.components().find_map(|part| match part {
            Component::Normal(name) if !scan::is_visible(&name.to_string_lossy()) => Some(name),
            _ => None,
        });
        if let Some(name) = hidden {
            // `..data` is how mounted ConfigMaps switch all their files at once.
            let switch = name.to_string_lossy().starts_with("..");
            dirty.everything |= switch;
            return switch;
        }
        let shown = scan::text(&self.shown.join(inside));
        let below = format!("{shown}/");
        let was_folder =
            self.stamps.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below));
        if inside.as_os_str().is_empty() || was_folder || path.is_dir() {
            dirty.everything = true;
        } else if scan::is_manifest(path) {
            dirty.files.insert(shown);
        } else {
            return false;
        }
        true
    }

    /// Looks at what is dirty and returns the changes.
    fn look(&mut self, dirty: &Dirty) -> Vec<Change> {
        let identity = match identity(&self.shown) {
            Ok(identity) => identity,
            Err(error) => return self.lose(&error.to_string()),
        };
        let replaced = self.identity != Some(identity);
        if replaced {
            self.attach(identity);
        }
        if !replaced && !dirty.everything {
            return self.read(&dirty.files);
        }
        match scan::list(&self.shown) {
            // What comes back empty is being filled, or was emptied by mistake.
            Ok(listing) if replaced && listing.files.is_empty() && self.folder.paths().next().is_some() => {
                self.identity = None;
                self.lose("it is a new folder without any manifest")
            }
            Ok(listing) => self.take(&listing, &dirty.files),
            Err(error) => self.lose(&error.to_string()),
        }
    }

    /// The folder is gone: what it said stays.
    fn lose(&mut self, reason: &str) -> Vec<Change> {
        self.identity = None;
        self.watcher = None;
        let message =
            format!("the folder of manifests is lost ({reason}); all that it said is kept. Bring it back");
        self.around =
            vec![error("folder-lost", Place::file(&scan::text(&self.shown)), String::new(), message)];
        Vec::new()
    }

    /// Watches the folder that is there now.
    fn attach(&mut self, identity: (u64, u64)) {
        self.identity = Some(identity);
        self.around.clear();
        let signals = self.signals.clone();
        let watcher = notify::recommended_watcher(move |event| forward(event, &signals));
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(&self.absolute, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                self.watcher = None;
                self.around.push(not_watched(&self.shown, &error.to_string()));
            }
        }
    }

    /// Compares a listing with what was read, and reads what differs or is in `dirty`.
    fn take(&mut self, listing: &Listing, dirty: &BTreeSet<String>) -> Vec<Change> {
        let Listing { files, unreadable } = listing;
        let mut stale: BTreeSet<String> = BTreeSet::new();
        for (path, stamp) in files {
            if stamp.is_none() || self.stamps.get(path) != stamp.as_ref() || dirty.contains(path) {
                stale.insert(path.clone());
            }
        }
        // What is in a folder that cannot be read is not gone.
        let hidden = |path: &str| unreadable.iter().any(|(folder, _)| Path::new(path).starts_with(folder));
        let gone = self.folder.paths().filter(|path| !files.contains_key(*path) && !hidden(path));
        stale.extend(gone.map(str::to_owned));
        self.around.retain(|problem| problem.code != "unreadable");
        self.around.extend(unreadable.iter().map(|(path, reason)| unreadable_folder(path, reason)));
        self.read(&stale)
    }

    /// Reads files and applies what they say as one batch.
    fn read(&mut self, files: &BTreeSet<String>) -> Vec<Change> {
        let mut batch = Vec::new();
        let mut texts = Vec::new();
        for path in files {
            let (stamp, content) = scan::read(Path::new(path));
            if self.remembered.is_some() {
                texts.push((path.clone(), content.clone()));
            }
            match stamp {
                Some(stamp) => self.stamps.insert(path.clone(), stamp),
                None => self.stamps.remove(path),
            };
            batch.push((path.clone(), content));
        }
        let began = Instant::now();
        let changes = self.folder.apply(batch);
        self.converting += began.elapsed();
        self.remember(&texts);
        changes
    }

    /// Keeps the texts that are good, forgets those that are gone.
    fn remember(&mut self, texts: &[(String, Content)]) {
        let Some(remembered) = &self.remembered else { return };
        for (path, content) in texts {
            let Ok(inside) = Path::new(path).strip_prefix(&self.shown) else { continue };
            match content {
                Content::Gone => remembered.forget(inside),
                Content::Bytes(text) if self.folder.is_good(path) => {
                    let kept = remembered.keep(inside, text);
                    self.forgetful = kept.err().map(|reason| {
                        let message = format!(
                            "its last good version cannot be kept ({reason}): a restart would forget it while an \
                             edit is broken"
                        );
                        Problem { severity: Severity::Warning, ..error("not-kept", Place::file(path), String::new(), message) }
                    });
                }
                Content::Bytes(_) | Content::Unreadable(_) => {}
            }
        }
    }

    /// At the start: files that are broken now say what they last said, and then what they say.
    fn recall(&mut self) {
        let Some(remembered) = self.remembered.clone() else { return };
        let broken: Vec<String> =
            self.folder.paths().filter(|path| !self.folder.is_good(path)).map(str::to_owned).collect();
        for path in broken {
            let inside = Path::new(&path).strip_prefix(&self.shown).ok();
            if let Some(text) = inside.and_then(|inside| remembered.recall(inside)) {
                self.folder.update(&path, Content::Bytes(text));
                let (_, content) = scan::read(Path::new(&path));
                self.folder.update(&path, content);
            }
        }
    }

    fn all_problems(&self) -> Vec<Problem> {
        let mut problems = self.around.clone();
        problems.extend(self.folder.problems());
        problems.extend(self.forgetful.clone());
        problems
    }
}

/// Device and inode of a folder.
fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::metadata(folder)?;
    if meta.is_dir() { Ok((meta.dev(), meta.ino())) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn not_watched(folder: &Path, reason: &str) -> Problem {
    let message = format!("the folder cannot be watched ({reason}); it is compared every second instead");
    Problem {
        severity: Severity::Warning,
        ..error("not-watched", Place::file(&scan::text(folder)), String::new(), message)
    }
}

/// Reduces an event to signals. Our own reads are events, too, and must not count.
fn forward(event: notify::Result<notify::Event>, signals: &Sender<Signal>) {
    // A closed channel means that the watch has ended: nobody is interested.
    let send = |signal| drop(signals.send(signal));
    let event = match event {
        Ok(event) => event,
        Err(error) => return send(Signal::Failed(error.to_string())),
    };
    if event.need_rescan() {
        send(Signal::Lost);
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            return event.paths.into_iter().map(Signal::Written).for_each(send);
        }
        // Its two ends came before.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        EventKind::Access(_) => return,
        EventKind::Create(CreateKind::Folder) => {
            return event.paths.into_iter().map(Signal::NewFolder).for_each(send);
        }
        EventKind::Modify(ModifyKind::Data(_)) => {
            return event.paths.into_iter().map(Signal::Writing).for_each(send);
        }
        _ => {}
    }
    event.paths.into_iter().map(Signal::Touched).for_each(send);
}
