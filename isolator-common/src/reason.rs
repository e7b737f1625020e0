//! Why a packet passed or was dropped: one enum for counters, events, the CLI and the tests.
//! Not here: which rule decided. That is the rule number beside the reason.

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal, $help:literal;)*) => {
        /// The outcome of judging one packet. The numbers are part of the ABI.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $help] $name = $number,)*
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// A short stable name, as printed by the CLI and used as a metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// One sentence for the person who reads the drop at 3 a.m.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Reason::$name => $help,)* }
            }
        }
    };
}

reasons! {
    Allowed = 0, "allowed", "Policy allows it by itself; no connection entry was needed.";
    New = 1, "new", "First packet of a connection that policy allows; an entry was made.";
    Established = 2, "established", "Belongs to a connection judged before under the same policy.";
    Reply = 3, "reply", "Reply of an allowed connection.";
    Related = 4, "related", "ICMP error about a packet that would itself pass.";
    Neighbour = 5, "neighbour", "ARP, IPv6 neighbour discovery or multicast listener report.";
    Loopback = 6, "loopback", "The endpoint talks to its own address.";
    ToService = 7, "to-service", "Sent to a Service address; judged again, by the real backend, after translation.";
    PolicyDenied = 32, "policy-denied", "A rule denies it.";
    DefaultDeny = 33, "default-deny", "A policy selects the endpoint in this direction and no rule allows it.";
    Tenancy = 34, "tenancy", "The two ends belong to different tenants.";
    Unprogrammed = 35, "unprogrammed", "The maps hold no verdict for this pair yet.";
    UnknownEndpoint = 36, "unknown-endpoint", "The interface is enforced but its pod is not known yet.";
    UnknownAddress = 37, "unknown-address", "No map knows the peer's address, not even as outside.";
    Spoofed = 38, "spoofed-source", "The packet claims an address that is not the pod's.";
    Truncated = 39, "truncated", "The packet ends inside a header.";
    BadHeader = 40, "bad-header", "A header contradicts itself or its length.";
    BadExtension = 41, "bad-extension", "An IPv6 extension header chain is too long or malformed.";
    UnsupportedProtocol = 42, "unsupported-protocol", "Neither IPv4, IPv6 nor ARP.";
    FragmentWithoutFirst = 43, "fragment-without-first", "A later fragment whose first was never seen.";
    BadFragment = 44, "bad-fragment", "A fragment too small or placed to hide its ports.";
    RouterSpoof = 45, "router-spoof", "A pod sent a router advertisement or redirect.";
    NoState = 46, "no-state", "The maps carry no generation: the agent has not finished its first sync.";
    TableFull = 47, "table-full", "A connection could not be remembered, and its replies would be lost.";
    NoService = 48, "no-service", "Sent to a Service address, and nothing translates it to a backend.";
    NoMark = 49, "no-mark", "Sent to a Service address, and not every way to a backend can be judged; see status.";
}

/// Room for reasons in the counter table; more than the largest number.
pub const REASONS: u32 = 64;
/// Reasons below this number let the packet pass.
pub const FIRST_DROP: u8 = 32;

impl Reason {
    /// Whether the packet passes.
    #[inline(always)]
    #[must_use]
    pub const fn passes(self) -> bool {
        (self as u8) < FIRST_DROP
    }

    /// The reason with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| *reason as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_fit_the_counter_table() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert!((*reason as u32) < REASONS);
            assert_eq!(Reason::from_number(*reason as u8), Some(*reason));
            assert!(Reason::ALL[..i].iter().all(|other| *other as u8 != *reason as u8));
        }
    }
}
