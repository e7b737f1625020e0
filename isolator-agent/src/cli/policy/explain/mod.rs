//! `isolator policy explain`: why a flow gets its verdict, as prose and as JSON. Not here: the reading itself
//! (`meaning::explain` in `isolator-policy`).

mod prose;
mod suggest;

use crate::cli::Exit;
use crate::cli::args::{ExplainArgs, Global};
use crate::cli::offline::{Offline, load_and_warn};
use crate::cli::output::Screen;
use crate::cli::verdicts::word;
use crate::cli::{translated, words};
use crate::flows::text::protocol_name;
use anyhow::{Result, anyhow};
use isolator_common::policy::Direction;
use isolator_policy::meaning::explain::{Explanation, PolicyReading, RuleReading, SideReading, explain};
use isolator_policy::meaning::flow::FlowSpec;
use isolator_policy::meaning::oracle::FlowVerdict;
use isolator_policy::meaning::why::By;
use isolator_policy::model::{Place, PolicyKey, Problem, Severity, ip};
use isolator_policy::phrase;
use serde::Serialize;
use std::collections::HashMap;

/// An explanation, as JSON.
#[derive(Debug, Serialize)]
struct View {
    from: String,
    to: String,
    protocol: String,
    /// The port, or the ICMP type.
    port: u16,
    verdict: &'static str,
    /// The whole of it in a few sentences.
    summary: String,
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
    /// A policy, as YAML, that would allow this flow here, for pods with the same labels; absent where none could.
    suggestion: Option<String>,
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
    /// File, line and column.
    place: String,
    tier: &'static str,
    priority: u32,
    default_deny: bool,
    rules: Vec<RuleView>,
}

/// What a rule says.
#[derive(Debug, Serialize)]
struct RuleView {
    rule: String,
    /// File, line and column.
    place: String,
    action: &'static str,
    peer_matches: bool,
    port_matches: bool,
    /// It gave the verdict of its side.
    decides: bool,
    /// What of it is not enforced, each with its reason; then it means nobody.
    not_enforced: Vec<String>,
}

/// Explains one flow. [`Exit::Bad`] when it is denied.
pub(super) fn run(args: &ExplainArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let ExplainArgs { from, to, port, folder } = args;
    let text = |error: String| anyhow!(error);
    let (protocol, port) = words::protocol_and_port(port).map_err(text)?;
    let flow =
        FlowSpec { from: words::end(from).map_err(text)?, to: words::end(to).map_err(text)?, protocol, port };
    let offline = load_and_warn(folder, global)?;
    translated::refuse(&offline.snapshot, &flow)?;
    let Explanation { egress, ingress } = explain(&offline.snapshot, &flow)?;
    let verdict = FlowVerdict { egress: egress.side.clone(), ingress: ingress.side.clone() };
    let allowed = verdict.allowed();
    let texts = Texts::new(&offline, [&egress, &ingress]);
    let suggested = |reading: &SideReading, direction| {
        let isolated = matches!(reading.side.by, By::DefaultDeny { .. });
        isolated.then(|| suggest::policy(&offline.snapshot, reading, direction, &flow)).flatten()
    };
    let suggestions = [suggested(&egress, Direction::Egress), suggested(&ingress, Direction::Ingress)];
    let [out, into] = suggestions;
    let (egress, ingress) = (side(egress, &texts, out), side(ingress, &texts, into));
    let view = View {
        from: flow.from.to_string(),
        to: flow.to.to_string(),
        protocol: protocol_name(protocol),
        port,
        verdict: word(allowed),
        summary: prose::summary(&flow, &egress, &ingress),
        egress,
        ingress,
    };
    screen.one(&view, |screen| prose::prose(&view, screen))?;
    Ok(if allowed { Exit::Good } else { Exit::Bad })
}

/// What files say of policies: where they stand, and what of them is not enforced.
struct Texts<'a> {
    problems: &'a [Problem],
    /// By policy and field.
    places: HashMap<(String, String), Place>,
}

impl<'a> Texts<'a> {
    fn new(offline: &'a Offline, sides: [&SideReading; 2]) -> Self {
        let mut wanted = Vec::new();
        for policy in sides.into_iter().flat_map(|side| &side.policies) {
            let fields = policy.rules.iter().map(|rule| rule.at.path());
            wanted.extend(fields.chain([String::new()]).map(|field| Problem {
                severity: Severity::Warning,
                code: "place",
                place: Place::Unknown,
                object: policy.policy.to_string(),
                field,
                message: String::new(),
            }));
        }
        offline.manifests.locate(&mut wanted);
        let places = wanted.into_iter().map(|found| ((found.object, found.field), found.place));
        Texts { problems: &offline.problems, places: places.collect() }
    }

    fn place(&self, policy: &PolicyKey, field: &str) -> String {
        self.places.get(&(policy.to_string(), field.to_owned())).map(ToString::to_string).unwrap_or_default()
    }

    /// What of a rule is not enforced.
    fn not_enforced(&self, policy: &PolicyKey, field: &str) -> Vec<String> {
        let policy = policy.to_string();
        let of_rule = |problem: &&Problem| {
            problem.severity == Severity::Error
                && problem.object == policy
                && problem
                    .field
                    .strip_prefix(field)
                    .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        };
        let said = self.problems.iter().filter(of_rule);
        said.map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
    }
}

fn side(reading: SideReading, texts: &Texts<'_>, suggestion: Option<String>) -> SideView {
    let SideReading { side, endpoint, peer, peer_name, tenants: [tenant, theirs], policies, needed } =
        reading;
    SideView {
        verdict: word(side.allowed),
        by: side.by.to_string(),
        endpoint: endpoint.map(|key| key.to_string()),
        tenant,
        peer: PeerView { address: ip(&peer).to_string(), name: peer_name, tenant: theirs },
        policies: policies.into_iter().map(|reading| policy(reading, &side.by, texts)).collect(),
        needed: needed.iter().map(ToString::to_string).collect(),
        suggestion,
    }
}

fn policy(reading: PolicyReading, by: &By, texts: &Texts<'_>) -> PolicyView {
    let PolicyReading { policy: key, tier, priority, default_deny, rules } = reading;
    let rules = rules.into_iter().map(|RuleReading { at, action, nobody, peers, ports }| RuleView {
        rule: at.to_string(),
        place: texts.place(&key, &at.path()),
        action: phrase::action(action),
        peer_matches: peers,
        port_matches: ports,
        decides: matches!(by, By::Rule { policy, rule } if (policy, rule) == (&key, &at)),
        not_enforced: if nobody { texts.not_enforced(&key, &at.path()) } else { Vec::new() },
    });
    PolicyView {
        rules: rules.collect(),
        policy: key.to_string(),
        place: texts.place(&key, ""),
        tier: phrase::tier(tier),
        priority,
        default_deny,
    }
}
