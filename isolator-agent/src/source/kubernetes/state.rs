//! What is known of a cluster, as a state machine: events of watches in, changes out. Nothing is told before every
//! kind was listed once; then everything is told at once, and after that each difference. Pure.
//! Not here: lists and watches (`watch`), waiting (`feed`).

use super::super::update::Update;
use super::away::Away;
use super::crds::Definitions;
use super::heard::{Heard, Link};
use super::kinds::{self, DEFINITIONS, Kind};
use super::objects::{Delta, Objects};
use super::order::Order;
use super::reduce::{Gone, Reduced};
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::Problem;
use std::collections::{BTreeMap, BTreeSet};

/// What the watch of one kind says.
#[derive(Debug)]
pub(super) enum Event {
    /// A list begins. What it names replaces everything, once it is whole.
    Begin,
    /// A part of the list.
    Page(Vec<Reduced>),
    /// The list is whole.
    Whole,
    /// An object was added or changed.
    Put(Reduced),
    /// An object is gone.
    Gone(Gone),
    /// Nothing happened, and the API server said so.
    Heard,
    /// The list or the watch failed.
    Away(Away),
    /// The API server's clock differs from ours by these seconds.
    Skew(i64),
}

/// What is known.
pub(super) struct State {
    kinds: BTreeMap<Kind, Known>,
    definitions: Definitions,
    /// Definitions of a list that is not whole.
    listing: Definitions,
    order: Order,
    /// What the first update will say, of two objects with one name the later; `None` once it was said.
    first: Option<Vec<Object>>,
    changes: Vec<Change>,
    /// What was said to be wrong last.
    said: Vec<Problem>,
    /// Seconds by which the clocks differ.
    skew: i64,
}

/// One kind.
#[derive(Default)]
struct Known {
    objects: Objects,
    link: Link,
    /// It was listed as a whole.
    whole: bool,
    /// A list is under way.
    listing: bool,
}

impl State {
    /// Nothing is known, and every required kind is wanted.
    pub(super) fn new() -> Self {
        State {
            kinds: kinds::required().map(|kind| (kind, Known::default())).collect(),
            definitions: Definitions::default(),
            listing: Definitions::default(),
            order: Order::default(),
            first: Some(Vec::new()),
            changes: Vec::new(),
            said: Vec::new(),
            skew: 0,
        }
    }

    /// The kinds to watch.
    pub(super) fn wanted(&self) -> BTreeSet<Kind> {
        self.kinds.keys().copied().collect()
    }

    /// Takes an event in. One of a kind that is not wanted any more says nothing.
    pub(super) fn take(&mut self, kind: Kind, event: Event, now_ms: u64) {
        let Some(known) = self.kinds.get_mut(kind) else { return };
        match &event {
            Event::Away(away) => known.link.lost(away.clone(), now_ms),
            Event::Skew(_) => {}
            _ => known.link.heard(now_ms),
        }
        let mut deltas = Vec::new();
        match event {
            Event::Begin => {
                known.link.listed();
                known.listing = true;
                known.objects.begin();
                if kind == &DEFINITIONS {
                    self.listing = Definitions::default();
                }
            }
            Event::Page(page) => {
                for reduced in page {
                    match reduced {
                        Reduced::Item(item, closed) => known.objects.list(item, closed),
                        Reduced::Definition(one) => self.listing.put(one),
                        Reduced::Nothing => {}
                    }
                }
            }
            Event::Whole if known.listing => {
                known.listing = false;
                known.whole = true;
                deltas = known.objects.whole();
                if kind == &DEFINITIONS {
                    self.definitions = std::mem::take(&mut self.listing);
                    deltas = self.define();
                }
            }
            // Events that are older than the list, or of a list that never began.
            Event::Whole => {}
            Event::Put(Reduced::Item(item, closed)) if known.listing => known.objects.list(item, closed),
            Event::Gone(Gone::Item(name, key)) if known.listing => known.objects.unlist(&name, key.as_ref()),
            Event::Put(Reduced::Definition(one)) if known.listing => self.listing.put(one),
            Event::Gone(Gone::Definition(name)) if known.listing => self.listing.remove(&name),
            Event::Put(Reduced::Item(item, closed)) if known.whole => {
                deltas.extend(known.objects.put(item, closed));
            }
            Event::Gone(Gone::Item(name, key)) if known.whole => {
                deltas.extend(known.objects.remove(&name, key));
            }
            Event::Put(Reduced::Definition(one)) => {
                self.definitions.put(one);
                deltas = self.define();
            }
            Event::Gone(Gone::Definition(name)) => {
                self.definitions.remove(&name);
                deltas = self.define();
            }
            Event::Put(_) | Event::Gone(_) | Event::Heard | Event::Away(_) => {}
            Event::Skew(seconds) => self.skew = seconds,
        }
        self.pass(deltas);
    }

    /// Wants the kinds that are defined, and lets go of those that are not any more, with their objects. A kind
    /// that is defined and not served (any more) as it is read stays as it was.
    fn define(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for kind in kinds::optional() {
            if self.definitions.serves(kind) {
                self.kinds.entry(kind).or_default();
            } else if !self.definitions.defines(kind)
                && let Some(mut known) = self.kinds.remove(kind)
            {
                deltas.extend(known.objects.clear());
            }
        }
        deltas
    }

    fn pass(&mut self, deltas: Vec<Delta>) {
        let mut changes = Vec::new();
        for delta in deltas {
            self.order.pass(delta, &mut changes);
        }
        let Some(first) = &mut self.first else {
            self.changes.extend(changes);
            return;
        };
        for change in changes {
            match change {
                Change::Apply(object) => first.push(object),
                Change::Delete(key) => first.retain(|object| object.key() != key),
                Change::Reset(_) => {}
            }
        }
        let known: usize = self.kinds.values().map(|known| known.objects.len()).sum();
        if first.len() > 2 * known + 1000 {
            // One kind is long in coming, and the others go on changing.
            let latest: BTreeMap<ObjectKey, Object> =
                first.drain(..).map(|object| (object.key(), object)).collect();
            first.extend(latest.into_values());
        }
    }

    /// Whether every kind was listed once.
    fn is_whole(&self) -> bool {
        self.kinds.values().all(|known| known.whole)
    }

    /// What is to be told since it was last asked for; `None` where there is nothing.
    pub(super) fn update(&mut self) -> Option<Update> {
        if self.is_whole()
            && let Some(first) = self.first.take()
        {
            self.changes = vec![Change::Reset(first)];
        }
        let changes = std::mem::take(&mut self.changes);
        let problems = self.problems();
        if changes.is_empty() && problems == self.said {
            return None;
        }
        self.said.clone_from(&problems);
        Some(Update { changes, problems, ..Update::default() })
    }

    fn problems(&self) -> Vec<Problem> {
        let synced = self.first.is_none();
        let mut problems: Vec<Problem> = self.definitions.problems().collect();
        for (kind, known) in &self.kinds {
            problems.extend(known.link.away().map(|away| away.problem(kind, synced)));
            problems.extend(known.objects.problems());
        }
        problems.extend(synced.then(|| self.order.problems()).into_iter().flatten());
        problems.extend(super::heard::skewed(self.skew));
        problems.sort();
        // What concerns the whole server is said once, whatever each watch saw of it.
        problems.dedup_by(|a, b| a == b || (a.code == b.code && Away::is_of_all(a.code)));
        problems
    }

    /// What was heard of each kind.
    pub(super) fn heard(&self) -> Vec<Heard> {
        let of = |(kind, known): (&Kind, &Known)| known.link.heard_of(kind, known.whole, known.objects.len());
        self.kinds.iter().map(of).collect()
    }
}
