//! Flags of `isolator observe`, named as `hubble observe` names its own. Not here: what they mean.

use clap::{Args, ValueEnum};

/// `isolator observe`
#[derive(Args, Debug)]
pub struct ObserveArgs {
    /// Only flows from or to this pod or, without a slash, this namespace.
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub pod: Vec<String>,
    /// Only flows from this pod or namespace.
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub from_pod: Vec<String>,
    /// Only flows to this pod or namespace.
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub to_pod: Vec<String>,
    /// Only flows with this verdict.
    #[arg(long, value_enum, ignore_case = true)]
    pub verdict: Option<VerdictFilter>,
    /// Only flows of this protocol.
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Vec<String>,
    /// Only flows from or to this port.
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Keep on printing as flows happen (the default; given for those who type it).
    #[arg(short, long)]
    pub follow: bool,
    /// Also print what the daemon still remembers from before.
    #[arg(long)]
    pub history: bool,
    /// End after this many flows.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after this many seconds. Exit code 1 when `--count` flows were not seen by then.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// Which verdicts to show.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictFilter {
    /// Those that passed.
    Forwarded,
    /// Those that were dropped.
    Dropped,
}
