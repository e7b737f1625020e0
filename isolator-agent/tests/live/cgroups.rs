//! A lab's cgroups go with it. Not here: what is judged in them (`services`).

use super::lab::{Live, skip};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn the_cgroups_of_a_lab_go_with_it_also_when_it_was_killed() {
    let Some(live) =
        Live::up(&[json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})], &[])
    else {
        return;
    };
    let record = live.record();
    let top = match record.cgroups {
        Ok(top) => top,
        Err(why) => return skip(&format!("nodes of a lab have no cgroups here: {why}")),
    };
    // Somebody's process on the node is in the node's, and goes on without the lab.
    let mut process = live.command(&["lab", "exec", "node:n1", "--", "sleep", "600"]).spawn().unwrap();
    let process_id = process.id();
    let own = |file: &str| fs::read_to_string(format!("/proc/{process_id}/{file}")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while own("comm") != "sleep\n" {
        assert!(Instant::now() < deadline, "it is {} still", own("comm"));
        std::thread::yield_now();
    }
    assert!(own("cgroup").contains("/node-n1\n"), "{}", own("cgroup"));
    let supervisor = rustix::process::Pid::from_raw(record.supervisor.pid).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    while record.supervisor.is_alive() {
        std::thread::yield_now();
    }
    live.ok(&["lab", "down", live.name()]);
    let (gone, freed) = (!top.exists(), !own("cgroup").contains("isolator-lab-"));
    let goes_on = process.try_wait().unwrap().is_none();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(gone && freed && goes_on, "{}: gone {gone}, freed {freed}, goes on {goes_on}", top.display());
}
