//! As much of nf_tables' netlink as one table takes (linux/netfilter/nf_tables.h).

mod attribute;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt::SndBufForce};

/// Tens of thousands of addresses.
const ROOM: usize = 4 << 20;
/// nlmsghdr and nfgenmsg.
const HEADER: usize = 20;
const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const NESTED: u16 = libc::NLA_F_NESTED as u16;

/// A transaction: all of its messages, or none.
pub(super) struct Batch {
    bytes: Vec<u8>,
    message: usize,
}

/// What an expression of a rule does; it compares and looks up what the one before it loaded.
pub(super) enum Expression<'a> {
    Protocol,
    Network { offset: u32, length: u32 },
    Transport { offset: u32, length: u32 },
    Is(&'a [u8]),
    IsIn(&'a str),
    Drop,
    Accept,
}

/// A connection to nf_tables, which owns the tables that it makes: the kernel removes them when it is closed.
pub(super) struct Connection(Socket);

impl Connection {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, SndBufForce, &ROOM)?;
        Ok(Self(socket))
    }

    /// The kernel has answered when the batch is sent; what it refuses comes as an error.
    pub fn commit(&self, batch: Batch) -> io::Result<()> {
        self.0.send(&batch.finish(), 0)?;
        let mut answer = [0; 4096];
        let mut outcome = Ok(());
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
            outcome = outcome.and(refusal(&answer[..length]));
        }
        outcome
    }
}

fn refusal(answer: &[u8]) -> io::Result<()> {
    let Some((header, rest)) = answer.split_first_chunk::<16>() else { return Ok(()) };
    let is_error = i32::from(u16::from_ne_bytes([header[4], header[5]])) == libc::NLMSG_ERROR;
    match rest.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(code) if is_error && code != 0 => Err(io::Error::from_raw_os_error(-code)),
        _ => Ok(()),
    }
}

impl Batch {
    pub fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), message: 0 };
        batch.begin(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, 0, SUBSYSTEM);
        batch
    }

    fn finish(mut self) -> Vec<u8> {
        self.begin(libc::NFNL_MSG_BATCH_END as u16, 0, 0, SUBSYSTEM);
        self.end();
        self.bytes
    }

    /// There, and empty.
    pub fn table(&mut self, family: u8, name: &str) {
        // To be deleted it has to be there.
        self.new_table(family, name);
        self.message(libc::NFT_MSG_DELTABLE, 0, family);
        self.string(attribute::TABLE_NAME, name);
        self.new_table(family, name);
    }

    fn new_table(&mut self, family: u8, name: &str) {
        const NFT_TABLE_F_OWNER: u32 = 2;
        self.message(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, family);
        self.string(attribute::TABLE_NAME, name);
        self.number(attribute::TABLE_FLAGS, NFT_TABLE_F_OWNER);
    }

    /// Sees what comes to this host.
    pub fn input_chain(&mut self, family: u8, table: &str, name: &str, priority: i32) {
        self.message(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, family);
        self.string(attribute::CHAIN_TABLE, table);
        self.string(attribute::CHAIN_NAME, name);
        self.string(attribute::CHAIN_TYPE, "filter");
        self.nest(attribute::CHAIN_HOOK, |hook| {
            hook.number(attribute::HOOK_NUMBER, libc::NF_INET_LOCAL_IN as u32);
            hook.number(attribute::HOOK_PRIORITY, priority as u32);
        });
    }

    /// Of addresses of one family.
    pub fn set(&mut self, family: u8, table: &str, name: &str, addresses: &[IpAddr]) {
        /// What `nft list` shows them as (libnftables, enum datatypes).
        const IPV4: u32 = 7;
        const IPV6: u32 = 8;
        /// Refers to the set within this batch.
        const ID: u32 = 1;
        let (kind, length) = if i32::from(family) == libc::NFPROTO_IPV4 { (IPV4, 4) } else { (IPV6, 16) };
        self.message(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, family);
        self.string(attribute::SET_TABLE, table);
        self.string(attribute::SET_NAME, name);
        self.number(attribute::SET_KEY_TYPE, kind);
        self.number(attribute::SET_KEY_LENGTH, length);
        self.number(attribute::SET_ID, ID);
        // The length of an attribute has 16 bits.
        for part in addresses.chunks(1000) {
            self.message(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, family);
            self.string(attribute::ELEMENTS_TABLE, table);
            self.string(attribute::ELEMENTS_SET, name);
            self.nest(attribute::ELEMENTS, |list| part.iter().for_each(|address| list.element(*address)));
        }
    }

    fn element(&mut self, address: IpAddr) {
        self.nest(attribute::LIST_ELEMENT, |element| {
            element.nest(attribute::ELEMENT_KEY, |key| match address {
                IpAddr::V4(v4) => key.attribute(attribute::DATA_VALUE, &v4.octets()),
                IpAddr::V6(v6) => key.attribute(attribute::DATA_VALUE, &v6.octets()),
            });
        });
    }

    pub fn rule(&mut self, family: u8, table: &str, chain: &str, expressions: &[Expression<'_>]) {
        self.message(libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, family);
        self.string(attribute::RULE_TABLE, table);
        self.string(attribute::RULE_CHAIN, chain);
        self.nest(attribute::RULE_EXPRESSIONS, |list| expressions.iter().for_each(|e| list.expression(e)));
    }

    fn expression(&mut self, expression: &Expression<'_>) {
        self.nest(attribute::LIST_ELEMENT, |element| {
            element.string(attribute::EXPRESSION_NAME, expression.name());
            element.nest(attribute::EXPRESSION_DATA, |data| expression.write(data));
        });
    }
}

impl Expression<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Protocol => "meta",
            Self::Network { .. } | Self::Transport { .. } => "payload",
            Self::Is(_) => "cmp",
            Self::IsIn(_) => "lookup",
            Self::Drop | Self::Accept => "immediate",
        }
    }

    fn write(&self, data: &mut Batch) {
        /// The register that everything goes through.
        const REGISTER: u32 = libc::NFT_REG_1 as u32;
        match *self {
            Self::Protocol => {
                data.number(attribute::META_KEY, libc::NFT_META_L4PROTO as u32);
                data.number(attribute::META_REGISTER, REGISTER);
            }
            Self::Network { offset, length } => {
                data.payload(libc::NFT_PAYLOAD_NETWORK_HEADER, offset, length, REGISTER)
            }
            Self::Transport { offset, length } => {
                data.payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, offset, length, REGISTER);
            }
            Self::Is(value) => {
                data.number(attribute::COMPARE_REGISTER, REGISTER);
                data.number(attribute::COMPARE_OPERATOR, libc::NFT_CMP_EQ as u32);
                data.nest(attribute::COMPARE_DATA, |nest| nest.attribute(attribute::DATA_VALUE, value));
            }
            Self::IsIn(set) => {
                data.string(attribute::LOOKUP_SET, set);
                data.number(attribute::LOOKUP_REGISTER, REGISTER);
            }
            Self::Drop => data.verdict(libc::NF_DROP),
            Self::Accept => data.verdict(libc::NF_ACCEPT),
        }
    }
}

/// Bytes.
impl Batch {
    fn payload(&mut self, base: i32, offset: u32, length: u32, register: u32) {
        self.number(attribute::PAYLOAD_REGISTER, register);
        self.number(attribute::PAYLOAD_BASE, base as u32);
        self.number(attribute::PAYLOAD_OFFSET, offset);
        self.number(attribute::PAYLOAD_LENGTH, length);
    }

    fn verdict(&mut self, code: i32) {
        self.number(attribute::IMMEDIATE_REGISTER, libc::NFT_REG_VERDICT as u32);
        self.nest(attribute::IMMEDIATE_DATA, |data| {
            data.nest(attribute::DATA_VERDICT, |verdict| verdict.number(attribute::VERDICT_CODE, code as u32));
        });
    }

    fn message(&mut self, kind: i32, flags: i32, family: u8) {
        self.begin(SUBSYSTEM << 8 | kind as u16, flags as u16, family, 0);
    }

    fn begin(&mut self, kind: u16, flags: u16, family: u8, resource: u16) {
        self.end();
        self.message = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
        // Sequence number and port: nobody looks at them.
        self.bytes.extend([0; 8]);
        self.bytes.extend([family, libc::NFNETLINK_V0 as u8]);
        self.bytes.extend(resource.to_be_bytes());
    }

    fn end(&mut self) {
        let length = self.bytes.len() - self.message;
        if length >= HEADER {
            self.bytes[self.message..][..4].copy_from_slice(&(length as u32).to_ne_bytes());
        }
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    fn string(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.tag(kind, |batch| batch.bytes.extend(value));
    }

    fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        self.tag(kind | NESTED, content);
    }

    fn tag(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let begin = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        content(self);
        let length = self.bytes.len() - begin;
        self.bytes[begin..][..2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
