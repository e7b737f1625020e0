//! `spec` or one of `specs`: whom it is about, what it says of each direction, and whether it isolates. Not here:
//! its entries.

use super::super::super::node::{child, entry as entry_of};
use super::super::report::Report;
use super::entry::{self, Context, Entry};
use super::selector::{self, Owner};
use super::types::{DefaultDeny, Spec};
use isolator_policy::model::{Part, Rule, RuleField, RuleList, Rules};

/// Most characters of a log's value.
const MAX_LOG: usize = 32;

/// What one rule says. `own` is the policy's namespace, `number` the rule's index in `specs`. `None` where it has
/// no subject here.
pub(super) fn part(
    spec: Spec,
    own: Option<&str>,
    number: Option<u32>,
    report: &mut Report<'_>,
) -> Option<Part> {
    let field = number.map_or("spec".to_owned(), |number| entry_of("specs", number as usize));
    let host = spec.node_selector.is_some();
    let at = child(&field, "endpointSelector");
    let subject = match (spec.endpoint_selector, spec.node_selector) {
        (Some(_), Some(_)) => {
            report.invalid(&field, "endpointSelector and nodeSelector exclude each other");
            None
        }
        (None, None) => {
            let message = "there is no endpointSelector; write `endpointSelector: {}` for every endpoint";
            report.invalid(&field, message);
            None
        }
        (Some(endpoints), None) => Some(selector::read(endpoints, &at, report)),
        (None, Some(nodes)) => {
            let at = child(&field, "nodeSelector");
            selector::read(nodes, &at, report);
            if own.is_some() {
                report.invalid(
                    &at,
                    "a policy in a namespace cannot select nodes; use a CiliumClusterwideNetworkPolicy",
                );
            } else {
                let message = "policies for nodes are not enforced here, so this rule does nothing; protect the node \
                               with its own firewall";
                report.left_out("unenforced-field", &at, message);
            }
            None
        }
    };
    for (index, label) in spec.labels.iter().flatten().enumerate() {
        if label.key.as_ref().is_none_or(String::is_empty) {
            let at = child(&entry_of(&child(&field, "labels"), index), "key");
            report.invalid(&at, "a label of a rule needs a key");
        }
    }
    let value = spec.log.and_then(|log| log.value).unwrap_or_default();
    if value.chars().count() > MAX_LOG || value.chars().any(char::is_control) {
        let message = format!("a log's value has at most {MAX_LOG} characters, all of them printable");
        report.invalid(&child(&child(&field, "log"), "value"), message);
    }
    let init = subject.as_ref().is_some_and(selector::Written::reads_init);
    let owner = Owner { namespace: own, init };
    let mut list = |list, entries: Vec<Entry>| -> Vec<Rule> {
        let entries = (0..).zip(entries);
        let context = |index| Context { owner, host, at: RuleField { spec: number, list, index } };
        entries.map(|(index, each)| entry::rule(each, context(index), report)).collect()
    };
    let mut ingress = list(RuleList::Ingress, entries(spec.ingress));
    ingress.extend(list(RuleList::IngressDeny, entries(spec.ingress_deny)));
    let mut egress = list(RuleList::Egress, entries(spec.egress));
    egress.extend(list(RuleList::EgressDeny, entries(spec.egress_deny)));
    if ingress.is_empty() && egress.is_empty() {
        let message = "all of ingress, ingressDeny, egress and egressDeny are empty; write `ingress: [{}]` to deny all \
                       ingress";
        report.invalid(&field, message);
    }
    let DefaultDeny { ingress: deny_ingress, egress: deny_egress } =
        spec.enable_default_deny.unwrap_or_default();
    Some(Part {
        subject: subject?.subject(own, &at, report),
        ingress: rules(ingress, deny_ingress),
        egress: rules(egress, deny_egress),
    })
}

fn entries<T: Into<Entry>>(list: Option<Vec<T>>) -> Vec<Entry> {
    list.into_iter().flatten().map(Into::into).collect()
}

/// What a direction says; nothing, whatever `default_deny` wants, where there is no entry.
fn rules(rules: Vec<Rule>, default_deny: Option<bool>) -> Option<Rules> {
    (!rules.is_empty()).then(|| Rules { default_deny: default_deny.unwrap_or(true), rules })
}
