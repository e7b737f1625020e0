//! What lint finds, and what it does not: of each check what it must see and what it must not. Not here: places in
//! files, formats (`isolator-agent/tests/lint.rs`).

mod access;
mod cilium;
mod cover;
mod dns;
mod selectors;
mod tenants;

use crate::mk;
use isolator_policy::cluster::change::Object;
use isolator_policy::lint::{CODES, lint};
use isolator_policy::model::{Access, Namespace, Pod, Policy, Problem, Severity};

/// Everything that is found, as `code object field`.
fn found(objects: Vec<Object>) -> Vec<String> {
    brief(&problems(objects))
}

fn problems(objects: Vec<Object>) -> Vec<Problem> {
    lint(&mk::snapshot(objects), &Access::default())
}

fn brief(problems: &[Problem]) -> Vec<String> {
    for problem in problems {
        assert!(CODES.iter().any(|(code, _)| *code == problem.code), "{problem:?}");
        assert_eq!(problem.severity, Severity::Warning);
    }
    problems.iter().map(|problem| format!("{} {} {}", problem.code, problem.object, problem.field)).collect()
}

/// Objects of every kind in one list.
fn objects(namespaces: Vec<Namespace>, pods: Vec<Pod>, policies: Vec<Policy>) -> Vec<Object> {
    let namespaces = namespaces.into_iter().map(Object::Namespace);
    let pods = pods.into_iter().map(Object::Pod);
    namespaces.chain(pods).chain(policies.into_iter().map(Object::Policy)).collect()
}

#[test]
fn every_code_is_there_once() {
    let mut codes: Vec<_> = CODES.iter().map(|(code, _)| code).collect();
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), CODES.len());
}
