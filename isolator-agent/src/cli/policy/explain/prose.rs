//! An explanation as a person reads it at night: the answer first, then why, then what to do. Not here: finding it out.

use super::{PolicyView, RuleView, ServiceView, SideView, View};
use crate::cli::output::{Screen, Tone, count};
use crate::cli::verdicts::word;
use isolator_common::policy::Direction;
use isolator_policy::meaning::flow::FlowSpec;
use std::fmt::Write;

/// Most ways to allow a flow that are listed.
const MAX_WAYS: usize = 6;

/// The whole of it in a few sentences.
pub(super) fn summary(flow: &FlowSpec, egress: &SideView, ingress: &SideView) -> String {
    let is_allowed = |side: &SideView| side.verdict == word(true);
    let sentence = |side: &SideView, verb: &str, end: &dyn ToString| match (&side.endpoint, is_allowed(side))
    {
        (None, _) => format!("Nothing judges at {}.", end.to_string()),
        (Some(endpoint), true) => format!("It may {verb} {endpoint}."),
        (Some(endpoint), false) => format!("It may not {verb} {endpoint}: {}.", side.by),
    };
    let mut text =
        format!("{} {}", sentence(egress, "leave", &flow.from), sentence(ingress, "enter", &flow.to));
    if !is_allowed(egress) && !is_allowed(ingress) {
        text.push_str(" Both sides need a change.");
    }
    text
}

/// What backends say together.
pub(super) fn of_backends(allowing: usize, all: usize) -> String {
    match allowing {
        0 => "No backend may be reached.".to_owned(),
        some if some == all => "Every backend may be reached.".to_owned(),
        some => format!(
            "{some} of {all} backends may be reached; which one it is, the node's service proxy picks."
        ),
    }
}

/// All of a flow to a service: the backends one after the other.
pub(super) fn service(view: &ServiceView, screen: &Screen) -> String {
    let ServiceView { from, to, protocol, port, verdict, summary, services, backends } = view;
    let names = services.join(", ");
    let painted = painted(verdict, screen);
    let mut text = format!("{from} -> {to} (service {names}) {protocol}/{port}: {painted}\n{summary}\n");
    for backend in backends {
        text.push('\n');
        text.push_str(&prose(backend, screen));
    }
    text
}

/// All of it.
pub(super) fn prose(view: &View, screen: &Screen) -> String {
    let View { from, to, protocol, port, verdict, summary, egress, ingress } = view;
    let mut text = format!("{from} -> {to} {protocol}/{port}: {}\n{summary}\n", painted(verdict, screen));
    for (direction, side) in [(Direction::Egress, egress), (Direction::Ingress, ingress)] {
        text.push('\n');
        // Writing to a String cannot fail.
        let _ = write_side(&mut text, direction, side, screen);
    }
    text
}

fn painted(verdict: &str, screen: &Screen) -> String {
    let tone = if verdict == word(true) { Tone::Good } else { Tone::Bad };
    screen.paint(tone, &verdict.to_uppercase())
}

fn write_side(text: &mut String, direction: Direction, side: &SideView, screen: &Screen) -> std::fmt::Result {
    let SideView { verdict, by, endpoint, tenant, peer, policies, needed, suggestion } = side;
    let name = direction.name();
    writeln!(text, "{} {}: {by}", screen.paint(Tone::Strong, name), painted(verdict, screen))?;
    let Some(endpoint) = endpoint else { return Ok(()) };
    let of = |tenant: &Option<String>| {
        tenant.as_ref().map_or("no tenant".to_owned(), |name| format!("tenant {name}"))
    };
    let towards = if direction == Direction::Egress { "to" } else { "from" };
    writeln!(text, "  judged at   {endpoint} ({})", of(tenant))?;
    writeln!(text, "  {towards:<10}  {} at {} ({})", peer.name, peer.address, of(&peer.tenant))?;
    if policies.is_empty() {
        writeln!(text, "  policies    none selects it for {name}")?;
    }
    for (i, policy) in policies.iter().enumerate() {
        write_policy(text, if i == 0 { "policies" } else { "" }, policy, screen)?;
    }
    for (i, way) in needed.iter().take(MAX_WAYS).enumerate() {
        writeln!(text, "  {:<10}  {way}", if i == 0 { "allowed if" } else { "or if" })?;
    }
    if needed.len() > MAX_WAYS {
        writeln!(text, "              (-o json lists {} more ways)", needed.len() - MAX_WAYS)?;
    }
    if let Some(suggestion) = suggestion {
        writeln!(text, "  or with     this policy, which allows it here, for pods with these labels:")?;
        for line in suggestion.lines() {
            writeln!(text, "    {line}")?;
        }
    }
    Ok(())
}

fn write_policy(text: &mut String, head: &str, policy: &PolicyView, screen: &Screen) -> std::fmt::Result {
    let PolicyView { policy, place, tier, priority, default_deny, rules } = policy;
    let tier = if *tier == "normal" { String::new() } else { format!(" ({tier} tier, priority {priority})") };
    let closed = if *default_deny { "isolates it" } else { "does not isolate it" };
    writeln!(text, "  {head:<10}  {policy}{tier}: {closed}{}", at(place, screen))?;
    let mut others = 0;
    for RuleView { rule, place, action, peer_matches, port_matches, decides, not_enforced } in rules {
        let what = match (peer_matches, port_matches) {
            _ if !not_enforced.is_empty() => "allows nobody, because it is not enforced:",
            (true, true) => "matches",
            (true, false) => "matches the peer, not the port",
            (false, true) => "matches the port, not the peer",
            (false, false) => {
                others += 1;
                continue;
            }
        };
        let mark = if *decides { ">" } else { " " };
        writeln!(text, "            {mark} {rule} {action}: {what}{}", at(place, screen))?;
        for reason in not_enforced {
            writeln!(text, "                {reason}")?;
        }
    }
    match others {
        0 => Ok(()),
        others => {
            writeln!(
                text,
                "              {} neither peer nor port",
                count(others, "rule matches", "rules match")
            )
        }
    }
}

/// A place behind what is there.
fn at(place: &str, screen: &Screen) -> String {
    if place.is_empty() { String::new() } else { screen.paint(Tone::Faint, &format!("  {place}")) }
}
