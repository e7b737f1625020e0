//! The ranges of addresses that an entry speaks of: always outside the cluster. Not here: what is in a CIDR group
//! (`convert::cidr_group`).

use super::super::super::node::{child, entry};
use super::super::metadata::is_dns_subdomain;
use super::super::net;
use super::super::report::Report;
use super::selector;
use super::types::CidrRule;
use isolator_common::addr::Prefix;
use isolator_policy::model::{ObjectMatch, Peer};

/// The ranges of `fromCIDR` and `toCIDR`.
pub(super) fn plain(texts: &[String], field: &str, report: &mut Report<'_>) -> Vec<Peer> {
    let ranges = texts.iter().enumerate();
    let ranges = ranges.filter_map(|(index, text)| prefix(text, &entry(field, index), report));
    ranges.map(|cidr| Peer::Block { cidr, except: Vec::new(), inside: false }).collect()
}

/// The ranges of `fromCIDRSet` and `toCIDRSet`.
pub(super) fn sets(rules: Vec<CidrRule>, field: &str, report: &mut Report<'_>) -> Vec<Peer> {
    let rules = rules.into_iter().enumerate();
    rules.filter_map(|(index, rule)| set(rule, &entry(field, index), report)).collect()
}

fn set(rule: CidrRule, field: &str, report: &mut Report<'_>) -> Option<Peer> {
    let at = child(field, "except");
    let texts = rule.except.unwrap_or_default();
    let except: Vec<Option<Prefix>> =
        texts.iter().enumerate().map(|(index, text)| prefix(text, &entry(&at, index), report)).collect();
    match (rule.cidr, rule.cidr_group_ref, rule.cidr_group_selector) {
        (Some(text), None, None) => {
            let cidr = prefix(&text, &child(field, "cidr"), report)?;
            for (index, (hole, written)) in except.iter().zip(&texts).enumerate() {
                if hole.is_some_and(|hole| !cidr.covers(&hole)) {
                    report.invalid(&entry(&at, index), format!("`{written}` is not inside `{text}`"));
                }
            }
            Some(Peer::Block { cidr, except: except.into_iter().flatten().collect(), inside: false })
        }
        (None, Some(name), None) => {
            if !is_dns_subdomain(&name) {
                report.invalid(
                    &child(field, "cidrGroupRef"),
                    format!("`{name}` is not the name of a CiliumCIDRGroup"),
                );
            }
            let groups = ObjectMatch::Named(name);
            Some(Peer::CidrGroups { groups, except: except.into_iter().flatten().collect() })
        }
        (None, None, Some(labels)) => {
            let field = child(field, "cidrGroupSelector");
            let groups = ObjectMatch::Matching(selector::groups(labels, &field, report));
            Some(Peer::CidrGroups { groups, except: except.into_iter().flatten().collect() })
        }
        (None, None, None) => {
            report.invalid(field, "one of cidr, cidrGroupRef and cidrGroupSelector is needed");
            None
        }
        _ => {
            let message = "cidr, cidrGroupRef and cidrGroupSelector exclude each other; make an item of each";
            report.invalid(field, message);
            None
        }
    }
}

fn prefix(text: &str, field: &str, report: &mut Report<'_>) -> Option<Prefix> {
    match net::prefix(text) {
        Ok((prefix, host_bits)) => {
            if host_bits {
                let message = format!("`{text}` has bits set behind its length; they do not count");
                report.warning("host-bits", field, message);
            }
            Some(prefix)
        }
        Err(wrong) => {
            let alone = net::address(text).is_ok();
            let advice = if alone { "; a single address needs its length, /32 or /128" } else { "" };
            report.invalid(field, format!("{wrong}{advice}"));
            None
        }
    }
}
