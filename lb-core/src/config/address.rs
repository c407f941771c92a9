//! Scalars that are addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use schemars::Schema;

use super::decode::Scalar;
use super::diagnostic::{Complaint, quoted};
use super::keys::text_schema;
use super::scalar::unexpected;

/// Where a frontend listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen {
    /// Port 0: every port.
    pub address: SocketAddr,
    pub udp: bool,
}

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricsListen {
    Address(SocketAddr),
    /// A port of this node's own address.
    Node(u16),
}

/// Of a server. Where only layer 4 uses it, it needs no port: it is the frontend's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BackendAddress {
    pub ip: IpAddr,
    pub port: Option<u16>,
    /// Names the backend where it has no name of its own.
    pub text: String,
}

/// Without port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub IpAddr);

/// An address that moves between nodes, with the prefix length of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VirtualAddress(pub IpNet);

/// One address, or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(pub IpNet);

impl MetricsListen {
    pub const LOOPBACK: MetricsListen = MetricsListen::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9600));
}

impl Scalar for Listen {
    const EXPECTED: &'static str = "an IP address with a port such as `0.0.0.0:80`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (address, udp) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), false),
            Some((address, "udp")) => (address, true),
            Some((_, other)) => {
                return Err(Complaint::new(format!("unknown protocol {}", quoted(other))).help("tcp or udp"));
            }
        };
        let address = match address.strip_suffix(":*") {
            Some(host) => every_port(host, address)?,
            None => listen_address::<Self>(address)?,
        };
        Ok(Listen { address, udp })
    }

    fn written(&self) -> String {
        let text = self.address.to_string();
        let text = text.strip_suffix(":0").map_or(text.clone(), |host| format!("{host}:*"));
        if self.udp { text + "/udp" } else { text }
    }

    fn describe() -> Schema {
        text_schema(None, &["0.0.0.0:80", "[::]:443", "203.0.113.11:53/udp", "203.0.113.12:*"])
    }
}

impl Scalar for MetricsListen {
    const EXPECTED: &'static str = "an IP address with a port such as `127.0.0.1:9600`, or `node:9600`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text.strip_prefix("node:") {
            Some(port) => port.parse().ok().filter(|port| *port != 0).map(MetricsListen::Node).ok_or_else(bad_port),
            None => listen_address::<Self>(text).map(MetricsListen::Address),
        }
    }

    fn written(&self) -> String {
        match self {
            MetricsListen::Address(address) => address.to_string(),
            MetricsListen::Node(port) => format!("node:{port}"),
        }
    }

    fn describe() -> Schema {
        text_schema(None, &["127.0.0.1:9600", "node:9600"])
    }
}

fn listen_address<S: Scalar>(text: &str) -> Result<SocketAddr, Complaint> {
    let address = text.parse().map_err(|_| listen_complaint::<S>(text))?;
    nonzero(address)
}

fn every_port(host: &str, text: &str) -> Result<SocketAddr, Complaint> {
    let mut address: SocketAddr = format!("{host}:1").parse().map_err(|_| listen_complaint::<Listen>(text))?;
    address.set_port(0);
    Ok(address)
}

fn listen_complaint<S: Scalar>(text: &str) -> Complaint {
    let port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => unexpected::<S>(text).help(format!("`0.0.0.0:{port}` is IPv4, `[::]:{port}` IPv6")),
        Err(_) => address_complaint::<S>(text),
    }
}

fn address_complaint<S: Scalar>(text: &str) -> Complaint {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let looks_like_name = host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':');
    if looks_like_name {
        return unexpected::<S>(text).help("host names are not looked up; write the address");
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => unexpected::<S>(text).help(format!("an IPv6 address with a port is `[{ip}]:80`")),
        Ok(IpAddr::V4(ip)) => Complaint::new(format!("`{ip}` has no port")).help(format!("such as `{ip}:80`")),
        Err(_) => unexpected::<S>(text),
    }
}

fn nonzero(address: SocketAddr) -> Result<SocketAddr, Complaint> {
    if address.port() == 0 { Err(bad_port()) } else { Ok(address) }
}

fn bad_port() -> Complaint {
    Complaint::new("the port must be from 1 to 65535")
}

impl BackendAddress {
    /// For kinds of pools that need a port.
    pub fn socket(&self) -> Result<SocketAddr, Complaint> {
        match self.port {
            Some(port) => Ok(SocketAddr::new(self.ip, port)),
            None => {
                let example = SocketAddr::new(self.ip, 80);
                Err(Complaint::new(format!("`{}` has no port", self.text)).help(format!("such as `{example}`")))
            }
        }
    }
}

impl Scalar for BackendAddress {
    const EXPECTED: &'static str = "an IP address with a port such as `10.0.0.11:8080`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return of_a_server(ip).map(|ip| BackendAddress { ip, port: None, text: text.to_owned() });
        }
        let address: SocketAddr = text.parse().map_err(|_| address_complaint::<Self>(text))?;
        nonzero(address)?;
        of_a_server(address.ip()).map(|ip| BackendAddress { ip, port: Some(address.port()), text: text.to_owned() })
    }

    fn written(&self) -> String {
        self.text.clone()
    }

    fn describe() -> Schema {
        text_schema(None, &["10.0.0.11:8080", "[2001:db8::1]:8080"])
    }
}

fn of_a_server(ip: IpAddr) -> Result<IpAddr, Complaint> {
    match ip.is_unspecified() || ip.is_multicast() {
        true => Err(Complaint::new(format!("`{ip}` is not the address of a server"))),
        false => Ok(ip),
    }
}

impl Scalar for Address {
    const EXPECTED: &'static str = "an IP address without port such as `192.0.2.1`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().map(Address).map_err(|_| unexpected::<Self>(text))
    }

    fn written(&self) -> String {
        self.0.to_string()
    }

    fn describe() -> Schema {
        text_schema(None, &["192.0.2.1", "2001:db8::1"])
    }
}

impl Scalar for Network {
    const EXPECTED: &'static str = "an address or network such as `10.0.0.0/8`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Network(IpNet::from(ip)));
        }
        let network: IpNet = text.parse().map_err(|_| unexpected::<Self>(text))?;
        if network.trunc() != network {
            let meant = network.trunc();
            return Err(
                Complaint::new(format!("`{text}` has bits beyond its prefix")).help(format!("did you mean `{meant}`?"))
            );
        }
        Ok(Network(network))
    }

    fn written(&self) -> String {
        self.0.to_string()
    }

    fn describe() -> Schema {
        text_schema(None, &["10.0.0.0/8", "192.0.2.1"])
    }
}

impl Scalar for VirtualAddress {
    const EXPECTED: &'static str = "an address with a prefix length such as `203.0.113.10/24`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let alone = text.parse::<IpAddr>().map(IpNet::from);
        let net = alone.or_else(|_| text.parse::<IpNet>()).map_err(|_| unexpected::<Self>(text))?;
        let ip = net.addr();
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || ip.to_canonical() != ip {
            return Err(Complaint::new(format!("`{ip}` cannot move between nodes")));
        }
        // In IPv4 the first and the last address of a network are nobody's (RFC 3021 has none of them in a /31).
        if ip.is_ipv4() && net.prefix_len() < 31 && (ip == net.network() || ip == net.broadcast()) {
            let kind = if ip == net.network() { "a network" } else { "the broadcast address of its network" };
            return Err(Complaint::new(format!("`{net}` is {kind}, not an address")));
        }
        Ok(VirtualAddress(net))
    }

    fn written(&self) -> String {
        self.0.to_string()
    }

    fn describe() -> Schema {
        text_schema(None, &["203.0.113.10/24", "2001:db8::10/64"])
    }
}
