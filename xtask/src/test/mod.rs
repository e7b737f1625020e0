//! `cargo xtask test`: the tiers, one after the other, and what came of them.
//!
//! Every tier that builds tests selects the same packages in the same profile, so that everything is
//! compiled once. A test belongs to a tier by the name of its file: see `tests/README.md`. A tier that
//! cannot run says why, and is counted.

mod libtest;
mod suite;
mod summary;
mod targets;

use crate::arguments::Wanted;
use crate::cluster;
use crate::machine::Need;
use crate::tidy;
use anyhow::Result;
use std::time::Instant;
use suite::Suite;
pub(crate) use summary::Count;
use summary::Line;

/// A group of tests with the same needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tier {
    /// `cargo xtask tidy`.
    Tidy,
    /// `cargo fmt --check`.
    Fmt,
    /// No warning from clippy, on the host and for BPF.
    Clippy,
    /// Tests without privileges: the equalities E1 and E2 among them.
    Unit,
    /// Generated documents are current; examples in documentation hold.
    Docs,
    /// Loads programs into the kernel: E3.
    Kernel,
    /// The kernel tier again, on older kernels in an emulator.
    Vm,
    /// Real packets between network namespaces: E4.
    Lab,
    /// A tenth of what `cargo xtask cluster test` runs, on a real Kubernetes cluster.
    Cluster,
}

impl Tier {
    /// Every tier, in the order of running: what fails fast comes first.
    pub(crate) const ALL: [Tier; 9] = [
        Tier::Tidy,
        Tier::Fmt,
        Tier::Clippy,
        Tier::Unit,
        Tier::Docs,
        Tier::Kernel,
        Tier::Vm,
        Tier::Lab,
        Tier::Cluster,
    ];

    /// The name that is typed and printed; also the prefix of the tier's test files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Tier::Tidy => "tidy",
            Tier::Fmt => "fmt",
            Tier::Clippy => "clippy",
            Tier::Unit => "unit",
            Tier::Docs => "docs",
            Tier::Kernel => "kernel",
            Tier::Vm => "vm",
            Tier::Lab => "lab",
            Tier::Cluster => "cluster",
        }
    }

    /// What the machine must offer.
    fn needs(self) -> &'static [Need] {
        match self {
            Tier::Tidy | Tier::Fmt | Tier::Clippy | Tier::Unit | Tier::Docs | Tier::Vm | Tier::Cluster => &[],
            Tier::Kernel | Tier::Lab => Need::DATAPATH,
        }
    }

    /// Whether the tier is made of tests with names, which a filter can choose from.
    fn has_names(self) -> bool {
        matches!(self, Tier::Unit | Tier::Docs | Tier::Kernel | Tier::Vm | Tier::Lab)
    }
}

/// What a tier came to.
enum Outcome {
    /// It ran.
    Ran(Count),
    /// It could not run, and why.
    Skipped(String),
}

/// Runs the tiers and prints the summary. `Ok(false)`: something failed.
pub(crate) fn run(wanted: &Wanted) -> Result<bool> {
    let suite = Suite::new(wanted)?;
    let mut lines = Vec::new();
    for tier in Tier::ALL {
        let asked = wanted.tiers.is_empty() || wanted.tiers.contains(&tier);
        if !asked || (wanted.filter.is_some() && !tier.has_names()) {
            continue;
        }
        let start = Instant::now();
        println!("\n=== {} ===", tier.name());
        let missing = tier.needs().iter().find_map(|need| need.missing());
        let outcome = match missing {
            Some(why) => Outcome::Skipped(why),
            None => one(&suite, tier)?,
        };
        let count = match outcome {
            Outcome::Ran(count) => count,
            Outcome::Skipped(why) => {
                println!("SKIPPED {}: {why}", tier.name());
                Count { skipped: 1, ..Count::default() }
            }
        };
        lines.push(Line { tier: tier.name(), count, time: start.elapsed() });
    }
    print!("\n{}", summary::text(&lines));
    Ok(lines.iter().all(|line| line.count.failed == 0))
}

fn one(suite: &Suite, tier: Tier) -> Result<Outcome> {
    match tier {
        Tier::Tidy => Ok(Outcome::Ran(Count::one(tidy::run()?))),
        Tier::Fmt => suite.fmt(),
        Tier::Clippy => suite.clippy(),
        Tier::Unit => suite.unit(),
        Tier::Docs => suite.docs(),
        Tier::Vm => suite.vm(),
        Tier::Kernel | Tier::Lab => suite.named(tier),
        Tier::Cluster => match cluster::not_ready()? {
            Some(why) => Ok(Outcome::Skipped(why)),
            None => cluster::sample().map(Outcome::Ran),
        },
    }
}
