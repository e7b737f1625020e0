//! What no engine here enforces yet: layer 7, names, TLS, listeners, authentication, cloud groups. An entry with
//! any of it allows nothing, never its ports alone; it must be valid all the same. Not here: the rest of an entry.

use super::super::super::node::{child, entry};
use super::super::report::Report;
use super::entry::{Context, Entry};
use super::l7;
use super::ports;
use super::types::Fqdn;
use isolator_policy::model::Action;

/// Longest name or pattern, in bytes.
const MAX_NAME: usize = 255;

/// Says what of an entry is not enforced. True where all of it is.
pub(super) fn check(each: &Entry, context: Context<'_>, field: &str, report: &mut Report<'_>) -> bool {
    let mut left_out: Vec<(String, &str)> = Vec::new();
    let groups = child(field, &context.side("Groups"));
    if each.groups.as_ref().is_some_and(|groups| !groups.is_empty()) {
        if context.action() == Action::Deny {
            let message = "groups of cloud providers are not known here, so this entry denies everything outside the \
                           cluster; write the ranges as CIDRs";
            report.left_out(CODE, &groups, message);
        } else {
            left_out.push((groups, "groups of cloud providers"));
        }
    }
    let fqdns = child(field, "toFQDNs");
    for (index, name) in each.fqdns.iter().flatten().enumerate() {
        check_name(name, &entry(&fqdns, index), report);
    }
    if each.fqdns.as_ref().is_some_and(|names| !names.is_empty()) {
        left_out.push((fqdns, "DNS names"));
    }
    let mode = each.authentication.as_ref().map(|authentication| authentication.mode.as_deref());
    let authentication = child(field, "authentication");
    match mode {
        None | Some(Some("disabled")) => {}
        Some(Some("required" | "test-always-fail")) => left_out.push((authentication, "authentication")),
        Some(other) => {
            let other = other.unwrap_or_default();
            let message = format!("`{other}` is not a mode; it is disabled, required or test-always-fail");
            report.invalid(&child(&authentication, "mode"), message);
        }
    }
    for (index, rule) in each.ports.iter().enumerate() {
        let field = entry(&child(field, "toPorts"), index);
        left_out.extend(l7::check(rule, context, &field, report));
        let listed = rule.ports.iter().flatten().enumerate();
        let extended =
            listed.filter(|(_, port)| context.action() == Action::Allow && ports::is_extended(port));
        for (index, _) in extended {
            let field = child(&entry(&child(&field, "ports"), index), "protocol");
            left_out.push((field, "protocols without ports"));
        }
    }
    for (field, what) in &left_out {
        let verb = if what.contains(' ') || what.ends_with('s') { "are" } else { "is" };
        let message = format!(
            "{what} {verb} not enforced here, so this entry allows nothing, not its ports either; write what may pass \
             without it"
        );
        report.left_out(CODE, field, message);
    }
    left_out.is_empty()
}

const CODE: &str = "unenforced-field";

/// Checks an item of toFQDNs or of DNS rules.
pub(super) fn check_name(item: &Fqdn, field: &str, report: &mut Report<'_>) {
    let (name, text, more) = match (&item.match_name, &item.match_pattern) {
        (Some(name), None) => ("matchName", name, ""),
        (None, Some(pattern)) => ("matchPattern", pattern, "*"),
        _ => {
            report.invalid(field, "exactly one of matchName and matchPattern is needed");
            return;
        }
    };
    let good = |part: &str| {
        let character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || more.contains(c);
        !part.is_empty() && part.chars().all(character)
    };
    if text.len() > MAX_NAME || !text.strip_suffix('.').unwrap_or(text).split('.').all(good) {
        let message =
            format!("`{text}` is not a DNS name: at most {MAX_NAME} letters, digits, `-`, `_`, `.`");
        let star = if more.is_empty() { "" } else { " and `*`" };
        report.invalid(&child(field, name), message + star);
    }
}
