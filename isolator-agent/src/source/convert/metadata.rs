//! Names, labels and annotations as the API server accepts them. Not here: selectors.

use super::super::node::{Node, child};
use super::report::Report;
use isolator_policy::model::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// They do.
    Namespaced,
    /// They do not; a namespace in their metadata is cleared.
    Cluster,
}

/// Longest label value, label name and DNS label, in bytes.
const MAX_LABEL: usize = 63;
/// Longest DNS subdomain, in bytes.
const MAX_SUBDOMAIN: usize = 253;

/// Namespace and name, where both can be read. The namespace is `default` where there is none, and empty
/// for kinds without.
pub(crate) fn name(node: &Node, scope: Scope) -> Option<(String, String)> {
    let metadata = node.get("metadata")?;
    let name = metadata.get("name")?.as_str().filter(|name| !name.is_empty())?;
    let namespace = match (scope, metadata.get("namespace")) {
        (Scope::Cluster, _) => "",
        (Scope::Namespaced, None) => "default",
        (Scope::Namespaced, Some(namespace)) if namespace.is_null() => "default",
        (Scope::Namespaced, Some(namespace)) => match namespace.as_str()? {
            "" => "default",
            namespace => namespace,
        },
    };
    Some((namespace.to_owned(), name.to_owned()))
}

/// Checks metadata and returns the labels.
pub(crate) fn check(
    metadata: ObjectMeta,
    scope: Scope,
    is_name: fn(&str) -> bool,
    report: &mut Report<'_>,
) -> Labels {
    let name = metadata.name.unwrap_or_default();
    if !is_name(&name) {
        let message =
            format!("`{name}` is not a name: lower-case letters, digits, `-` (and `.` in most kinds), ");
        report.invalid("metadata.name", message + "beginning and ending with a letter or digit");
    }
    if let Some(namespace) = metadata.namespace.filter(|name| scope == Scope::Namespaced && !name.is_empty())
        && !is_dns_label(&namespace)
    {
        let message =
            "at most 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit";
        report.invalid("metadata.namespace", format!("`{namespace}` is not a namespace's name: {message}"));
    }
    for key in metadata.annotations.unwrap_or_default().into_keys() {
        if let Err(wrong) = check_key(&key.to_ascii_lowercase()) {
            report.invalid(&child("metadata.annotations", &key), format!("the key `{key}` {wrong}"));
        }
    }
    let labels = metadata.labels.unwrap_or_default();
    check_labels(&labels, "metadata.labels", report);
    labels
}

/// Checks keys and values of labels that stand at `field`.
pub(crate) fn check_labels(labels: &Labels, field: &str, report: &mut Report<'_>) {
    for (key, value) in labels {
        if let Err(wrong) = check_key(key) {
            report.invalid(&child(field, key), format!("the key `{key}` {wrong}"));
        }
        if !is_label_value(value) {
            report.invalid(&child(field, key), not_a_label_value(value));
        }
    }
}

/// What is wrong with a label's value.
pub(crate) fn not_a_label_value(value: &str) -> String {
    format!(
        "`{value}` is not a label's value: empty, or at most {MAX_LABEL} letters, digits, `-`, `_` and `.`, \
         beginning and ending with a letter or digit"
    )
}

/// Whether a label may have this value.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_qualified(value)
}

/// Checks a label's key: a name, with a DNS subdomain and a slash before it or without.
pub(crate) fn check_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_dns_subdomain(prefix)) {
        return Err("has a prefix that is not a DNS name in lower case");
    }
    if !is_qualified(name) {
        return Err("is not a label's key: at most 63 letters, digits, `-`, `_` and `.` after the optional \
                    prefix and slash, beginning and ending with a letter or digit");
    }
    Ok(())
}

/// A name in a label's key, or a value that is not empty.
fn is_qualified(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= MAX_LABEL
        && ends(name.chars().next())
        && ends(name.chars().last())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// RFC 1123 label, as for namespaces.
pub(crate) fn is_dns_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && is_dns_part(name)
}

/// RFC 1123 subdomain, as for most objects.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(is_dns_part)
}

fn is_dns_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(|&b| plain(b))
        && bytes.last().is_some_and(|&b| plain(b))
        && bytes.iter().all(|&b| plain(b) || b == b'-')
}
