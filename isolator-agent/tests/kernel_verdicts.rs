//! `policy verdicts --engine kernel`: the loaded programs say what the direct reading says, with the same
//! reasons. Needs the rights to load programs.

mod command;
mod flows;

#[test]
fn the_kernel_judges_flows() {
    flows::check_verdicts("kernel");
}

#[test]
fn the_kernel_judges_each_flow_by_itself() {
    flows::check_apart("kernel");
}
