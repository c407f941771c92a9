use super::*;

const A: &str = "10.0.0.2:9619";
const B: &str = "10.0.0.3:9619";

/// Two nodes and what is under way between them.
struct Pair {
    now: Instant,
    nodes: [Machine; 2],
    /// Everything that was ever sent, by the sender.
    sent: [Vec<Vec<u8>>; 2],
    /// Does what this one sends arrive?
    cut: [bool; 2],
    seed: u64,
}

fn random(seed: &mut u64) -> Random {
    *seed += 1000;
    let mut next = *seed;
    Box::new(move || {
        next += 1;
        next.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

fn node(seed: &mut u64, name: &str, other: &str, address: &str, secret: Option<&[u8]>, now: Instant) -> Machine {
    let peers = vec![PeerConfig { name: other.into(), address: address.parse().unwrap() }];
    let ours = Ours { name: name.into(), state: NodeState::default(), key: secret.map(Key::new) };
    Machine::new(ours, peers, random(seed), now)
}

impl Pair {
    fn new(secret: Option<&[u8]>) -> Self {
        let (now, mut seed) = (Instant::now(), 0);
        let nodes = [node(&mut seed, "lb-a", "lb-b", B, secret, now), node(&mut seed, "lb-b", "lb-a", A, secret, now)];
        Self { now, nodes, sent: Default::default(), cut: [false; 2], seed }
    }

    fn restart(&mut self, which: usize) {
        let (name, other, address) = [("lb-a", "lb-b", B), ("lb-b", "lb-a", A)][which];
        self.nodes[which] = node(&mut self.seed, name, other, address, None, self.now);
    }

    fn arrival(from: usize) -> Arrival {
        let address: SocketAddr = [A, B][from].parse().unwrap();
        Arrival { from: address.ip(), hops: Some(255) }
    }

    /// Until nothing is due any more in the next `for_ms`.
    fn run(&mut self, for_ms: u64) {
        let end = self.now + Duration::from_millis(for_ms);
        loop {
            for from in 0..2 {
                self.nodes[from].handle_time(self.now);
                while let Some((_, datagram)) = self.nodes[from].poll_hello(self.now) {
                    self.send(from, datagram);
                }
            }
            let next = self.nodes.iter().filter_map(Machine::poll_timeout).min().unwrap();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
        }
    }

    fn send(&mut self, from: usize, datagram: Vec<u8>) {
        if !self.cut[from] {
            let _ = self.nodes[1 - from].handle_datagram(Self::arrival(from), &datagram, self.now);
        }
        self.sent[from].push(datagram);
    }

    fn there(&self) -> [bool; 2] {
        [0, 1].map(|n| self.nodes[n].peers()[0].is_there())
    }
}

#[test]
fn two_nodes_find_each_other_at_once() {
    let mut pair = Pair::new(Some(b"secret"));
    pair.run(100);
    assert_eq!(pair.there(), [true, true]);
    assert!(pair.sent.iter().all(|sent| sent.len() <= 4), "{:?}", pair.sent.each_ref().map(Vec::len));
    pair.run(60_000);
    assert!(pair.sent.iter().all(|sent| sent.len() <= 65), "one a second");
    assert_eq!(pair.nodes[0].refused().iter().sum::<u64>(), 0);
}

#[test]
fn a_node_that_is_not_heard_is_lost_and_found_again() {
    let mut pair = Pair::new(None);
    pair.run(1500);
    pair.cut = [true, false];
    pair.run(4000);
    assert_eq!(pair.there(), [true, false], "only the other one does not hear");
    pair.cut = [false, false];
    pair.run(1100);
    assert_eq!(pair.there(), [true, true]);
}

#[test]
fn a_change_is_told_at_once() {
    let mut pair = Pair::new(None);
    pair.run(5_300);
    let state =
        NodeState { config: [1; 32], generation: 2, syncs_flows: true, in_sync: true, active: vec!["public".into()] };
    pair.nodes[0].set_state(state.clone(), pair.now);
    pair.run(0);
    assert_eq!(pair.nodes[1].peers()[0].state, state);
}

#[test]
fn a_restart_is_a_new_session_and_the_old_one_is_over() {
    let mut pair = Pair::new(None);
    pair.run(2000);
    let (_, late) = pair.nodes[0].flows(0, b"late").unwrap();
    pair.restart(0);
    pair.run(100);
    assert_eq!(pair.there(), [true, true]);
    let arrival = Pair::arrival(0);
    assert_eq!(pair.nodes[1].handle_datagram(arrival, &late, pair.now), Err(Refusal::Session));
    let (_, fresh) = pair.nodes[0].flows(0, b"fresh").unwrap();
    assert_eq!(pair.nodes[1].handle_datagram(arrival, &fresh, pair.now), Ok(Event::Flows(0, b"fresh")));
    assert_eq!(pair.nodes[1].handle_datagram(arrival, &fresh, pair.now), Err(Refusal::Replay));
}

#[test]
fn what_was_recorded_before_never_counts_again() {
    let mut pair = Pair::new(None);
    pair.run(3000);
    pair.restart(0);
    pair.run(3000);
    let state = NodeState { generation: 7, ..NodeState::default() };
    pair.nodes[0].set_state(state.clone(), pair.now);
    pair.run(1000);
    let recorded = pair.sent[0].clone();
    for datagram in &recorded {
        let event = pair.nodes[1].handle_datagram(Pair::arrival(0), datagram, pair.now);
        assert!(matches!(event, Err(Refusal::Replay) | Ok(Event::Begins(0))), "{event:?}");
    }
    assert_eq!(pair.nodes[1].peers()[0].state, state);
    // Not even when the node is gone.
    pair.cut = [true, true];
    pair.run(5000);
    for datagram in &recorded {
        pair.nodes[1].handle_datagram(Pair::arrival(0), datagram, pair.now).ok();
    }
    assert_eq!(pair.there(), [false, false]);
}

#[test]
fn strangers_are_refused_and_counted() {
    let mut pair = Pair::new(None);
    pair.run(1000);
    let (_, datagram) = pair.nodes[0].flows(0, b"flows").unwrap();
    let home = Pair::arrival(0);
    let cases = [
        (Arrival { from: [10, 0, 0, 9].into(), ..home }, datagram.clone(), Refusal::Address),
        (Arrival { hops: Some(254), ..home }, datagram.clone(), Refusal::Hops),
        (Arrival { hops: None, ..home }, datagram.clone(), Refusal::Hops),
        (home, b"hello?".to_vec(), Refusal::Wire(WireError::NotOurs)),
        (home, datagram[..20].to_vec(), Refusal::Wire(WireError::Malformed)),
    ];
    for (arrival, datagram, refusal) in cases {
        assert_eq!(pair.nodes[1].handle_datagram(arrival, &datagram, pair.now), Err(refusal));
    }
    // A node does not take what it sent itself for somebody else's.
    assert_eq!(pair.nodes[0].handle_datagram(home, &datagram, pair.now), Err(Refusal::UnknownNode));
    let counted: Vec<_> = Refusal::REASONS.into_iter().zip(pair.nodes[1].refused()).filter(|(_, n)| **n > 0).collect();
    assert_eq!(counted, [("not_ours", &1), ("malformed", &1), ("address", &3)]);
    assert_eq!(pair.nodes[1].handle_datagram(home, &datagram, pair.now), Ok(Event::Flows(0, b"flows")));
}

#[test]
fn with_a_secret_routers_may_be_between_and_others_may_not_speak() {
    let mut pair = Pair::new(Some(b"secret"));
    pair.run(1000);
    let (_, datagram) = pair.nodes[0].flows(0, b"flows").unwrap();
    let routed = Arrival { hops: Some(60), ..Pair::arrival(0) };
    assert_eq!(pair.nodes[1].handle_datagram(routed, &datagram, pair.now), Ok(Event::Flows(0, b"flows")));
    let mut stranger = node(&mut 5, "lb-a", "lb-b", B, Some(b"guess"), pair.now);
    let (_, hello) = stranger.poll_hello(pair.now).unwrap();
    let refused = pair.nodes[1].handle_datagram(Pair::arrival(0), &hello, pair.now);
    assert_eq!(refused, Err(Refusal::Wire(WireError::Signature)));
}

#[test]
fn a_flood_of_beginnings_is_answered_slowly() {
    let mut pair = Pair::new(None);
    pair.run(1000);
    let (mut answers, before) = (0, pair.now);
    for n in 0..10_000_u64 {
        let mut stranger = node(&mut (n * 7), "lb-a", "lb-b", B, None, pair.now);
        let (_, hello) = stranger.poll_hello(pair.now).unwrap();
        let _ = pair.nodes[1].handle_datagram(Pair::arrival(0), &hello, pair.now);
        answers += u32::from(pair.nodes[1].poll_hello(pair.now).is_some());
        pair.now += Duration::from_micros(100);
    }
    assert_eq!(pair.now - before, Duration::from_secs(1));
    assert!(answers <= 51, "{answers}");
    assert!(pair.there()[1], "the one that is there stays");
}

#[test]
fn two_that_are_active_for_one_router_learn_of_it() {
    let mut pair = Pair::new(None);
    pair.run(1000);
    let split = |pair: &Pair, of: usize| pair.nodes[of].splits().with(0).map(|router| router.to_string()).collect();
    for (node, active) in pair.nodes.iter_mut().zip([["inside", "public"], ["other", "public"]]) {
        let active = active.map(Arc::from).to_vec();
        node.set_state(NodeState { active, ..NodeState::default() }, pair.now);
    }
    for _ in 0..4 {
        pair.run(1000);
        pair.nodes.iter_mut().for_each(|node| drop(node.handle_roles(pair.now)));
    }
    assert_eq!([split(&pair, 0), split(&pair, 1)], [vec!["public".to_owned()], vec!["public".to_owned()]]);
    pair.cut = [true; 2];
    pair.run(5000);
    pair.nodes.iter_mut().for_each(|node| drop(node.handle_roles(pair.now)));
    let none: Vec<String> = split(&pair, 0);
    assert!(none.is_empty(), "who is not heard says nothing any more");
}
