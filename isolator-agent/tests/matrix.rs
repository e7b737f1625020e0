//! `isolator policy matrix -o html`: one page that needs nothing else and says what JSON says. Not here: how it
//! looks.

mod command;

use command::{Ran, isolator, manifests};
use serde_json::Value;

/// What the page shows.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "a test fails by a panic")]
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_page_says_of_every_pair_what_json_says() {
    let Ran { out: page, err, code } = isolator("policy matrix -f FILES -o html", "");
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let shown = data(&page);
    let fields: Vec<Value> =
        serde_json::from_str(&isolator("policy matrix -f FILES -o json", "").out).unwrap();
    let pods = shown["pods"].as_array().unwrap();
    let name =
        |pod: &Value| format!("{}/{}", pod["namespace"].as_str().unwrap(), pod["name"].as_str().unwrap());
    let mut seen = 0;
    for (port, cells) in shown["ports"].as_array().unwrap().iter().zip(shown["cells"].as_array().unwrap()) {
        for (from, row) in pods.iter().zip(cells.as_array().unwrap().chunks(pods.len())) {
            for (to, number) in pods.iter().zip(row) {
                let field = &fields[seen];
                seen += 1;
                let flow = (name(from), name(to), port.as_str().unwrap().to_owned());
                let protocol = field["protocol"].as_str().unwrap();
                let same = format!("{protocol}/{}", field["port"]);
                assert_eq!(
                    (&field["from"], &field["to"], same),
                    (&flow.0.as_str().into(), &flow.1.as_str().into(), flow.2)
                );
                let answer = &shown["answers"][number.as_u64().unwrap() as usize];
                for side in ["egress", "ingress"] {
                    let allowed = field[side]["verdict"] == "allowed";
                    assert_eq!(answer[side]["allowed"], allowed, "{field}");
                    let reason = &shown["reasons"][answer[side]["by"].as_u64().unwrap() as usize];
                    assert_eq!(*reason, field[side]["by"], "{field}");
                }
            }
        }
    }
    assert_eq!(seen, fields.len());
    let tenants: Vec<_> = pods.iter().map(|pod| &pod["tenant"]).collect();
    assert_eq!(tenants, [&Value::Null, &"alpha".into(), &"alpha".into(), &"gamma".into()]);
}

#[test]
fn the_page_loads_nothing_and_no_text_gets_out_of_its_data() {
    let folder = std::env::temp_dir().join(format!("isolator-<script>&-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(format!("{}/tenants.yaml", manifests()), folder.join("a.yaml")).unwrap();
    let page = isolator(&format!("policy matrix -o html -f {}", folder.display()), "").out;
    std::fs::remove_dir_all(&folder).unwrap();
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "@DATA@"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(
        page.contains(
            r#"content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'""#
        )
    );
    assert_eq!(page.matches("<script").count(), 2, "its data and its own");
    assert_eq!(data(&page)["folder"], folder.display().to_string());
}
