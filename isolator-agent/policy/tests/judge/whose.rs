//! Whose a connection is once its opener may not send any more. Not here: everything else about connections.

use super::*;
use isolator_common::conntrack::ConnectionKey;
use isolator_common::endpoint::Marking;
use isolator_policy::datapath::adopt::{Socket, adopt};

/// Both ends may open connections. Then one of them may not send any more, and the other still answers.
#[test]
fn a_late_answer_does_not_take_over_a_connection_whose_opener_is_denied() {
    let open = || [all(Effect::AllowTracked), all(Effect::AllowTracked), all(Effect::Tenancy)];
    let udp = [Frame::udp(POD, PEER, 40000, 53), Frame::udp(PEER, POD, 53, 40000)];
    let tcp = [client(Frame::ACK), server(Frame::ACK)];
    for [ask, answer] in [udp, tcp] {
        for opener in Direction::BOTH {
            // By who asks: the pod, or its peer.
            let (question, reply) = if opener == Egress { (&ask, &answer) } else { (&answer, &ask) };
            for answer_first in [false, true] {
                let mut memory = node(open(), open());
                assert_eq!(at(&memory, opener, question), Reason::New);
                assert_eq!(at(&memory, opener.opposite(), reply), Reason::Reply);
                let [egress, ingress] =
                    if opener == Egress { [closed(), open()] } else { [open(), closed()] };
                enforce(&mut memory, &compiled(egress, ingress, [false; 2]));
                for round in 0..3 {
                    if round > 0 || answer_first {
                        assert_eq!(at(&memory, opener.opposite(), reply), Reason::Allowed, "{opener:?}");
                    }
                    assert_eq!(at(&memory, opener, question), Reason::DefaultDeny, "{opener:?} {round}");
                }
                enforce(&mut memory, &compiled(open(), open(), [false; 2]));
                assert_eq!(at(&memory, opener, question), Reason::Established);
            }
        }
    }
}

/// A connection that the other end opens anew is its own.
#[test]
fn who_may_not_send_any_more_still_answers_a_new_connection() {
    let open = || [all(Effect::AllowTracked), all(Effect::AllowTracked), all(Effect::Tenancy)];
    let mut memory = node(open(), open());
    assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::New);
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::Reply);
    enforce(&mut memory, &compiled(closed(), open(), [false; 2]));
    assert_eq!(at(&memory, Egress, &client(Frame::ACK)), Reason::DefaultDeny);
    assert_eq!(at(&memory, Ingress, &server(Frame::SYN)), Reason::New);
    assert_eq!(at(&memory, Egress, &client(Frame::SYN_ACK)), Reason::Reply);
}

/// As long as the opener tries, however long that is.
#[test]
fn a_denied_opener_that_goes_on_sending_keeps_its_connection_from_the_other_end() {
    let open = || [all(Effect::AllowTracked), all(Effect::AllowTracked), all(Effect::Tenancy)];
    let (question, answer) = (Frame::udp(PEER, POD, 40000, 53), Frame::udp(POD, PEER, 53, 40000));
    let mut memory = node(open(), open());
    assert_eq!(at(&memory, Ingress, &question), Reason::New);
    assert_eq!(at(&memory, Egress, &answer), Reason::Reply);
    enforce(&mut memory, &compiled(open(), closed(), [false; 2]));
    let step = lifetime::OTHER / 2;
    for second in (step..10 * lifetime::OTHER).step_by(step as usize) {
        memory.set_now(second * TICKS);
        assert_eq!(at(&memory, Egress, &answer), Reason::Allowed, "{second} s");
        assert_eq!(at(&memory, Ingress, &question), Reason::DefaultDeny, "{second} s");
    }
    // It gives up, and the other end goes on: that is a flow of its own.
    memory.set_now((10 * lifetime::OTHER + lifetime::OTHER) * TICKS);
    assert_eq!(at(&memory, Egress, &answer), Reason::New);
    assert_eq!(at(&memory, Ingress, &question), Reason::Reply);
}

/// A flow that needed no entry, until one end was isolated.
#[test]
fn a_late_answer_does_not_take_over_a_flow_that_had_no_entry() {
    let free = || [all(Effect::Allow), all(Effect::Allow), all(Effect::Tenancy)];
    let tracked = || [all(Effect::AllowTracked), all(Effect::Allow), all(Effect::Tenancy)];
    let asked = |asker, other| {
        [
            [Frame::udp(asker, other, 40000, 53), Frame::udp(other, asker, 53, 40000)],
            [
                Frame::tcp(asker, other, 40000, 80, Frame::SYN),
                Frame::tcp(other, asker, 80, 40000, Frame::SYN_ACK),
            ],
            [Frame::echo(asker, other, 7, false), Frame::echo(other, asker, 7, true)],
        ]
    };
    for (opener, flows) in [(Ingress, asked(PEER, POD)), (Egress, asked(POD, PEER))] {
        for [question, answer] in flows {
            let mut memory = node(free(), free());
            assert_eq!(at(&memory, opener, &question), Reason::Allowed);
            let [egress, ingress] =
                if opener == Egress { [closed(), tracked()] } else { [tracked(), closed()] };
            enforce(&mut memory, &compiled(egress, ingress, [false; 2]));
            // As long as both go on.
            for round in 0..20 {
                memory.set_now(round * lifetime::OTHER / 2 * TICKS);
                assert_eq!(at(&memory, opener.opposite(), &answer), Reason::Allowed, "{question:?}");
                assert_eq!(at(&memory, opener, &question), Reason::DefaultDeny, "{question:?}");
            }
        }
    }
}

/// The same where the opener's address and port are those of a Service: a port that somebody chose at a node with node ports.
#[test]
fn an_answer_to_a_service_address_does_not_take_over_a_flow_that_came_from_there() {
    let to = |effect| [all(effect), all(Effect::Allow), all(Effect::Tenancy)];
    let udp = [Frame::udp(PEER, POD, 30080, 53), Frame::udp(POD, PEER, 53, 30080)];
    let tcp =
        [Frame::tcp(PEER, POD, 30080, 80, Frame::SYN), Frame::tcp(POD, PEER, 80, 30080, Frame::SYN_ACK)];
    for [question, answer] in [udp, tcp] {
        let mut memory = node(to(Effect::Allow), to(Effect::Allow));
        assert_eq!(at(&memory, Ingress, &question), Reason::Allowed);
        enforce(&mut memory, &compiled(to(Effect::ServiceTracked), closed(), [true; 2]));
        memory.image.marking = Marking::new(0xff00_0000).expect("one run of bits");
        for round in 0..20 {
            memory.set_now(round * lifetime::OTHER / 2 * TICKS);
            assert_eq!(at(&memory, Egress, &answer), Reason::ToService, "{question:?}");
            assert_eq!(at(&memory, Ingress, &question), Reason::DefaultDeny, "{question:?}");
        }
    }
}

/// A question to a Service that needs no entry is noted as its answer is: the next question of the same ports opens a flow, once
/// the pod is isolated.
#[test]
fn what_is_sent_to_a_service_is_no_answer_to_what_came_from_there() {
    let free = || [all(Effect::Allow), all(Effect::Allow), all(Effect::Tenancy)];
    let to = |effect| [all(effect), all(Effect::Allow), all(Effect::Tenancy)];
    let (question, answer) = (Frame::udp(POD, PEER, 40000, 53), Frame::udp(PEER, POD, 53, 40000));
    let mut memory = Memory::default();
    for (egress, ingress) in [(to(Effect::Service), free()), (to(Effect::ServiceTracked), closed())] {
        let reply = if ingress == free() { Reason::Allowed } else { Reason::Reply };
        enforce(&mut memory, &compiled(egress, ingress, [true; 2]));
        memory.image.marking = Marking::new(0xff00_0000).expect("one run of bits");
        assert_eq!(at(&memory, Egress, &question), Reason::ToService);
        assert_eq!(at(&memory, Ingress, &answer), reply);
    }
}

/// A question to a Service that needed no entry. When the pod is isolated and everybody may come in, the answer may; it does not
/// make the flow the Service's, or the next question would pass as a reply and nobody would judge the backend.
#[test]
fn an_answer_from_a_service_leaves_a_flow_that_had_no_entry_to_the_second_judgement() {
    let to = |effect| [all(effect), all(Effect::AllowTracked), all(Effect::Tenancy)];
    let from = |effect| [all(effect), all(effect), all(Effect::Tenancy)];
    let (question, answer) = (Frame::udp(POD, PEER, 40000, 53), Frame::udp(PEER, POD, 53, 40000));
    for questions_after in 0..3 {
        let mut memory = node(to(Effect::Service), from(Effect::Allow));
        memory.image.marking = Marking::new(0xff00_0000).expect("one run of bits");
        assert_eq!(at(&memory, Egress, &question), Reason::ToService);
        assert_eq!(at(&memory, Ingress, &answer), Reason::Allowed);
        let isolated = compiled(to(Effect::ServiceTracked), from(Effect::AllowTracked), [true; 2]);
        enforce(&mut memory, &isolated);
        memory.image.marking = Marking::new(0xff00_0000).expect("one run of bits");
        for _ in 0..questions_after {
            assert_eq!(at(&memory, Egress, &question), Reason::ToService);
        }
        for _ in 0..3 {
            let passes = at(&memory, Ingress, &answer);
            assert!(matches!(passes, Reason::Allowed | Reason::Reply), "{passes:?}");
            assert_eq!(at(&memory, Egress, &question), Reason::ToService, "{questions_after}");
        }
    }
}

/// What a pod sends to a Service address in a connection that came from there is judged a second time, unless the policy in
/// force has let the opener's packets in.
#[test]
fn what_is_sent_to_a_service_passes_unmarked_only_as_a_reply() {
    let to = |effect| [all(effect), all(Effect::AllowTracked), all(Effect::Tenancy)];
    let from = |effect| [all(effect), all(effect), all(Effect::Tenancy)];
    let tcp = || [server(Frame::ACK), client(Frame::ACK)];
    let udp = || [Frame::udp(PEER, POD, 53, 40000), Frame::udp(POD, PEER, 40000, 53)];
    for ([received, sent], first) in [(tcp(), false), (udp(), false), (tcp(), true), (udp(), true)] {
        let rules = |effect| compiled(to(Effect::ServiceTracked), from(effect), [first; 2]);
        let mut memory = Memory::default();
        let changes = [Effect::AllowTracked, Effect::DefaultDeny, Effect::AllowTracked, Effect::DefaultDeny];
        for (round, effect) in changes.into_iter().enumerate() {
            enforce(&mut memory, &rules(effect));
            memory.image.marking = Marking::new(0xff00_0000).expect("one run of bits");
            if round > 0 {
                assert_eq!(at(&memory, Egress, &sent), Reason::ToService, "not judged by this policy");
            }
            if effect == Effect::AllowTracked {
                assert!(at(&memory, Ingress, &received).passes());
                assert_eq!(at(&memory, Egress, &sent), Reason::Reply);
            }
        }
    }
}

/// A node port, the rest of the node is denied: what it answers must not make the connection the node's, or what the pod
/// sends there would pass as a reply and nobody would judge the backend.
#[test]
fn an_answer_from_a_node_port_leaves_what_is_sent_there_to_the_second_judgement() {
    let key = port_key(protocol::TCP, 80);
    let (service, closed) = (verdict(Effect::ServiceTracked), verdict(Effect::DefaultDeny));
    let port = CellSpec::ByPort([(0, closed), (key, service), (key + 1, closed)].into());
    let rules = |outside| {
        let egress = [port.clone(), all(Effect::DefaultDeny), all(Effect::Tenancy)];
        compiled(egress, [all(Effect::AllowTracked), all(outside), all(Effect::Tenancy)], [true; 2])
    };
    let mut memory = Memory::default();
    for outside in [Effect::DefaultDeny, Effect::AllowTracked] {
        enforce(&mut memory, &rules(outside));
        memory.image.marking = Marking::new(0xff00_0000).expect("one run of bits");
        if outside == Effect::DefaultDeny {
            assert_eq!(at(&memory, Egress, &client(Frame::SYN)), Reason::ToService);
            assert_eq!(at(&memory, Ingress, &server(Frame::SYN_ACK)), Reason::Reply);
        } else {
            assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::Allowed, "a late answer");
        }
        for _ in 0..2 {
            assert_eq!(at(&memory, Egress, &client(Frame::ACK)), Reason::ToService, "{outside:?}");
            assert_eq!(at(&memory, Ingress, &server(Frame::ACK)), Reason::Reply, "{outside:?}");
        }
    }
}

/// What the socket tables tell of connections in the middle, of which packets do not say who opened them.
#[test]
fn the_entries_of_sockets_say_whose_a_connection_is() {
    let free = || [all(Effect::Allow), all(Effect::Allow), all(Effect::Tenancy)];
    let tracked = || [all(Effect::AllowTracked), all(Effect::Allow), all(Effect::Tenancy)];
    for accepted in [false, true] {
        for (protocol, frame) in [
            (protocol::TCP, (|from, to, a, b| Frame::tcp(from, to, a, b, Frame::ACK)) as fn(_, _, _, _) -> _),
            (protocol::UDP, Frame::udp),
        ] {
            let socket = Socket { protocol, remote: PEER, local_port: 5000, remote_port: 6000, accepted };
            let (sent, received) = (frame(POD, PEER, 5000, 6000), frame(PEER, POD, 6000, 5000));
            let adopted = |memory: &Memory| -> Vec<(ConnectionKey, Connection)> {
                adopt(memory, &memory.image.endpoints[&IFINDEX], &[socket], 0)
            };
            // Nothing goes in any more. Nobody but the socket knows who opened this.
            let mut memory = node(free(), free());
            enforce(&mut memory, &compiled(tracked(), closed(), [false; 2]));
            let entries = adopted(&memory);
            assert_eq!(entries.len(), 1);
            memory.adopt(&entries);
            for _ in 0..3 {
                let (out, back) = if accepted {
                    (Reason::Allowed, Reason::DefaultDeny)
                } else {
                    (Reason::Established, Reason::Reply)
                };
                assert_eq!(at(&memory, Ingress, &received), back, "{socket:?}");
                assert_eq!(at(&memory, Egress, &sent), out, "{socket:?}");
            }
            // Where everything is open or everything closed, nothing needs an entry.
            assert_eq!(adopted(&node(free(), free())), []);
            assert_eq!(adopted(&node(closed(), closed())), []);
        }
    }
}
