//! YAML of anything that can be JSON, with the fields in their order. Not here: reading YAML (`source`).

use anyhow::{Context, Result};
use saphyr::{LoadableYamlNode, Yaml, YamlEmitter};
use serde::Serialize;

/// Writes a value. JSON is YAML already (YAML 1.2 section 1.3): reading it as such keeps the order of the
/// fields, and the emitter makes it pretty.
pub(super) fn write<T: Serialize>(value: &T) -> Result<String> {
    let json = serde_json::to_string(value)?;
    let documents = Yaml::load_from_str(&json).context("the value does not read back as YAML")?;
    let mut text = String::new();
    if let Some(document) = documents.first() {
        let mut emitter = YamlEmitter::new(&mut text);
        emitter.compact(true);
        emitter.dump(document).context("the value cannot be written as YAML")?;
    }
    text.push('\n');
    Ok(text.strip_prefix("---\n").unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        after: Vec<&'static str>,
        number: u64,
        none: Option<u8>,
        truth: bool,
    }

    #[test]
    fn fields_keep_their_order_and_strings_stay_strings() {
        let thing = Thing {
            name: "zeta",
            after: vec!["true", "12", "a: b", "", "naïve \"x\"\n"],
            number: 7,
            none: None,
            truth: true,
        };
        let wanted = "name: zeta\nafter:\n  - \"true\"\n  - \"12\"\n  - \"a: b\"\n  - \"\"\n  \
                      - \"naïve \\\"x\\\"\\n\"\nnumber: 7\nnone: ~\ntruth: true\n";
        assert_eq!(write(&thing).unwrap(), wanted);
    }

    #[test]
    fn an_empty_list_is_one() {
        assert_eq!(write(&Vec::<u8>::new()).unwrap(), "[]\n");
    }
}
