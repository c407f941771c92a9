//! RFC 9568 section 6.1, Accept_Mode: a router may hold addresses and yet accept nothing that is addressed to them.

use std::fmt;
use std::io;
use std::net::IpAddr;

use super::NetError;
use super::nftables::{Batch, Connection, Expression};

const CHAIN: &str = "input";
const SET: &str = "addresses";
/// Before the filters of others, whom it is then no use to ask.
const PRIORITY: i32 = -10;
const V4: u8 = libc::NFPROTO_IPV4 as u8;
const V6: u8 = libc::NFPROTO_IPV6 as u8;
/// Of the header of an IP packet.
const DESTINATION: [Expression<'_>; 2] =
    [Expression::Network { offset: 16, length: 4 }, Expression::Network { offset: 24, length: 16 }];

/// Keeps packets for some addresses from this host, whether it has the addresses or not: two tables of nf_tables, which
/// the kernel removes when this is dropped, or the process is gone (NFT_TABLE_F_OWNER, since Linux 5.12). What layer 4
/// forwards does not come by.
pub struct Barrier {
    connection: Connection,
    table: String,
}

impl Barrier {
    pub fn open() -> Result<Self, NetError> {
        let connection = Connection::open().map_err(|e| error("opening nftables", e))?;
        Ok(Self { connection, table: format!("lb-vrrp-{}", std::process::id()) })
    }

    /// These, in place of those before.
    pub fn set(&mut self, addresses: &[IpAddr]) -> Result<(), NetError> {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
        let table = &self.table;
        let mut batch = Batch::new();
        for (family, addresses) in [(V4, &v4), (V6, &v6)] {
            batch.table(family, table);
            batch.input_chain(family, table, CHAIN, PRIORITY);
            batch.set(family, table, SET, addresses);
        }
        // An IPv6 address is not there without neighbour discovery (RFC 9568 section 6.4.3 (650)).
        for message in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
            let is_message = [
                Expression::Protocol,
                Expression::Is(&[ICMPV6]),
                Expression::Transport { offset: 0, length: 1 },
                Expression::Is(&message),
                Expression::Accept,
            ];
            batch.rule(V6, table, CHAIN, &is_message);
        }
        for (family, destination) in [V4, V6].into_iter().zip(DESTINATION) {
            batch.rule(family, table, CHAIN, &[destination, Expression::IsIn(SET), Expression::Drop]);
        }
        self.connection.commit(batch).map_err(|e| error("filtering what is addressed to virtual addresses", e))
    }
}

const ICMPV6: u8 = libc::IPPROTO_ICMPV6 as u8;
const NEIGHBOUR_SOLICITATION: [u8; 1] = [135];
const NEIGHBOUR_ADVERTISEMENT: [u8; 1] = [136];

fn error(tried: &str, error: io::Error) -> NetError {
    NetError::new(tried, "all interfaces", error)
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("table", &self.table).finish_non_exhaustive()
    }
}
