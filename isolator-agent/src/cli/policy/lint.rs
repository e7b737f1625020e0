//! `isolator policy lint`: everything that is wrong or suspicious, in one list. Not here: the checks.

use super::sarif;
use crate::cli::Exit;
use crate::cli::args::{FailOn, Format, Global, LintArgs};
use crate::cli::offline::{Offline, load};
use crate::cli::output::{self, Screen, Tone, count};
use crate::source::Manifests;
use crate::status::ProblemEntry;
use anyhow::{Result, bail};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::lint;
use isolator_policy::model::{Place, Pod, Problem};

/// Prints all problems. [`Exit::Bad`] when one is at least as bad as `--fail-on`; [`Exit::Failure`] when not one
/// object could be told.
pub(super) fn run(args: &LintArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let LintArgs { folder, fail_on } = args;
    let Offline { snapshot, mut problems, manifests, folder } = load(folder, global)?;
    let (access, unreadable) = manifests.access();
    problems.extend(unreadable);
    // Of all ties that the daemon reports, lint says which matter.
    problems.retain(|problem| problem.code != "priority-tie");
    problems.extend(lint::lint(&snapshot, &access));
    manifests.locate(&mut problems);
    locate_undeclared(&snapshot, &manifests, &mut problems);
    problems.sort_by(|a, b| (&a.place, &a.object, &a.field).cmp(&(&b.place, &b.object, &b.field)));
    let problems: Vec<ProblemEntry> = problems.iter().map(ProblemEntry::from).collect();
    let nothing_read = snapshot.policies().is_empty()
        && snapshot.pods().is_empty()
        && snapshot.namespaces().is_empty()
        && snapshot.nodes().is_empty();
    let nothing = || format!("not one policy, pod, namespace or node can be read from {}", folder.display());
    // Praise would be wrong.
    if nothing_read && problems.is_empty() {
        bail!(nothing());
    }
    if global.output == Format::Sarif {
        output::line(&serde_json::to_string_pretty(&sarif::log(
            &problems,
            &folder.to_string_lossy(),
            about,
        ))?)?;
    } else {
        screen.one(&problems, |screen| prose(&problems, &snapshot, screen))?;
    }
    // What is wrong with a policy was found, also where it is the only one.
    let judged = problems.iter().any(|problem| problem.is_error() && !problem.object.is_empty());
    if nothing_read && !judged {
        bail!(nothing());
    }
    let failed = |problem: &ProblemEntry| *fail_on == FailOn::Warning || problem.is_error();
    Ok(if problems.iter().any(failed) { Exit::Bad } else { Exit::Good })
}

/// Namespaces and nodes that nothing declares are where the first pod speaks of them.
fn locate_undeclared(snapshot: &Snapshot, manifests: &Manifests, problems: &mut [Problem]) {
    let speaks = |pod: &Pod, object: &str| {
        let node = pod.node.as_ref().is_some_and(|node| object.strip_prefix("Node ") == Some(node));
        let namespace = object.strip_prefix("Namespace ") == Some(pod.key.namespace.as_str());
        [(node, "spec.nodeName"), (namespace, "metadata.namespace")].into_iter().find(|(is, _)| *is)
    };
    for problem in problems.iter_mut().filter(|problem| problem.place == Place::Unknown) {
        let pods = snapshot.pods().values();
        let Some((pod, field)) =
            pods.into_iter().find_map(|pod| Some((pod, speaks(pod, &problem.object)?.1)))
        else {
            continue;
        };
        let (object, field) = (format!("Pod {}", pod.key), field.to_owned());
        let mut stand_in = [Problem { object, field, ..problem.clone() }];
        manifests.locate(&mut stand_in);
        let [stand_in] = stand_in;
        problem.place = stand_in.place;
    }
}

/// What a code means, if it is one of the checks'.
fn about(code: &str) -> Option<&'static str> {
    lint::CODES.iter().find(|(known, _)| *known == code).map(|(_, about)| *about)
}

fn prose(problems: &[ProblemEntry], snapshot: &Snapshot, screen: &Screen) -> String {
    let mut text: String = problems.iter().map(|problem| line(problem, screen)).collect();
    let policies = count(snapshot.policies().len() as u64, "policy", "policies");
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    text.push_str(&match (errors, problems.len() - errors) {
        (0, 0) => format!("{policies}, nothing to complain about\n"),
        (errors, warnings) => {
            let errors = count(errors as u64, "error", "errors");
            let warnings = count(warnings as u64, "warning", "warnings");
            format!("{policies}, {errors}, {warnings}\n")
        }
    });
    text
}

/// `file.yaml:12: error: NetworkPolicy a/b: spec.ingress[0]: … (code)`, as compilers write it.
pub(in crate::cli) fn line(problem: &ProblemEntry, screen: &Screen) -> String {
    let ProblemEntry { severity, code, place, position: _, object, field, message } = problem;
    let tone = if problem.is_error() { Tone::Bad } else { Tone::Warn };
    let mut line = if place.is_empty() { String::new() } else { format!("{place}: ") };
    line.push_str(&screen.paint(tone, severity));
    for part in [object, field, message] {
        if !part.is_empty() {
            line.push_str(": ");
            line.push_str(part);
        }
    }
    line.push(' ');
    line.push_str(&screen.paint(Tone::Faint, &format!("({code})")));
    line.push('\n');
    line
}
