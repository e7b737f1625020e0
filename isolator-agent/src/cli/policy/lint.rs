//! `isolator policy lint`: everything that is wrong or suspicious, in one list. Not here: the checks.

use super::checks;
use crate::cli::Exit;
use crate::cli::args::{Global, LintArgs};
use crate::cli::offline::load;
use crate::cli::output::{Screen, Tone, count};
use crate::status::ProblemEntry;
use anyhow::Result;

/// Prints all problems. [`Exit::Bad`] when something is not enforced as written.
pub(super) fn run(args: &LintArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let LintArgs { folder } = args;
    let mut offline = load(folder, global)?;
    offline.problems.extend(checks::suspicions(&offline.snapshot));
    let problems: Vec<ProblemEntry> = offline.problems.iter().map(ProblemEntry::from).collect();
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    screen.one(&problems, |screen| {
        let mut text: String = problems.iter().map(|problem| line(problem, screen)).collect();
        let policies = count(offline.snapshot.policies().len() as u64, "policy", "policies");
        let warnings = (problems.len() - errors) as u64;
        text.push_str(&match (errors as u64, warnings) {
            (0, 0) => format!("{policies}, nothing to complain about\n"),
            (errors, warnings) => {
                let (errors, warnings) =
                    (count(errors, "error", "errors"), count(warnings, "warning", "warnings"));
                format!("{policies}, {errors}, {warnings}\n")
            }
        });
        text
    })?;
    Ok(if errors > 0 { Exit::Bad } else { Exit::Good })
}

/// `file.yaml:12: error: NetworkPolicy a/b: spec.ingress[0]: … (code)`, as compilers write it.
pub(in crate::cli) fn line(problem: &ProblemEntry, screen: &Screen) -> String {
    let ProblemEntry { severity, code, place, object, field, message } = problem;
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
