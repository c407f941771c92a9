//! The product: its object as lb-l4 has it, with maps that hold one frontend for each protocol and family.

use std::env;
use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::maps::{DevMapHash, HashMap, PerCpuArray};
use aya::programs::ProgramFd;
use aya::{Ebpf, EbpfLoader};
use lb_l4::abi::{self, Bucket, Dest, Frontend, MacKey, Settings, Stats, VipKey, WAYS};
use lb_l4::macs::{Macs, Slots};
use lb_l4::{hash, object};
use serde::Deserialize;

use crate::packets::{self, Hook, Packets, array, map, set};
use crate::plan::{self, BACKEND_PORT, BACKENDS, Family, MAC_OF_INGRESS, PORT, Packet, Plan, Protocol};

/// Jiffies are taken as this long; only the length of timeouts depends on it.
const HZ: u32 = 250;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Nat = abi::mode::NAT as isize,
    Dr = abi::mode::DR as isize,
    Tunnel = abi::mode::TUNNEL as isize,
}

/// How the product is set up.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Setup {
    pub hook: Hook,
    pub mode: Mode,
    /// Buckets of the flow table; a power of two.
    pub buckets: u32,
    /// Backends are where clients are, so that packets leave as they came.
    #[serde(default)]
    pub one_armed: bool,
}

pub struct Forwarder {
    ebpf: Ebpf,
    setup: Setup,
}

impl Forwarder {
    /// In the namespace of the balancer; `interfaces`: those that it may send to.
    pub fn load(setup: Setup, interfaces: &[u32]) -> Result<Self> {
        let mask = setup.buckets - 1;
        let mut loader = EbpfLoader::new();
        loader.override_global("bucket_mask", &mask, true).map_max_entries("flows", setup.buckets);
        let mut ebpf = match (env::var_os("LB_BENCH_OBJECT"), setup.hook) {
            (Some(file), _) => loader.load_file(file),
            (None, Hook::Xdp) => loader.load(object::XDP),
            (None, Hook::Tc) => loader.load(object::TC),
        }
        .context("the data plane does not load")?;
        packets::load(ebpf.program_mut(object::PROGRAM).context("no program `lb`")?)?;
        let mut forwarder = Self { ebpf, setup };
        forwarder.fill(interfaces)?;
        Ok(forwarder)
    }

    fn fill(&mut self, interfaces: &[u32]) -> Result<()> {
        let mut vip_bits = [0; 64];
        for family in [Family::V4, Family::V6] {
            let bit = hash::addr_bit(&plan::vip(family).into());
            vip_bits[bit >> 6] |= 1 << (bit & 63);
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                self.add_frontend(family, protocol)?;
            }
        }
        let mut egress = DevMapHash::try_from(map(&mut self.ebpf, "egress")?)?;
        for &interface in interfaces {
            egress.insert(interface, interface, None, 0)?;
        }
        let own = |ifindex: &u32| (MacKey { ifindex: *ifindex, mac: MAC_OF_INGRESS, zero: 0 }, abi::mac_state::OURS);
        let macs: Macs = interfaces.iter().map(own).collect();
        let mut known: HashMap<_, MacKey, u32> = HashMap::try_from(map(&mut self.ebpf, "macs")?)?;
        for (key, state) in &macs {
            known.insert(key, state, 0)?;
        }
        set(&mut self.ebpf, "settings", 0, settings(vip_bits, &Slots::of(&macs)))
    }

    fn add_frontend(&mut self, family: Family, protocol: Protocol) -> Result<()> {
        let number = family as u32 * 2 + u32::from(protocol == Protocol::Udp);
        let first_dest = number * BACKENDS;
        for backend in 0..BACKENDS {
            let dest = self.dest(number, plan::backend(family, self.setup.one_armed, backend));
            set(&mut self.ebpf, "dests", first_dest + backend, dest)?;
        }
        for entry in (first_dest..first_dest + BACKENDS).step_by(2) {
            set(&mut self.ebpf, "rings", entry / 2, u64::from(entry) | u64::from(entry + 1) << 32)?;
        }
        let frontend = self.frontend(family, protocol, u64::from(first_dest) << 32 | u64::from(BACKENDS));
        set(&mut self.ebpf, "frontends", number, frontend)?;
        let key = VipKey { addr: frontend.addr, port: frontend.port, proto: protocol as u8, ..VipKey::default() };
        Ok(HashMap::try_from(map(&mut self.ebpf, "vips")?)?.insert(key, number, 0)?)
    }

    fn dest(&self, frontend: u32, backend: IpAddr) -> Dest {
        Dest {
            addr: backend.into(),
            tunnel_src: plan::tunnel_source(backend).into(),
            frontend,
            weight: 1,
            port: if self.setup.mode == Mode::Nat { BACKEND_PORT.into() } else { 0.into() },
            incarnation: 1,
            state: abi::dest_state::READY,
            mode: self.setup.mode as u8,
            ..Dest::default()
        }
    }

    fn frontend(&self, family: Family, protocol: Protocol, ring: u64) -> Frontend {
        Frontend {
            ring,
            mode: self.setup.mode as u8,
            scheduler: abi::scheduler::ROUND_ROBIN,
            proto: protocol as u8,
            used: 1,
            established: 900 * HZ,
            syn: 60 * HZ,
            fin: 120 * HZ,
            close: 10 * HZ,
            udp: 300 * HZ,
            addr: plan::vip(family).into(),
            port: PORT.into(),
            ..Frontend::default()
        }
    }

    pub fn program(&self) -> Result<ProgramFd> {
        packets::fd(self.ebpf.program(object::PROGRAM).context("no program `lb`")?)
    }

    pub fn attach(&mut self, interface: &str) -> Result<()> {
        packets::attach(self.ebpf.program_mut(object::PROGRAM).context("no program `lb`")?, interface)
    }

    /// Lets `flows` clients open connections, by runs of the program: a whole handshake for TCP.
    pub fn establish(&mut self, packets: &mut Packets, plan: &Plan, interface: u32) -> Result<()> {
        packets.call(Some(&self.program()?))?;
        for step in handshake(plan.protocol(), self.setup) {
            let step = Plan { scattered: false, ..self.directed(plan, step) };
            packets.run(&step, interface, step.flows, &mut [])?;
        }
        Ok(())
    }

    /// The plan with another packet, which `true` sends the other way.
    pub fn directed(&self, plan: &Plan, (packet, reply): (Packet, bool)) -> Plan {
        let (server, port) = match (reply, self.setup.mode) {
            (false, _) => (plan::vip(plan.family), PORT),
            (true, _) => (plan::first_backend(plan.family, self.setup.one_armed), BACKEND_PORT),
        };
        Plan { packet, reply, server, port, ..*plan }
    }

    /// Packets forwarded so far, both ways, of all destinations.
    pub fn forwarded(&mut self) -> Result<u64> {
        let stats: PerCpuArray<_, Stats> = PerCpuArray::try_from(map(&mut self.ebpf, "stats")?)?;
        let mut total = 0;
        for dest in 0..4 * BACKENDS {
            total += stats.get(&dest, 0)?.iter().map(|stats| stats.packets_in + stats.packets_out).sum::<u64>();
        }
        Ok(total)
    }

    /// Every counter that is not 0, by its place in `enum counter`: for messages.
    pub fn counters(&mut self) -> Result<Vec<(usize, u64)>> {
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map(&mut self.ebpf, "counters")?)?;
        let mut found = Vec::new();
        for counter in 0..abi::COUNTERS {
            found.push((counter, counters.get(&(counter as u32), 0)?.iter().sum()));
        }
        found.retain(|&(_, count)| count > 0);
        Ok(found)
    }

    /// Forgets all flows.
    pub fn clear(&mut self) -> Result<()> {
        let empty = Bucket { lock: 0, overflow: 0, tags: [0; WAYS], zero: [0; 6], ways: [abi::Flow::default(); WAYS] };
        let mut flows = array::<Bucket>(&mut self.ebpf, "flows")?;
        for bucket in 0..self.setup.buckets {
            flows.set(bucket, empty, 0)?;
        }
        Ok(())
    }
}

fn handshake(protocol: Protocol, setup: Setup) -> Vec<(Packet, bool)> {
    match (protocol, setup.mode) {
        (Protocol::Tcp, Mode::Nat) => vec![(Packet::Syn, false), (Packet::SynAck, true), (Packet::Ack, false)],
        (Protocol::Tcp, _) => vec![(Packet::Syn, false), (Packet::Ack, false)],
        (Protocol::Udp, _) => vec![(Packet::Datagram, false), (Packet::Datagram, false)],
    }
}

fn settings(vip_bits: [u64; 64], slots: &Slots) -> Settings {
    Settings {
        flow_seed: 0x6A09_E667_F3BC_C908,
        ring_seed: 0xBB67_AE85_84CA_A73B,
        hz: HZ,
        tick_shift: 8,
        epoch: 1,
        new_flows: 0,
        sample_mask: u32::MAX,
        sample_frontend: u32::MAX,
        snat_first: 0x8000,
        snat_last: 0xFFFF,
        answers: 0,
        mac_factor: slots.factor,
        macs: slots.words,
        vip_bits,
    }
}
