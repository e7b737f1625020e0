//! Where the values of a JSON text stand. serde_json does not tell, so the text is gone over once more, beside the
//! tree that it became. Not here: whether it is JSON.

use super::node::{Data, Mark, Node};
use serde_json::Value;
use std::str::Chars;

/// Gives every value and key of `node` its place. `text` begins at `at`, with the value or space before it. Answers
/// where the value ends.
pub(crate) fn set(text: &str, at: Mark, node: &mut Node) -> Mark {
    let mut walk = Walk { rest: text.chars(), at };
    walk.value(node);
    walk.at
}

struct Walk<'a> {
    rest: Chars<'a>,
    at: Mark,
}

impl Walk<'_> {
    fn value(&mut self, node: &mut Node) {
        self.space();
        node.at = self.at;
        match &mut node.data {
            Data::Scalar(Value::String(_)) => self.string(),
            Data::Scalar(_) => self.skip(|c| !c.is_ascii_whitespace() && !matches!(c, ',' | ']' | '}')),
            Data::Sequence(items) => {
                self.next();
                for item in items {
                    self.value(item);
                }
                self.space();
                self.next();
            }
            Data::Mapping(entries) => {
                self.next();
                for entry in entries {
                    self.space();
                    entry.at = self.at;
                    self.string();
                    self.value(&mut entry.value);
                }
                self.space();
                self.next();
            }
        }
    }

    /// What stands between values.
    fn space(&mut self) {
        self.skip(|c| c.is_ascii_whitespace() || matches!(c, ',' | ':'));
    }

    fn string(&mut self) {
        self.next();
        while let Some(c) = self.next() {
            match c {
                '\\' => _ = self.next(),
                '"' => return,
                _ => {}
            }
        }
    }

    fn skip(&mut self, is: impl Fn(char) -> bool) {
        while self.rest.clone().next().is_some_and(&is) {
            self.next();
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.at = self.at.after(c);
        Some(c)
    }
}
