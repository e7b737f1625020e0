//! Rules about what we depend on, as `deny.toml` states them: each crate's licence is one of those allowed, and a
//! crate that is there in two versions is named with its reason. Not here: known vulnerabilities, which need the
//! list of the day; `cargo deny check` asks for it.

use super::{File, Finding};
use crate::process::{command, output};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};

/// Where the rules are stated.
const RULES: &str = "deny.toml";
/// The machines that a binary is for.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Asks cargo what there is, and finds what the rules do not allow.
pub(super) fn check(files: &[File]) -> Result<Vec<Finding>> {
    let Some(rules) = files.iter().find(|file| file.path == RULES) else {
        return Ok(vec![Finding { path: RULES.into(), line: 0, message: "is missing".into() }]);
    };
    let mut cargo = command("cargo");
    cargo.args(["tree", "--quiet", "--locked", "--workspace", "--prefix", "none"]);
    cargo.args(["--format", "{p}|{l}"]);
    for target in TARGETS {
        cargo.args(["--target", target]);
    }
    Ok(broken(&rules.text, &output(&mut cargo)?)
        .into_iter()
        .map(|message| Finding::new(rules, 0, message))
        .collect())
}

/// What of a list of `name vVERSION …|LICENCE` is against the rules, or a rule that nothing needs any more.
fn broken(rules: &str, tree: &str) -> Vec<String> {
    let allowed: BTreeSet<&str> = list(rules, "allow = [").filter_map(quoted).collect();
    let skipped: BTreeSet<&str> = list(rules, "skip = [").filter_map(quoted).collect();
    let mut found = BTreeSet::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (package, licence) in tree.lines().filter_map(|line| line.split_once('|')) {
        // What cargo has shown before carries a mark.
        let licence = licence.trim_end_matches(" (*)");
        let mut words = package.split(' ');
        let (name, version) =
            (words.next().unwrap_or(""), words.next().unwrap_or("").trim_start_matches('v'));
        versions.entry(name).or_default().insert(version);
        if !permits(licence, &allowed) {
            found.insert(format!("{name} {version} has the licence `{licence}`, which is not in `allow`"));
        }
    }
    let is = |rule: &str, name: &str, version: &str| {
        rule.split_once('@').is_some_and(|(crate_, wanted)| {
            crate_ == name
                && version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let doubled = versions.iter().filter(|(_, all)| all.len() > 1);
    let doubled: Vec<(&str, &BTreeSet<&str>)> = doubled.map(|(name, all)| (*name, all)).collect();
    for (name, all) in &doubled {
        let excused = all.iter().filter(|version| skipped.iter().any(|rule| is(rule, name, version))).count();
        if excused + 1 < all.len() {
            let all: Vec<&str> = all.iter().copied().collect();
            found.insert(format!(
                "{name} is there as {}: say why in `skip`, or get rid of one",
                all.join(" and ")
            ));
        }
    }
    for rule in skipped {
        if !doubled.iter().any(|(name, all)| all.iter().any(|version| is(rule, name, version))) {
            found.insert(format!("`skip` names {rule}, which is not there twice any more: take it out"));
        }
    }
    found.into_iter().collect()
}

/// The lines of a list of the file, one entry each.
fn list<'a>(rules: &'a str, begin: &str) -> impl Iterator<Item = &'a str> {
    let after = rules.split_once(&format!("\n{begin}\n")).map_or("", |(_, after)| after);
    after.lines().take_while(|line| !line.starts_with(']'))
}

/// What stands between the first quotation marks.
fn quoted(line: &str) -> Option<&str> {
    line.split('"').nth(1)
}

/// Whether a licence expression can be met by what is allowed. `/` is how `OR` was once written.
fn permits(licence: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = licence.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut met = all_of(words, allowed);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any_of(words, allowed);
            let [")", rest @ ..] = *words else { return false };
            *words = rest;
            met
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed.contains(format!("{name} WITH {exception}").as_str())
        }
        [name, rest @ ..] => {
            *words = rest;
            allowed.contains(name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "\nallow = [\n    \"MIT\", # why\n    \"ISC\",\n    \"A WITH B\",\n]\n\
                         skip = [\n    { crate = \"old@1\", reason = \"c\" },\n]\n";

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        let allowed = BTreeSet::from(["MIT", "ISC", "A WITH B"]);
        for good in
            ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "A WITH B"]
        {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "A", "MIT ISC", "(MIT"] {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn what_the_rules_do_not_allow_is_named() {
        let good = "a v1.0.0|MIT\na v1.0.0|MIT (*)\nold v1.2.0|MIT\nold v2.0.0 (proc-macro)|MIT";
        assert_eq!(broken(RULES, good), Vec::<String>::new());
        let licence = broken(RULES, &format!("{good}\nb v1.0.0|GPL-3.0"));
        assert!(
            matches!(&licence[..], [one] if one.contains("b 1.0.0") && one.contains("GPL-3.0")),
            "{licence:?}"
        );
        let twice = broken(RULES, &format!("{good}\na v2.0.0|MIT"));
        assert!(matches!(&twice[..], [one] if one.contains("1.0.0 and 2.0.0")), "{twice:?}");
        let third = broken(RULES, &format!("{good}\nold v3.0.0|MIT"));
        assert_eq!(third.len(), 1, "{third:?}");
        let stale = broken(RULES, "old v2.0.0|MIT");
        assert!(matches!(&stale[..], [one] if one.contains("take it out")), "{stale:?}");
        assert_eq!(broken(RULES, "old v10.0.0|MIT\nold v2.0.0|MIT").len(), 2);
    }
}
