//! What any source hands over. Not here: who takes it (`run`).

use isolator_policy::cluster::change::Change;
use isolator_policy::model::Problem;
use std::time::Duration;

/// What one batch of edits or events does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Changes against the state before. A reset is the first thing that a source says, or is never said. Empty
    /// where only problems changed.
    pub changes: Vec<Change>,
    /// Everything that is wrong now; it replaces what was wrong before.
    pub problems: Vec<Problem>,
    /// Where the time went.
    pub took: Took,
}

/// How long it took from the first sign of an edit or event to the changes that it makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Waiting for what belongs together.
    pub wait: Duration,
    /// Finding and reading texts.
    pub read: Duration,
    /// From text to objects, and from objects to changes.
    pub convert: Duration,
}
