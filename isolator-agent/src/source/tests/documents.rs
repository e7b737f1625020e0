//! Tests of splitting, YAML and JSON.

use super::super::documents::{self, Format};
use super::super::node::Data;
use super::load_text;
use super::{assert_said, load, said};
use proptest::prelude::*;
use serde_json::{Value, json};

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n";

fn namespace(name: &str) -> String {
    NAMESPACE.replace("NAME", name)
}

/// The label `x` of a namespace whose label's text is `text`, or what was said instead.
fn scalar(text: &str) -> Value {
    let mut value = Value::Null;
    documents::read(format!("x: {text}\n").as_bytes(), Format::Yaml, |document| {
        let node = document.content.expect("readable");
        if let Some(Data::Scalar(scalar)) = node.get("x").map(|node| &node.data) {
            value = scalar.clone();
        }
    });
    value
}

#[test]
fn plain_scalars_are_read_as_kubectl_reads_them() {
    for (text, wanted) in [
        ("on", json!(true)),
        ("y", json!(true)),
        ("Yes", json!(true)),
        ("off", json!(false)),
        ("N", json!(false)),
        ("'on'", json!("on")),
        ("!!str on", json!("on")),
        ("oN", json!("oN")),
        ("~", json!(null)),
        ("", json!(null)),
        ("80", json!(80)),
        ("0644", json!(420)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("1_000", json!(1000)),
        ("-5", json!(-5)),
        ("08", json!(8)),
        ("80.0", json!(80)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("10.0.0.1", json!("10.0.0.1")),
        ("10.0.0.0/8", json!("10.0.0.0/8")),
        ("2024-01-01", json!("2024-01-01")),
        ("v1", json!("v1")),
        ("1.2.3", json!("1.2.3")),
    ] {
        assert_eq!(scalar(text), wanted, "{text}");
    }
}

#[test]
fn a_broken_document_leaves_its_neighbours_alone() {
    let text = format!("{}---\nkind: [\n---\n# only a comment\n---\n{}", namespace("a"), namespace("b"));
    let loaded = load(&text);
    assert_eq!(loaded.objects.len(), 2, "{:?}", said(&loaded));
    assert_eq!(loaded.problems.len(), 1, "{:?}", said(&loaded));
    assert_said(&loaded, &["f.yaml:", "(document 2)", "this is not YAML"]);
}

#[test]
fn a_marker_ends_a_document_inside_a_block_scalar_and_inside_quotes() {
    for open in ["x: |\n  text\n", "x: \"text\n", "x: {a: [\n"] {
        for marker in ["---\n", "...\n---\n", "--- # a comment\n"] {
            let text = format!("{open}{marker}{}", namespace("b"));
            assert_eq!(load(&text).objects.len(), 1, "{text}");
        }
    }
    // Not markers: indented, or longer words.
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  annotations:\n    t: |\n      a\n      ---\n      b\n";
    assert_eq!(load(text).objects.len(), 1);
}

#[test]
fn a_document_may_begin_on_the_line_of_its_marker_and_behind_directives() {
    let text = "%YAML 1.1\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n\
                --- {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n";
    let loaded = load(text);
    assert_eq!(loaded.objects.len(), 2, "{:?}", said(&loaded));
}

#[test]
fn places_count_from_the_beginning_of_the_file() {
    let text = format!(
        "# head\n{}---\r\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    a: on\n",
        namespace("a")
    );
    assert_said(
        &load(&text),
        &["f.yaml:11:5 (document 2)", "Pod default/p", "metadata.labels.a", "expected a string"],
    );
}

#[test]
fn duplicate_keys_are_refused_in_yaml_and_json() {
    let loaded = load("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  name: b\n");
    assert_said(&loaded, &["f.yaml:5:3", "`name` is there twice"]);
    assert!(loaded.objects.is_empty());
    let json = br#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","name":"b"}}"#;
    assert_said(&load_text("f.json", json), &["f.json:1", "`name` is there twice"]);
}

#[test]
fn a_template_that_was_not_rendered_is_named() {
    let loaded = load("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {{ .Release.Name }}-a\n");
    assert_said(&loaded, &["f.yaml:4:10", "a template", "render it first"]);
    assert!(loaded.objects.is_empty());
}

#[test]
fn aliases_and_merge_keys_work() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  annotations: &l {a: x, b: x}\n  \
                labels:\n    <<: *l\n    b: z\n";
    let loaded = load(text);
    assert!(loaded.problems.is_empty(), "{:?}", said(&loaded));
    let isolator_policy::cluster::change::Object::Namespace(namespace) = &loaded.objects[0] else { panic!() };
    let labels: Vec<_> = namespace.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=x", "b=z", "kubernetes.io/metadata.name=a"]);
}

#[test]
fn bombs_and_towers_are_refused_by_a_stated_limit() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{below}]\n");
    }
    assert_said(&load(&bomb), &["aliases", "100000", "limit"]);
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(1_000), "*a, ".repeat(101));
    assert_said(&load(&wide), &["aliases", "100000", "limit"]);
    assert!(
        !said(&load(&wide.replacen("*a, ", "", 10))).join("").contains("aliases"),
        "a template is no bomb"
    );
    assert_said(&load(&"[".repeat(100_000)), &["f.yaml:1"]);
    assert_said(&load(&format!("x: {}", "[".repeat(150))), &["100 levels"]);
    assert_said(
        &load(&(0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>()),
        &["100 levels"],
    );
    assert_said(&load_text("f.json", "[".repeat(100_000).as_bytes()), &["recursion limit"]);
    let big = vec![b'#'; documents::MAX_FILE_BYTES + 1];
    assert_said(&load_text("f.yaml", &big), &["f.yaml", "64 MiB"]);
    assert_said(&load("a: &x [*x]\n"), &["f.yaml:1", "alias"]);
}

#[test]
fn text_that_is_neither_is_named() {
    assert_said(&load_text("f.yaml", b"a: b\n\xff\xfe"), &["f.yaml:2", "UTF-8"]);
    assert_said(&load("just words\n"), &["f.yaml:1:1 (document 1)", "not a Kubernetes object"]);
    assert_said(&load("kind: Pod\n"), &["apiVersion", "missing"]);
    assert_said(&load("a: !thing b\n"), &["tag", "not supported"]);
    assert_said(&load("a: b\nc\n"), &["f.yaml:", "this is not YAML"]);
    assert_said(&load_text("f.json", b"{}{\"a\":\n\n!"), &["f.json:3", "(document 2)", "this is not JSON"]);
}

#[test]
fn json_streams_and_json_in_yaml_files_are_read() {
    let object =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    let text = format!("{}\n{}", object("a"), object("b"));
    assert_eq!(load_text("f.json", text.as_bytes()).objects.len(), 2);
    assert_eq!(load(&text).objects.len(), 2);
    let escaped = format!("{}\n---\n{}", object("a").replace("\"v1\"", "\"\\u0076\\u0031\""), object("b"));
    assert_eq!(load(&escaped).objects.len(), 2);
    let pair = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","annotations":{"a":"\ud83d\ude00"}}}"#;
    assert_eq!(load(pair).objects.len(), 1, "{:?}", said(&load(pair)));
    assert_eq!(load(&format!("\u{feff}{}", object("a"))).objects.len(), 1);
}

#[test]
fn a_marker_may_be_the_end_of_the_file() {
    for end in ["---", "...", "---\n", "--- ", "---\r\n"] {
        let loaded = load(&(namespace("a") + end));
        assert!(loaded.objects.len() == 1 && loaded.problems.is_empty(), "{end:?}: {:?}", said(&loaded));
    }
}

#[test]
fn empty_documents_say_nothing() {
    for text in ["", "\n", "# a\n", "---\n", "---\n---\n# b\n...\n", "null\n", "\u{feff}"] {
        let loaded = load(text);
        assert!(loaded.objects.is_empty() && loaded.problems.is_empty(), "{text:?}: {:?}", said(&loaded));
    }
    assert!(load_text("f.json", b" \n ").problems.is_empty());
}

/// Pieces that bring a parser to its edges sooner than random bytes do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("---\n"),
        Just("...\n"),
        Just("- "),
        Just("? "),
        Just(": "),
        Just("a: "),
        Just("&x "),
        Just("*x"),
        Just("<<: "),
        Just("!!str "),
        Just("!<"),
        Just("%TAG "),
        Just("|\n"),
        Just(">-2\n"),
        Just("'"),
        Just("\""),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("#"),
        Just("\n"),
        Just("  "),
        Just("\t"),
        Just("\r"),
        Just("\\u"),
        Just("é"),
        Just("\u{2028}"),
        Just("\0"),
        Just("kind: Pod\n"),
        Just("kind: List\n"),
        Just("apiVersion: v1\n"),
        Just("items:\n"),
        Just("metadata: {name: a}\n"),
        Just("spec:\n"),
        Just("0x"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = load_text("f.yaml", &bytes);
        let _ = load_text("f.json", &bytes);
    }

    #[test]
    fn arbitrary_pieces_never_panic(text in pieces()) {
        let _ = load_text("f.yaml", text.as_bytes());
        let _ = load_text("f.json", text.as_bytes());
    }
}
