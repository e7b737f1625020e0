//! `policy verdicts --engine kernel`: the loaded programs say what the direct reading says, with the same
//! reasons. Needs the rights to load programs.

mod command;

#[test]
fn the_kernel_judges_flows() {
    command::check_verdicts("kernel");
}
