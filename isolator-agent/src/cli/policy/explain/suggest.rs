//! A policy that would allow one flow at one side, to be taken over into manifests: a NetworkPolicy, or for ICMP, which
//! that kind cannot name, a CiliumNetworkPolicy. Not here: whether it should be allowed.

use crate::flows::text::protocol_name;
use isolator_common::conntrack::protocol;
use isolator_common::policy::Direction;
use isolator_policy::cluster::ends::in_identity;
use isolator_policy::cluster::snapshot::{NAMESPACE_NAME_LABEL, Owner, Snapshot};
use isolator_policy::meaning::explain::SideReading;
use isolator_policy::meaning::flow::{FlowSpec, judging_node};
use isolator_policy::model::{Pod, ip};

/// The policy as YAML. `None` where nothing judges, or several ends claim the address of the other end.
pub(super) fn policy(
    snapshot: &Snapshot,
    reading: &SideReading,
    direction: Direction,
    flow: &FlowSpec,
) -> Option<String> {
    let subject = snapshot.pods().get(reading.endpoint.as_ref()?)?;
    let owner = snapshot.owner(&reading.peer, judging_node(subject));
    let address = ip(&reading.peer);
    let (name, of_peer) = match owner {
        Owner::Pod(pod) => (pod.key.name.clone(), Some(pod)),
        Owner::LocalHost | Owner::RemoteNode(_) | Owner::Outside => {
            (address.to_string().replace(['.', ':'], "-").trim_matches('-').to_owned(), None)
        }
        Owner::Conflict(_) => return None,
    };
    let prefix = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
    let (side, kind, towards) = match direction {
        Direction::Egress => ("egress", "Egress", "to"),
        Direction::Ingress => ("ingress", "Ingress", "from"),
    };
    let head = |api: &str, kind: &str| {
        format!(
            "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: allow-{towards}-{name}, namespace: {}}}\nspec:\n",
            quoted(&subject.key.namespace)
        )
    };
    let FlowSpec { protocol, port, .. } = flow;
    if !matches!(*protocol, protocol::ICMP | protocol::ICMPV6) {
        let peer = match of_peer {
            Some(pod) => format!(
                "namespaceSelector: {{matchLabels: {{{NAMESPACE_NAME_LABEL}: {}}}}}\n          podSelector: {}",
                quoted(&pod.key.namespace),
                labels(pod, "")
            ),
            None => format!("ipBlock: {{cidr: {}}}", quoted(&prefix)),
        };
        return Some(format!(
            "{}  podSelector: {}\n  policyTypes: [{kind}]\n  {side}:\n    - {towards}:\n        - {peer}\n      \
             ports: [{{protocol: {}, port: {port}}}]\n",
            head("networking.k8s.io/v1", "NetworkPolicy"),
            labels(subject, ""),
            protocol_name(*protocol)
        ));
    }
    let peer = match (of_peer, owner) {
        (Some(pod), _) => {
            let namespace = format!("k8s:io.kubernetes.pod.namespace: {}", quoted(&pod.key.namespace));
            format!("{}Endpoints: [{}]", towards, labels(pod, &namespace))
        }
        (None, Owner::LocalHost) => format!("{towards}Entities: [host]"),
        (None, Owner::RemoteNode(_)) => format!("{towards}Entities: [remote-node]"),
        (None, _) => format!("{towards}CIDR: [{}]", quoted(&prefix)),
    };
    let family = if *protocol == protocol::ICMP { "IPv4" } else { "IPv6" };
    Some(format!(
        "{}  endpointSelector: {}\n  {side}:\n    - {peer}\n      \
         icmps: [{{fields: [{{family: {family}, type: {port}}}]}}]\n",
        head("cilium.io/v2", "CiliumNetworkPolicy"),
        labels(subject, "")
    ))
}

/// A selector of pods like this one: by the labels that it does not have for itself alone, and by `more`.
fn labels(pod: &Pod, more: &str) -> String {
    let own = pod.labels.iter().filter(|(key, _)| in_identity(key));
    let own = own.map(|(key, value)| format!("{key}: {}", quoted(value)));
    let all: Vec<String> =
        std::iter::once(more.to_owned()).filter(|more| !more.is_empty()).chain(own).collect();
    if all.is_empty() { "{}".to_owned() } else { format!("{{matchLabels: {{{}}}}}", all.join(", ")) }
}

/// Names, labels and addresses have no character that would need more than quotes, but some look like numbers.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
