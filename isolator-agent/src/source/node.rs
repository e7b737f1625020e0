//! A manifest as a tree of values that know their line and column, and the serde face of that tree.
//!
//! Null is read as Go's JSON decoder reads it: it leaves a field at its zero value, so a null list is an
//! empty list and a null list entry is an empty struct. Not here: how text becomes a tree.

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::Value;

/// A place in a file. Both count from 1; 0 means that it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Line in the file.
    pub(crate) line: u32,
    /// Column in characters.
    pub(crate) column: u32,
}

impl Mark {
    /// The first place of a text.
    pub(crate) const BEGIN: Mark = Mark { line: 1, column: 1 };

    /// The place behind a character that stands here.
    pub(crate) fn after(self, c: char) -> Mark {
        match c {
            '\n' => Mark { line: self.line.saturating_add(1), column: 1 },
            _ => Mark { column: self.column.saturating_add(1), ..self },
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) at: Mark,
    /// What it is.
    pub(crate) data: Data,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    /// Null, a boolean, a number or a string: never an array or an object.
    Scalar(Value),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order of the text; keys are unique.
    Mapping(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The key, as text.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) at: Mark,
    /// The value.
    pub(crate) value: Node,
}

impl Node {
    /// Whether it is null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }

    /// The string, where it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The entries of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.data {
            Data::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Mapping(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The place of a field such as `spec.ingress[0].ports`, or of its nearest ancestor that is there.
    pub(crate) fn locate(&self, field: &str) -> Mark {
        let mut node = self;
        let mut at = self.at;
        for segment in segments(field) {
            let (next, mark) = match &node.data {
                Data::Mapping(entries) => match entries.iter().find(|entry| entry.key == segment) {
                    Some(entry) => (&entry.value, entry.at),
                    None => break,
                },
                Data::Sequence(items) => match segment.parse().ok().and_then(|index: usize| items.get(index))
                {
                    Some(item) => (item, item.at),
                    None => break,
                },
                Data::Scalar(_) => break,
            };
            node = next;
            at = mark;
        }
        at
    }

    /// How serde should name it when another type was expected.
    fn unexpected(&self) -> de::Unexpected<'_> {
        match &self.data {
            Data::Scalar(Value::Bool(value)) => de::Unexpected::Bool(*value),
            Data::Scalar(Value::String(text)) => de::Unexpected::Str(text),
            Data::Scalar(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => de::Unexpected::Unsigned(value),
                (None, Some(value)) => de::Unexpected::Signed(value),
                (None, None) => de::Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Data::Scalar(_) => de::Unexpected::Unit,
            Data::Sequence(_) => de::Unexpected::Seq,
            Data::Mapping(_) => de::Unexpected::Map,
        }
    }
}

/// The field `name` below `parent`. A name with a dot or another special character stands in brackets.
pub(crate) fn child(parent: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (parent.is_empty(), plain) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{parent}.{name}"),
        (_, false) => format!("{parent}[{name}]"),
    }
}

/// The entry `index` of the list `parent`.
pub(crate) fn entry(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The parts of a field written by [`child`] and [`entry`].
fn segments(field: &str) -> impl Iterator<Item = &str> {
    let mut rest = field;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']').unwrap_or((inside, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        Some(segment)
    })
}

/// serde's face of a node. Errors carry no place: the path in the error finds it.
impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match &self.data {
            Data::Scalar(Value::Null) => visitor.visit_unit(),
            Data::Scalar(Value::Bool(value)) => visitor.visit_bool(*value),
            Data::Scalar(Value::String(text)) => visitor.visit_borrowed_str(text),
            Data::Scalar(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Data::Scalar(_) => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
            Data::Sequence(items) => visitor.visit_seq(SeqAccess(items.iter())),
            Data::Mapping(entries) => visitor.visit_map(MapAccess { entries: entries.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.is_null() { visitor.visit_str("") } else { self.deserialize_any(visitor) }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.is_null() { visitor.visit_bool(false) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.is_null() { visitor.visit_i64(0) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.is_null() { visitor.visit_seq(SeqAccess([].iter())) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.is_null() {
            visitor.visit_map(MapAccess { entries: [].iter(), value: None })
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        // A list never stands for a struct here, though serde would allow it.
        if matches!(self.data, Data::Sequence(_)) {
            return Err(de::Error::invalid_type(self.unexpected(), &visitor));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

struct SeqAccess<'de>(std::slice::Iter<'de, Node>);

impl<'de> de::SeqAccess<'de> for SeqAccess<'de> {
    type Error = de::value::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

struct MapAccess<'de> {
    entries: std::slice::Iter<'de, Entry>,
    value: Option<&'de Node>,
}

impl<'de> de::MapAccess<'de> for MapAccess<'de> {
    type Error = de::value::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        seed.deserialize(entry.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}
