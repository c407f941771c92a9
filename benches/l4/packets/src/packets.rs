//! The generator and the sink of bpf/packets.c.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::maps::{Array, Map, ProgramArray};
use aya::programs::{
    Program, ProgramFd, SchedClassifier, TcAttachType, TestRun, TestRunAttrs, TestRunOptions, TestRunResult, Xdp,
    XdpMode,
};
use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;

use crate::plan::{Family, Plan};

const XDP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/packets_xdp.o"));
const TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/packets_tc.o"));

/// Frames of one run are sent in batches of this many.
const LIVE_BATCH: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    Xdp,
    Tc,
}

pub struct Packets {
    ebpf: Ebpf,
    hook: Hook,
    nothing: ProgramFd,
}

/// What a run took.
pub struct Run {
    pub result: TestRunResult,
    /// CPU time of this thread.
    pub cpu: Duration,
    pub elapsed: Duration,
}

/// Where packets should go to.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    address: [u8; 4],
    netmask: [u8; 4],
}

impl Network {
    /// The one that this address is in; `prefix` is neither 0 nor more than 32.
    pub fn of(address: Ipv4Addr, prefix: u32) -> Self {
        let netmask = u32::MAX << (32 - prefix);
        Self { address: (address.to_bits() & netmask).to_be_bytes(), netmask: netmask.to_be_bytes() }
    }
}

/// What came to the sink.
pub struct Arrivals {
    pub right: u64,
    pub wrong: u64,
    /// One of them.
    pub sample: Vec<u8>,
}

impl Packets {
    pub fn load(hook: Hook) -> Result<Self> {
        let object = match hook {
            Hook::Xdp => XDP,
            Hook::Tc => TC,
        };
        let mut ebpf = Ebpf::load(object).context("the generator does not load")?;
        for (_, program) in ebpf.programs_mut() {
            load(program)?;
        }
        let nothing = fd(ebpf.program("nothing").context("no program `nothing`")?)?;
        Ok(Self { ebpf, hook, nothing })
    }

    /// What the generator calls with every packet; without one, nothing.
    pub fn call(&mut self, callee: Option<&ProgramFd>) -> Result<()> {
        let callee = callee.unwrap_or(&self.nothing);
        let map = self.ebpf.map_mut("next").context("no map `next`")?;
        Ok(ProgramArray::try_from(map)?.set(0, callee, 0)?)
    }

    /// Makes `repeat` packets as if they came in on `interface`, and calls the callee with each.
    pub fn run(&mut self, plan: &Plan, interface: u32, repeat: u32, out: &mut [u8]) -> Result<Run> {
        self.set(plan)?;
        let frame = plan.frame();
        let context = self.context(interface, frame.len());
        let options = TestRunOptions {
            data_in: Some(&frame),
            data_out: (!out.is_empty()).then_some(out),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::new()
        };
        self.timed(plan.family, options)
    }

    /// Sends `repeat` frames out of `interface`.
    pub fn send(&mut self, plan: &Plan, interface: u32, repeat: u32) -> Result<Run> {
        self.set(plan)?;
        let frame = plan.frame();
        let context = self.context(interface, frame.len());
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(LIVE_BATCH),
            ..TestRunOptions::new()
        };
        self.timed(plan.family, options)
    }

    fn set(&mut self, plan: &Plan) -> Result<()> {
        set(&mut self.ebpf, "plans", 0, plan.encode())
    }

    /// `struct xdp_md` or `struct __sk_buff` of linux/bpf.h.
    fn context(&self, interface: u32, length: usize) -> Vec<u8> {
        let words = match self.hook {
            Hook::Xdp => vec![0, length as u32, 0, interface, 0, 0],
            Hook::Tc => {
                let mut words = vec![0; 48];
                (words[9], words[10]) = (interface, interface);
                words
            }
        };
        words.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    fn timed(&self, family: Family, options: TestRunOptions<'_>) -> Result<Run> {
        let name = match family {
            Family::V4 => "generate4",
            Family::V6 => "generate6",
        };
        let program = self.ebpf.program(name).context("no generator")?;
        let (cpu, elapsed) = (now(ClockId::CLOCK_THREAD_CPUTIME_ID)?, now(ClockId::CLOCK_MONOTONIC)?);
        let result = match program {
            Program::Xdp(program) => program.test_run(options),
            Program::SchedClassifier(program) => program.test_run(options),
            _ => unreachable!("the object has no other programs"),
        }?;
        Ok(Run {
            result,
            cpu: now(ClockId::CLOCK_THREAD_CPUTIME_ID)? - cpu,
            elapsed: now(ClockId::CLOCK_MONOTONIC)? - elapsed,
        })
    }

    /// Attaches one of the object's programs, until this value is dropped.
    pub fn attach(&mut self, program: &str, interface: &str) -> Result<()> {
        attach(self.ebpf.program_mut(program).context("no such program")?, interface)
    }

    /// What the sink counts as right, from now on, and whether it answers to SYNs.
    pub fn expect(&mut self, network: Network, answers: bool) -> Result<()> {
        let Network { address: [a, b, c, d], netmask: [e, f, g, h] } = network;
        let mut seen = [0; 11];
        seen[0] = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        seen[1] = u64::from(answers);
        set(&mut self.ebpf, "arrivals", 0, seen)
    }

    pub fn arrivals(&mut self) -> Result<Arrivals> {
        let [_, _, right, wrong, sample @ ..]: [u64; 11] = array(&mut self.ebpf, "arrivals")?.get(&0, 0)?;
        let sample: Vec<u8> = sample.into_iter().flat_map(u64::to_ne_bytes).collect();
        Ok(Arrivals { right, wrong, sample: sample[..54].to_vec() })
    }
}

pub fn load(program: &mut Program) -> Result<()> {
    Ok(match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => unreachable!("neither object has other programs"),
    }?)
}

pub fn fd(program: &Program) -> Result<ProgramFd> {
    Ok(program.fd()?.try_clone()?)
}

pub fn attach(program: &mut Program, interface: &str) -> Result<()> {
    match program {
        Program::Xdp(program) => attach_xdp(program, interface),
        Program::SchedClassifier(program) => attach_tc(program, interface),
        _ => unreachable!("neither object has other programs"),
    }
}

fn attach_xdp(program: &mut Xdp, interface: &str) -> Result<()> {
    program.attach(interface, XdpMode::Driver).with_context(|| format!("XDP on {interface}"))?;
    Ok(())
}

fn attach_tc(program: &mut SchedClassifier, interface: &str) -> Result<()> {
    program.attach(interface, TcAttachType::Ingress).with_context(|| format!("tc on {interface}"))?;
    Ok(())
}

pub fn array<'a, V: aya::Pod>(ebpf: &'a mut Ebpf, name: &str) -> Result<Array<&'a mut aya::maps::MapData, V>> {
    Ok(Array::try_from(map(ebpf, name)?)?)
}

pub fn set<V: aya::Pod>(ebpf: &mut Ebpf, name: &str, entry: u32, value: V) -> Result<()> {
    Ok(array(ebpf, name)?.set(entry, value, 0)?)
}

pub fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).with_context(|| format!("no map `{name}`"))
}

pub fn now(clock: ClockId) -> Result<Duration> {
    Ok(clock_gettime(clock)?.into())
}

/// The index of an interface of this thread's network namespace.
pub fn index(interface: &str) -> Result<u32> {
    let index = nix::net::if_::if_nametoindex(interface).with_context(|| format!("interface {interface}"))?;
    ensure!(index != 0, "interface {interface} has no index");
    Ok(index)
}
