//! What valid policies probably do not mean: values for `isolator policy lint`. Everything found here is enforced as
//! it is written, so all of it is a warning. Each check is a file.
//!
//! Not here: what cannot be read or is not enforced (`source` in the agent says that), what is wrong with the
//! cluster's own objects (`Snapshot::problems`), positions in files.

mod access;
mod cover;
mod dns;
mod facts;
mod labels;
mod ranges;
mod silent;
mod tenancy;
mod ties;
mod view;

use crate::cluster::snapshot::Snapshot;
use crate::model::{Access, Place, Problem, Severity};
use view::View;

/// Every code that [`lint`] uses, with what it means.
pub const CODES: [(&str, &str); 16] = [
    ("selects-nothing", "A policy selects no pod that is there."),
    ("contradictory-selector", "A selector asks for what no object can be."),
    ("peer-matches-nothing", "A peer of a rule is nobody who is there."),
    ("named-port-unknown", "No pod that a rule means has a port of that name."),
    ("no-dns", "A pod is isolated for egress and may not ask any DNS server over UDP."),
    ("no-dns-over-tcp", "A pod may ask DNS servers over UDP alone: long answers are cut."),
    (
        "cidr-covers-cluster",
        "A CIDR covers pods or nodes, which a CIDR of this kind of policy never matches.",
    ),
    ("label-not-in-identity", "A selector asks for a label that identities do not have."),
    ("redundant-rule", "All that a rule decides is decided the same way without it."),
    ("shadowed-rule", "All that a rule speaks of is decided before it is asked."),
    ("rule-against-tenancy", "A rule allows only what tenancy denies."),
    ("no-tenant", "A namespace has no tenant while others have one."),
    ("tenant-can-relabel", "A tenant may change the label that says which tenant it is."),
    ("priority-tie", "Two policies of one tier and priority speak of the same pods."),
    ("role-unknown", "A binding names a role that is not there, so what it grants is not known."),
    ("role-unreadable", "A role or a binding cannot be read, so what it grants is not known."),
];

/// Everything suspicious, sorted by object and field. `access` is what the roles of the cluster grant.
#[must_use]
pub fn lint(snapshot: &Snapshot, access: &Access) -> Vec<Problem> {
    let view = View::new(snapshot);
    let mut problems = Vec::new();
    for check in
        [silent::check, dns::check, ranges::check, labels::check, cover::check, tenancy::check, ties::check]
    {
        check(&view, &mut problems);
    }
    access::check(snapshot, access, &mut problems);
    problems.sort_by(|a, b| (&a.object, &a.field, a).cmp(&(&b.object, &b.field, b)));
    problems.dedup();
    problems
}

fn warning(code: &'static str, object: impl ToString, field: impl Into<String>, message: String) -> Problem {
    Problem {
        severity: Severity::Warning,
        code,
        place: Place::Unknown,
        object: object.to_string(),
        field: field.into(),
        message,
    }
}

/// `a, b and 3 more`.
fn listed<T: ToString>(names: &[T], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(ToString::to_string).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
