//! Which node speaks of a policy: all see the same, and one is enough. Nobody is asked; each node ranks all of them by a
//! hash of their name and the policy's. The first speaks at once, a few after it only if it has not, which the equal
//! name of their Events shows. Pure. Not here: when (`turns`).

use super::complaint::Policy;
use isolator_policy::datapath::hash;
use isolator_policy::model::Node;
use std::sync::Arc;

/// What says that a node cannot run the agent.
const OS: &str = "kubernetes.io/os";

/// The place of `own` among the nodes that may speak of `policy`, from 0. `None`: the API server knows no such node.
pub(super) fn rank<'n>(
    policy: &Policy,
    own: &str,
    nodes: impl Iterator<Item = &'n Arc<Node>>,
) -> Option<usize> {
    let weigh = |node: &str| {
        let [kind, namespace, name] = policy.parts();
        // The policy last: its bytes spread what differs in the names of nodes.
        (hash(&[node.as_bytes(), kind, namespace, name]), node.to_owned())
    };
    let mine = weigh(own);
    let (mut before, mut there) = (0, false);
    for node in nodes.filter(|node| node.labels.get(OS).is_none_or(|os| os == "linux")) {
        there |= node.name == own;
        before += usize::from(weigh(&node.name) > mine);
    }
    there.then_some(before)
}
