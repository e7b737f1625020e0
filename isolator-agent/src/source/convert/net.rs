//! Addresses, prefixes, protocols and port names as text. Strict: no leading zeros, no IPv4 in IPv6's
//! clothes. Not here: what they match.

use isolator_common::addr::{Addr, Prefix, V4_MAPPED_BITS};
use std::net::IpAddr;

/// IP protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(crate) const UDP: u8 = 17;
/// IP protocol number of SCTP.
pub(crate) const SCTP: u8 = 132;

/// Longest port name, in bytes.
const MAX_PORT_NAME: usize = 15;

/// The number of a protocol by the name that the API gives it.
pub(crate) fn protocol(name: &str) -> Result<u8, String> {
    match name {
        "TCP" => Ok(TCP),
        "UDP" => Ok(UDP),
        "SCTP" => Ok(SCTP),
        _ => Err(format!("`{name}` is not a protocol here; it is TCP, UDP or SCTP, in capital letters")),
    }
}

/// An address.
pub(crate) fn address(text: &str) -> Result<Addr, String> {
    match text.parse() {
        Ok(IpAddr::V4(v4)) => Ok(Addr::v4(v4.octets())),
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("`{text}` is an IPv4 address in IPv6 form; write it as IPv4"))
        }
        Ok(IpAddr::V6(v6)) => Ok(Addr(v6.octets())),
        Err(_) => Err(format!("`{text}` is not an IP address (octets have no leading zeros)")),
    }
}

/// A prefix, and whether the text has bits set behind its length.
pub(crate) fn prefix(text: &str) -> Result<(Prefix, bool), String> {
    let wrong = || format!("`{text}` is not a CIDR such as 10.0.0.0/8 or fd00::/8");
    let (ip, length) = text.split_once('/').ok_or_else(wrong)?;
    let addr = address(ip)?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    if !digits || (length.len() > 1 && length.starts_with('0')) {
        return Err(wrong());
    }
    let (base, width) = if addr.is_v4() { (V4_MAPPED_BITS, 32) } else { (0, 128) };
    let bits: u32 = length.parse().map_err(|_| wrong())?;
    if bits > width {
        return Err(format!("`{text}` has a prefix length above {width}"));
    }
    let prefix = Prefix::new(addr, base + bits);
    Ok((prefix, prefix.addr != addr))
}

/// Checks a port's name (IANA service name).
pub(crate) fn port_name(name: &str) -> Result<(), String> {
    let characters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let letter = name.bytes().any(|b| b.is_ascii_lowercase());
    let dashes = !name.starts_with('-') && !name.ends_with('-') && !name.contains("--");
    if name.len() <= MAX_PORT_NAME && characters && letter && dashes {
        return Ok(());
    }
    let number = if name.parse::<u16>().is_ok() { "; a number is written without quotes" } else { "" };
    Err(format!(
        "`{name}` is not a port's name: at most {MAX_PORT_NAME} lower-case letters, digits and single `-`, \
         at least one letter{number}"
    ))
}

/// A port number, 1..=65535.
pub(crate) fn port_number(number: i32) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|&port| port > 0)
        .ok_or_else(|| format!("{number} is not a port; ports are 1 to 65535"))
}
