//! The ports of an entry. Numbers are read as Cilium reads them: a leading zero means octal, and whatever is a
//! service name is a name, `0x50` too. Not here: ICMP, layer 7.

use super::super::super::node::{child, entry};
use super::super::net::{SCTP, TCP, UDP};
use super::super::report::Report;
use super::types::{PortProtocol, PortRule};
use isolator_policy::model::PortMatch;

/// Most ports in one element of toPorts, and most types in one of icmps.
pub(super) const MAX_ENTRIES: usize = 40;
/// Protocols without ports that Cilium knows behind a flag (VRRP and IGMP; since 1.20 all of them), by number.
const EXTENDED: [(&str, u8); 7] =
    [("VRRP", 112), ("IGMP", 2), ("GRE", 47), ("IPIP", 4), ("IPV6", 41), ("ESP", 50), ("AH", 51)];
/// Longest service name, in bytes.
const MAX_NAME: usize = 15;

/// What `port` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PortText {
    /// A number; 0 means every port.
    Number(u16),
    /// A container port's name in lower case: names compare without case.
    Name(String),
}

/// What the elements of `toPorts` match, taken together.
pub(super) fn matches(rules: &[PortRule], field: &str, report: &mut Report<'_>) -> Vec<PortMatch> {
    let mut matches = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let field = child(&entry(field, index), "ports");
        let ports = rule.ports.as_deref().unwrap_or_default();
        if ports.len() > MAX_ENTRIES {
            let message = format!("there are {} ports, more than {MAX_ENTRIES}; make two of it", ports.len());
            report.invalid(&field, message);
        }
        for (index, port) in ports.iter().enumerate() {
            one(port, &entry(&field, index), &mut matches, report);
        }
    }
    matches
}

fn one(port: &PortProtocol, field: &str, matches: &mut Vec<PortMatch>, report: &mut Report<'_>) {
    let protocols =
        protocols(port).map_err(|wrong| report.invalid(&child(field, "protocol"), wrong)).unwrap_or_default();
    let text = text(port).map_err(|wrong| report.invalid(&child(field, "port"), wrong));
    let end = end(port);
    let at = child(field, "endPort");
    match (text, end) {
        (Err(()), _) => {}
        (Ok(PortText::Name(_)), Some(_)) => report.invalid(&at, "endPort needs a `port` that is a number"),
        (Ok(PortText::Number(0)), Some(_)) => {
            report.invalid(&at, "port 0 is every port already; remove endPort, or begin the range at 1");
        }
        (Ok(_), Some(end)) if u16::try_from(end).is_err() => {
            report.invalid(&at, format!("{end} is not a port; ports are 1 to 65535"));
        }
        (Ok(PortText::Number(first)), Some(end)) if end < i32::from(first) => {
            report.invalid(&at, format!("endPort {end} must not be below port {first}"));
        }
        (Ok(text), end) => {
            if is_extended(port) && text != PortText::Number(0) {
                let name = port.protocol.as_deref().unwrap_or_default();
                report.invalid(&child(field, "port"), format!("{name} has no ports; write port \"0\""));
            }
            matches.extend(protocols.iter().map(|&protocol| match &text {
                PortText::Name(name) => PortMatch::Named { protocol, name: name.clone() },
                PortText::Number(0) => PortMatch::Range { protocol, first: 0, last: u16::MAX },
                PortText::Number(first) => {
                    let last = end.and_then(|end| u16::try_from(end).ok()).unwrap_or(*first);
                    PortMatch::Range { protocol, first: *first, last }
                }
            }));
        }
    }
}

/// The end of a range, where there is one. Zero is none.
pub(super) fn end(port: &PortProtocol) -> Option<i32> {
    port.end_port.filter(|end| *end != 0)
}

/// The protocols that are meant, by number.
fn protocols(port: &PortProtocol) -> Result<Vec<u8>, String> {
    let name = port.protocol.as_deref().unwrap_or_default();
    match name.to_ascii_uppercase().as_str() {
        "" | "ANY" => Ok(vec![TCP, UDP, SCTP]),
        "TCP" => Ok(vec![TCP]),
        "UDP" => Ok(vec![UDP]),
        "SCTP" => Ok(vec![SCTP]),
        "ICMP" | "ICMPV6" => Err(format!("`{name}` has no ports; write it in `icmps`")),
        upper => extended(upper).map(|number| vec![number]).ok_or_else(|| {
            let others = EXTENDED.map(|(name, _)| name).join(", ");
            format!(
                "`{name}` is not a protocol here; it is TCP, UDP, SCTP or ANY (or {others}: not enforced)"
            )
        }),
    }
}

fn extended(name: &str) -> Option<u8> {
    EXTENDED.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Whether no data plane here knows the protocol.
pub(super) fn is_extended(port: &PortProtocol) -> bool {
    port.protocol.as_ref().is_some_and(|name| extended(&name.to_ascii_uppercase()).is_some())
}

/// What the text of a port says.
pub(super) fn text(port: &PortProtocol) -> Result<PortText, String> {
    let text = port.port.as_deref().unwrap_or_default();
    if text.is_empty() && is_extended(port) {
        return Ok(PortText::Number(0));
    }
    if text.is_empty() {
        return Err("`port` is missing; write a number or a name, or \"0\" for every port".to_owned());
    }
    if is_name(text) {
        return Ok(PortText::Name(text.to_ascii_lowercase()));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = match text.strip_prefix('0') {
        _ if !digits(text) => None,
        Some(octal) if !octal.is_empty() => u16::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    };
    number.map(PortText::Number).ok_or_else(|| {
        let octal = if text.starts_with('0') { " (a leading zero means octal)" } else { "" };
        format!(
            "`{text}` is not a port{octal}: a number up to 65535, or a name of at most {MAX_NAME} letters, digits and \
             single `-` between them"
        )
    })
}

/// Whether a text is a service name (RFC 6335): letters, digits and single dashes between them, a letter at least.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<PortText> {
        super::text(&PortProtocol { port: Some(text.into()), end_port: None, protocol: None }).ok()
    }

    #[test]
    fn numbers_are_octal_behind_a_zero_and_whatever_has_a_letter_is_a_name() {
        for (text, number) in
            [("80", 80), ("0", 0), ("00", 0), ("0100", 64), ("65535", 65535), ("0177777", 65535)]
        {
            assert_eq!(of(text), Some(PortText::Number(number)), "{text}");
        }
        for text in ["HTTP", "0x50", "a-9", "1-a-9", "0o17", "123456789012b45"] {
            assert_eq!(of(text), Some(PortText::Name(text.to_ascii_lowercase())), "{text}");
        }
        for text in
            ["", "080", "65536", "-1", "+1", "a--b", "a-", "1-2", "8 0", "1234567890123b56", "0200000"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
