//! Policies of one ordered tier with one priority that speak of the same pods in the same direction: which comes first
//! is decided by their names, which nobody chose for that. Not here: the order itself (`meaning::oracle`).

use super::facts::Facts;
use super::view::{PartView, View};
use super::warning;
use crate::model::{Problem, Tier};
use crate::phrase;
use isolator_common::policy::Direction;

pub(super) fn check(view: &View<'_>, problems: &mut Vec<Problem>) {
    let mut ordered: Vec<&PartView<'_>> =
        view.parts.iter().filter(|part| part.policy.tier != Tier::Normal).collect();
    ordered.sort_by_key(|part| (part.policy.tier, part.policy.priority, &part.policy.key));
    for (index, first) in ordered.iter().enumerate() {
        let same = |other: &&&PartView<'_>| {
            (other.policy.tier, other.policy.priority) == (first.policy.tier, first.policy.priority)
        };
        for other in ordered[index + 1..].iter().take_while(same) {
            if first.policy.key == other.policy.key || !both_speak(first, other) {
                continue;
            }
            let Some(both) = shared(view, first, other) else { continue };
            let message = format!(
                "{} has priority {} in the {} tier, too, and both select {both}; only their names decide which comes \
                 first. Give them different priorities",
                first.policy.key,
                other.policy.priority,
                phrase::tier(other.policy.tier),
            );
            problems.push(warning("priority-tie", &other.policy.key, "spec.priority", message));
        }
    }
}

fn both_speak(a: &PartView<'_>, b: &PartView<'_>) -> bool {
    let speaks = |part: &PartView<'_>, direction| {
        part.part.section(direction).is_some_and(|section| !section.rules.is_empty())
    };
    Direction::BOTH.into_iter().any(|direction| speaks(a, direction) && speaks(b, direction))
}

/// A pod that both select; without any pods, whether there could be one.
fn shared(view: &View<'_>, a: &PartView<'_>, b: &PartView<'_>) -> Option<String> {
    if view.endpoints.is_empty() {
        let both = Facts::of_subject(&a.part.subject).and(&Facts::of_subject(&b.part.subject));
        return (!both.are_impossible()).then(|| "the same pods".to_owned());
    }
    // Both lists are sorted by name.
    let pod = a.pods.iter().find(|pod| b.pods.binary_search_by(|other| other.key.cmp(&pod.key)).is_ok())?;
    Some(format!("Pod {}", pod.key))
}
