//! The ICMP types of an entry, by number or by Cilium's name. Not here: ports.

use super::super::super::node::{child, entry};
use super::super::report::Report;
use super::ports::MAX_ENTRIES;
use super::types::{IcmpField, IcmpRule};
use isolator_common::conntrack::protocol::{ICMP, ICMPV6};
use isolator_policy::model::PortMatch;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

const TYPES_V4: &[(&str, u8)] = &[
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEchoRequest", 42),
    ("ExtendedEchoReply", 43),
];

const TYPES_V6: &[(&str, u8)] = &[
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
    ("HomeAgentAddressDiscoveryReply", 145),
    ("MobilePrefixSolicitation", 146),
    ("MobilePrefixAdvertisement", 147),
    ("DuplicateAddressRequestCodeSuffix", 157),
    ("DuplicateAddressConfirmationCodeSuffix", 158),
    ("ExtendedEchoRequest", 160),
    ("ExtendedEchoReply", 161),
];

/// What the elements of `icmps` match, taken together.
pub(super) fn matches(rules: &[IcmpRule], field: &str, report: &mut Report<'_>) -> Vec<PortMatch> {
    let mut matches = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let field = child(&entry(field, index), "fields");
        let fields = rule.fields.as_deref().unwrap_or_default();
        if fields.len() > MAX_ENTRIES {
            let message =
                format!("there are {} types, more than {MAX_ENTRIES}; make two of it", fields.len());
            report.invalid(&field, message);
        }
        matches.extend(fields.iter().enumerate().filter_map(|(index, one)| {
            let field = entry(&field, index);
            let (protocol, names) = match one.family.as_deref() {
                None | Some("" | "IPv4") => (ICMP, TYPES_V4),
                Some("IPv6") => (ICMPV6, TYPES_V6),
                Some(other) => {
                    let message = format!("`{other}` is not a family; it is IPv4 or IPv6");
                    report.invalid(&child(&field, "family"), message);
                    return None;
                }
            };
            let kind =
                number(one, names).map_err(|wrong| report.invalid(&child(&field, "type"), wrong)).ok()?;
            // To Cilium a type is a port, and port 0 is every port.
            if kind == 0 {
                let message = "Cilium takes type 0 for every type, so it is every type here, too; name the types \
                               that are meant";
                report.warning("every-type", &child(&field, "type"), message);
            }
            let last = if kind == 0 { u16::MAX } else { kind.into() };
            Some(PortMatch::Range { protocol, first: kind.into(), last })
        }));
    }
    matches
}

fn number(field: &IcmpField, names: &[(&str, u8)]) -> Result<u8, String> {
    let text = match &field.kind {
        None => return Err("`type` is missing; write a number from 0 to 255 or a name".to_owned()),
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(text)) => text.clone(),
    };
    if let Some((_, number)) = names.iter().find(|(name, _)| *name == text) {
        return Ok(*number);
    }
    let plain = text == "0" || (!text.starts_with(['0', '+', '-']) && !text.is_empty());
    text.parse().ok().filter(|_| plain).ok_or_else(|| {
        let family = if names == TYPES_V4 { "ICMP" } else { "ICMPv6" };
        format!(
            "`{text}` is not a type of {family}; it is a number from 0 to 255 or a name such as EchoRequest"
        )
    })
}
