//! Whose a connection is once its opener may not send any more. Not here: everything else about connections.

use super::*;

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
