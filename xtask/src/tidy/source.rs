//! Reads Rust text just well enough for the rules: what is code, what is a string, what is a comment,
//! and which paths the code names. Not here: grammar. A rule that needs more belongs in a lint.

/// A string literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Literal {
    /// Where its opening quote is, in characters from the start of the file.
    pub(crate) at: usize,
    /// What lies between the quotes, escapes as written.
    pub(crate) text: String,
}

/// A file of Rust, taken apart.
pub(crate) struct Source {
    /// The text with comments and the insides of literals blanked: same characters, same lines.
    pub(crate) code: Vec<char>,
    /// Every string literal, in order.
    pub(crate) literals: Vec<Literal>,
}

impl Source {
    /// Takes `text` apart.
    pub(crate) fn new(text: &str) -> Source {
        let all: Vec<char> = text.chars().collect();
        let mut source = Source { code: all.clone(), literals: Vec::new() };
        let mut i = 0;
        while i < all.len() {
            i = match all[i] {
                '/' if all.get(i + 1) == Some(&'/') => source.blank(i, find(&all, i, &['\n'])),
                '/' if all.get(i + 1) == Some(&'*') => {
                    let end = block_comment(&all, i);
                    source.blank(i, end)
                }
                '"' => source.literal(&all, i, i + 1, string_end(&all, i + 1)),
                'r' if !is_name(&all, i.wrapping_sub(1)) || prefixed(&all, i) => match raw_string(&all, i) {
                    Some((quote, end)) => source.literal(&all, quote, quote + 1, end),
                    None => i + 1,
                },
                '\'' => match char_end(&all, i) {
                    Some(end) => source.blank(i + 1, end) + 1,
                    None => i + 1,
                },
                _ => i + 1,
            };
        }
        source
    }

    fn blank(&mut self, from: usize, to: usize) -> usize {
        for c in &mut self.code[from..to] {
            if *c != '\n' {
                *c = ' ';
            }
        }
        to
    }

    fn literal(&mut self, all: &[char], quote: usize, from: usize, to: usize) -> usize {
        self.literals.push(Literal { at: quote, text: all[from..to].iter().collect() });
        self.blank(from, to);
        (to + 1).min(all.len())
    }

    /// The line of a character, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.code[..at].iter().filter(|c| **c == '\n').count() + 1
    }

    /// Everything before the unit tests at the end of the file.
    pub(crate) fn product(&self) -> String {
        let code: String = self.code.iter().collect();
        match code.find("\n#[cfg(test)]\nmod ") {
            Some(end) => code[..end].to_owned(),
            None => code,
        }
    }

    /// The line on which the unit tests begin; beyond the end when there are none.
    pub(crate) fn product_lines(&self) -> usize {
        self.product().lines().count()
    }
}

/// The paths that `code` names, with their lines; braces of `use` are multiplied out.
pub(crate) fn paths(code: &str) -> Vec<(usize, String)> {
    let all: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < all.len() {
        if all[i] == '\n' {
            line += 1;
        }
        if is_name(&all, i) && !is_name(&all, i.wrapping_sub(1)) {
            let mut tree = Vec::new();
            let end = path_tree(&all, i, String::new(), &mut tree);
            found.extend(tree.into_iter().map(|path| (line, path)));
            line += all[i..end].iter().filter(|c| **c == '\n').count();
            i = end.max(i + 1);
        } else {
            i += 1;
        }
    }
    found
}

/// Reads `a::b::{c, d::e}` from `i`; gives where it ends.
fn path_tree(all: &[char], mut i: usize, prefix: String, found: &mut Vec<String>) -> usize {
    let mut path = prefix;
    loop {
        let start = i;
        while is_name(all, i) {
            i += 1;
        }
        path.extend(&all[start..i]);
        if all.get(i) != Some(&':') || all.get(i + 1) != Some(&':') {
            break;
        }
        i += 2;
        path.push_str("::");
        if all.get(i) == Some(&'{') {
            i += 1;
            while i < all.len() && all[i] != '}' {
                if is_name(all, i) {
                    i = path_tree(all, i, path.clone(), found);
                } else {
                    i += 1;
                }
            }
            return (i + 1).min(all.len());
        }
        if !is_name(all, i) {
            break;
        }
    }
    found.push(path);
    i
}

fn is_name(all: &[char], i: usize) -> bool {
    all.get(i).is_some_and(|c| c.is_alphanumeric() || *c == '_')
}

/// The `r` of `br"…"` or `cr"…"`.
fn prefixed(all: &[char], i: usize) -> bool {
    i > 0 && matches!(all[i - 1], 'b' | 'c') && !is_name(all, i.wrapping_sub(2))
}

fn find(all: &[char], from: usize, what: &[char]) -> usize {
    (from..all.len()).find(|i| all[*i..].starts_with(what)).unwrap_or(all.len())
}

fn block_comment(all: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i < all.len() {
        if all[i..].starts_with(&['/', '*']) {
            depth += 1;
            i += 2;
        } else if all[i..].starts_with(&['*', '/']) {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    all.len()
}

fn string_end(all: &[char], mut i: usize) -> usize {
    while i < all.len() && all[i] != '"' {
        i += if all[i] == '\\' { 2 } else { 1 };
    }
    i.min(all.len())
}

/// Opening quote and closing quote of a raw string that begins with `r` at `i`.
fn raw_string(all: &[char], i: usize) -> Option<(usize, usize)> {
    let hashes = all[i + 1..].iter().take_while(|c| **c == '#').count();
    let quote = i + 1 + hashes;
    if all.get(quote) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', hashes));
    Some((quote, find(all, quote + 1, &close)))
}

/// The closing quote of a character literal; `None` for a lifetime.
fn char_end(all: &[char], i: usize) -> Option<usize> {
    match all.get(i + 1)? {
        '\\' => Some(find(all, i + 3, &['\''])).filter(|end| *end < all.len()),
        _ => (all.get(i + 2) == Some(&'\'')).then_some(i + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new(text).code.iter().collect()
    }

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        assert_eq!(code("a // b\nc /* d /* e */ */ f"), format!("a     \nc{}f", " ".repeat(17)));
        assert_eq!(code(r#"x("un\"safe", 'a', '\'', &'life)"#), r#"x("        ", ' ', '  ', &'life)"#);
        assert_eq!(code("r#\"a \" b\"# + br\"c\" + for_r"), "r#\"     \"# + br\" \" + for_r");
    }

    #[test]
    fn strings_are_kept_with_their_place() {
        let source = Source::new("\nf(\"one\", r#\"two\"#) // \"three\"");
        let texts: Vec<&str> = source.literals.iter().map(|literal| literal.text.as_str()).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(source.line(source.literals[0].at), 2);
    }

    #[test]
    fn uses_are_multiplied_out() {
        let found = paths("use crate::{a::B, c::{D, E as F}};\nlet x = crate::g::h(1);");
        let names: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
        for wanted in ["crate::a::B", "crate::c::D", "crate::c::E", "crate::g::h"] {
            assert!(names.contains(&wanted), "{wanted} not in {names:?}");
        }
        assert!(found.contains(&(2, "crate::g::h".into())));
    }

    #[test]
    fn unit_tests_are_not_product() {
        let source = Source::new("fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        assert!(source.product().contains("fn a") && !source.product().contains("fn b"));
    }
}
