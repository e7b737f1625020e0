//! What is to be said of a policy that is not enforced as written: one Event, whatever is wrong with it. Every node finds
//! the same words, so that the same Event is the same. Pure. Not here: which node says it (`speakers`), when (`turns`).

use super::account::cut;
use crate::status::ProblemEntry;
use isolator_policy::datapath::hash;
use isolator_policy::model::PolicyKind;
use std::collections::BTreeMap;

/// Bytes of a note that the API server takes.
const NOTE: usize = 1024;
/// Bytes of a name, of which the digest and its dot take 17.
const NAME: usize = 253 - 17;
/// Bytes of one of several problems.
const EACH: usize = 400;

/// Problems that say what follows from the others.
const FOLLOWS: [&str; 3] = ["cut-off", "not-enforced", "last-good"];

/// A policy, as problems name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Policy {
    /// Its kind.
    pub(super) kind: String,
    /// Its namespace; empty for those of the cluster.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
}

impl Policy {
    /// Reads `Kind namespace/name`. `None`: that is no policy.
    pub(super) fn of(object: &str) -> Option<Policy> {
        let (kind, name) = object.split_once(' ')?;
        PolicyKind::ALL.iter().find(|known| known.to_string() == kind)?;
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        Some(Policy { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// As `Kind namespace/name`, for hashing.
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [self.kind.as_bytes(), self.namespace.as_bytes(), self.name.as_bytes()]
    }
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The policy.
    pub(super) policy: Policy,
    /// For machines.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) note: String,
}

impl Complaint {
    /// What is to be said of `problems`, policy by policy.
    pub(super) fn all(problems: &[ProblemEntry]) -> Vec<Complaint> {
        let mut by_policy: BTreeMap<Policy, Vec<&ProblemEntry>> = BTreeMap::new();
        for problem in problems.iter().filter(|problem| problem.is_error()) {
            if let Some(policy) = Policy::of(&problem.object) {
                by_policy.entry(policy).or_default().push(problem);
            }
        }
        by_policy.into_iter().map(|(policy, problems)| Complaint::new(policy, problems)).collect()
    }

    fn new(policy: Policy, mut problems: Vec<&ProblemEntry>) -> Complaint {
        // What follows from the others comes last.
        let follows = |problem: &ProblemEntry| FOLLOWS.contains(&problem.code.as_str());
        problems.sort_by_key(|problem| (follows(problem), *problem));
        let has = |code| problems.iter().any(|problem| problem.code == code);
        let reason = if has("not-enforced") || has("cut-off") {
            "Rejected"
        } else if has("last-good") {
            "EditRejected"
        } else {
            "NotWhollyEnforced"
        };
        let line = |problem: &&ProblemEntry| match problem.field.as_str() {
            "" => cut(problem.message.clone(), EACH),
            field => cut(format!("{field}: {}", problem.message), EACH),
        };
        let note = problems.iter().map(line).collect::<Vec<_>>().join("; ");
        Complaint { policy, reason, note: cut(note, NOTE) }
    }

    /// The name of its Event, for the policy with this uid: equal for equal words, so that there is one.
    pub(super) fn name(&self, uid: &str) -> String {
        let Complaint { policy, reason, note } = self;
        let [kind, namespace, name] = policy.parts();
        let digest = hash(&[uid.as_bytes(), kind, namespace, name, reason.as_bytes(), note.as_bytes()]);
        // Names are of ASCII letters and digits. Where one is cut it must still end with such.
        let name = policy.name.get(..NAME).unwrap_or(&policy.name);
        let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        format!("{name}.{digest:016x}")
    }
}
