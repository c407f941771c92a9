use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::sockopt::{Ipv6RecvPacketInfo, RcvBufForce};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, recv, recvmsg, sendmsg,
    setsockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Type};

use super::{Link, NetError, wire};
use crate::packet::{
    Family, GROUP_V4, GROUP_V6, Mac, PROTOCOL, PacketError, Received, TOS, TTL, advert_frame, split_ipv4,
};

/// Adverts of all virtual routers of an interface, while nobody has time to read them.
const ROOM: usize = 1 << 20;
/// tc-prio(8), tc-pfifo_fast(8): the first band. More than 6 takes CAP_NET_ADMIN.
const PRIORITY: u32 = 7;

/// Where a socket is to hear and send adverts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub interface: String,
    pub index: u32,
    pub family: Family,
    /// Joins the group. Without it only what is sent to this host is heard, and over IPv6 also what is sent to the
    /// group while others on this host have joined (net/ipv6/raw.c, raw_v6_match).
    pub multicast: bool,
    /// Hears only frames from there.
    pub only_from: Option<Mac>,
    /// Can also send from MAC addresses that the interface does not have.
    pub disguised: bool,
}

impl Spec {
    /// Of an interface as it is.
    pub fn of(link: &Link, family: Family, multicast: bool) -> Self {
        let (interface, index) = (link.name.clone(), link.index);
        Self { interface, index, family, multicast, only_from: None, disguised: false }
    }
}

/// A raw socket for adverts on one interface. It is bound to the interface of that moment: where that is replaced by
/// another of the same name, it takes another socket.
#[derive(Debug)]
pub struct Socket {
    socket: socket2::Socket,
    family: Family,
    index: u32,
    disguised: Option<socket2::Socket>,
}

impl Socket {
    pub fn open(spec: &Spec) -> Result<Self, NetError> {
        Self::try_open(spec).map_err(|e| NetError::new("opening a socket for VRRP", &spec.interface, e))
    }

    fn try_open(spec: &Spec) -> io::Result<Self> {
        let domain = if spec.family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = socket2::Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        if let Some(mac) = spec.only_from {
            socket.attach_filter(&wire::frames_from(mac))?;
        }
        socket.bind_device(Some(spec.interface.as_bytes()))?;
        setsockopt(&socket, RcvBufForce, &ROOM)?;
        match spec.family {
            Family::V4 => prepare_v4(&socket, spec)?,
            Family::V6 => prepare_v6(&socket, spec)?,
        }
        // After the type of service, which changes the priority too (net/ipv4/ip_sockglue.c, __ip_sock_set_tos).
        socket.set_priority(PRIORITY)?;
        let disguised = spec.disguised.then(|| wire::deaf(spec.index)).transpose()?;
        disguised.iter().try_for_each(|socket| socket.set_priority(PRIORITY))?;
        Ok(Self { socket, family: spec.family, index: spec.index, disguised })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends what stands behind the IP header. `source` may stand on another interface, as with a virtual MAC.
    pub fn send(&self, payload: &[u8], source: IpAddr, destination: IpAddr) -> io::Result<()> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.send_v4(payload, source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.send_v6(payload, source, destination),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    /// The same to the group, from another MAC address.
    pub fn send_disguised(&self, payload: &[u8], source: IpAddr, from: Mac) -> io::Result<()> {
        let socket = self.disguised.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        socket.send_with_flags(&advert_frame(from, source, payload), libc::MSG_DONTWAIT).map(drop)
    }

    fn send_v4(&self, payload: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> io::Result<()> {
        let info = libc::in_pktinfo {
            ipi_ifindex: self.index as i32,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let [a, b, c, d] = destination.octets();
        self.send_message(payload, ControlMessage::Ipv4PacketInfo(&info), &SockaddrIn::new(a, b, c, d, 0))
    }

    fn send_v6(&self, payload: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> io::Result<()> {
        let info =
            libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: self.index };
        let is_local = destination.is_unicast_link_local() || destination.is_multicast();
        let scope = if is_local { self.index } else { 0 };
        let destination = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, scope));
        self.send_message(payload, ControlMessage::Ipv6PacketInfo(&info), &destination)
    }

    fn send_message<A: SockaddrLike>(&self, payload: &[u8], info: ControlMessage<'_>, to: &A) -> io::Result<()> {
        sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(payload)], &[info], MsgFlags::MSG_DONTWAIT, Some(to))?;
        Ok(())
    }

    /// The next packet, or why it is none; `None`: nothing is there.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Result<Received<'b>, PacketError>>> {
        let received = match self.family {
            Family::V4 => self.receive_v4(buffer),
            Family::V6 => self.receive_v6(buffer),
        };
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            received => received.map(Some),
        }
    }
}

impl Socket {
    fn receive_v4<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Result<Received<'b>, PacketError>> {
        let length = recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(split_ipv4(&buffer[..length]))
    }

    fn receive_v6<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Result<Received<'b>, PacketError>> {
        let mut control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut parts = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let (mut destination, mut ttl) = (Ipv6Addr::UNSPECIFIED, 0);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv6PacketInfo(info) => destination = Ipv6Addr::from(info.ipi6_addr.s6_addr),
                ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).unwrap_or(0),
                _ => {}
            }
        }
        let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
        let length = message.bytes;
        let (source, destination) = (source.into(), destination.into());
        Ok(Ok(Received { source, destination, ttl, payload: &buffer[..length] }))
    }
}

fn prepare_v4(socket: &socket2::Socket, spec: &Spec) -> io::Result<()> {
    socket.set_ttl_v4(TTL.into())?;
    socket.set_multicast_ttl_v4(TTL.into())?;
    socket.set_multicast_loop_v4(false)?;
    // Groups that others on this host joined are not ours.
    socket.set_multicast_all_v4(false)?;
    socket.set_tos_v4(TOS.into())?;
    // While somebody configures the interface anew, the address to send from is missing for a moment.
    socket.set_ip_transparent_v4(true)?;
    if spec.multicast {
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(spec.index))?;
    }
    Ok(())
}

fn prepare_v6(socket: &socket2::Socket, spec: &Spec) -> io::Result<()> {
    socket.set_unicast_hops_v6(TTL.into())?;
    socket.set_multicast_hops_v6(TTL.into())?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(spec.index)?;
    socket.set_tclass_v6(TOS.into())?;
    socket.set_recv_hoplimit_v6(true)?;
    setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
    // With a virtual MAC the link-local address to send from stands on the interface below; and as above.
    socket.set_freebind_v6(true)?;
    if spec.multicast {
        socket.join_multicast_v6(&GROUP_V6, spec.index)?;
    }
    Ok(())
}
