//! Packets per second over veth, all on one CPU: live frames from the namespace of the clients, through the balancer's,
//! into a program that counts and drops them in the namespace of the backends.

use std::fs::File;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::checksum;
use crate::forwarder::{Forwarder, Setup};
use crate::packets::{Hook, Network, Packets, index};
use crate::plan::{self, Family, Packet, Plan};

#[derive(Deserialize)]
pub struct Request {
    /// Paths of the three namespaces, and the interfaces between them.
    clients: Place,
    ingress: Place,
    egress: Place,
    backends: Place,
    /// Where they are counted and dropped there: socket buffers by tc, for XDP would make frames of them first.
    #[serde(default = "Request::xdp")]
    sink: Hook,
    /// The product; without it, whatever the namespace is configured to do.
    forwarder: Option<Setup>,
    /// Clients send to a backend's own address, for routing alone.
    #[serde(default)]
    direct: bool,
    /// Packets for the VIP arrive with this address, as dr has it.
    #[serde(default)]
    keeps_address: bool,
    /// Opens the flows from outside, where whoever forwards must have seen a connection begin.
    #[serde(default)]
    handshake: Option<Handshake>,
    /// A power of two; 0: every packet opens one.
    flows: u32,
    warm_up: u32,
    packets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Handshake {
    /// Replies go to the client by another way (dr).
    Forward,
    /// Replies come back through whoever forwards (nat).
    Both,
}

#[derive(Deserialize)]
struct Place {
    namespace: String,
    interface: String,
}

#[derive(Serialize)]
pub struct Throughput {
    sent: u32,
    /// Arrived where they should.
    right: u64,
    wrong: u64,
    seconds: f64,
}

pub fn measure(request: &Request) -> Result<Throughput> {
    request.backends.enter()?;
    let mut sink = Packets::load(request.sink)?;
    sink.attach("sink", &request.backends.interface)?;

    request.ingress.enter()?;
    let plan = request.plan();
    let forwarder = request.forwarder.map(|setup| request.start(setup, &plan)).transpose()?;

    request.clients.enter()?;
    let mut generator = Packets::load(Hook::Xdp)?;
    generator.attach("sink", &request.clients.interface)?;
    let clients = index(&request.clients.interface)?;
    if let Some(handshake) = request.handshake {
        request.open(handshake, &plan, (&mut generator, &mut sink))?;
    }
    sink.expect(request.destination(), false)?;
    generator.send(&plan, clients, request.warm_up)?;
    sink.expect(request.destination(), false)?;
    let first = plan.first + if plan.flows == 0 { request.warm_up } else { 0 };
    let run = generator.send(&Plan { first, ..plan }, clients, request.packets)?;
    let arrivals = sink.arrivals()?;
    report(forwarder, &arrivals)?;
    Ok(Throughput {
        sent: request.packets,
        right: arrivals.right,
        wrong: arrivals.wrong,
        seconds: run.elapsed.as_secs_f64(),
    })
}

fn report(forwarder: Option<Forwarder>, arrivals: &crate::packets::Arrivals) -> Result<()> {
    let counters = forwarder.map(|mut forwarder| forwarder.counters()).transpose()?;
    ensure!(arrivals.right > 0, "nothing arrived; {} packets went astray; counters {counters:?}", arrivals.wrong);
    checksum::verify(&arrivals.sample)
}

impl Request {
    fn xdp() -> Hook {
        Hook::Xdp
    }

    /// Loads and attaches the product, with the flows that should stand.
    fn start(&self, setup: Setup, plan: &Plan) -> Result<Forwarder> {
        let (ingress, egress) = (index(&self.ingress.interface)?, index(&self.egress.interface)?);
        let mut forwarder = Forwarder::load(setup, &[ingress, egress])?;
        forwarder.attach(&self.ingress.interface)?;
        if plan.flows > 0 {
            let mut packets = Packets::load(setup.hook)?;
            forwarder.establish(&mut packets, plan, ingress)?;
        }
        Ok(forwarder)
    }

    /// A handshake for each flow, as clients and backends do it; the same interface sends and hears the replies.
    fn open(&self, handshake: Handshake, plan: &Plan, (generator, sink): (&mut Packets, &mut Packets)) -> Result<()> {
        let replies = if handshake == Handshake::Both { u64::from(plan.flows) } else { 0 };
        let clients = index(&self.clients.interface)?;
        generator.expect(Network::of(plan::CLIENTS, plan::CLIENTS_PREFIX), false)?;
        sink.expect(self.destination(), handshake == Handshake::Both)?;
        for packet in [Packet::Syn, Packet::Ack] {
            generator.send(&Plan { packet, scattered: false, ..*plan }, clients, plan.flows)?;
        }
        let (there, back) = (sink.arrivals()?.right, generator.arrivals()?.right);
        ensure!(
            (there, back) == (2 * u64::from(plan.flows), replies),
            "{} handshakes: {there} packets arrived at the backends, and {back} replies of {replies} at the clients",
            plan.flows
        );
        Ok(())
    }

    fn plan(&self) -> Plan {
        let server = if self.direct { plan::first_backend(Family::V4, false) } else { plan::vip(Family::V4) };
        Plan {
            family: Family::V4,
            packet: if self.flows == 0 { Packet::Syn } else { Packet::Ack },
            server,
            port: plan::PORT,
            reply: false,
            flows: self.flows,
            scattered: true,
            // Flow 0 is one of those that a run before this one has established.
            first: u32::from(self.flows == 0),
        }
    }

    /// Where packets should be on their way to at the end.
    fn destination(&self) -> Network {
        let kept = self.keeps_address && !self.direct;
        let address = if kept { plan::vip(Family::V4) } else { plan::first_backend(Family::V4, false) };
        match address {
            IpAddr::V4(address) => Network::of(address, 24),
            IpAddr::V6(_) => unreachable!("asked for IPv4"),
        }
    }
}

impl Place {
    /// Moves this thread there.
    fn enter(&self) -> Result<()> {
        let file = File::open(&self.namespace).with_context(|| self.namespace.clone())?;
        Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
    }
}
