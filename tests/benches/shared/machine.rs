//! Kernel and processor, which belong to every figure. Not here: the figures.

use anyhow::Result;
use serde_json::json;
use std::fs;

/// Prints the first line of the output: the machine and, for people, what the figures are.
pub(crate) fn head(json: bool, figures: &str) -> Result<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = model.map_or("unknown CPU", |(_, name)| name.trim());
    let cpus = std::thread::available_parallelism()?;
    if json {
        println!("{}", json!({"kernel": kernel, "cpu": cpu, "cpus": cpus.get()}));
    } else {
        println!("Linux {kernel}, {cpu}, {cpus} CPUs; {figures}");
    }
    Ok(())
}
