//! Labs with agents: real packets, real policies. `live::lab` makes one, the other modules say what must hold.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod live {
    mod alone;
    mod cases;
    mod cgroups;
    mod drift;
    mod flips;
    mod isolated;
    mod lab;
    mod metrics;
    mod services;
    mod upstream;
}
