//! What people look at while the agent is alive or dead: counters, connections, events, the list of maps.
//! Skipped, with the reason, when not root.

use isolator_agent::datapath::load::{Capacities, Loaded};
use isolator_agent::datapath::read::{Counter, Lost, ReadOnly};
use isolator_common::conntrack::Table;
use isolator_common::endpoint::Endpoint;
use isolator_common::event::Event;
use isolator_common::policy::{Direction, Kind, Word};
use isolator_common::reason::Reason;
use isolator_common::tables::{self, name};
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::Op;
use isolator_tests::image::{FRIEND, POD, STRANGER, small, writes};
use isolator_tests::netns::isolated;
use zerocopy::FromBytes;

#[test]
fn counters_belong_to_the_endpoint_and_not_to_its_slot() {
    isolated(|bpffs| {
        let dir = bpffs.join("isolator");
        let mut loaded = Loaded::open(&dir, &Capacities::small()).expect("open");
        let image = small(1);
        loaded.store.apply(&writes(&image)).expect("write");
        let frame = Frame::udp(FRIEND, POD, 40_000, 80).bytes();
        loaded.programs.run(Direction::Ingress, &frame, 3).expect("run");
        let maps = ReadOnly::open(&dir).expect("read");
        let bytes = 3 * frame.len() as u64;
        let wanted = [Counter { direction: Direction::Ingress, reason: Reason::Allowed, packets: 3, bytes }];
        assert_eq!(maps.counters(3).expect("counters"), wanted);
        assert_eq!(maps.counters(4).expect("counters"), []);
        // The same endpoint, changed: it keeps its counters.
        let endpoint = image.endpoints[&1];
        let changed = Endpoint { identity: 6000, ..endpoint };
        loaded.store.apply(&[Op::Endpoint(1, Some(changed))]).expect("write");
        assert_eq!(maps.counters(3).expect("counters"), wanted);
        // Another endpoint in its slot starts at zero.
        let other = Endpoint { id: 78, ..endpoint };
        loaded.store.apply(&[Op::Endpoint(1, Some(other))]).expect("write");
        assert_eq!(maps.counters(3).expect("counters"), []);
    });
}

#[test]
fn a_noisy_tenant_does_not_use_up_the_events_of_another() {
    isolated(|bpffs| {
        let mut loaded = Loaded::open(bpffs, &Capacities::small()).expect("open");
        let mut image = small(1);
        // A second is longer than the test.
        image.state.ticks_per_second = 1 << 20;
        image.state.events_per_second = 5;
        loaded.store.apply(&writes(&image)).expect("write");
        let maps = ReadOnly::open(bpffs).expect("read");
        let denied = Frame::udp(STRANGER, POD, 40_000, 80).bytes();
        loaded.programs.run(Direction::Ingress, &denied, 20).expect("run");
        let lost = Lost { over_rate: 15, ring_full: 0 };
        assert_eq!(maps.lost().expect("lost"), lost);
        let other = Endpoint { share: 1, ..image.endpoints[&1] };
        loaded.store.apply(&[Op::Endpoint(1, Some(other))]).expect("write");
        loaded.programs.run(Direction::Ingress, &denied, 5).expect("run");
        assert_eq!(maps.lost().expect("lost"), lost, "the other tenant had events left");
    });
}

#[test]
fn connections_events_and_maps_are_listed() {
    isolated(|bpffs| {
        let dir = bpffs.join("isolator");
        let mut loaded = Loaded::open(&dir, &Capacities::small()).expect("open");
        loaded.store.apply(&writes(&small(1))).expect("write");
        loaded.store.apply(&[Op::Cell(9, Word::new(Kind::AllowTracked, 7))]).expect("write");
        let tracked = Frame::udp(POD, FRIEND, 40_000, 80).bytes();
        assert!(loaded.programs.run(Direction::Egress, &tracked, 1).expect("run").passes());
        let denied = Frame::udp(POD, STRANGER, 40_000, 81).bytes();
        assert!(!loaded.programs.run(Direction::Egress, &denied, 1).expect("run").passes());
        let mut events = loaded.take_events().expect("events");
        assert!(loaded.take_events().is_err(), "only once");
        drop(loaded);
        let maps = ReadOnly::open(&dir).expect("read");
        let connections = maps.connections().expect("connections");
        let [(Table::HalfOpen, key, connection)] = connections[..] else { panic!("{connections:?}") };
        assert_eq!((key.endpoint, key.remote, key.local_port, key.remote_port), (77, FRIEND, 40_000, 80));
        assert_eq!((key.protocol, connection.rule), (17, 7));
        let mut reasons = Vec::new();
        while let Some(event) = events.next() {
            let event = Event::read_from_bytes(&event).expect("size of an event");
            reasons.push((event.remote, Reason::from_number(event.reason)));
        }
        assert_eq!(reasons, [(FRIEND, Some(Reason::New)), (STRANGER, Some(Reason::DefaultDeny))]);
        assert_eq!(maps.lost().expect("lost"), Lost::default());
        let summaries = maps.summaries().expect("maps");
        assert_eq!(summaries.len(), tables::ALL.len());
        let entries = |name| summaries.iter().find(|map| map.name == name).and_then(|map| map.entries);
        assert_eq!(entries(name::HALF_OPEN4), Some(1));
        assert_eq!(entries(name::ENDPOINTS), Some(1));
        assert_eq!(entries(name::EVENTS), None);
    });
}
