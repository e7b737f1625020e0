//! One YAML document as a tree. Plain scalars mean what they mean to kubectl, which reads YAML 1.1: `on`,
//! `yes` and `n` are booleans, `0644` is octal. Aliases and merge keys work within a bound on the nodes
//! that they copy. Not here: splitting files into documents.

use super::node::{Data, Entry, Mark, Node};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Deepest nesting of lists and mappings. Kubernetes objects stay below 30.
const MAX_DEPTH: usize = 100;
/// Most nodes that the aliases of one document may copy: enough for any template, no room for a bomb.
const MAX_COPIED_NODES: usize = 100_000;

/// Why a text is not a document that we read.
#[derive(Debug)]
pub(crate) struct YamlError {
    /// Where.
    pub(crate) at: Mark,
    /// What is wrong.
    pub(crate) message: String,
}

/// The tree of one document, or `None` where there is nothing but comments. `first_line` is the line of
/// the file at which the text begins.
pub(crate) fn read(text: &str, first_line: u32) -> Result<Option<Node>, YamlError> {
    let mut builder = Builder { first_line, ..Builder::default() };
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let span = Span::empty(*error.marker());
            YamlError { at: builder.mark(span), message: format!("this is not YAML: {}", error.info()) }
        })?;
        builder.event(event, span)?;
    }
    Ok(builder.root)
}

/// A collection that is still open.
struct Open {
    at: Mark,
    anchor: usize,
    /// Nodes in it so far, itself included.
    nodes: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, seen: HashSet<String>, key: Option<Key>, merges: Vec<(Mark, Node)> },
}

/// A key whose value has not come yet.
enum Key {
    Text(String, Mark),
    Merge(Mark),
}

#[derive(Default)]
struct Builder {
    first_line: u32,
    open: Vec<Open>,
    anchors: HashMap<usize, (usize, Node)>,
    copied: usize,
    documents: usize,
    root: Option<Node>,
}

impl Builder {
    fn mark(&self, span: Span) -> Mark {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX);
        Mark { line: self.first_line.saturating_add(line.saturating_sub(1)), column }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let at = self.mark(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(error(at, "a second document begins here; put a line `---` before it"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag, at),
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", at)?;
                self.begin(at, anchor, OpenKind::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map", at)?;
                let (entries, merges) = (Vec::new(), Vec::new());
                self.begin(at, anchor, OpenKind::Mapping { entries, seen: HashSet::new(), key: None, merges })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at),
            Event::Alias(anchor) => {
                let Some((nodes, node)) = self.anchors.get(&anchor) else {
                    return Err(error(at, "an alias inside what it names is not supported"));
                };
                let (nodes, node) = (*nodes, node.clone());
                self.copy(nodes, at)?;
                self.add(nodes, node, false)
            }
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        at: Mark,
    ) -> Result<(), YamlError> {
        let value = resolve(text, style, tag.as_deref()).map_err(|message| YamlError { at, message })?;
        let merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
        let node = Node { at, data: Data::Scalar(value) };
        self.keep(anchor, 1, &node)?;
        self.add(1, node, merge)
    }

    fn begin(&mut self, at: Mark, anchor: usize, kind: OpenKind) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error(at, &format!("nested deeper than {MAX_DEPTH} levels, the limit")));
        }
        self.open.push(Open { at, anchor, nodes: 1, kind });
        Ok(())
    }

    fn end(&mut self, at: Mark) -> Result<(), YamlError> {
        let Some(Open { at, anchor, nodes, kind }) = self.open.pop() else {
            return Err(error(at, "something ends here that never began"));
        };
        let data = match kind {
            OpenKind::Sequence(items) => Data::Sequence(items),
            OpenKind::Mapping { mut entries, mut seen, merges, .. } => {
                for (at, node) in merges {
                    merge(&mut entries, &mut seen, at, node)?;
                }
                Data::Mapping(entries)
            }
        };
        let node = Node { at, data };
        self.keep(anchor, nodes, &node)?;
        self.add(nodes, node, false)
    }

    /// Remembers a node that has an anchor.
    fn keep(&mut self, anchor: usize, nodes: usize, node: &Node) -> Result<(), YamlError> {
        if anchor > 0 {
            self.copy(nodes, node.at)?;
            self.anchors.insert(anchor, (nodes, node.clone()));
        }
        Ok(())
    }

    /// Counts copied nodes against the bound.
    fn copy(&mut self, nodes: usize, at: Mark) -> Result<(), YamlError> {
        self.copied = self.copied.saturating_add(nodes);
        if self.copied > MAX_COPIED_NODES {
            let limit =
                format!("the aliases of this document copy more than {MAX_COPIED_NODES} values, the limit");
            return Err(error(at, &limit));
        }
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, nodes: usize, node: Node, is_merge_key: bool) -> Result<(), YamlError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes = open.nodes.saturating_add(nodes);
        match &mut open.kind {
            OpenKind::Sequence(items) => items.push(node),
            OpenKind::Mapping { entries, seen, key, merges } => match key.take() {
                None if is_merge_key => *key = Some(Key::Merge(node.at)),
                None => {
                    let text = key_text(&node)?;
                    if !seen.insert(text.clone()) {
                        return Err(error(node.at, &format!("the key `{text}` is there twice; remove one")));
                    }
                    *key = Some(Key::Text(text, node.at));
                }
                Some(Key::Text(key, at)) => entries.push(Entry { key, at, value: node }),
                Some(Key::Merge(at)) => merges.push((at, node)),
            },
        }
        Ok(())
    }
}

/// Adds the entries of `node` that the mapping does not have itself.
fn merge(
    entries: &mut Vec<Entry>,
    seen: &mut HashSet<String>,
    at: Mark,
    node: Node,
) -> Result<(), YamlError> {
    match node.data {
        Data::Mapping(merged) => {
            for entry in merged {
                if seen.insert(entry.key.clone()) {
                    entries.push(entry);
                }
            }
            Ok(())
        }
        Data::Sequence(items) if items.iter().all(|item| matches!(item.data, Data::Mapping(_))) => {
            items.into_iter().try_for_each(|item| merge(entries, seen, at, item))
        }
        _ => Err(error(at, "`<<` takes a mapping or a list of mappings")),
    }
}

/// A key as JSON would write it: kubectl turns numbers and booleans into text.
fn key_text(node: &Node) -> Result<String, YamlError> {
    match &node.data {
        Data::Scalar(Value::String(text)) => Ok(text.clone()),
        Data::Scalar(value @ (Value::Bool(_) | Value::Number(_))) => Ok(value.to_string()),
        _ => Err(error(node.at, "a key must be text; where this is a template (`{{ }}`), render it first")),
    }
}

fn error(at: Mark, message: &str) -> YamlError {
    YamlError { at, message: message.to_owned() }
}

fn collection_tag(tag: Option<&Tag>, own: &str, at: Mark) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => {
            Err(error(at, &format!("the tag `{tag}` is not supported; remove it")))
        }
        _ => Ok(()),
    }
}

/// What a scalar means.
fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else {
        return if plain { plain_value(text) } else { Ok(text.into()) };
    };
    let value = match (tag.is_yaml_core_schema(), tag.suffix.as_str()) {
        // `!` alone says: text, whatever it looks like.
        (true, "str") => return Ok(text.into()),
        (false, "") if tag.handle == "!" || tag.handle.is_empty() => return Ok(text.into()),
        (true, "bool" | "int" | "float" | "null") => plain_value(text)?,
        _ => return Err(format!("the tag `{tag}` is not supported; remove it")),
    };
    let fits = match tag.suffix.as_str() {
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        _ => value.is_null(),
    };
    if fits { Ok(value) } else { Err(format!("`{text}` is not a {}", tag.suffix)) }
}

/// What a plain scalar means in YAML 1.1, as kubectl reads it.
fn plain_value(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("the number `{text}` has no form in JSON")),
        _ if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => text.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

/// A number in one of YAML 1.1's forms.
fn number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix(['+', '-']) {
        Some(digits) => (plain.starts_with('-'), digits),
        None => (false, plain.as_str()),
    };
    let prefixed =
        |prefix: [&str; 2]| digits.strip_prefix(prefix[0]).or_else(|| digits.strip_prefix(prefix[1]));
    let (digits, radix) = if let Some(digits) = prefixed(["0x", "0X"]) {
        (digits, 16)
    } else if let Some(digits) = prefixed(["0o", "0O"]) {
        (digits, 8)
    } else if let Some(digits) = prefixed(["0b", "0B"]) {
        (digits, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (&digits[1..], 8)
    } else {
        (digits, 10)
    };
    if digits.starts_with(|c: char| c.is_digit(radix))
        && let Ok(value) = u64::from_str_radix(digits, radix)
    {
        return match (negative, i64::try_from(value)) {
            (false, _) => Some(value.into()),
            (true, Ok(value)) => Some((-value).into()),
            (true, Err(_)) => None,
        };
    }
    float(&plain)
}

fn float(plain: &str) -> Option<Value> {
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let mantissa = digits.split(['e', 'E']).next()?;
    let shape = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !shape || !mantissa.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    // JSON writes a whole number without a fraction, and Kubernetes then takes it for an integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some((value as i64).into());
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}
