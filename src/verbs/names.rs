//! Names that a shell completes: those of the lb that runs here, or where none runs, of its file.

use std::path::PathBuf;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use lb_core::config::Config;

use crate::admin::client::Client;
use crate::admin::messages::Status;
use crate::cli::{DEFAULT_CONFIG, Server, This};
use crate::environment;

/// Somebody waits at a prompt.
const PATIENCE: Duration = Duration::from_secs(1);

/// `POOL/BACKEND`
pub fn backends() -> Vec<CompletionCandidate> {
    candidates(
        |status| {
            status
                .pools
                .iter()
                .flat_map(|pool| pool.backends.iter().map(|b| format!("{}/{}", pool.name, b.name)))
                .collect()
        },
        |config| {
            let pools = config.pools.iter();
            pools.flat_map(|p| p.backends.iter().chain(&p.backup).map(|b| format!("{}/{}", p.name, b.name))).collect()
        },
    )
}

/// Backends as their pools name them.
pub fn backends_alone() -> Vec<CompletionCandidate> {
    candidates(
        |status| status.pools.iter().flat_map(|pool| pool.backends.iter().map(|b| b.name.to_string())).collect(),
        |config| {
            let pools = config.pools.iter();
            pools.flat_map(|pool| pool.backends.iter().chain(&pool.backup).map(|b| b.name.to_string())).collect()
        },
    )
}

pub fn frontends() -> Vec<CompletionCandidate> {
    candidates(
        |status| status.frontends.iter().map(|frontend| frontend.name.to_string()).collect(),
        |config| config.frontends.iter().map(|frontend| frontend.name.to_string()).collect(),
    )
}

pub fn virtual_routers() -> Vec<CompletionCandidate> {
    candidates(
        |status| status.virtual_routers.iter().map(|router| router.name.to_string()).collect(),
        |config| config.vrrp.iter().map(|router| router.name.to_string()).collect(),
    )
}

fn candidates(
    of_status: impl Fn(&Status) -> Vec<String>,
    of_config: impl Fn(&Config) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    let names = match status() {
        Some(status) => of_status(&status),
        None => of_file().as_ref().map(of_config).unwrap_or_default(),
    };
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).map(CompletionCandidate::new).collect()
}

fn status() -> Option<Status> {
    let socket = std::env::var_os("LB_SOCKET").map(PathBuf::from);
    let client = Client::find(&Server { socket, config: PathBuf::from(DEFAULT_CONFIG) }).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client.get("/v1/status")).await.ok()?.ok() })
}

fn of_file() -> Option<Config> {
    environment::load(DEFAULT_CONFIG.as_ref(), &This { node: None }).ok().map(|loaded| loaded.config)
}
