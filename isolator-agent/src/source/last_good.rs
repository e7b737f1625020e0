//! What happens to an object whose new version is not acceptable: its last good version stays, and that is said.
//! Not here: who remembers that version (`files`, `kubernetes`).

use isolator_policy::cluster::change::ObjectKey;
use isolator_policy::model::{Place, Problem, Severity};

/// What happens to an object whose text is not acceptable.
pub(super) fn broken(key: &ObjectKey, place: &Place, last_good: bool) -> Problem {
    let policy = matches!(key, ObjectKey::Policy(_));
    let (code, message) = match (last_good, policy) {
        (true, true) => {
            ("last-good", "the version before this edit is still enforced; correct the text to replace it")
        }
        (true, false) => {
            ("last-good", "the version before this edit is still in use; correct the text to replace it")
        }
        (false, true) => (
            "not-enforced",
            "NOTHING of this policy is enforced, because no version of it was good so far; correct it",
        ),
        (false, false) => {
            ("not-enforced", "this object is left out, because no version of it was good so far; correct it")
        }
    };
    error(code, place.clone(), key.to_string(), message.to_owned())
}

/// An error that is about no field.
pub(super) fn error(code: &'static str, place: Place, object: String, message: String) -> Problem {
    Problem { severity: Severity::Error, code, place, object, field: String::new(), message }
}
