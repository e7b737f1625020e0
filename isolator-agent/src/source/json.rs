//! JSON text as trees. Duplicate keys are an error, as the API server's strict validation has it. Not
//! here: what the values mean.

use super::node::{Data, Entry, Mark, Node};
use super::places;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// Why a text is not JSON.
pub(crate) struct JsonError {
    /// Where.
    pub(crate) at: Mark,
    /// What is wrong.
    pub(crate) message: String,
}

/// Calls `each` for every value of a stream of JSON values, up to the first that is broken. `at` is where the text
/// begins.
pub(crate) fn read(text: &str, at: Mark, mut each: impl FnMut(Node)) -> Result<(), JsonError> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Node>();
    let (mut end, mut offset) = (at, 0);
    loop {
        match stream.next() {
            None => return Ok(()),
            Some(Ok(mut node)) => {
                end = places::set(&text[offset..], end, &mut node);
                offset = stream.byte_offset();
                each(node);
            }
            Some(Err(error)) => {
                let line = count(error.line()).saturating_add(at.line).saturating_sub(1);
                let at = Mark { line, column: count(error.column()) };
                let message = error.to_string();
                // serde_json repeats the place at the end of its sentence.
                let message = message.split(" at line ").next().unwrap_or_default().to_owned();
                return Err(JsonError { at, message });
            }
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor).map(|data| Node { at: Mark::default(), data })
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(Data::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Data::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, Node>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format_args!("the key `{key}` is there twice")));
            }
            entries.push(Entry { key, at: Mark::default(), value });
        }
        Ok(Data::Mapping(entries))
    }
}
