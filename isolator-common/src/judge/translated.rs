//! Packets to Service addresses. Where a pod sends one, the real backend is not known: the packet is marked with
//! the sender's slot and passes. After translation it is judged here, by the sender's egress rules, wherever it
//! leaves the stack: at a backend's interface, at a way out of the node, or where the node itself receives it.
//! Not here: which devices those are; who translates.

use super::connection::{endpoint_in as sender, track};
use super::scratch::{Judged, Scratch, Seen};
use super::{Arrival, Outcome, denied, fragmented, is_new, policy, report, view};
use crate::conntrack::protocol;
use crate::endpoint::Endpoint;
use crate::packet::{self, Bytes, Class, Fragment, Start};
use crate::policy::{Direction, Kind, Word};
use crate::reason::Reason;
use crate::tables::Tables;

/// A marked packet as it is met again.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// Slot of the endpoint that sent it.
    pub slot: u32,
    /// Whole length in bytes.
    pub length: u32,
    /// Where its bytes begin.
    pub start: Start,
}

/// Whether packets of this protocol are translated at all.
pub(super) const fn has_services(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// A packet whose destination is a Service address, where its pod sends it. The entry, if replies need one, is
/// by the Service's address: replies come from there.
#[inline(always)]
pub(super) fn to_service<T: Tables>(tables: &T, scratch: &mut Scratch) {
    let word = scratch.judged.word;
    if !has_services(scratch.outer.protocol) {
        scratch.outcome = Outcome::by(Reason::NoService, word.number());
    } else if matches!(word.kind(), Kind::ServiceTracked) {
        track(tables, scratch);
        // The verdict, and the event of a new connection, are the second judgement's. Only a reply needs none.
        if matches!(scratch.outcome.reason, Reason::New | Reason::Established | Reason::Allowed) {
            scratch.outcome = Outcome::by(Reason::ToService, word.number());
        }
    } else {
        // Noted, or the first answer would be taken for what opens the flow.
        is_new(tables, scratch);
        scratch.outcome = Outcome::by(Reason::ToService, word.number());
    }
}

/// Judges a marked packet by the egress rules of its sender. Counts and reports it as the sender's.
#[inline(always)]
pub fn judge_sent<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    scratch: &mut Scratch,
    marked: Marked,
) -> Outcome {
    let Some(sender) = sender(tables, marked.slot) else {
        return Outcome::because(Reason::UnknownEndpoint);
    };
    parse(tables, bytes, scratch, marked, sender);
    let scratch = bytes.settle(scratch);
    if matches!(scratch.outcome.reason, Reason::Allowed) {
        verdict(tables, scratch, sender);
    }
    finish(tables, bytes.settle(scratch), sender, Direction::Egress)
}

/// Judges a marked packet at the interface of a pod: by the egress rules of its sender, then by the ingress rules
/// of the pod. Those speak of the sender, whatever address the packet comes from by now.
#[inline(always)]
pub fn judge_received<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    scratch: &mut Scratch,
    slot: u32,
    arrival: Arrival,
) -> Outcome {
    let Arrival { ifindex, length, .. } = arrival;
    let sent = judge_sent(tables, bytes, scratch, Marked { slot, length, start: Start::Ethernet });
    if !sent.reason.passes() {
        return sent;
    }
    let Some(receiver) = tables.endpoint(ifindex) else {
        return Outcome::because(Reason::UnknownEndpoint);
    };
    let scratch = bytes.settle(scratch);
    receive(tables, bytes, scratch, receiver, slot);
    finish(tables, bytes.settle(scratch), receiver, Direction::Ingress)
}

/// Everything up to the facts that rules speak of. `Allowed` stands for "go on".
#[inline(never)]
fn parse<T: Tables, B: Bytes>(
    tables: &T,
    bytes: B,
    scratch: &mut Scratch,
    marked: Marked,
    sender: &Endpoint,
) {
    scratch.state = tables.state();
    scratch.judged = Judged::NOTHING;
    scratch.length = marked.length;
    let refused = packet::parse_from(bytes, marked.start, &mut scratch.outer);
    let scratch = bytes.settle(scratch);
    let reason = match refused {
        Some(reason) => reason,
        None if scratch.outer.end > marked.length => Reason::Truncated,
        None if scratch.state.generation == 0 => Reason::NoState,
        // Only flows are marked.
        None if !matches!(scratch.outer.class, Class::Flow) => Reason::BadHeader,
        None if matches!(scratch.outer.fragment, Fragment::Whole) => Reason::Allowed,
        None => fragmented(tables, sender, &mut scratch.outer, scratch.state.ticks_per_second)
            .unwrap_or(Reason::Allowed),
    };
    scratch.outcome = Outcome::because(reason);
}

/// The sender's rules.
#[inline(never)]
fn verdict<T: Tables>(tables: &T, scratch: &mut Scratch, sender: &Endpoint) {
    if sender.owns(&scratch.outer.destination) {
        scratch.outcome = Outcome::because(Reason::Loopback);
        return;
    }
    scratch.see(view(sender, &scratch.outer, Direction::Egress));
    let Seen { key, port, .. } = &scratch.seen;
    scratch.judged = policy(tables, sender, scratch.state.generation, Direction::Egress, &key.remote, *port);
    let word = scratch.judged.word;
    scratch.outcome = if word.allows() {
        Outcome { reason: Reason::Allowed, rule: word.number(), new: is_new(tables, scratch) }
    } else if word.translates() {
        Outcome::by(Reason::NoService, word.number())
    } else {
        denied(scratch.judged)
    };
}

/// The receiver's rules, as if the packet came from its sender.
#[inline(never)]
fn receive<T: Tables, B: Bytes>(tables: &T, bytes: B, scratch: &mut Scratch, receiver: &Endpoint, slot: u32) {
    let Some(sender) = sender(tables, slot) else {
        scratch.outcome = Outcome::because(Reason::UnknownEndpoint);
        return;
    };
    scratch.see(view(receiver, &scratch.outer, Direction::Ingress));
    if receiver.owns(&scratch.outer.source) {
        scratch.outcome = Outcome::because(Reason::Loopback);
        return;
    }
    // Replies go to the address that the packet comes from: that is the entry's.
    let own = receiver.slot == slot;
    let Seen { key, port, .. } = &scratch.seen;
    let remote = sender.address(key.remote.is_v4());
    scratch.sender = if remote.halves() == key.remote.halves() { 0 } else { slot + 1 };
    scratch.judged = policy(tables, receiver, scratch.state.generation, Direction::Ingress, &remote, *port);
    if own {
        // Through a Service to itself. Its reply to the node's address is a reply all the same.
        scratch.judged.word = Word::new(Kind::AllowTracked, 0);
    }
    let scratch = bytes.settle(scratch);
    let word = scratch.judged.word;
    match word.kind() {
        Kind::AllowTracked => {
            track(tables, scratch);
            if own && scratch.outcome.reason.passes() {
                scratch.outcome = Outcome::because(Reason::Loopback);
            }
        }
        Kind::Allow => {
            let new = is_new(tables, scratch);
            scratch.outcome = Outcome { reason: Reason::Allowed, rule: word.number(), new };
        }
        _ => scratch.outcome = denied(scratch.judged),
    }
    scratch.sender = 0;
}

/// Counts, reports, and hands the outcome back.
#[inline(never)]
fn finish<T: Tables>(
    tables: &T,
    scratch: &mut Scratch,
    endpoint: &Endpoint,
    direction: Direction,
) -> Outcome {
    let outcome = scratch.outcome;
    tables.count(endpoint, direction, outcome.reason, scratch.length);
    if (outcome.new || !outcome.reason.passes()) && tables.may_report(endpoint) {
        report(tables, endpoint, scratch, direction);
    }
    outcome
}
