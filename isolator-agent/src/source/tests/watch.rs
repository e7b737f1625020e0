//! Tests of watching a real folder. Every wait is for an update, with a deadline.

use super::policy_text;
use crate::source::{ManifestSource, Update};
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::Problem;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Far beyond what any of this takes on a busy machine, and below the pace of the slow re-read.
const DEADLINE: Duration = Duration::from_secs(20);

/// A folder of its own for one test, removed afterwards.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("isolator-watch-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("m")).unwrap();
        TempFolder(path)
    }

    /// The folder of manifests; what is beside it is not watched.
    fn manifests(&self) -> PathBuf {
        self.0.join("m")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.manifests().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A watched folder and what its updates add up to.
struct Watched {
    source: ManifestSource,
    objects: BTreeMap<ObjectKey, Object>,
    problems: Vec<Problem>,
}

impl Watched {
    fn start(folder: &Path) -> Self {
        let source = ManifestSource::start(folder).unwrap();
        let objects = source.initial.objects.iter().map(|object| (object.key(), object.clone())).collect();
        Watched { problems: source.initial.problems.clone(), objects, source }
    }

    fn names(&self) -> String {
        let names = self.objects.values().map(|object| match object {
            Object::Policy(policy) => match policy.parts[0].egress {
                Some(_) => format!("{}*", policy.key.name),
                None => policy.key.name.clone(),
            },
            other => other.key().to_string(),
        });
        names.collect::<Vec<_>>().join(" ")
    }

    /// Waits until the policies are these (with `*` where they limit egress) and a problem contains
    /// `problem`, or there is none where it is empty.
    #[track_caller]
    fn until(&mut self, names: &str, problem: &str) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        loop {
            let text = self.problems.iter().map(|problem| format!("{problem}\n")).collect::<String>();
            let said = if problem.is_empty() { text.is_empty() } else { text.contains(problem) };
            if self.names() == names && said {
                return;
            }
            let next = async { tokio::time::timeout_at(deadline, self.source.updates.recv()).await };
            let Ok(Some(Update { changes, problems, took: _ })) = runtime.block_on(next) else {
                panic!("wanted {names:?} and {problem:?}, have {:?} and {text:?}", self.names());
            };
            self.problems = problems;
            for change in changes {
                match change {
                    Change::Apply(object) => drop(self.objects.insert(object.key(), object)),
                    Change::Delete(key) => assert!(self.objects.remove(&key).is_some(), "unknown {key}"),
                    Change::Reset(_) => panic!("a reset after the start"),
                }
            }
        }
    }
}

fn policy(name: &str, spec: &str) -> String {
    policy_text(&format!("  podSelector: {{}}\n{spec}")).replace("name: np", &format!("name: {name}"))
}

const IN: &str = "  policyTypes: [Ingress]\n";
const OUT: &str = "  policyTypes: [Egress]\n";
const BAD: &str = "  policyTypes: [Sideways]\n";

#[test]
fn files_are_added_edited_broken_repaired_and_removed() {
    let temp = TempFolder::new();
    temp.write("a.yaml", &policy("a", IN));
    temp.write("notes.txt", "not a manifest");
    let mut watched = Watched::start(&temp.manifests());
    assert_eq!(watched.names(), "a");
    temp.write("b.yml", &policy("b", IN));
    watched.until("a b", "");
    temp.write("b.yml", &policy("b", OUT));
    watched.until("a b*", "");
    temp.write("b.yml", &policy("b", BAD));
    watched.until("a b*", "still enforced");
    temp.write("b.yml", &policy("b", IN));
    watched.until("a b", "");
    fs::remove_file(temp.manifests().join("a.yaml")).unwrap();
    watched.until("b", "");
    temp.write(".hidden.yaml", &policy("hidden", IN));
    temp.write("c.json", r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"c"},"spec":{"podSelector":{}}}"#);
    watched.until("c b", "");
}

#[test]
fn sub_folders_come_and_go_with_their_files() {
    let temp = TempFolder::new();
    temp.write("one/a.yaml", &policy("a", IN));
    let mut watched = Watched::start(&temp.manifests());
    assert_eq!(watched.names(), "a");
    temp.write("two/three/b.yaml", &policy("b", IN));
    watched.until("a b", "");
    temp.write("two/three/b.yaml", &policy("b", OUT));
    watched.until("a b*", "");
    fs::rename(temp.manifests().join("two"), temp.manifests().join("four")).unwrap();
    temp.write("four/three/c.yaml", &policy("c", IN));
    watched.until("a b* c", "");
    fs::rename(temp.manifests().join("four"), temp.0.join("outside")).unwrap();
    watched.until("a", "");
    fs::remove_dir_all(temp.manifests().join("one")).unwrap();
    watched.until("", "");
}

#[test]
fn an_editor_that_renames_and_a_mounted_config_map_are_followed() {
    let temp = TempFolder::new();
    let root = temp.manifests();
    temp.write("a.yaml", &policy("a", IN));
    temp.write("..2024_1/b.yaml", &policy("b", IN));
    temp.write("..2024_2/b.yaml", &policy("b", OUT));
    symlink("..2024_1", root.join("..data")).unwrap();
    symlink("..data/b.yaml", root.join("b.yaml")).unwrap();
    let mut watched = Watched::start(&root);
    assert_eq!(watched.names(), "a b", "{:?}", watched.problems);
    temp.write(".a.yaml.swp", &policy("a", OUT));
    fs::rename(root.join(".a.yaml.swp"), root.join("a.yaml")).unwrap();
    watched.until("a* b", "");
    symlink("..2024_2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    fs::remove_dir_all(root.join("..2024_1")).unwrap();
    watched.until("a* b*", "");
}

#[test]
fn a_lost_folder_keeps_everything_until_it_is_back_with_content() {
    let temp = TempFolder::new();
    let root = temp.manifests();
    temp.write("a.yaml", &policy("a", IN));
    let mut watched = Watched::start(&root);
    fs::rename(&root, temp.0.join("away")).unwrap();
    watched.until("a", "the folder of manifests is lost");
    fs::create_dir(&root).unwrap();
    watched.until("a", "a new folder without any manifest");
    temp.write("b.yaml", &policy("b", IN));
    watched.until("b", "");
    temp.write("c.yaml", &policy("c", IN));
    watched.until("b c", "");
}

#[test]
fn a_folder_that_is_replaced_by_another_is_read_anew() {
    let temp = TempFolder::new();
    let root = temp.manifests();
    temp.write("a.yaml", &policy("a", IN));
    fs::create_dir(temp.0.join("next")).unwrap();
    fs::write(temp.0.join("next/b.yaml"), policy("b", IN)).unwrap();
    let mut watched = Watched::start(&root);
    fs::rename(&root, temp.0.join("away")).unwrap();
    fs::rename(temp.0.join("next"), &root).unwrap();
    watched.until("b", "");
    temp.write("b.yaml", &policy("b", OUT));
    watched.until("b*", "");
}

#[test]
fn links_in_circles_and_into_nowhere_do_no_harm() {
    let temp = TempFolder::new();
    let root = temp.manifests();
    temp.write("sub/a.yaml", &policy("a", IN));
    symlink("..", root.join("sub/up")).unwrap();
    symlink("nowhere", root.join("b.yaml")).unwrap();
    symlink("self.yaml", root.join("self.yaml")).unwrap();
    let mut watched = Watched::start(&root);
    watched.until("a", "self.yaml: the file cannot be read");
}

#[test]
fn a_link_whose_target_is_gone_keeps_what_it_said() {
    let temp = TempFolder::new();
    let root = temp.manifests();
    let target = temp.0.join("target.yaml");
    fs::write(&target, policy("a", IN)).unwrap();
    symlink(&target, root.join("a.yaml")).unwrap();
    let mut watched = Watched::start(&root);
    watched.until("a", "");
    fs::rename(&target, temp.0.join("away.yaml")).unwrap();
    temp.write("b.yaml", &policy("b", OUT));
    // What happens to the target is not watched; the next comparison finds it, as when the folder is touched.
    fs::create_dir(root.join("sub")).unwrap();
    watched.until("a b*", "which is not there");
    fs::remove_file(root.join("a.yaml")).unwrap();
    watched.until("b*", "");
}

#[test]
fn a_folder_that_is_not_there_is_refused_at_the_start() {
    let temp = TempFolder::new();
    assert!(ManifestSource::start(&temp.0.join("nowhere")).is_err());
    assert!(ManifestSource::start(Path::new("/dev/null")).is_err());
}
