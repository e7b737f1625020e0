//! What the numbers in events mean right now, for the thread that reads the ring. A value behind one lock
//! that is held for a pointer's copy. Not here: how events look (`flows`).

use crate::datapath::read::ReadOnly;
use crate::flows::enrich::Names;
use crate::flows::serve::Lookup;
use crate::status::Lost;
use isolator_common::addr::Addr;
use isolator_common::event::{NameKey, NameKind};
use isolator_policy::cluster::snapshot::{Owner, Snapshot};
use isolator_policy::datapath::image::Image;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What is in force.
#[derive(Clone)]
struct InForce {
    image: Arc<Image>,
    snapshot: Arc<Snapshot>,
}

/// The writer's end: the daemon's loop.
#[derive(Clone)]
pub struct Known {
    node: Arc<str>,
    in_force: Arc<Mutex<InForce>>,
    lost: Arc<Mutex<Lost>>,
}

impl Known {
    /// Nothing but what the maps hold.
    #[must_use]
    pub fn new(node: &str, image: Arc<Image>, snapshot: Arc<Snapshot>) -> Self {
        Known {
            node: node.into(),
            in_force: Arc::new(Mutex::new(InForce { image, snapshot })),
            lost: Arc::default(),
        }
    }

    /// Something else is in force now.
    pub fn replace(&self, image: Arc<Image>, snapshot: Arc<Snapshot>) {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = InForce { image, snapshot };
    }

    /// The cluster that is in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.now().snapshot
    }

    fn now(&self) -> InForce {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events lost since the maps were made, as the reader's end last saw them.
    #[must_use]
    pub fn lost(&self) -> Lost {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader's end, with the loss counters under `pin_dir` where they can be opened.
    #[must_use]
    pub fn reader(&self, pin_dir: &Path) -> KnownReader {
        KnownReader { now: self.now(), known: self.clone(), maps: ReadOnly::open(pin_dir).ok() }
    }
}

/// The reader's end: what was known about a second ago at most.
pub struct KnownReader {
    known: Known,
    now: InForce,
    maps: Option<ReadOnly>,
}

impl KnownReader {
    /// Asks what was known at the last refresh, then what is known now: events of a policy or a pod may come at
    /// once after its switch.
    fn ask<T>(&self, question: impl Fn(&InForce) -> Option<T>) -> Option<T> {
        question(&self.now).or_else(|| question(&self.known.now()))
    }

    fn name(&self, kind: NameKind, number: u32) -> Option<String> {
        let key = NameKey { kind: kind as u32, number };
        self.ask(|in_force| in_force.image.names.get(&key).cloned())
    }
}

impl Names for KnownReader {
    fn rule(&self, number: u32) -> Option<String> {
        self.name(NameKind::Rule, number)
    }

    fn identity(&self, number: u32) -> Option<String> {
        self.name(NameKind::Identity, number)
    }

    fn endpoint(&self, ifindex: u32) -> Option<String> {
        let id = self.ask(|in_force| in_force.image.endpoints.get(&ifindex).map(|endpoint| endpoint.id))?;
        self.name(NameKind::Endpoint, id)
    }

    fn pod_at(&self, addr: &Addr) -> Option<String> {
        self.ask(|in_force| match in_force.snapshot.owner(addr, &self.known.node) {
            Owner::Pod(pod) => Some(pod.key.to_string()),
            _ => None,
        })
    }
}

impl Lookup for KnownReader {
    fn lost(&self) -> Lost {
        match self.maps.as_ref().map(ReadOnly::lost) {
            Some(Ok(lost)) => Lost { over_rate: lost.over_rate, ring_full: lost.ring_full },
            _ => Lost::default(),
        }
    }

    fn refresh(&mut self) {
        self.now = self.known.now();
        *self.known.lost.lock().unwrap_or_else(PoisonError::into_inner) = self.lost();
    }
}
