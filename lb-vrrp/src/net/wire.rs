//! packet(7): whole Ethernet frames of one interface, past the host's own network stack.

#![expect(unsafe_code, reason = "socket2 knows the length of such an address, but not its fields")]

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, ETH_P_ARP, ETH_P_IPV6,
    IPPROTO_ICMPV6, SKF_LL_OFF, sockaddr_ll, socklen_t,
};
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::packet::Mac;

/// Hears nothing.
pub(super) fn deaf(index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at(index, 0))?;
    Ok(socket)
}

/// Hears ARP packets whose sender claims an address of this range.
pub(super) fn hears_arp(index: u32, first: Ipv4Addr, last: Ipv4Addr) -> io::Result<Socket> {
    const SENDER: u32 = 14 + 14;
    let filter = [
        load(BPF_W, SENDER),
        jump(BPF_JGE, first.into(), 0, 2),
        jump(BPF_JGT, last.into(), 1, 0),
        verdict(true),
        verdict(false),
    ];
    hears(index, ETH_P_ARP as u16, &filter)
}

/// Hears neighbour advertisements.
pub(super) fn hears_neighbours(index: u32) -> io::Result<Socket> {
    const NEXT_HEADER: u32 = 14 + 6;
    const ICMP_TYPE: u32 = 14 + 40;
    const NEIGHBOUR_ADVERTISEMENT: u32 = 136;
    let filter = [
        load(BPF_B, NEXT_HEADER),
        jump(BPF_JEQ, IPPROTO_ICMPV6 as u32, 0, 3),
        load(BPF_B, ICMP_TYPE),
        jump(BPF_JEQ, NEIGHBOUR_ADVERTISEMENT, 0, 1),
        verdict(true),
        verdict(false),
    ];
    hears(index, ETH_P_IPV6 as u16, &filter)
}

/// For a socket that begins at the IP header, too: the offset is counted from the Ethernet header (linux/filter.h).
pub(super) fn frames_from([a, b, c, d, e, f]: Mac) -> [SockFilter; 6] {
    const SOURCE: u32 = SKF_LL_OFF as u32 + 6;
    [
        load(BPF_W, SOURCE),
        jump(BPF_JEQ, u32::from_be_bytes([a, b, c, d]), 0, 3),
        load(BPF_H, SOURCE + 4),
        jump(BPF_JEQ, u32::from_be_bytes([0, 0, e, f]), 0, 1),
        verdict(true),
        verdict(false),
    ]
}

/// The filter comes before the binding, so that nothing slips in.
fn hears(index: u32, protocol: u16, filter: &[SockFilter]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(filter)?;
    socket.bind(&at(index, protocol))?;
    Ok(socket)
}

fn at(index: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is as large as any address and aligned for it, and all zeros are a sockaddr_ll.
    let address = unsafe { storage.view_as::<sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the storage holds an address of the family and length that it says.
    unsafe { SockAddr::new(storage, size_of::<sockaddr_ll>() as socklen_t) }
}

fn load(size: u32, offset: u32) -> SockFilter {
    SockFilter::new((BPF_LD | BPF_ABS | size) as u16, 0, 0, offset)
}

/// So many instructions are passed over where it is so, and where it is not.
fn jump(compare: u32, with: u32, so: u8, not: u8) -> SockFilter {
    SockFilter::new((BPF_JMP | BPF_K | compare) as u16, so, not, with)
}

fn verdict(is_heard: bool) -> SockFilter {
    SockFilter::new((BPF_RET | BPF_K) as u16, 0, 0, if is_heard { u32::MAX } else { 0 })
}
