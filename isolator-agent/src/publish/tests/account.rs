//! The node's account. Not here: when it is written.

use super::super::account::Health;
use super::*;
use crate::status::WatchStatus;
use saphyr::{LoadableYamlNode, Yaml};
use std::collections::BTreeSet;

fn health(published: &Published) -> (Health, String) {
    let Account { health, why, .. } = Account::of(published, Instant::now());
    (health, why)
}

#[test]
fn health_is_what_this_node_has_and_a_policys_trouble_is_the_policys() {
    assert_eq!(health(&mk_published(1, Vec::new())), (Health::Enforcing, String::new()));
    let mut rejected = mk_problem("NetworkPolicy a/np", "not-enforced", "", "no version was good");
    let of_policy = mk_published(1, vec![rejected.clone()]);
    assert_eq!(health(&of_policy).0, Health::Enforcing);
    assert_eq!(Account::of(&of_policy, Instant::now()).problems, 1);
    rejected.severity = "warning".to_owned();
    let warned = Account::of(&mk_published(1, vec![rejected]), Instant::now());
    assert_eq!((warned.problems, warned.warnings), (0, 1));

    let of_node =
        mk_published(1, vec![mk_problem("", "not-attached", "", "interface veth1 is NOT enforced")]);
    assert_eq!(health(&of_node), (Health::Degraded, "interface veth1 is NOT enforced".to_owned()));
    let mut stale = mk_published(1, Vec::new());
    stale.status.watches = vec![WatchStatus { kind: "Pod".into(), away_ms: 7, ..WatchStatus::default() }];
    assert_eq!(health(&stale).0, Health::Stale);
    assert!(health(&stale).1.contains("Pod"));
    let mut starting = mk_published(1, Vec::new());
    starting.status.synced = false;
    assert_eq!(health(&starting).0, Health::Starting);
    let hung = Account::of(&mk_published(1, Vec::new()), Instant::now() + seconds(600));
    assert_eq!(hung.health, Health::Stuck);
}

#[test]
fn a_reason_is_cut_between_characters() {
    let long = "ä".repeat(1000);
    let (_, why) = health(&mk_published(1, vec![mk_problem("", "capacity", "", &long)]));
    assert!(why.len() <= 256 && why.ends_with("ä…"), "{why}");
}

/// The keys below `properties`, with those of objects below them.
fn fields(schema: &Yaml<'_>, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, schema) in schema["properties"].as_mapping().unwrap() {
        let field = format!("{prefix}{}", key.as_str().unwrap());
        if schema["type"].as_str() == Some("object") {
            fields(schema, &format!("{field}."), found);
        } else {
            found.insert(field);
        }
    }
}

#[test]
fn the_definition_of_the_nodes_object_has_what_is_written_and_shows_it() {
    let text = include_str!("../../../../deploy/crd.yaml");
    let crd = &Yaml::load_from_str(text).unwrap()[0];
    let version = &crd["spec"]["versions"][0];
    let mut declared = BTreeSet::new();
    fields(&version["schema"]["openAPIV3Schema"], "", &mut declared);

    // What is not declared is dropped by the API server without a word.
    let mut written = serde_json::to_value(mk_account(1)).unwrap();
    written["seen"] = "2026-01-01T00:00:00Z".into();
    let mut names = BTreeSet::new();
    for (key, value) in written.as_object().unwrap() {
        match value.as_object() {
            Some(inner) => names.extend(inner.keys().map(|inner| format!("status.{key}.{inner}"))),
            None => drop(names.insert(format!("status.{key}"))),
        }
    }
    assert_eq!(declared, names);

    let words = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["health"]["enum"]
        .as_sequence()
        .unwrap();
    let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    let all = [Health::Starting, Health::Enforcing, Health::Degraded, Health::Stale, Health::Stuck];
    assert_eq!(words, all.map(|health| format!("{health:?}")));

    let columns = version["additionalPrinterColumns"].as_sequence().unwrap();
    for column in columns {
        let path = column["jsonPath"].as_str().unwrap().trim_start_matches('.');
        assert!(path == "metadata.creationTimestamp" || declared.contains(path), "{path} is never written");
    }
    let shown = columns.iter().filter(|column| !column.contains_mapping_key("priority"));
    let shown: Vec<_> = shown.map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(shown, ["Health", "Endpoints", "Policies", "Problems", "Drift", "Seen", "Age"]);
}

/// A comma in a text that is not quoted makes a key of what follows, and `kubectl apply` refuses the whole definition.
#[test]
fn the_definition_of_the_nodes_object_says_nothing_that_an_api_server_does_not_know() {
    fn known(schema: &Yaml<'_>, at: &str) {
        for (key, value) in schema.as_mapping().unwrap() {
            let key = key.as_str().unwrap();
            let keys = ["type", "format", "description", "enum", "maxLength", "properties"];
            assert!(keys.contains(&key), "{at}: '{key}'");
            for (field, schema) in value.as_mapping().into_iter().flatten() {
                known(schema, &format!("{at}.{}", field.as_str().unwrap()));
            }
        }
    }
    let text = include_str!("../../../../deploy/crd.yaml");
    let crd = &Yaml::load_from_str(text).unwrap()[0];
    known(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "schema");
}
