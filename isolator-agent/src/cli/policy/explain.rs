//! `isolator policy explain`: why a flow gets its verdict, as prose and as JSON. Not here: the reading itself
//! (`meaning::explain` in `isolator-policy`).

use super::phrase;
use crate::cli::Exit;
use crate::cli::args::{ExplainArgs, Global};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{Screen, Tone};
use crate::cli::verdicts::word;
use crate::cli::words;
use crate::flows::text::protocol_name;
use anyhow::{Result, anyhow};
use isolator_common::policy::Direction;
use isolator_policy::meaning::explain::{Explanation, PolicyReading, RuleReading, SideReading, explain};
use isolator_policy::meaning::flow::FlowSpec;
use isolator_policy::meaning::oracle::FlowVerdict;
use isolator_policy::model::ip;
use serde::Serialize;
use std::fmt::Write;

/// An explanation, as JSON.
#[derive(Debug, Serialize)]
struct View {
    from: String,
    to: String,
    protocol: String,
    /// The port, or the ICMP type.
    port: u16,
    verdict: &'static str,
    egress: SideView,
    ingress: SideView,
}

/// One side.
#[derive(Debug, Serialize)]
struct SideView {
    verdict: &'static str,
    by: String,
    /// The pod whose interface judges; absent where none does.
    endpoint: Option<String>,
    tenant: Option<String>,
    peer: PeerView,
    /// Policies that select the endpoint, in the order of evaluation.
    policies: Vec<PolicyView>,
    /// Changes that would allow it here, each by itself.
    needed: Vec<String>,
}

/// The other end.
#[derive(Debug, Serialize)]
struct PeerView {
    address: String,
    name: String,
    tenant: Option<String>,
}

/// What a policy says.
#[derive(Debug, Serialize)]
struct PolicyView {
    policy: String,
    tier: &'static str,
    priority: u32,
    default_deny: bool,
    rules: Vec<RuleView>,
}

/// What a rule says.
#[derive(Debug, Serialize)]
struct RuleView {
    action: &'static str,
    peer_matches: bool,
    port_matches: bool,
}

/// Explains one flow. [`Exit::Bad`] when it is denied.
pub(super) fn run(args: &ExplainArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let ExplainArgs { from, to, port, folder } = args;
    let text = |error: String| anyhow!(error);
    let (protocol, port) = words::protocol_and_port(port).map_err(text)?;
    let flow =
        FlowSpec { from: words::end(from).map_err(text)?, to: words::end(to).map_err(text)?, protocol, port };
    let offline = load_and_warn(folder, global)?;
    let Explanation { egress, ingress } = explain(&offline.snapshot, &flow)?;
    let verdict = FlowVerdict { egress: egress.side.clone(), ingress: ingress.side.clone() };
    let allowed = verdict.allowed();
    let view = View {
        from: flow.from.to_string(),
        to: flow.to.to_string(),
        protocol: protocol_name(protocol),
        port,
        verdict: word(allowed),
        egress: side(egress),
        ingress: side(ingress),
    };
    screen.one(&view, |screen| prose(&view, screen))?;
    Ok(if allowed { Exit::Good } else { Exit::Bad })
}

fn side(reading: SideReading) -> SideView {
    let SideReading { side, endpoint, peer, peer_name, tenants: [tenant, theirs], policies, needed } =
        reading;
    SideView {
        verdict: word(side.allowed),
        by: side.by.to_string(),
        endpoint: endpoint.map(|key| key.to_string()),
        tenant,
        peer: PeerView { address: ip(&peer).to_string(), name: peer_name, tenant: theirs },
        policies: policies.into_iter().map(policy).collect(),
        needed: needed.iter().map(ToString::to_string).collect(),
    }
}

fn policy(reading: PolicyReading) -> PolicyView {
    let PolicyReading { policy, tier, priority, default_deny, rules } = reading;
    let rules = rules.into_iter().map(|RuleReading { action, peers, ports }| RuleView {
        action: phrase::action(action),
        peer_matches: peers,
        port_matches: ports,
    });
    PolicyView {
        policy: policy.to_string(),
        tier: phrase::tier(tier),
        priority,
        default_deny,
        rules: rules.collect(),
    }
}

fn painted(verdict: &str, screen: &Screen) -> String {
    let tone = if verdict == word(true) { Tone::Good } else { Tone::Bad };
    screen.paint(tone, &verdict.to_uppercase())
}

fn prose(view: &View, screen: &Screen) -> String {
    let View { from, to, protocol, port, verdict, egress, ingress } = view;
    let mut text = format!("{from} -> {to} {protocol}/{port}: {}\n", painted(verdict, screen));
    for (direction, side) in [(Direction::Egress, egress), (Direction::Ingress, ingress)] {
        text.push('\n');
        prose_of_side(&mut text, direction, side, screen);
    }
    text
}

fn prose_of_side(text: &mut String, direction: Direction, side: &SideView, screen: &Screen) {
    let SideView { verdict, by, endpoint, tenant, peer, policies, needed } = side;
    let name = direction.name();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} {}: {by}", screen.paint(Tone::Strong, name), painted(verdict, screen));
    let Some(endpoint) = endpoint else { return };
    let of = |tenant: &Option<String>| {
        tenant.as_ref().map_or("no tenant".to_owned(), |name| format!("tenant {name}"))
    };
    let towards = if direction == Direction::Egress { "to" } else { "from" };
    let _ = writeln!(text, "  judged at   {endpoint} ({})", of(tenant));
    let _ = writeln!(text, "  {:<10}  {} at {} ({})", towards, peer.name, peer.address, of(&peer.tenant));
    if policies.is_empty() {
        let _ = writeln!(text, "  policies    none selects it for {name}");
    }
    for (i, policy) in policies.iter().enumerate() {
        let PolicyView { policy, tier, priority, default_deny, rules } = policy;
        let head = if i == 0 { "policies" } else { "" };
        let place =
            if *tier == "normal" { String::new() } else { format!(" ({tier} tier, priority {priority})") };
        let closed = if *default_deny { "isolates it" } else { "does not isolate it" };
        let _ = writeln!(text, "  {head:<10}  {policy}{place}: {closed}");
        for (index, rule) in rules.iter().enumerate() {
            let RuleView { action, peer_matches, port_matches } = rule;
            let what = match (peer_matches, port_matches) {
                (true, true) => "matches",
                (true, false) => "matches the peer, not the port",
                (false, true) => "matches the port, not the peer",
                (false, false) => "matches neither peer nor port",
            };
            let _ = writeln!(text, "              {name}[{index}] {action}: {what}");
        }
    }
    for (i, way) in needed.iter().enumerate() {
        let head = if i == 0 { "allowed if" } else { "or if" };
        let _ = writeln!(text, "  {head:<10}  {way}");
    }
}
