//! Packets per second over veth, all on one CPU: live frames from the namespace of the clients, through the balancer's,
//! into a program that counts and drops them in the namespace of the backends.

use std::fs::File;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::checksum;
use crate::forwarder::{Forwarder, Setup};
use crate::packets::{Hook, Packets, index};
use crate::plan::{self, Family, Packet, Plan};

#[derive(Deserialize)]
pub struct Request {
    /// Paths of the three namespaces, and the interfaces between them.
    clients: Place,
    ingress: Place,
    egress: Place,
    backends: Place,
    /// The product; without it, whatever the namespace is configured to do.
    forwarder: Option<Setup>,
    /// Clients send to a backend's own address, for routing alone.
    #[serde(default)]
    direct: bool,
    /// A power of two; 0: every packet opens one.
    flows: u32,
    warm_up: u32,
    packets: u32,
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
    let mut sink = Packets::load(Hook::Xdp)?;
    sink.attach("sink", &request.backends.interface)?;

    request.ingress.enter()?;
    let plan = request.plan();
    let forwarder = request.forwarder.map(|setup| request.start(setup, &plan)).transpose()?;
    sink.expect(request.destination(), [255, 255, 255, 0])?;

    request.clients.enter()?;
    let mut generator = Packets::load(Hook::Xdp)?;
    generator.attach("pass", &request.clients.interface)?;
    let clients = index(&request.clients.interface)?;
    generator.send(&plan, clients, request.warm_up)?;
    sink.expect(request.destination(), [255, 255, 255, 0])?;
    let first = if plan.flows == 0 { request.warm_up } else { 0 };
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
            first: 0,
        }
    }

    /// The /24 that packets have at the end: dr leaves the address alone.
    fn destination(&self) -> [u8; 4] {
        let keeps = self.forwarder.is_some_and(|setup| setup.mode == crate::forwarder::Mode::Dr);
        let address = if keeps { plan::vip(Family::V4) } else { plan::first_backend(Family::V4, false) };
        match address {
            IpAddr::V4(address) => [address.octets()[0], address.octets()[1], address.octets()[2], 0],
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
