//! Model and program side by side: each packet goes through both, and everything is compared.

use std::net::SocketAddr;

use lb_l4::abi::{Counter, Frontend, Import};
use lb_l4::macs::Macs;

use super::compare::{self, Clocks};
use super::net::{self, CLIENTS};
use super::program::{Program, Ran};
use super::world;
use crate::checks;
use crate::model::{Config, Hook, Model, State, Verdict};
use crate::packet::{Build, OUR_MAC};

/// Far from 0, and so that adding a timeout wraps.
const NOW: u32 = u32::MAX - 1_000_000;
const BUCKETS: u32 = 64;

pub struct Bench {
    pub model: Model,
    program: Program,
    base: Config,
    real_now: u32,
}

/// Of the program alone: what it tells, and the telling.
pub type Story = (&'static str, fn(&mut Bench));

/// What the table of cases says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Not ours: untouched.
    Pass,
    /// Rewritten, the kernel forwards it.
    Up,
    /// By this interface.
    To(u32),
    Answer,
    Drop(Counter),
}

/// A frame that left.
pub struct Left(pub Vec<u8>);

impl Bench {
    /// Moves this thread into a namespace of its own. `None` without the rights to.
    pub fn open(hook: Hook) -> Option<Self> {
        net::enter(hook as usize).then(|| Self::with_buckets(hook, BUCKETS))
    }

    fn with_buckets(hook: Hook, buckets: u32) -> Self {
        let base = world::config(hook);
        let mut program = Program::load(hook, &base, buckets);
        program.attach();
        net::address();
        let mut bench = Self { model: Model::new(base.clone(), NOW), program, base, real_now: 0 };
        bench.program.maps.clear();
        bench.reset();
        bench
    }

    pub fn hook(&self) -> Hook {
        self.model.config.hook
    }

    /// Nothing has happened yet.
    pub fn reset(&mut self) {
        self.program.maps.write(&self.base);
        // Flows of other nodes are older than they look.
        self.program.maps.clear_flows();
        self.real_now = self.read_clock();
        self.program.maps.clear();
        self.model = Model::new(self.base.clone(), NOW);
        self.cut_into(0);
        self.samples();
    }

    /// A new flow tells when it was made.
    fn read_clock(&mut self) -> u32 {
        let probe =
            Build::udp(("198.51.100.250".parse().expect("an address"), 1), (world::vip(false), world::port::DR));
        self.program.run(CLIENTS, &probe.frame());
        let flow = self.program.maps.flows.read().iter().find_map(|bucket| {
            let way = bucket.tags.iter().position(|tag| *tag != 0)?;
            Some(bucket.ways[way])
        });
        flow.expect("a flow of the probe").created
    }

    /// From a client.
    pub fn send(&mut self, packet: &Build, expect: Expect) -> Left {
        self.frame(CLIENTS, &packet.frame(), expect)
    }

    /// From a backend.
    pub fn reply(&mut self, packet: &Build, expect: Expect) -> Left {
        self.frame(net::BACKENDS, &packet.frame(), expect)
    }

    pub fn frame(&mut self, ingress: u32, frame: &[u8], expect: Expect) -> Left {
        let left = self.unverified(ingress, frame, expect);
        if !matches!(expect, Expect::Pass | Expect::Drop(_)) {
            checks::verify(&left.0).unwrap_or_else(|error| panic!("{error} in {:02x?}", left.0));
        }
        left
    }

    /// A frame whose checksums were wrong before, or that the crate for checks does not read.
    pub fn unverified(&mut self, ingress: u32, frame: &[u8], expect: Expect) -> Left {
        let frame = &arriving(ingress, frame);
        let before = self.model.state.counters.clone();
        let verdict = self.model.forward(ingress, frame);
        let ran = self.program.run(ingress, frame).expect("a frame that the kernel accepts");
        let counted = |counter: Counter| self.model.state.counters[counter as usize] > before[counter as usize];
        assert!(agrees(expect, &verdict, counted), "the table says {expect:?}, the model {verdict:02x?}");
        if let Some(difference) = self.difference(ingress, frame, &verdict, &ran) {
            panic!("{difference}");
        }
        self.compare_state();
        Left(ran.frame)
    }

    /// A flow of another node; what becomes of it.
    pub fn enter(&mut self, flow: &Import) -> u8 {
        let (model, program) = (self.model.enter(flow), self.program.enter(flow));
        assert_eq!(model, program, "the model, and the program");
        self.compare_state();
        program
    }

    /// Without an expectation; what differs, if something does.
    pub fn try_frame(&mut self, ingress: u32, frame: &[u8]) -> Result<Verdict, String> {
        let frame = &arriving(ingress, frame);
        let Some(ran) = self.program.run(ingress, frame) else { return Ok(Verdict::Pass) };
        let verdict = self.model.forward(ingress, frame);
        match self.difference(ingress, frame, &verdict, &ran) {
            None => Ok(verdict),
            Some(difference) => Err(difference),
        }
    }

    pub fn compare_state(&self) {
        let lines = self.state_differences();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }

    pub fn state_differences(&self) -> Vec<String> {
        compare::differences(&self.model.state, &self.program_state())
    }

    pub fn program_state(&self) -> State {
        let clocks = Clocks { real_now: self.real_now, now: self.model.now };
        compare::read(&self.program.maps, &self.model.config, clocks)
    }

    /// Only through the program. Whether it has forwarded the frame.
    pub fn run(&mut self, ingress: u32, frame: &[u8]) -> bool {
        let ran = self.program.run(ingress, &arriving(ingress, frame)).expect("a frame that the kernel accepts");
        let codes: &[i32] = if self.hook() == Hook::Xdp { &[3, 4] } else { &[7] };
        codes.contains(&ran.code)
    }

    /// The kernel's time at the last reset.
    pub fn real_now(&self) -> u32 {
        self.real_now
    }

    /// That there are.
    pub fn shortcuts(&self) -> usize {
        self.program.maps.count_shortcuts()
    }

    /// For the program alone: all flows are gone, and what it knows otherwise stays.
    pub fn lose_flows(&mut self) {
        self.program.maps.clear_flows();
    }

    /// As `advance`, for the program alone.
    pub fn age(&mut self, jiffies: u32) {
        self.program.maps.age(jiffies);
    }

    fn difference(&self, ingress: u32, frame: &[u8], verdict: &Verdict, ran: &Ran) -> Option<String> {
        let (code, bytes) = expected(self.hook(), ingress, frame, verdict);
        let same = code == ran.code && bytes.is_none_or(|bytes| bytes == ran.frame);
        (!same).then(|| {
            let counters = self.program.maps.nonzero_counters();
            format!(
                "for {frame:02x?}\nmodel:   {code} {bytes:02x?}\nprogram: {} {:02x?}\nprogram's counters: {counters:?}",
                ran.code, ran.frame
            )
        })
    }

    /// The control plane writes.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.model.config);
        self.program.maps.write(&self.model.config);
    }

    /// It has learned of other addresses of this host.
    pub fn configure_macs(&mut self, change: impl FnOnce(&mut Macs)) {
        self.configure(|config| {
            change(&mut config.macs);
            world::find_macs_by_slot(config);
        });
    }

    pub fn frontend(&mut self, id: u32, change: impl FnOnce(&mut Frontend)) {
        self.configure(|config| change(&mut config.frontends[id as usize]));
    }

    /// The kernel does not know the backend's MAC address meanwhile.
    pub fn without_neighbour(&mut self, v6: bool, host: u8, then: impl FnOnce(&mut Self)) {
        self.without_neighbour_of(v6, 2, host, then);
    }

    /// The same on any network.
    pub fn without_neighbour_of(&mut self, v6: bool, net: u8, host: u8, then: impl FnOnce(&mut Self)) {
        net::forget_neighbour(v6, net, host);
        then(self);
        net::know_neighbour(v6, net, host);
    }

    /// It knows that of a host on the clients' network meanwhile.
    pub fn with_neighbour(&mut self, v6: bool, host: u8, then: impl FnOnce(&mut Self)) {
        net::know_neighbour(v6, 1, host);
        then(self);
        net::forget_neighbour(v6, 1, host);
    }

    /// So that limits in a tick begin anew; another tick for each family.
    pub fn fresh_tick(&mut self, v6: bool) {
        let top = 31 - self.real_now.leading_zeros();
        self.configure(|config| config.settings.tick_shift = if v6 { top - 1 } else { top });
    }

    /// Packets from here on will be cut into segments with so many bytes each; 0: they are not.
    pub fn cut_into(&mut self, segment: u32) {
        self.model.segment = segment as usize;
        self.program.segment = segment;
    }

    /// What the program has sampled since the last time.
    pub fn samples(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.program.maps.samples.next().map(|item| item.to_vec())).collect()
    }

    /// Jiffies pass: for the program, everything becomes older.
    pub fn advance(&mut self, jiffies: u32) {
        self.model.now = self.model.now.wrapping_add(jiffies);
        self.program.maps.age(jiffies);
    }

    /// Sum over a frontend's destinations of what `loads` says: active, inactive.
    pub fn loads(&self, frontend: u32) -> Vec<(u32, u32)> {
        let dests = self.model.config.dests.iter().enumerate().filter(|(_, dest)| dest.frontend == frontend);
        dests.map(|(i, _)| (self.model.state.loads[i].active, self.model.state.loads[i].inactive)).collect()
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.model.state.counters[counter as usize]
    }

    /// Indexes of a frontend's destinations.
    pub fn dests(&self, port: u16, v6: bool, proto: u8) -> Vec<usize> {
        let frontend = world::frontend(port, v6, proto);
        (0..self.model.config.dests.len()).filter(|&i| self.model.config.dests[i].frontend == frontend).collect()
    }
}

/// What is for us comes to whichever interface it comes in by.
fn arriving(ingress: u32, frame: &[u8]) -> Vec<u8> {
    match frame.strip_prefix(&OUR_MAC) {
        Some(rest) => [&net::own_mac(ingress), rest].concat(),
        None => frame.to_vec(),
    }
}

fn agrees(expect: Expect, verdict: &Verdict, counted: impl Fn(Counter) -> bool) -> bool {
    match (expect, verdict) {
        (Expect::Pass, Verdict::Pass) | (Expect::Answer, Verdict::Answer(_)) => true,
        (Expect::Up, Verdict::PassRewritten(_)) => counted(Counter::PassedUp),
        (Expect::To(interface), Verdict::Forward { ifindex, .. }) => interface == *ifindex,
        (Expect::Drop(reason), Verdict::Drop(other)) => reason == *other,
        _ => false,
    }
}

/// The program's return value, and the frame it leaves where that matters.
fn expected<'a>(hook: Hook, ingress: u32, frame: &'a [u8], verdict: &'a Verdict) -> (i32, Option<&'a [u8]>) {
    const XDP: [i32; 6] = [2, 2, 3, 4, 3, 1];
    const TC: [i32; 6] = [-1, 0, 7, 7, 7, 2];
    let codes = if hook == Hook::Xdp { XDP } else { TC };
    match verdict {
        Verdict::Pass => (codes[0], Some(frame)),
        Verdict::PassRewritten(bytes) => (codes[1], Some(bytes)),
        Verdict::Forward { ifindex, bytes } => (codes[if *ifindex == ingress { 2 } else { 3 }], Some(bytes)),
        Verdict::Answer(bytes) => (codes[4], Some(bytes)),
        Verdict::Drop(_) => (codes[5], None),
    }
}

impl Left {
    pub fn src(&self) -> SocketAddr {
        checks::ends(&self.0).0
    }

    pub fn dst(&self) -> SocketAddr {
        checks::ends(&self.0).1
    }
}
