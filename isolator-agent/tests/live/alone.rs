//! A second agent on a node. Not here: two on the same pins in different nodes (`tests/tests/store.rs`).

use super::lab::Live;
use serde_json::json;

#[test]
fn a_second_agent_on_a_node_is_refused_whatever_its_pins() {
    let Some(live) =
        Live::up(&[json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})], &[])
    else {
        return;
    };
    let binary = env!("CARGO_BIN_EXE_isolator");
    let folder = live.labs().display().to_string();
    let script = format!(
        "{binary} run --manifests {folder} --pin-dir $ISOLATOR_PIN_DIR/other --run-dir {folder}/other\n\
         code=$?; test -e $ISOLATOR_PIN_DIR/other && echo made pins; exit $code"
    );
    let second = live.run(&["lab", "exec", "node:n1", "--", "sh", "-c", &script]);
    let said =
        [second.stdout, second.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    let first = format!("another agent (pid {})", live.status("n1")["process"]["pid"]);
    assert!(!second.status.success() && said.contains(&first), "{}: {said}", second.status);
    assert!(!said.contains("made pins"), "{said}");
}
