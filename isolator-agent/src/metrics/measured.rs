//! Durations and counts that grow while the daemon runs, shared by the loop that observes and the server that shows
//! them. Histograms have fixed buckets: the library (prometheus-client 0.24) knows no native ones, and the text that
//! it writes has no form for them; a server that wants native ones converts (`convert_classic_histograms_to_nhcb`).
//! Not here: the loop's account of itself (`status`).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

/// The kind of a difference; see `datapath::audit::Difference::kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// One of a fixed set.
    pub kind: &'static str,
}

/// Something that the API server was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Written {
    /// The kind of object.
    pub kind: &'static str,
    /// What came of it, one of a fixed set.
    pub outcome: &'static str,
}

/// Seconds that only grow.
type Seconds = Counter<f64, AtomicU64>;

/// All of them. Copies are the same numbers.
#[derive(Clone, Debug)]
pub struct Measured {
    /// From the first sign of a change to the last map write.
    pub programming: Histogram,
    /// From objects to the list of writes.
    pub compile: Histogram,
    /// The writes.
    pub apply: Histogram,
    /// For how long a difference can have been there when it was found.
    pub detection: Histogram,
    /// From found to mended.
    pub repair: Histogram,
    /// Differences found, once each.
    pub found: Family<Kind, Counter>,
    /// Differences mended.
    pub mended: Family<Kind, Counter>,
    /// Times that everything was compared.
    pub rounds: Counter,
    /// Processor time of comparing.
    pub audit: Seconds,
    /// What the API server was told.
    pub writes: Family<Written, Counter>,
}

impl Default for Measured {
    fn default() -> Self {
        // 100 µs to 52 s.
        let durations = || Histogram::new(exponential_buckets(1e-4, 2.0, 20));
        // 10 ms to 1.5 hours: what lies there unseen is seen by the next round.
        let ages = || Histogram::new(exponential_buckets(1e-2, 2.0, 20));
        Measured {
            programming: durations(),
            compile: durations(),
            apply: durations(),
            detection: ages(),
            repair: ages(),
            found: Family::default(),
            mended: Family::default(),
            rounds: Counter::default(),
            audit: Seconds::default(),
            writes: Family::default(),
        }
    }
}

impl Measured {
    pub(super) fn register(&self, all: &mut Registry) {
        for (name, help, histogram) in [
            (
                "programming_duration",
                "From the first sign of a change to the last map write that it needed",
                &self.programming,
            ),
            (
                "compile_duration",
                "From objects to the list of map writes, where there are any",
                &self.compile,
            ),
            ("apply_duration", "The map writes of a change, grace period included", &self.apply),
            (
                "drift_detection_duration",
                "For how long at most a difference between kernel and plan was there when it was found",
                &self.detection,
            ),
            ("drift_repair_duration", "From finding a difference to its repair", &self.repair),
        ] {
            all.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        all.register(
            "drift_found",
            "Differences between kernel and plan that were found",
            self.found.clone(),
        );
        all.register("drift_repaired", "Differences that were repaired", self.mended.clone());
        all.register("audit_rounds", "How often everything was compared", self.rounds.clone());
        all.register_with_unit("audit_cpu", "Processor time of comparing", Unit::Seconds, self.audit.clone());
        all.register("api_writes", "What the API server was told", self.writes.clone());
    }
}
