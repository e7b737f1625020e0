//! Tests of a folder's state: last good versions, duplicates, what stays and what goes.

use super::policy_text;
use crate::source::{Content, Folder};
use isolator_policy::cluster::change::{Change, ObjectKey};

fn policy(name: &str, spec: &str) -> String {
    policy_text(&format!("  podSelector: {{}}\n{spec}")).replace("name: np", &format!("name: {name}"))
}

const GOOD: &str = "  policyTypes: [Ingress]\n";
const OTHER: &str = "  policyTypes: [Egress]\n";
const BAD: &str = "  policyTypes: [Sideways]\n";

fn bytes(text: impl AsRef<str>) -> Content {
    Content::Bytes(text.as_ref().as_bytes().to_vec())
}

/// Changes as `+name` and `-name`.
fn brief(changes: &[Change]) -> String {
    let name = |key: &ObjectKey| match key {
        ObjectKey::Policy(key) => key.name.clone(),
        other => other.to_string(),
    };
    let brief = changes.iter().map(|change| match change {
        Change::Apply(object) => format!("+{}", name(&object.key())),
        Change::Delete(key) => format!("-{}", name(key)),
        Change::Reset(_) => "reset".to_owned(),
    });
    brief.collect::<Vec<_>>().join(" ")
}

/// Codes of the problems, in order.
fn codes(folder: &Folder) -> String {
    folder.problems().iter().map(|problem| problem.code).collect::<Vec<_>>().join(" ")
}

fn texts(folder: &Folder) -> String {
    folder.problems().iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn a_file_adds_changes_and_deletes_its_objects() {
    let mut folder = Folder::new();
    let both = format!("{}\n---\n{}", policy("a", GOOD), policy("b", GOOD));
    assert_eq!(brief(&folder.update("f.yaml", bytes(&both))), "+a +b");
    assert_eq!(brief(&folder.update("f.yaml", bytes(&both))), "", "equal content changes nothing");
    assert_eq!(brief(&folder.update("f.yaml", bytes(both.replacen(GOOD, OTHER, 1)))), "+a");
    assert_eq!(brief(&folder.update("f.yaml", bytes(policy("b", GOOD)))), "-a");
    assert_eq!(brief(&folder.update("f.yaml", Content::Gone)), "-b");
    assert_eq!(codes(&folder), "");
    assert!(folder.objects().is_empty() && folder.paths().next().is_none());
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_says_so() {
    let mut folder = Folder::new();
    folder.update("f.yaml", bytes(policy("a", GOOD)));
    let good = folder.objects();
    for _ in 0..2 {
        assert_eq!(brief(&folder.update("f.yaml", bytes(policy("a", BAD)))), "");
        assert_eq!(folder.objects(), good);
        assert_eq!(codes(&folder), "invalid-field last-good");
        let texts = texts(&folder);
        assert!(
            texts.contains("f.yaml:6:17 (document 1): NetworkPolicy x/a: spec.policyTypes[0]"),
            "{texts}"
        );
        assert!(texts.contains("the version before this edit is still enforced"), "{texts}");
    }
    assert_eq!(brief(&folder.update("f.yaml", bytes(policy("a", OTHER)))), "+a");
    assert_eq!(codes(&folder), "");
    folder.update("f.yaml", bytes(policy("a", BAD)));
    assert_eq!(brief(&folder.update("f.yaml", Content::Gone)), "-a", "a deleted file deletes");
    assert_eq!(brief(&folder.update("f.yaml", bytes(policy("a", BAD)))), "");
    assert_eq!(codes(&folder), "invalid-field not-enforced");
    assert!(texts(&folder).contains("NOTHING of this policy is enforced"));
}

#[test]
fn a_wrong_api_version_is_a_broken_edit_too() {
    let mut folder = Folder::new();
    folder.update("f.yaml", bytes(policy("a", GOOD)));
    assert_eq!(brief(&folder.update("f.yaml", bytes(policy("a", GOOD).replace("/v1\n", "/v2\n")))), "");
    assert_eq!(codes(&folder), "wrong-api-version last-good");
}

#[test]
fn what_an_unreadable_part_may_have_said_is_kept() {
    let mut folder = Folder::new();
    let three = |b: &str| format!("{}\n---\n{b}\n---\n{}", policy("a", GOOD), policy("c", GOOD));
    folder.update("f.yaml", bytes(three(&policy("b", GOOD))));
    assert_eq!(brief(&folder.update("f.yaml", bytes(three("kind: [")))), "");
    assert_eq!(codes(&folder), "unreadable last-good");
    assert!(texts(&folder).contains("NetworkPolicy x/b"), "{}", texts(&folder));
    // Still unreadable, and another object is gone now: it may be what cannot be read.
    assert_eq!(brief(&folder.update("f.yaml", bytes(format!("{}\n---\nkind: [", policy("a", GOOD))))), "");
    assert_eq!(folder.objects().len(), 3);
    assert_eq!(brief(&folder.update("f.yaml", bytes(policy("a", OTHER) + "\n---\nkind: ["))), "+a");
    assert_eq!(brief(&folder.update("f.yaml", bytes(policy("a", OTHER)))), "-b -c");
    assert_eq!(codes(&folder), "");
}

#[test]
fn a_file_that_cannot_be_read_keeps_what_it_said() {
    let mut folder = Folder::new();
    folder.update("f.yaml", bytes(policy("a", GOOD)));
    assert_eq!(brief(&folder.update("f.yaml", Content::Unreadable("disk on fire".into()))), "");
    assert!(texts(&folder).contains("disk on fire"), "{}", texts(&folder));
    assert!(texts(&folder).contains("NetworkPolicy x/a"));
    assert_eq!(brief(&folder.update("f.yaml", Content::Bytes(vec![b'#'; (64 << 20) + 1]))), "");
    assert!(texts(&folder).contains("64 MiB"), "{}", texts(&folder));
    assert_eq!(folder.objects().len(), 1);
    assert_eq!(brief(&folder.update("g.yaml", Content::Unreadable("no".into()))), "");
    assert!(texts(&folder).contains("g.yaml: the file cannot be read (no); nothing of it is enforced"));
}

#[test]
fn of_two_files_the_first_by_path_wins_and_both_are_named() {
    let mut folder = Folder::new();
    folder.update("b.yaml", bytes(policy("a", OTHER)));
    assert_eq!(brief(&folder.update("a.yaml", bytes(policy("a", GOOD)))), "+a");
    assert_eq!(codes(&folder), "duplicate");
    assert!(
        texts(&folder)
            .contains("b.yaml:1:1 (document 1): NetworkPolicy x/a: the same object is at a.yaml:1:1")
    );
    assert_eq!(brief(&folder.update("a.yaml", Content::Gone)), "+a", "the other takes its place");
    assert_eq!(codes(&folder), "");
    // A first file whose version never was good does not take the good one away.
    assert_eq!(brief(&folder.update("a.yaml", bytes(policy("a", BAD)))), "");
}

#[test]
fn of_two_documents_the_first_wins() {
    let mut folder = Folder::new();
    let text = format!("{}\n---\n{}", policy("a", GOOD), policy("a", OTHER));
    folder.update("f.yaml", bytes(text));
    let mut single = Folder::new();
    single.update("f.yaml", bytes(policy("a", GOOD)));
    assert_eq!(folder.objects(), single.objects());
    assert!(texts(&folder).contains("f.yaml:9:1 (document 2)"), "{}", texts(&folder));
    assert!(
        texts(&folder).contains("only the first, at f.yaml:1:1 (document 1), counts"),
        "{}",
        texts(&folder)
    );
}

#[test]
fn what_moves_between_files_in_one_batch_is_never_gone() {
    let mut folder = Folder::new();
    folder.update("a.yaml", bytes(policy("a", GOOD)));
    let moved = |spec| vec![("a.yaml".into(), Content::Gone), ("b.yaml".into(), bytes(policy("a", spec)))];
    assert_eq!(brief(&folder.apply(moved(GOOD))), "");
    let back = vec![("b.yaml".into(), Content::Gone), ("a.yaml".into(), bytes(policy("a", BAD)))];
    assert_eq!(brief(&folder.apply(back)), "", "broken while it moves: the last good version stays");
    assert_eq!(codes(&folder), "invalid-field last-good");
}

#[test]
fn problems_of_one_file_are_bounded() {
    let mut folder = Folder::new();
    folder.update("f.yaml", bytes("x\n---\n".repeat(1000)));
    assert_eq!(folder.problems().len(), 201);
    assert!(texts(&folder).contains("800 more problems"), "{}", texts(&folder));
}

#[test]
fn ten_thousand_policies_in_one_file_are_read_and_a_change_of_one_is_one_change() {
    let all = |last: &str| {
        let mut text: String = (0..9_999).map(|i| policy(&format!("p{i}"), GOOD) + "\n---\n").collect();
        text += &policy("last", last);
        text
    };
    let mut folder = Folder::new();
    assert_eq!(folder.update("f.yaml", bytes(all(GOOD))).len(), 10_000);
    assert_eq!(brief(&folder.update("f.yaml", bytes(all(OTHER)))), "+last");
    assert_eq!(codes(&folder), "");
}
