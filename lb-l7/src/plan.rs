//! What layer 7 serves by: a snapshot, and what was compiled of it. One value, published in one place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lb_core::config::{Alpn, Http, Protocol};
use lb_core::pool::Pool;
use lb_core::snapshot::{Frontend, Snapshot};
use lb_core::tls_client;

use crate::access_log::AccessLog;
use crate::admission::Admission;
use crate::error::Error;
use crate::h1::HeadLimits;
use crate::route::RouteTable;
use crate::tls::ServerTls;

#[derive(Debug)]
pub struct Plan {
    pub snapshot: Arc<Snapshot>,
    /// Those of layer 7, in the order of the file.
    pub frontends: Vec<Arc<FrontendPlan>>,
    by_address: HashMap<SocketAddr, usize>,
    /// In the order of the file, as [`Snapshot::pools`].
    pub pools: Vec<Arc<PoolPlan>>,
    pub access_log: Option<Arc<AccessLog>>,
}

/// One frontend, ready to serve.
#[derive(Debug)]
pub struct FrontendPlan {
    pub frontend: Arc<Frontend>,
    pub http: Arc<Http>,
    pub routes: RouteTable,
    pub tls: Option<Arc<ServerTls>>,
    pub admission: Arc<Admission>,
    pub head_limits: HeadLimits,
}

/// One pool, ready to be connected to.
#[derive(Debug)]
pub struct PoolPlan {
    pub pool: Arc<Pool>,
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Plan {
    /// Reads certificates and compiles routes; changes nothing that serves.
    pub fn compile(snapshot: Arc<Snapshot>, previous: Option<&Plan>) -> Result<Self, Error> {
        let frontends = snapshot
            .http_frontends()
            .map(|(f, http)| compile_frontend(f, http, &snapshot, previous))
            .collect::<Result<Vec<_>, _>>()?;
        let pools = snapshot.pools.iter().map(compile_pool).collect::<Result<Vec<_>, _>>()?;
        let by_address = frontends.iter().enumerate().map(|(i, f)| (f.frontend.config.listen, i)).collect();
        let access_log = match &snapshot.config.log.access {
            Some(config) => Some(AccessLog::open(config, previous.and_then(|p| p.access_log.as_ref()))?),
            None => None,
        };
        Ok(Self { snapshot, frontends, by_address, pools, access_log })
    }

    /// The frontend that serves connections to that listen address.
    pub fn at(&self, listen: &SocketAddr) -> Option<&Arc<FrontendPlan>> {
        self.by_address.get(listen).map(|i| &self.frontends[*i])
    }

    /// The same frontend, by name and address, as it is in this plan.
    pub fn continues(&self, old: &FrontendPlan) -> Option<&Arc<FrontendPlan>> {
        let old = &old.frontend.config;
        self.at(&old.listen).filter(|f| f.frontend.config.name == old.name)
    }

    pub fn listen_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.frontends.iter().map(|f| f.frontend.config.listen)
    }

    pub fn frontend(&self, name: &str) -> Option<&Arc<FrontendPlan>> {
        self.frontends.iter().find(|f| &*f.frontend.config.name == name)
    }
}

fn compile_frontend(
    frontend: &Arc<Frontend>,
    http: &Arc<Http>,
    snapshot: &Snapshot,
    previous: Option<&Plan>,
) -> Result<Arc<FrontendPlan>, Error> {
    let config = &frontend.config;
    let previous = previous.and_then(|p| p.frontend(&config.name));
    let tls = match &http.tls {
        Some(tls) => {
            let old = previous.and_then(|p| p.tls.as_deref());
            let loaded = ServerTls::load(tls, old);
            Some(Arc::new(loaded.map_err(|source| Error::Tls { frontend: config.name.to_string(), source })?))
        }
        None => None,
    };
    Ok(Arc::new(FrontendPlan {
        routes: RouteTable::new(&http.routes, |name| snapshot.pool_position(name))?,
        tls,
        admission: Admission::next(&http.limits, previous.map(|p| &p.admission)),
        head_limits: HeadLimits {
            bytes: http.limits.header_bytes,
            fields: http.limits.header_count,
            target: http.limits.uri_length,
        },
        frontend: frontend.clone(),
        http: http.clone(),
    }))
}

fn compile_pool(pool: &Arc<Pool>) -> Result<Arc<PoolPlan>, Error> {
    let alpn = match pool.config.protocol {
        Protocol::H2 => [Alpn::H2].as_slice(),
        Protocol::Http1 | Protocol::H2c => &[Alpn::Http1],
    };
    let tls =
        match &pool.config.tls {
            Some(tls) => {
                let config = tls_client::client_config(tls, alpn);
                Some(config.map_err(|source| Error::PoolTls {
                    pool: pool.config.name.to_string(),
                    source: Box::new(source),
                })?)
            }
            None => None,
        };
    Ok(Arc::new(PoolPlan { pool: pool.clone(), tls }))
}
