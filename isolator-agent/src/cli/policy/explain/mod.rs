//! `isolator policy explain`: why a flow gets its verdict, as prose and as JSON; for a flow to a service, why it gets
//! that at each backend. Not here: the reading itself (`meaning::explain` in `isolator-policy`).

mod prose;
mod suggest;

use crate::cli::Exit;
use crate::cli::args::{ExplainArgs, Global};
use crate::cli::offline::{self, Offline};
use crate::cli::output::Screen;
use crate::cli::translated::{self, Target};
use crate::cli::verdicts::word;
use crate::cli::words;
use crate::flows::text::protocol_name;
use anyhow::{Result, anyhow};
use isolator_common::policy::Direction;
use isolator_policy::cluster::snapshot::{Owner, Snapshot};
use isolator_policy::meaning::explain::{Explanation, PolicyReading, RuleReading, SideReading, explain};
use isolator_policy::meaning::flow::{End, FlowError, FlowSpec, find};
use isolator_policy::meaning::oracle::FlowVerdict;
use isolator_policy::meaning::why::By;
use isolator_policy::model::{Place, PolicyKey, Problem, ServiceKey, Severity, ip};
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

/// An explanation of a flow to a service, as JSON.
#[derive(Debug, Serialize)]
struct ServiceView {
    from: String,
    to: String,
    protocol: String,
    port: u16,
    /// `depends` where backends differ.
    verdict: &'static str,
    /// The whole of it in a few sentences.
    summary: String,
    services: Vec<String>,
    /// One explanation for each backend that is ready, and has an address of a family that the sender has.
    backends: Vec<View>,
}

/// How a service is named.
const SERVICE: &str = "svc:";

/// Explains one flow. [`Exit::Bad`] when it is denied, also when only some backends of a service deny it.
pub(super) fn run(args: &ExplainArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let ExplainArgs { from, to, port, folder } = args;
    let text = |error: String| anyhow!(error);
    let (protocol, port) = words::protocol_and_port(port).map_err(text)?;
    let from = words::end(from).map_err(text)?;
    let offline = offline::load(folder, global)?;
    let snapshot = &offline.snapshot;
    let warn = |other: &str| {
        offline::warn(&offline.problems, &[namespace(snapshot, &from), other]);
    };
    if let Some(name) = to.strip_prefix(SERVICE) {
        let service = service(name)?;
        warn(&service.namespace);
        let target = translated::named(snapshot, &service, protocol, port)?;
        return through(&offline, &from, to.clone(), (protocol, port), target, screen);
    }
    let to = words::end(to).map_err(text)?;
    warn(namespace(snapshot, &to));
    let flow = FlowSpec { from, to, protocol, port };
    if let Some(target) = translated::find(snapshot, &flow)? {
        return through(&offline, &flow.from, flow.to.to_string(), (protocol, port), target, screen);
    }
    let view = view(&offline, &flow)?;
    screen.one(&view, |screen| prose::prose(&view, screen))?;
    Ok(exit(view.verdict))
}

/// The namespace of the pod at an end; empty where none is.
fn namespace<'a>(snapshot: &'a Snapshot, end: &'a End) -> &'a str {
    match end {
        End::Pod(pod) => &pod.namespace,
        End::Address(addr) => match snapshot.owner(addr, "") {
            Owner::Pod(pod) => &pod.key.namespace,
            _ => "",
        },
        End::Node(_) => "",
    }
}

fn service(name: &str) -> Result<ServiceKey> {
    match name.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ServiceKey { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err(anyhow!("`{SERVICE}{name}` is no service: write {SERVICE}NAMESPACE/NAME")),
    }
}

fn exit(verdict: &str) -> Exit {
    if verdict == word(true) { Exit::Good } else { Exit::Bad }
}

/// Explains a flow to a service, by its backends.
fn through(
    offline: &Offline,
    from: &End,
    to: String,
    (protocol, port): (u8, u16),
    target: Target,
    screen: &Screen,
) -> Result<Exit> {
    let mut backends = Vec::new();
    let mut other_family = None;
    for (addr, port) in target.backends {
        let flow = FlowSpec { from: from.clone(), to: End::Address(addr), protocol, port };
        match find(&offline.snapshot, &flow) {
            Err(error @ FlowError::DifferentFamilies(..)) => other_family = Some(error),
            _ => backends.push(view(offline, &flow)?),
        }
    }
    if let (true, Some(error)) = (backends.is_empty(), other_family) {
        return Err(error.into());
    }
    let allowing = backends.iter().filter(|backend| backend.verdict == word(true)).count();
    let view = ServiceView {
        from: from.to_string(),
        to,
        protocol: protocol_name(protocol),
        port,
        verdict: match allowing {
            0 => word(false),
            all if all == backends.len() => word(true),
            _ => "depends",
        },
        summary: prose::of_backends(allowing, backends.len()),
        services: target.services.iter().map(ToString::to_string).collect(),
        backends,
    };
    screen.one(&view, |screen| prose::service(&view, screen))?;
    Ok(exit(view.verdict))
}

/// Explains a flow that ends where it is sent to.
fn view(offline: &Offline, flow: &FlowSpec) -> Result<View> {
    let Explanation { egress, ingress } = explain(&offline.snapshot, flow)?;
    let verdict = FlowVerdict { egress: egress.side.clone(), ingress: ingress.side.clone() };
    let texts = Texts::new(offline, [&egress, &ingress]);
    let suggested = |reading: &SideReading, direction| {
        let isolated = matches!(reading.side.by, By::DefaultDeny { .. });
        isolated.then(|| suggest::policy(&offline.snapshot, reading, direction, flow)).flatten()
    };
    let suggestions = [suggested(&egress, Direction::Egress), suggested(&ingress, Direction::Ingress)];
    let [out, into] = suggestions;
    let (egress, ingress) = (side(egress, &texts, out), side(ingress, &texts, into));
    Ok(View {
        from: flow.from.to_string(),
        to: flow.to.to_string(),
        protocol: protocol_name(flow.protocol),
        port: flow.port,
        verdict: word(verdict.allowed()),
        summary: prose::summary(flow, &egress, &ingress),
        egress,
        ingress,
    })
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
