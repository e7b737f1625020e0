//! What is tried on a running cluster: our own tests, each a script, and upstream's NetworkPolicy suite. Prints counts.
//! Not here: starting the cluster.

use super::{Cluster, Place, other, tools};
use crate::process::{root, shown};
use crate::progress::seconds;
use crate::test::Count;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Upstream's cases about NetworkPolicy; those about SCTP need a kernel module that not every kernel has.
const FOCUS: &str = "Netpol";
const SKIP: &str = "SCTPConnectivity";
/// About a tenth of them: one of each shape.
const SAMPLE: &str = "Netpol.*(default-deny-ingress|deny egress from pods based on PodSelector|ingress access from namespace on one named port|except clause while egress)";

/// The one of our own that runs a suite by others.
const CYCLONUS: &str = "cyclonus";
/// The one that needs another image.
const UPGRADE: &str = "upgrade";

/// Which tests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Selection {
    /// A tenth of upstream's suite, and short forms of our own tests.
    pub(crate) sample: bool,
    /// Upstream's cases that match this expression, and nothing of our own.
    pub(crate) focus: Option<String>,
    /// Only this one of our own tests.
    pub(crate) check: Option<String>,
}

/// Runs the tests, all of them whatever fails.
pub(crate) fn run(cluster: &Cluster, selection: &Selection) -> Result<Count> {
    cluster.must_run()?;
    if cluster.place == Place::Kind {
        cluster.kind_tests()?;
    }
    let mut count = Count::default();
    let mut failed = Vec::new();
    if selection.focus.is_none() {
        let own = own_tests(cluster.place, selection.check.as_deref())?;
        let wanted = |test: &str| own.iter().any(|name| name == test);
        if wanted(CYCLONUS) {
            tools::build(&cluster.bin, &cluster.logs, &tools::E2E)?;
        }
        if wanted(UPGRADE) {
            other::write(&cluster.other())?;
        }
        println!("own tests: {}", own.len());
        for name in &own {
            let start = Instant::now();
            let mut script = cluster.script(&format!("checks/{name}.sh"));
            if selection.sample {
                script.env("CLUSTER_SAMPLE", "1");
            }
            let fine = script.status().with_context(|| format!("cannot start {}", shown(&script)))?.success();
            println!("{} {name} ({})", if fine { "passed" } else { "FAILED" }, seconds(start.elapsed()));
            count += Count::one(fine);
            if !fine {
                failed.push(name.clone());
            }
        }
        println!("own tests: {} passed, {} failed", own.len() - failed.len(), failed.len());
    }
    if selection.check.is_none() {
        let upstream = upstream(cluster, selection)?;
        count += upstream;
        if upstream.failed > 0 {
            failed.push("upstream's suite".to_owned());
        }
    }
    if !failed.is_empty() {
        println!("FAILED: {}", failed.join(", "));
    }
    Ok(count)
}

/// The scripts in `tests/cluster/checks` that run there, by name: all of them, or the one that is wanted.
fn own_tests(place: Place, wanted: Option<&str>) -> Result<Vec<String>> {
    let folder = root().join("tests/cluster/checks");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".sh").map(str::to_owned)).collect();
    names.retain(|name| place.runs(name));
    names.sort();
    let Some(wanted) = wanted else { return Ok(names) };
    if !names.iter().any(|name| name == wanted) {
        bail!("there is no test '{wanted}'; there are {}", names.join(", "));
    }
    Ok(vec![wanted.to_owned()])
}

fn upstream(cluster: &Cluster, selection: &Selection) -> Result<Count> {
    tools::build(&cluster.bin, &cluster.logs, &tools::E2E)?;
    let focus = match (&selection.focus, selection.sample) {
        (Some(focus), _) => focus,
        (None, true) => SAMPLE,
        (None, false) => FOCUS,
    };
    let start = Instant::now();
    let mut script = cluster.script("e2e.sh");
    script.args([focus, SKIP]).stdin(Stdio::null());
    println!(
        "upstream's suite, cases that match '{focus}' (some minutes; {})",
        cluster.logs.join("e2e.log").display()
    );
    let text = output_of(&mut script)?;
    let counts = text.lines().rev().find_map(counts);
    match counts {
        Some((passed, failed)) => {
            println!("upstream's suite: {passed} passed, {failed} failed, in {}", seconds(start.elapsed()));
            // None at all is a mistake in the expression.
            Ok(if passed + failed == 0 { Count::one(false) } else { Count { passed, failed, skipped: 0 } })
        }
        None => {
            println!("upstream's suite came to no end; read {}", cluster.logs.join("e2e.log").display());
            Ok(Count::one(false))
        }
    }
}

/// Shows what a command prints while it runs, and gives it back. That it fails is seen in what it prints.
fn output_of(command: &mut Command) -> Result<String> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read what the suite prints")?;
            println!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
    }
    child.wait().context("cannot wait for the suite")?;
    Ok(text)
}

/// Passed and failed cases in a line such as `SUCCESS! -- 47 Passed | 0 Failed | 0 Pending | 7085 Skipped`.
fn counts(line: &str) -> Option<(u32, u32)> {
    let (_, counts) = line.split_once(" -- ")?;
    let of = |what: &str| {
        let part = counts.split('|').find(|part| part.contains(what))?;
        part.split_whitespace().next()?.parse().ok()
    };
    Some((of("Passed")?, of("Failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_takes_hold_of_nodes_is_no_test_of_kinds() {
        assert_eq!(own_tests(Place::Kind, None).unwrap(), ["tenants"]);
        assert!(own_tests(Place::Kind, Some("reboot")).unwrap_err().to_string().contains("tenants"));
        assert_eq!(own_tests(Place::Namespaces, Some("reboot")).unwrap(), ["reboot"]);
    }

    #[test]
    fn the_suites_last_line_is_read() {
        let line = "SUCCESS! -- 47 Passed | 0 Failed | 0 Pending | 7085 Skipped";
        assert_eq!(counts(line), Some((47, 0)));
        assert_eq!(counts("FAIL! -- 4 Passed | 43 Failed | 0 Pending | 7085 Skipped"), Some((4, 43)));
        assert_eq!(counts("Ran 47 of 7132 Specs in 557.1 seconds"), None);
    }
}
