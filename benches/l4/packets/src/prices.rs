//! ns per packet: the generator calling the product, less the generator calling nothing.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::checksum;
use crate::forwarder::{Forwarder, Setup};
use crate::packets::{Hook, Packets, index};
use crate::plan::{Family, Packet, Plan, Protocol, vip};

#[derive(Deserialize)]
pub struct Request {
    rounds: u32,
    ingress: String,
    egress: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    setup: Setup,
    family: Family,
    protocol: Protocol,
    kind: Kind,
    flows: u32,
    /// Of one measurement.
    packets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// From the clients, in flows that stand.
    Forward,
    /// From the backends.
    Reply,
    /// Each packet opens a flow, in a table that was empty before the measurement.
    New,
    /// The same in a table that is full.
    Flood,
}

#[derive(Serialize)]
pub struct Price {
    /// ns per packet, with the harness.
    gross: f64,
    harness: f64,
}

struct Bench<'a> {
    case: &'a Case,
    forwarder: Forwarder,
    plan: Plan,
    ingress: u32,
}

/// For each case, one price a round.
pub fn measure(request: &Request) -> Result<Vec<Vec<Price>>> {
    let (ingress, egress) = (index(&request.ingress)?, index(&request.egress)?);
    let mut generators = Generators { xdp: Packets::load(Hook::Xdp)?, tc: Packets::load(Hook::Tc)? };
    // Without a program the interface has no receive queue that a test run could name.
    generators.xdp.attach("pass", &request.ingress)?;
    let mut benches = Vec::new();
    for case in &request.cases {
        let forwarder = Forwarder::load(case.setup, &[ingress, egress])?;
        benches.push(Bench::new(case, forwarder, ingress, generators.of(case.setup.hook))?);
    }
    let mut prices: Vec<Vec<Price>> = benches.iter().map(|_| Vec::new()).collect();
    for _ in 0..request.rounds {
        for (bench, prices) in benches.iter_mut().zip(&mut prices) {
            prices.push(bench.price(generators.of(bench.case.setup.hook))?);
        }
    }
    Ok(prices)
}

struct Generators {
    xdp: Packets,
    tc: Packets,
}

impl Generators {
    fn of(&mut self, hook: Hook) -> &mut Packets {
        match hook {
            Hook::Xdp => &mut self.xdp,
            Hook::Tc => &mut self.tc,
        }
    }
}

impl<'a> Bench<'a> {
    fn new(case: &'a Case, forwarder: Forwarder, ingress: u32, packets: &mut Packets) -> Result<Self> {
        let mut bench = Self { case, plan: case.plan(), forwarder, ingress };
        match case.kind {
            Kind::New => {}
            Kind::Flood => bench.flood(packets)?,
            Kind::Forward | Kind::Reply => {
                bench.forwarder.establish(packets, &bench.plan, ingress)?;
                bench.plan = bench.forwarder.directed(&bench.plan, (bench.plan.packet, case.kind == Kind::Reply));
            }
        }
        bench.check(packets)?;
        Ok(bench)
    }

    /// Fills the table three times over.
    fn flood(&mut self, packets: &mut Packets) -> Result<()> {
        packets.call(Some(&self.forwarder.program()?))?;
        self.plan.first += self.advance(3 * 8 * self.case.setup.buckets);
        packets.run(&self.plan, self.ingress, self.plan.first, &mut [])?;
        Ok(())
    }

    /// That one packet comes out as it should.
    fn check(&mut self, packets: &mut Packets) -> Result<()> {
        let mut out = [0; 256];
        packets.call(Some(&self.forwarder.program()?))?;
        let before = self.forwarder.forwarded()?;
        let run = packets.run(&self.plan, self.ingress, 1, &mut out)?;
        self.plan.first += self.advance(1);
        let counters = self.forwarder.counters()?;
        ensure!(
            self.forwarder.forwarded()? == before + 1,
            "verdict {}, and not counted as forwarded; counters {counters:?}",
            run.result.return_value
        );
        checksum::verify(&out[..run.result.data_size_out as usize])
    }

    fn price(&mut self, packets: &mut Packets) -> Result<Price> {
        self.prepare(packets)?;
        packets.call(None)?;
        let harness = self.run(packets)?;
        let before = self.forwarder.forwarded()?;
        packets.call(Some(&self.forwarder.program()?))?;
        let gross = self.run(packets)?;
        let forwarded = self.forwarder.forwarded()? - before;
        let counters = self.forwarder.counters()?;
        ensure!(
            forwarded == u64::from(self.case.packets),
            "{forwarded} of {} packets were forwarded; counters {counters:?}",
            self.case.packets
        );
        Ok(Price { gross, harness })
    }

    /// The cases before this one have used the caches.
    fn prepare(&mut self, packets: &mut Packets) -> Result<()> {
        match self.case.kind {
            Kind::New => self.forwarder.clear()?,
            Kind::Flood => {}
            Kind::Forward | Kind::Reply => {
                packets.call(Some(&self.forwarder.program()?))?;
                packets.run(&self.plan, self.ingress, self.case.flows, &mut [])?;
            }
        }
        Ok(())
    }

    fn run(&mut self, packets: &mut Packets) -> Result<f64> {
        let repeat = self.case.packets;
        let run = packets.run(&self.plan, self.ingress, repeat, &mut []).context("BPF_PROG_TEST_RUN")?;
        self.plan.first += self.advance(repeat);
        Ok(run.cpu.as_nanos() as f64 / f64::from(repeat))
    }

    /// How far the numbers of flows go on: only where each packet is a flow of its own.
    fn advance(&self, packets: u32) -> u32 {
        if self.plan.flows == 0 { packets } else { 0 }
    }
}

impl Case {
    fn plan(&self) -> Plan {
        let opens = matches!(self.kind, Kind::New | Kind::Flood);
        Plan {
            family: self.family,
            packet: match self.protocol {
                Protocol::Udp => Packet::Datagram,
                Protocol::Tcp if opens => Packet::Syn,
                Protocol::Tcp => Packet::Ack,
            },
            server: vip(self.family),
            port: crate::plan::PORT,
            reply: false,
            flows: if opens { 0 } else { self.flows },
            scattered: true,
            first: 0,
        }
    }
}
