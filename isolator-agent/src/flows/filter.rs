//! Which flows somebody wants to see. Pure. Conditions of one kind are alternatives, kinds must all hold.
//! Not here: the flags (`cli::args`).

use super::enrich::{End, Flow, Verdict};
use serde::{Deserialize, Serialize};

/// What a client of the socket asks for: the first line it sends, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Either end is one of these: `namespace/pod`, or `namespace`.
    pub pods: Vec<String>,
    /// The source is one of these.
    pub from_pods: Vec<String>,
    /// The destination is one of these.
    pub to_pods: Vec<String>,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// The protocol, in any case.
    pub protocols: Vec<String>,
    /// Either port.
    pub ports: Vec<u16>,
    /// Also what is remembered from before.
    pub history: bool,
}

impl Filter {
    /// Whether the flow is wanted.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let Filter { pods, from_pods, to_pods, verdict, protocols, ports, history: _ } = self;
        let (source, destination) = (&flow.source, &flow.destination);
        any(pods, |name| is(source, name) || is(destination, name))
            && any(from_pods, |name| is(source, name))
            && any(to_pods, |name| is(destination, name))
            && verdict.is_none_or(|verdict| verdict == flow.verdict)
            && any(protocols, |name| name.eq_ignore_ascii_case(&flow.protocol))
            && any(ports, |port| source.port == Some(*port) || destination.port == Some(*port))
    }
}

/// No condition holds for all.
fn any<T>(conditions: &[T], holds: impl Fn(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

fn is(end: &End, name: &str) -> bool {
    let Some(pod) = &end.pod else { return false };
    match name.strip_suffix('/').unwrap_or(name) {
        name if name.contains('/') => pod == name,
        namespace => pod.split('/').next() == Some(namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::super::enrich::{enrich, tests};
    use super::*;

    fn keeps(filter: Filter) -> bool {
        filter.matches(&enrich(&tests::dropped(), &tests::Known, tests::BOOT))
    }

    #[test]
    fn every_condition_can_refuse() {
        let list = |name: &str| vec!["other/pod".to_owned(), name.to_owned()];
        assert!(keeps(Filter::default()));
        assert!(keeps(Filter { pods: list("tc-alpha/nginx"), ..Filter::default() }));
        assert!(keeps(Filter { pods: list("tc-gamma"), ..Filter::default() }));
        assert!(!keeps(Filter { pods: list("tc-gam"), ..Filter::default() }));
        assert!(keeps(Filter { from_pods: list("tc-gamma/curl"), ..Filter::default() }));
        assert!(!keeps(Filter { from_pods: list("tc-alpha/nginx"), ..Filter::default() }));
        assert!(keeps(Filter { to_pods: list("tc-alpha/"), ..Filter::default() }));
        assert!(!keeps(Filter { to_pods: list("tc-gamma"), ..Filter::default() }));
        assert!(keeps(Filter { verdict: Some(Verdict::Dropped), ..Filter::default() }));
        assert!(!keeps(Filter { verdict: Some(Verdict::Forwarded), ..Filter::default() }));
        assert!(keeps(Filter { protocols: list("tcp"), ..Filter::default() }));
        assert!(!keeps(Filter { protocols: list("udp"), ..Filter::default() }));
        assert!(keeps(Filter { ports: vec![1, 80], ..Filter::default() }));
        assert!(!keeps(Filter { ports: vec![1], ..Filter::default() }));
    }
}
