//! What was typed after `cargo xtask`. Not here: what it needs to run.

use crate::cluster::{Action, Place, Selection};
use crate::test::Tier;
use crate::vm;
use anyhow::{Result, bail};

/// Printed by `cargo xtask help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask COMMAND

  build                                          toolchain, linker and an optimised target/release/isolator
  image                                          a container image with a static binary, target/image/isolator.tar
  cluster build                                  Kubernetes and its suite from source, once; needs Go
  cluster up [--bare]                            a Kubernetes cluster of three nodes on this machine, with our DaemonSet; needs root and Go
  cluster test [--sample] [--check NAME] [--focus REGEX]
                                                 our own tests and upstream's NetworkPolicy suite on it, or one of either
  cluster down                                   ends it and removes all of it
  cluster traces                                 starts and interrupts some, and looks for what they leave
  kind up [--bare]                               the same as a kind cluster; needs Docker, and Go for what is not installed
  kind test [--check NAME] [--focus REGEX]       three tenants and a tenth of upstream's suite on it; needs Go
  kind down                                      ends it and removes all of it
  kind traces                                    as cluster traces, where no Docker daemon runs
  demo                                           builds, then shows tenants being isolated; needs root
  test [--tier NAME]... [--cases N] [FILTER]     all test tiers, or the named ones
  tidy [--record-abi]                            rules that neither cargo nor clippy can enforce
  bench apply [FLAGS]                            ms from a changed manifest to the last map write; --help lists the flags
  bench compile [FLAGS]                          ms and memory of a change before the first map write; --help lists the flags
  bench datapath [FLAGS]                         ns per packet, beside floor programs; --help lists the flags
  docs                                           writes the documents that come from the code
  help                                           this text

Tiers, in order: tidy fmt clippy unit docs kernel vm lab cluster.
--cases N  generated cases per property test, from a fresh seed; without it a fixed seed is used.
FILTER     only tests whose name contains it; leaves out the tiers that are not made of tests.
";

/// One call of `cargo xtask`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Print [`USAGE`].
    Help,
    /// Build the optimised binary.
    Build,
    /// Start, test or end a cluster.
    Cluster(Place, Action),
    /// Write the container image.
    Image,
    /// Show what it does.
    Demo,
    /// Measure the way from a changed file to the last map write; the benchmark reads the rest of the line.
    BenchApply(Vec<String>),
    /// Measure the way from a change to the list of map writes; the benchmark reads the rest of the line.
    BenchCompile(Vec<String>),
    /// Measure the datapath; the benchmark reads the rest of the line.
    BenchDatapath(Vec<String>),
    /// Write the generated documents.
    Docs,
    /// Check the repository's own rules.
    Tidy,
    /// Write down the hash of the wire types.
    RecordAbi,
    /// Be the first process of a machine that is booted for tests.
    VmInit,
    /// Run test tiers.
    Test(Wanted),
}

/// What to test.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wanted {
    /// Only these tiers; all when empty.
    pub(crate) tiers: Vec<Tier>,
    /// Generated cases per property test.
    pub(crate) cases: Option<u32>,
    /// Part of the names of the tests to run.
    pub(crate) filter: Option<String>,
}

/// Reads the arguments that follow `cargo xtask`.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command> {
    let mut arguments = arguments.into_iter();
    match arguments.next().as_deref() {
        None | Some("help" | "-h" | "--help") => Ok(Command::Help),
        Some("build") => nothing_more(Command::Build, arguments),
        Some(vm::INIT) => nothing_more(Command::VmInit, arguments),
        Some("cluster") => parse_cluster(Place::Namespaces, arguments),
        Some("kind") => parse_cluster(Place::Kind, arguments),
        Some("image") => nothing_more(Command::Image, arguments),
        Some("demo") => nothing_more(Command::Demo, arguments),
        Some("test") => parse_test(arguments),
        Some("bench") => match arguments.next().as_deref() {
            Some("apply") => Ok(Command::BenchApply(arguments.collect())),
            Some("compile") => Ok(Command::BenchCompile(arguments.collect())),
            Some("datapath") => Ok(Command::BenchDatapath(arguments.collect())),
            _ => bail!("bench takes 'apply', 'compile' or 'datapath'; see `cargo xtask help`"),
        },
        Some("docs") => nothing_more(Command::Docs, arguments),
        Some("tidy") => match arguments.next().as_deref() {
            None => Ok(Command::Tidy),
            Some("--record-abi") => nothing_more(Command::RecordAbi, arguments),
            Some(extra) => bail!("tidy takes --record-abi or nothing, not '{extra}'"),
        },
        Some(other) => bail!("there is no command '{other}'; `cargo xtask help` lists them"),
    }
}

fn nothing_more(command: Command, mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    match arguments.next() {
        None => Ok(command),
        Some(extra) => bail!("'{extra}' is one argument too many; see `cargo xtask help`"),
    }
}

fn parse_cluster(place: Place, mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut action = match (place, arguments.next().as_deref()) {
        (_, Some("up")) => Action::Up { bare: false },
        // What is whole runs on the other cluster.
        (_, Some("test")) => Action::Test(Selection { sample: place == Place::Kind, ..Selection::default() }),
        (_, Some("down")) => Action::Down,
        (Place::Namespaces, Some("build")) => Action::Build,
        (_, Some("traces")) => Action::Traces,
        (Place::Namespaces, _) => {
            bail!("cluster takes 'build', 'up', 'test', 'down' or 'traces'; see `cargo xtask help`")
        }
        (Place::Kind, _) => bail!("kind takes 'up', 'test', 'down' or 'traces'; see `cargo xtask help`"),
    };
    while let Some(argument) = arguments.next() {
        match (&mut action, argument.as_str()) {
            (Action::Up { bare }, "--bare") => *bare = true,
            (Action::Test(selection), "--sample") => selection.sample = true,
            (Action::Test(selection), "--focus") => match arguments.next() {
                Some(expression) => selection.focus = Some(expression),
                None => bail!("--focus needs a value; see `cargo xtask help`"),
            },
            (Action::Test(selection), "--check") => match arguments.next() {
                Some(name) => selection.check = Some(name),
                None => bail!("--check needs a value; see `cargo xtask help`"),
            },
            (_, unknown) => bail!("there is no flag '{unknown}' here; see `cargo xtask help`"),
        }
    }
    Ok(Command::Cluster(place, action))
}

fn parse_test(mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut wanted = Wanted::default();
    while let Some(argument) = arguments.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let mut value = || match inline.clone().or_else(|| arguments.next()) {
            Some(value) => Ok(value),
            None => bail!("{flag} needs a value; see `cargo xtask help`"),
        };
        match flag.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--tier" => {
                let name = value()?;
                match Tier::ALL.iter().find(|tier| tier.name() == name) {
                    Some(tier) => wanted.tiers.push(*tier),
                    None => bail!(
                        "there is no tier '{name}'; the tiers are {}",
                        Tier::ALL.map(Tier::name).join(", ")
                    ),
                }
            }
            "--cases" => match value()?.parse() {
                Ok(cases) if cases > 0 => wanted.cases = Some(cases),
                _ => bail!("--cases needs a whole number above 0"),
            },
            unknown if unknown.starts_with('-') => {
                bail!("there is no flag '{unknown}'; see `cargo xtask help`")
            }
            _ if wanted.filter.is_some() => bail!("only one FILTER is possible; see `cargo xtask help`"),
            _ => wanted.filter = Some(flag),
        }
    }
    Ok(Command::Test(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_and_filter_are_understood_in_any_order() {
        let wanted =
            Wanted { tiers: vec![Tier::Unit, Tier::Lab], cases: Some(50), filter: Some("e1".into()) };
        for line in ["test --tier unit --tier=lab --cases 50 e1", "test e1 --cases=50 --tier unit --tier lab"]
        {
            assert_eq!(parsed(line).unwrap(), Command::Test(wanted.clone()), "{line}");
        }
    }

    #[test]
    fn kind_is_tested_by_a_sample_and_the_other_cluster_by_everything() {
        for (line, place, sample) in
            [("cluster test", Place::Namespaces, false), ("kind test", Place::Kind, true)]
        {
            let wanted = Action::Test(Selection { sample, ..Selection::default() });
            assert_eq!(parsed(line).unwrap(), Command::Cluster(place, wanted), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_an_error_that_names_it() {
        for (line, part) in [
            ("tset", "'tset'"),
            ("build now", "'now'"),
            ("test --tier unti", "'unti'"),
            ("test --tier", "--tier needs"),
            ("test --cases 0", "above 0"),
            ("test --fast", "'--fast'"),
            ("test a b", "one FILTER"),
            ("tidy --fix", "'--fix'"),
            ("bench", "'datapath'"),
            ("cluster", "'up'"),
            ("cluster down --bare", "'--bare'"),
            ("cluster test --focus", "--focus needs"),
            ("cluster test --check", "--check needs"),
            ("kind", "'down'"),
            ("kind build", "'traces'"),
            ("kind up --fast", "'--fast'"),
        ] {
            let message = parsed(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
