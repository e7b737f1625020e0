//! `isolator policy get`: one policy, its defaults filled in, and whom it selects. Not here: verdicts.

use super::{list, phrase};
use crate::cli::Exit;
use crate::cli::args::{GetPolicyArgs, Global};
use crate::cli::offline::load_and_warn;
use crate::cli::output::{Screen, Tone};
use anyhow::{Result, bail};
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::model::{Policy, Rules};
use serde::Serialize;
use std::fmt::Write;

/// A policy as understood.
#[derive(Debug, Serialize)]
struct PolicyView {
    kind: String,
    namespace: String,
    name: String,
    tier: &'static str,
    priority: u32,
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
    let named = |policy: &Policy| match name.split_once('/') {
        Some((namespace, name)) => policy.key.namespace == namespace && policy.key.name == name,
        None => policy.key.name == *name,
    };
    let found: Vec<_> = offline.snapshot.policies().values().filter(|policy| named(policy)).collect();
    match found.as_slice() {
        [] => bail!("no policy {name} in {}", offline.folder.display()),
        [policy] => screen.one(&view(&offline.snapshot, policy), |screen| {
            prose(&view(&offline.snapshot, policy), screen)
        })?,
        [_, ..] => {
            let names: Vec<_> = found.iter().map(|policy| policy.key.to_string()).collect();
            bail!("{name} may be any of: {}; write NAMESPACE/NAME", names.join(", "));
        }
    }
    Ok(Exit::Good)
}

fn view(snapshot: &Snapshot, policy: &Policy) -> PolicyView {
    let section = |section: &Option<Rules>, towards: &str| {
        section.as_ref().map(|rules| SectionView {
            default_deny: rules.default_deny,
            rules: rules
                .rules
                .iter()
                .map(|rule| RuleView {
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
        tier: phrase::tier(policy.tier),
        priority: policy.priority,
        subject: phrase::subject(&policy.subject),
        pods: list::selected(snapshot, policy).map(|pod| pod.key.to_string()).collect(),
        ingress: section(&policy.ingress, "from"),
        egress: section(&policy.egress, "to"),
    }
}

fn prose(view: &PolicyView, screen: &Screen) -> String {
    let PolicyView { kind, namespace, name, tier, priority, subject, pods, ingress, egress } = view;
    let mut text = screen.paint(Tone::Strong, &format!("{kind} {namespace}/{name}"));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\ntier     {tier}, priority {priority}");
    let _ = writeln!(
        text,
        "selects  {subject}: {}",
        if pods.is_empty() { "no pod".into() } else { pods.join(", ") }
    );
    for (direction, section) in [("ingress", ingress), ("egress", egress)] {
        let Some(SectionView { default_deny, rules }) = section else {
            let _ = writeln!(text, "{direction}: says nothing");
            continue;
        };
        let closed = if *default_deny { "what no rule allows is denied" } else { "isolates nobody" };
        let _ = writeln!(text, "{direction}: {closed}");
        for (index, rule) in rules.iter().enumerate() {
            let _ = writeln!(text, "  [{index}] {}", rule.sentence);
        }
    }
    text
}
