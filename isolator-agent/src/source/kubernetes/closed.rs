//! What stands in for a policy that says something unknown: the API server is newer than we are and has let it through, so
//! it means something, and what it might forbid is forbidden. The pods that it selects talk to nobody in the directions
//! that it speaks of; of a ClusterNetworkPolicy, in those in which it does more than accept. Pure. Not here: policies that are refused for another reason, which upstream does not enforce
//! either.

use super::super::convert::{self, Found, Item};
use super::super::node::{Data, Entry, Node};
use super::kinds::Kind;
use isolator_policy::cluster::change::Object;

/// The stand-in for the object that `item` was read from, if it needs one.
pub(super) fn stand_in(kind: Kind, node: &Node, item: &Item) -> Option<Object> {
    let unknown = item.problems.iter().any(|problem| problem.code == "unknown-field");
    if !unknown || !matches!(item.found, Found::Broken(_)) {
        return None;
    }
    let metadata = node.get("metadata")?;
    let named = ["name", "namespace"].map(|key| Some((key, metadata.get(key)?.clone())));
    let metadata = mapping(named.into_iter().flatten());
    let types = ["apiVersion", "kind"].map(|key| Some((key, node.get(key)?.clone())));
    let spec = node.get("spec");
    let mut objects = match kind.kind {
        "NetworkPolicy" => {
            let both = || list(["Ingress", "Egress"].map(text));
            let types = spec.and_then(|spec| spec.get("policyTypes")).cloned().unwrap_or_else(both);
            let selector = spec.and_then(|spec| spec.get("podSelector")).cloned().unwrap_or_else(empty);
            let one = |selector, types| mapping([("podSelector", selector), ("policyTypes", types)]);
            // Where it is the selector that says something unknown, any pod of the namespace may be meant.
            vec![vec![("spec", one(selector, types))], vec![("spec", one(empty(), both()))]]
        }
        "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy" => {
            let specs: Vec<Node> =
                node.get("specs").map_or(&[][..], Node::items).iter().filter_map(cilium).collect();
            let spec = spec.and_then(cilium).map(|spec| ("spec", spec));
            let specs = (!specs.is_empty()).then(|| ("specs", list(specs)));
            vec![spec.into_iter().chain(specs).collect()]
        }
        "ClusterNetworkPolicy" => {
            vec![spec.and_then(cluster_wide).map(|spec| ("spec", spec)).into_iter().collect()]
        }
        _ => Vec::new(),
    };
    objects.retain(|fields| !fields.is_empty());
    objects.into_iter().find_map(|fields| {
        let types = types.iter().flatten().cloned();
        let node = mapping(types.chain([("metadata", metadata.clone())]).chain(fields));
        match convert::of_api(kind.kind, &node).found {
            Found::Object(object) => Some(object),
            Found::Broken(_) | Found::Unreadable | Found::Other => None,
        }
    })
}

/// A `spec` that selects the same pods and allows nothing; `None` where it is about nodes.
fn cilium(spec: &Node) -> Option<Node> {
    let selector = spec.get("endpointSelector")?.clone();
    let says = |key: &str| spec.get(key).is_some() || spec.get(&format!("{key}Deny")).is_some();
    let (ingress, egress) = (says("ingress"), says("egress"));
    // A rule without peers isolates and allows nothing.
    let section = |key, there: bool| (there || ingress == egress).then(|| (key, list([empty()])));
    let sections = [section("ingress", ingress), section("egress", egress)];
    Some(mapping([("endpointSelector", selector)].into_iter().chain(sections.into_iter().flatten())))
}

/// A `spec` of the same subject and place in the order, which denies wherever a rule may have done so. `None`: no rule does
/// but accept, and without those less passes.
fn cluster_wide(spec: &Node) -> Option<Node> {
    let same = |key| Some((key, spec.get(key)?.clone()));
    let denies = |key| {
        let mut rules = spec.get(key).map_or(&[][..], Node::items).iter();
        rules.any(|rule| rule.get("action").and_then(Node::as_str) != Some("Accept"))
    };
    let rule = |key, peers: Vec<Node>| list([mapping([("action", text("Deny")), (key, list(peers))])]);
    let pods = || mapping([("namespaces", empty())]);
    let addresses = mapping([("networks", list(["0.0.0.0/0", "::/0"].map(text)))]);
    // What comes in can be said of pods alone: whoever probes them from a node still does.
    let ingress = denies("ingress").then(|| ("ingress", rule("from", vec![pods()])));
    let egress = denies("egress").then(|| ("egress", rule("to", vec![pods(), addresses])));
    let same = ["tier", "priority", "subject"].map(same).into_iter().flatten();
    (ingress.is_some() || egress.is_some()).then(|| mapping(same.chain(ingress).chain(egress)))
}

fn node(data: Data) -> Node {
    Node { at: Default::default(), data }
}

fn text(text: &str) -> Node {
    node(Data::Scalar(text.into()))
}

fn list(items: impl IntoIterator<Item = Node>) -> Node {
    node(Data::Sequence(items.into_iter().collect()))
}

fn empty() -> Node {
    mapping([])
}

fn mapping<'k>(entries: impl IntoIterator<Item = (&'k str, Node)>) -> Node {
    let entry = |(key, value): (&str, Node)| Entry { key: key.to_owned(), at: Default::default(), value };
    node(Data::Mapping(entries.into_iter().map(entry).collect()))
}
