//! What an element of toPorts says above layer 4, and whether it may: an invalid element makes the policy
//! unacceptable, though none of it is enforced. Not here: what becomes of the entry (`unenforced`).

use super::super::super::node::{child, entry};
use super::super::report::Report;
use super::entry::Context;
use super::ports::{self, PortText};
use super::types::{Kafka, L7Rules, Listener, PortRule, Tls};
use super::unenforced::check_name;
use std::collections::BTreeSet;

/// Longest server name, in bytes.
const MAX_NAME: usize = 255;

/// Checks one element and returns its fields that are not enforced, with what they are.
pub(super) fn check(
    rule: &PortRule,
    context: Context<'_>,
    field: &str,
    report: &mut Report<'_>,
) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (tls, name) in [(&rule.terminating_tls, "terminatingTLS"), (&rule.originating_tls, "originatingTLS")]
    {
        if let Some(tls) = tls {
            let field = child(field, name);
            check_tls(tls, &field, report);
            found.push((field, "TLS"));
        }
    }
    let busy = rule.rules.as_ref().is_some_and(|rules| !is_empty(rules));
    if let Some(names) = &rule.server_names {
        let field = child(field, "serverNames");
        check_server_names(names, &field, report);
        if busy && rule.terminating_tls.is_none() {
            report.invalid(&field, "serverNames and rules need terminatingTLS to stand together");
        }
        found.push((field, "server names"));
    }
    if let Some(listener) = &rule.listener {
        let field = child(field, "listener");
        check_listener(listener, &field, report);
        if context.is_ingress() {
            report.invalid(&field, "a listener is for egress only");
        }
        if busy {
            report.invalid(&field, "a listener and rules exclude each other");
        }
        found.push((field, "listeners"));
    }
    if let Some(rules) = &rule.rules {
        let field = child(field, "rules");
        check_types(rules, &field, report);
        for (index, name) in rules.dns.iter().flatten().enumerate() {
            check_name(name, &entry(&child(&field, "dns"), index), report);
        }
        for (index, rule) in rules.kafka.iter().flatten().enumerate() {
            check_kafka(rule, &entry(&child(&field, "kafka"), index), report);
        }
        if busy {
            check_place(rules, context, &field, report);
        }
        // An empty list of rules says nothing above layer 4.
        if busy || rules.l7proto.is_some() {
            found.push((field, "layer 7 rules"));
        }
    }
    if busy {
        check_ports(rule, field, report);
    }
    found
}

fn len<T>(list: &Option<Vec<T>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}

fn is_empty(rules: &L7Rules) -> bool {
    len(&rules.http) + len(&rules.kafka) + len(&rules.dns) + len(&rules.l7) == 0
}

fn check_types(rules: &L7Rules, field: &str, report: &mut Report<'_>) {
    let types = [
        ("http", rules.http.is_some()),
        ("kafka", rules.kafka.is_some()),
        ("dns", rules.dns.is_some()),
        ("l7proto", rules.l7proto.is_some()),
    ];
    let types: Vec<&str> = types.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    for (index, _) in rules.l7.iter().flatten().enumerate().filter(|(_, rule)| rule.contains_key("")) {
        report.invalid(&entry(&child(field, "l7"), index), "a rule of `l7` has a key without a name");
    }
    let nameless = rules.l7.is_some() && rules.l7proto.is_none();
    if nameless {
        report.invalid(&child(field, "l7"), "`l7` needs `l7proto`, the protocol's name");
    }
    match types[..] {
        [] if !nameless => report.invalid(field, "one of http, kafka, dns and l7proto is needed"),
        [first, second, ..] => {
            let message = format!("{first} and {second} exclude each other; make two elements of it");
            report.invalid(field, message);
        }
        _ => {}
    }
}

fn check_kafka(rule: &Kafka, field: &str, report: &mut Report<'_>) {
    let role = rule.role.as_deref().unwrap_or_default();
    let field = child(field, "role");
    if !role.is_empty() && rule.api_key.as_ref().is_some_and(|key| !key.is_empty()) {
        report.invalid(&field, "role and apiKey exclude each other");
    } else if !matches!(role.to_ascii_lowercase().as_str(), "" | "produce" | "consume") {
        report.invalid(&field, format!("`{role}` is not a role; it is produce or consume"));
    }
}

/// Which layer 7 protocols may stand where.
fn check_place(rules: &L7Rules, context: Context<'_>, field: &str, report: &mut Report<'_>) {
    if context.is_ingress() && len(&rules.dns) > 0 {
        report.invalid(&child(field, "dns"), "DNS rules are for egress only");
    }
    if !context.host {
        return;
    }
    if context.is_ingress() {
        report.invalid(field, "rules for layer 7 cannot apply to what enters a node");
    }
    for (name, count) in [("http", len(&rules.http)), ("kafka", len(&rules.kafka))] {
        if count > 0 && !context.is_ingress() {
            report.invalid(&child(field, name), format!("{name} rules cannot apply to what leaves a node"));
        }
    }
}

/// Which ports layer 7 rules may stand with.
fn check_ports(rule: &PortRule, field: &str, report: &mut Report<'_>) {
    let dns = rule.rules.as_ref().is_some_and(|rules| len(&rules.dns) > 0);
    let field = child(field, "ports");
    let ports = rule.ports.as_deref().unwrap_or_default();
    if dns && ports.is_empty() {
        report.invalid(&field, "DNS rules need a port; write 53");
    }
    for (index, port) in ports.iter().enumerate() {
        let field = entry(&field, index);
        if ports::text(port) == Ok(PortText::Number(0)) {
            report.invalid(&child(&field, "port"), "rules for layer 7 need a port; 0 is every port");
        }
        if dns && ports::end(port).is_some() {
            report.invalid(&child(&field, "endPort"), "DNS rules know no ranges of ports");
        }
        let tcp = port.protocol.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("TCP"));
        if !dns && !tcp {
            report
                .invalid(&child(&field, "protocol"), "rules for layer 7, but for DNS, need the protocol TCP");
        }
    }
}

fn check_server_names(names: &[String], field: &str, report: &mut Report<'_>) {
    if names.is_empty() {
        report.invalid(field, "serverNames must name one at least; remove it where any will do");
    }
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let character = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*');
        let good = |part: &str| !part.is_empty() && part.bytes().all(character);
        if name.is_empty() {
            report.invalid(&entry(field, index), "a server name must not be empty");
        } else if name.len() > MAX_NAME || !name.strip_suffix('.').unwrap_or(name).split('.').all(good) {
            let message = format!("`{name}` is not a server name: letters, digits, `-`, `_`, `.` and `*`");
            report.invalid(&entry(field, index), message);
        } else if !seen.insert(name) {
            report.invalid(&entry(field, index), format!("`{name}` is there twice"));
        }
    }
}

fn check_tls(tls: &Tls, field: &str, report: &mut Report<'_>) {
    if tls.secret.as_ref().and_then(|secret| secret.name.as_ref()).is_none() {
        report.invalid(&child(field, "secret"), "a secret with a name is needed");
    }
}

fn check_listener(listener: &Listener, field: &str, report: &mut Report<'_>) {
    let given = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    if !given(&listener.name) {
        report.invalid(&child(field, "name"), "the listener's name is missing");
    }
    let config = child(field, "envoyConfig");
    match &listener.envoy_config {
        Some(envoy) if given(&envoy.name) => {
            if let Some(kind) = &envoy.kind
                && !matches!(kind.as_str(), "CiliumEnvoyConfig" | "CiliumClusterwideEnvoyConfig")
            {
                let message = format!("`{kind}` is not CiliumEnvoyConfig or CiliumClusterwideEnvoyConfig");
                report.invalid(&child(&config, "kind"), message);
            }
        }
        _ => report.invalid(&config, "the name of the Envoy configuration is missing"),
    }
    if listener.priority.is_some_and(|priority| !(1..=100).contains(&priority)) {
        report.invalid(&child(field, "priority"), "a listener's priority is 1 to 100");
    }
}
