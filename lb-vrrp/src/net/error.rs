use std::io;

use nix::net::if_::if_indextoname;

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{tried} on {interface}: {source}")]
pub struct NetError {
    /// "adding 192.0.2.1/24"
    pub tried: String,
    /// Its name, or where it is gone "interface 7".
    pub interface: String,
    pub source: io::Error,
}

impl NetError {
    pub(super) fn new(tried: impl Into<String>, interface: impl Into<String>, source: io::Error) -> Self {
        Self { tried: tried.into(), interface: interface.into(), source }
    }

    pub(super) fn at(tried: impl Into<String>, index: u32, source: io::Error) -> Self {
        let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
        // nix gives an empty one for an interface that is gone.
        let name = name.filter(|name| !name.is_empty());
        Self::new(tried, name.unwrap_or_else(|| format!("interface {index}")), source)
    }

    /// The interface does not exist (any more).
    pub fn is_gone(&self) -> bool {
        is_gone(&self.source)
    }
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
}
