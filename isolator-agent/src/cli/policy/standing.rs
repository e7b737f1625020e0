//! How much of a policy is enforced, and which of its fields are not. Not here: what is only suspicious (`lint`).

use isolator_policy::model::{PolicyKey, PolicyKind, Problem, Severity};
use serde::Serialize;
use std::collections::BTreeMap;

/// Code of the problem that says that an object is left out as a whole.
const LEFT_OUT: &str = "not-enforced";

/// How much of a policy is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// All of it.
    Enforced,
    /// Some fields are not; what they say is not allowed by them.
    Partly,
    /// Nothing.
    Refused,
}

impl State {
    /// As JSON says it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            State::Enforced => "enforced",
            State::Partly => "partly",
            State::Refused => "refused",
        }
    }
}

/// What is not enforced of each policy, by `Kind namespace/name`.
pub(super) struct Standings<'a> {
    errors: BTreeMap<&'a str, Vec<&'a Problem>>,
}

impl<'a> Standings<'a> {
    pub(super) fn new(problems: &'a [Problem]) -> Self {
        let mut errors: BTreeMap<&str, Vec<&Problem>> = BTreeMap::new();
        for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
            errors.entry(&problem.object).or_default().push(problem);
        }
        Standings { errors }
    }

    /// The state of a policy of which a version is good.
    pub(super) fn of(&self, key: &PolicyKey) -> State {
        if self.not_enforced(key).is_empty() { State::Enforced } else { State::Partly }
    }

    /// The fields that are not enforced, each with what to do.
    pub(super) fn not_enforced(&self, key: &PolicyKey) -> Vec<String> {
        let object = key.to_string();
        let errors = self.errors.get(object.as_str()).into_iter().flatten();
        let errors = errors.filter(|problem| problem.code != LEFT_OUT);
        errors.map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
    }

    /// The policies of which no version is good.
    pub(super) fn refused(&self) -> impl Iterator<Item = PolicyKey> + '_ {
        let left_out = |errors: &&Vec<&Problem>| errors.iter().any(|problem| problem.code == LEFT_OUT);
        self.errors.iter().filter(move |(_, errors)| left_out(errors)).filter_map(|(object, _)| key(object))
    }
}

/// The inverse of a policy key's text.
fn key(object: &str) -> Option<PolicyKey> {
    let (kind, name) = object.split_once(' ')?;
    let kind = PolicyKind::ALL.into_iter().find(|known| known.to_string() == kind)?;
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    Some(PolicyKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use isolator_policy::model::Place;

    fn problem(code: &'static str, object: &str, field: &str) -> Problem {
        Problem {
            severity: Severity::Error,
            code,
            place: Place::Unknown,
            object: object.to_owned(),
            field: field.to_owned(),
            message: "write it otherwise".to_owned(),
        }
    }

    #[test]
    fn a_policy_is_enforced_partly_or_refused() {
        let problems = [
            problem("unenforced-field", "CiliumNetworkPolicy a/l7", "spec.egress[0].toFQDNs"),
            problem("invalid-field", "CiliumClusterwideNetworkPolicy wrong", "spec"),
            problem("not-enforced", "CiliumClusterwideNetworkPolicy wrong", ""),
            problem("not-enforced", "Pod a/b", ""),
        ];
        let standings = Standings::new(&problems);
        let of = |object: &str| standings.of(&key(object).unwrap());
        assert_eq!(of("CiliumNetworkPolicy a/l7"), State::Partly);
        assert_eq!(of("CiliumNetworkPolicy b/l7"), State::Enforced);
        assert_eq!(of("NetworkPolicy a/l7"), State::Enforced);
        let refused: Vec<_> = standings.refused().map(|key| key.to_string()).collect();
        assert_eq!(refused, ["CiliumClusterwideNetworkPolicy wrong"]);
        let fields = standings.not_enforced(&key("CiliumNetworkPolicy a/l7").unwrap());
        assert_eq!(fields, ["spec.egress[0].toFQDNs: write it otherwise"]);
    }
}
