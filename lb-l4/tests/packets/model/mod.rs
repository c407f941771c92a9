//! The forwarder once more, in plain Rust: the oracle that the program is compared with. It is
//! written from what the forwarder shall do and shares no code with it. It has no buckets and no
//! capacity, for it is about packets; a table that is full has tests of its own (table.rs).

mod answer;
mod checksum;
mod flow;
mod forward;
mod hop;
mod icmp;
mod parse;
mod rewrite;
mod schedule;
mod state;
mod sync;

use parse::Fragment;
pub use parse::{Family, ICMP, ICMP6, Packet, TCP, UDP, flags, parse};
pub use state::{Config, Entry, Hook, HopState, Route, State};

use lb_l4::abi::{Counter, MacKey, mac_state};

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was touched.
    Pass,
    /// Rewritten, and left to the kernel to forward.
    PassRewritten(Vec<u8>),
    Forward {
        ifindex: u32,
        bytes: Vec<u8>,
    },
    /// Sent back to where it came from.
    Answer(Vec<u8>),
    Drop(Counter),
}

pub struct Model {
    pub config: Config,
    pub state: State,
    /// Jiffies.
    pub now: u32,
    /// Bytes of payload that each segment of the next packet will have; 0: it is one packet. Only tc
    /// sees packets before they are cut (GSO).
    pub segment: usize,
}

impl Model {
    pub fn new(config: Config, now: u32) -> Self {
        let state = State::new(&config);
        Self { config, state, now, segment: 0 }
    }

    /// A frame arrives on an interface.
    pub fn forward(&mut self, ingress: u32, frame: &[u8]) -> Verdict {
        let Some(packet) = parse(frame) else { return Verdict::Pass };
        let verdict = match self.state_of_mac(ingress, frame) {
            mac_state::OURS => self.packet(ingress, &packet),
            mac_state::STANDBY => self.stand_by(&packet),
            _ => Verdict::Pass,
        };
        if let Verdict::Drop(reason) = verdict {
            self.count(reason);
        }
        verdict
    }

    fn state_of_mac(&self, ingress: u32, frame: &[u8]) -> u32 {
        let mac: [u8; 6] = frame[..6].try_into().expect("six bytes");
        let is_group = mac[0] & 1 == 1; // IEEE 802, section 8.2
        let known = self.config.macs.get(&MacKey { ifindex: ingress, mac, zero: 0 });
        known.filter(|_| !is_group).copied().unwrap_or(mac_state::NONE)
    }

    /// The kernel is not to see what the active node forwards.
    fn stand_by(&self, packet: &Packet<'_>) -> Verdict {
        let later = matches!(packet.fragment, Fragment::Later(_));
        let key = packet.flow_key().filter(|_| packet.has_transport() && !packet.is_from_nobody() && !later);
        match key {
            Some(key) if self.state.flows.contains_key(&key) || self.frontend_of(&key).is_some() => {
                Verdict::Drop(Counter::Standby)
            }
            _ => Verdict::Pass,
        }
    }

    fn count(&mut self, counter: Counter) {
        self.state.counters[counter as usize] += 1;
    }

    fn tick(&self) -> u32 {
        self.now >> self.config.settings.tick_shift
    }

    fn begin_tick(&mut self) {
        let tick = self.tick();
        if self.state.tick != tick {
            (self.state.tick, self.state.new_flows, self.state.answers) = (tick, 0, 0);
        }
    }

    /// Times are compared by their difference, for they wrap.
    fn has_passed(&self, expires: u32) -> bool {
        self.now.wrapping_sub(expires) as i32 >= 0
    }
}
