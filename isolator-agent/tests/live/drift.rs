//! Somebody changes the kernel behind the agent's back: it is found, mended and counted, and what is denied stays
//! denied meanwhile. Not here: the comparison by itself (`tests/attach.rs` of the kernel's tests).

use super::lab::Live;
use aya::maps::{Array, HashMap, Map, MapData};
use isolator_agent::lab::load_record;
use isolator_common::tables::name;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// The pins of a node's agent, which lie in the mounts of the lab's process.
fn pins(live: &Live, node: &str) -> PathBuf {
    let (_, record) = load_record(Some(&live.labs()), Some(live.name())).unwrap();
    let root = PathBuf::from(format!("/proc/{}/root", record.supervisor.pid));
    let labs = fs::canonicalize(live.labs()).unwrap();
    root.join(labs.strip_prefix("/").unwrap()).join(live.name()).join("bpf").join(node)
}

fn number(status: &Value, field: &str) -> u64 {
    status["drift"][field].as_u64().unwrap()
}

#[test]
fn what_others_change_is_found_and_repaired_and_denied_flows_stay_denied() {
    let namespace = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"isolator.dev/tenant": name}}})
    };
    let pod = |namespace: &str, name: &str, address: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name},
            "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "main"}]},
            "status": {"podIP": address}})
    };
    let objects = [
        namespace("a"),
        namespace("b"),
        pod("a", "web", "10.0.0.1"),
        pod("a", "client", "10.0.0.3"),
        pod("b", "web", "10.0.0.2"),
    ];
    let Some(live) = Live::up(&objects, &[]) else { return };
    let denied = json!({"from": "a/web", "to": "b/web", "protocol": "TCP", "port": 80});
    // Nobody listens there: that its own node says so is an answer.
    let allowed = json!({"from": "a/client", "to": "a/web", "protocol": "TCP", "port": 80});
    let stays_denied = || assert_eq!(live.probe(std::slice::from_ref(&denied), "300ms"), ["timeout"]);
    let whole = |status: &Value| number(status, "found") == number(status, "repaired");
    let pins = pins(&live, "n1");

    // Verdicts and addresses go.
    let mut cells: Array<_, u32> =
        Map::Array(MapData::from_pin(pins.join(name::CELLS)).unwrap()).try_into().unwrap();
    for index in 0..1024 {
        if cells.get(&index, 0).unwrap() != 0 {
            cells.set(index, 0, 0).unwrap();
        }
    }
    let mut blocks: HashMap<_, u32, u32> =
        Map::HashMap(MapData::from_pin(pins.join(name::BLOCKS4)).unwrap()).try_into().unwrap();
    let keys: Vec<u32> = blocks.keys().map(Result::unwrap).collect();
    for key in keys {
        blocks.remove(&key).unwrap();
    }
    stays_denied();
    let status =
        live.until("n1", "the repair of the maps", |status| number(status, "found") > 0 && whole(status));
    stays_denied();
    assert_eq!(live.probe(std::slice::from_ref(&allowed), "5s"), ["refused"]);
    assert!(number(&status, "detect_us") > 0 && number(&status, "repair_us") > 0, "{status:#}");
    assert_eq!(status["problems"], json!([]), "{status:#}");

    // A program goes, and with it its pin; and a map loses its pin.
    let before = number(&live.status("n1"), "found");
    let links: Vec<PathBuf> =
        fs::read_dir(pins.join("links")).unwrap().map(|link| link.unwrap().path()).collect();
    let gone = links.iter().filter(|link| link.to_str().unwrap().ends_with("-from_pod"));
    let gone = gone.map(|link| fs::remove_file(link).unwrap()).count() as u64;
    assert_eq!(gone, 3);
    fs::remove_file(pins.join(name::HOSTS)).unwrap();
    // What a pod receives is judged, too.
    stays_denied();
    live.until("n1", "the repair of programs and pins", |status| {
        number(status, "found") > before + gone && whole(status)
    });
    stays_denied();
    assert_eq!(live.probe(&[allowed], "5s"), ["refused"]);
    for link in links.iter().chain([&pins.join(name::HOSTS)]) {
        assert!(link.exists(), "{} is pinned again", link.display());
    }
}
