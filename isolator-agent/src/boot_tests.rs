//! The link that holds pods at a boot, in folders of its own. Not here: a runtime that reads it (`cluster test`).

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of configurations on a disk or not, and a run folder in memory.
struct Node {
    cni: PathBuf,
    run: PathBuf,
}

impl Node {
    fn new() -> Node {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("isolator-boot-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let node = Node { cni: std::env::temp_dir().join(&name), run: Path::new("/dev/shm").join(&name) };
        for folder in [&node.cni, &node.run] {
            fs::create_dir_all(folder).unwrap();
        }
        node
    }

    fn gate(&self) -> Gate {
        Gate::new(&self.cni, &self.run)
    }

    fn write(&self, name: &str) {
        fs::write(self.cni.join(name), name).unwrap();
    }

    fn boot(&self) {
        fs::remove_dir_all(&self.run).unwrap();
        fs::create_dir(&self.run).unwrap();
    }

    /// What a runtime takes: the content of the first file by name; an error where that cannot be read.
    fn taken(&self) -> io::Result<String> {
        let names = fs::read_dir(&self.cni).unwrap().map(|entry| entry.unwrap().path());
        let read = |path: &PathBuf| EXTENSIONS.iter().any(|one| path.extension() == Some(OsStr::new(one)));
        let mut names: Vec<PathBuf> = names.filter(read).collect();
        names.sort();
        names.first().map_or(Ok(String::new()), fs::read_to_string)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for folder in [&self.cni, &self.run] {
            let _gone = fs::remove_dir_all(folder);
        }
    }
}

#[test]
fn after_a_boot_the_runtime_reads_nothing_until_it_is_open_again() {
    let node = Node::new();
    node.write("00-other.conflist");
    node.write("10-pods.conflist");
    node.gate().open().unwrap();
    assert_eq!(node.taken().unwrap(), "00-other.conflist");
    node.boot();
    assert_eq!(node.taken().unwrap_err().kind(), io::ErrorKind::NotFound);
    node.gate().open().unwrap();
    assert_eq!(node.taken().unwrap(), "00-other.conflist");
}

#[test]
fn it_leads_to_whatever_the_cni_has_now() {
    let node = Node::new();
    let mut gate = node.gate();
    assert!(matches!(gate.open(), Err(NotHeld::NoNetwork(_))));
    node.write("10-pods.conf");
    gate.open().unwrap();
    assert_eq!(node.taken().unwrap(), "10-pods.conf");
    node.write("05-first.conflist");
    gate.open().unwrap();
    assert_eq!(node.taken().unwrap(), "05-first.conflist");
    node.write("04-newer.conflist");
    gate.open().unwrap();
    assert_eq!(node.taken().unwrap(), "04-newer.conflist");
    fs::remove_file(node.cni.join("04-newer.conflist")).unwrap();
    gate.open().unwrap();
    assert_eq!(node.taken().unwrap(), "05-first.conflist");
    // One link, whatever its extension was before.
    let ours = fs::read_dir(&node.cni)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("isolator"));
    assert_eq!(ours.count(), 1);
    assert_eq!(fs::read_to_string(node.cni.join("10-pods.conf")).unwrap(), "10-pods.conf");
}

#[test]
fn the_first_time_the_runtime_is_told_and_then_nothing_is_written() {
    let node = Node::new();
    node.write("10-pods.conflist");
    node.gate().open().unwrap();
    let link = node.cni.join(NAME).with_extension("conflist");
    let number = || std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(&link).unwrap());
    let (mut gate, before) = (node.gate(), number());
    gate.open().unwrap();
    let told = number();
    assert_ne!(told, before, "a process that starts cannot know whether the runtime was told");
    gate.open().unwrap();
    assert_eq!(number(), told);
}

#[test]
fn whoever_takes_it_away_for_ever_is_named_and_wins() {
    let node = Node::new();
    node.write("10-pods.conflist");
    let mut gate = node.gate();
    gate.open().unwrap();
    for _ in 0..ENOUGH {
        assert!(remove(&node.cni).unwrap());
        gate.open().unwrap();
    }
    assert!(remove(&node.cni).unwrap());
    let said = gate.open().unwrap_err().problem("node1").message;
    assert!(said.contains("cni.exclusive=false") && said.contains(NAME), "{said}");
    assert!(!remove(&node.cni).unwrap());
    assert_eq!(node.taken().unwrap(), "10-pods.conflist");
}

#[test]
fn a_run_folder_that_outlives_a_boot_holds_nobody() {
    let node = Node::new();
    node.write("10-pods.conflist");
    // The root of a machine that runs tests may be memory; what /proc is made of is not.
    let refused = Gate::new(&node.cni, Path::new("/proc")).open().unwrap_err();
    assert!(matches!(refused, NotHeld::Outlives(_)), "{refused}");
    assert_eq!(node.taken().unwrap(), "10-pods.conflist");
}
