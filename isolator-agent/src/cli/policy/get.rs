//! `isolator policy get`: one policy, its defaults filled in, and whom it selects. Not here: verdicts.

use super::list;
use super::standing::{Standings, State};
use crate::cli::Exit;
use crate::cli::args::{GetPolicyArgs, Global};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{Screen, Tone};
use anyhow::{Result, bail};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{Policy, PolicyKey, Rules};
use isolator_policy::phrase;
use serde::Serialize;
use std::fmt::Write;

/// A policy as understood.
#[derive(Debug, Serialize)]
struct PolicyView {
    kind: String,
    namespace: String,
    name: String,
    state: State,
    /// What is not enforced, field by field.
    not_enforced: Vec<String>,
    tier: &'static str,
    priority: u32,
    /// Pods that it selects now, all parts together.
    pods: Vec<String>,
    parts: Vec<PartView>,
}

/// What it says of one set of pods.
#[derive(Debug, Serialize)]
struct PartView {
    subject: String,
    /// Pods that it selects now.
    pods: Vec<String>,
    ingress: Option<SectionView>,
    egress: Option<SectionView>,
}

/// One direction of a policy.
#[derive(Debug, Serialize)]
struct SectionView {
    default_deny: bool,
    rules: Vec<RuleView>,
}

/// A rule in words.
#[derive(Debug, Serialize)]
struct RuleView {
    rule: String,
    action: &'static str,
    peers: Vec<String>,
    ports: Vec<String>,
    #[serde(skip)]
    sentence: String,
}

/// Prints one policy.
pub(super) fn run(args: &GetPolicyArgs, global: &Global, screen: &Screen) -> Result<Exit> {
    let GetPolicyArgs { name, folder } = args;
    let offline = load_and_warn(folder, global)?;
    let standings = Standings::new(&offline.problems);
    let named = |policy: &Policy| match name.split_once('/') {
        Some((namespace, name)) => policy.key.namespace == namespace && policy.key.name == name,
        None => policy.key.name == *name,
    };
    let found: Vec<_> = offline.snapshot.policies().values().filter(|policy| named(policy)).collect();
    match found.as_slice() {
        [] => {
            let is =
                |key: &PolicyKey| *name == key.name || *name == format!("{}/{}", key.namespace, key.name);
            if let Some(key) = standings.refused().find(is) {
                bail!("nothing of {key} is enforced: {}", standings.not_enforced(&key).join("; "));
            }
            bail!("no policy {name} in {}", offline.folder.display())
        }
        [policy] => {
            let view = view(&offline.snapshot, policy, &standings);
            screen.one(&view, |screen| prose(&view, screen))?;
        }
        [_, ..] => {
            let names: Vec<_> = found.iter().map(|policy| policy.key.to_string()).collect();
            bail!("{name} may be any of: {}; write NAMESPACE/NAME", names.join(", "));
        }
    }
    Ok(Exit::Good)
}

fn view(snapshot: &Snapshot, policy: &Policy, standings: &Standings<'_>) -> PolicyView {
    let section = |section: &Option<Rules>, towards: &str| {
        section.as_ref().map(|rules| SectionView {
            default_deny: rules.default_deny,
            rules: rules
                .rules
                .iter()
                .map(|rule| RuleView {
                    rule: rule.at.to_string(),
                    action: phrase::action(rule.action),
                    peers: phrase::peers(&rule.peers),
                    ports: phrase::ports(&rule.ports),
                    sentence: phrase::rule(rule, towards),
                })
                .collect(),
        })
    };
    PolicyView {
        kind: policy.key.kind.to_string(),
        namespace: policy.key.namespace.clone(),
        name: policy.key.name.clone(),
        state: standings.of(&policy.key),
        not_enforced: standings.not_enforced(&policy.key),
        tier: phrase::tier(policy.tier),
        priority: policy.priority,
        pods: list::selected(snapshot, policy).map(|pod| pod.key.to_string()).collect(),
        parts: policy
            .parts
            .iter()
            .map(|part| PartView {
                subject: phrase::subject(&part.subject),
                pods: list::selected_by(snapshot, part).map(|pod| pod.key.to_string()).collect(),
                ingress: section(&part.ingress, "from"),
                egress: section(&part.egress, "to"),
            })
            .collect(),
    }
}

fn prose(view: &PolicyView, screen: &Screen) -> String {
    let PolicyView { kind, namespace, name, state, not_enforced, tier, priority, pods: _, parts } = view;
    let slash = if namespace.is_empty() { "" } else { "/" };
    let mut text = screen.paint(Tone::Strong, &format!("{kind} {namespace}{slash}{name}"));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\nstate    {}", state.name());
    for field in not_enforced {
        let _ = writeln!(text, "  not enforced: {field}");
    }
    let _ = writeln!(text, "tier     {tier}, priority {priority}");
    for PartView { subject, pods, ingress, egress } in parts {
        let pods = if pods.is_empty() { "no pod".to_owned() } else { pods.join(", ") };
        let _ = writeln!(text, "selects  {subject}: {pods}");
        for (direction, section) in [("ingress", ingress), ("egress", egress)] {
            let Some(SectionView { default_deny, rules }) = section else {
                let _ = writeln!(text, "{direction}: says nothing");
                continue;
            };
            let closed = if *default_deny { "what no rule allows is denied" } else { "isolates nobody" };
            let _ = writeln!(text, "{direction}: {closed}");
            for RuleView { rule, sentence, .. } in rules {
                let _ = writeln!(text, "  {rule} {sentence}");
            }
        }
    }
    text
}
