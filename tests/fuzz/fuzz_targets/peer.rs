//! What comes to the port of the nodes: no panic, and what is taken is what would be sent.
//!
//! An input is read as a datagram, as the content of one that a node has sent, and as a message of flow sync.
#![no_main]

use std::time::Instant;

use lb_core::peer::machine::{Arrival, Machine, Ours, PeerConfig};
use lb_core::peer::wire::{Header, Hello, Kind, NodeState, node_id, open, seal};
use lb_l4::sync::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let mut machine = machine(now);
    let arrival = Arrival { from: [10, 0, 0, 3].into(), hops: Some(255) };
    let _ = machine.handle_datagram(arrival, input, now);
    for kind in [Kind::Hello, Kind::Flows] {
        let header = Header { kind, node: node_id("lb-b"), session: 1, sequence: 1 };
        let sealed = seal(&header, input, None);
        assert_eq!(open(&sealed, None), Ok((header, input)));
        let _ = machine.handle_datagram(arrival, &sealed, now);
        while machine.poll_hello(now).is_some() {}
    }
    if let Ok(hello) = Hello::decode(input) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(message) = Message::decode(input) {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
});

fn machine(now: Instant) -> Machine {
    let ours = Ours { name: "lb-a".into(), state: NodeState::default(), key: None };
    let peer = PeerConfig { name: "lb-b".into(), address: ([10, 0, 0, 3], 9619).into() };
    Machine::new(ours, vec![peer], Box::new(|| 7), now)
}
