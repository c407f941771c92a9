//! Why layer 4 cannot do something, and what would let it.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use tracing::debug;

use crate::kernel::Kernel;
use crate::plan::TooMuch;
use crate::refusal::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error("{} is not on a bpf file system, by which Linux {release} keeps layer 4 forwarding while lb restarts: `mount -t bpf bpf /sys/fs/bpf`, and let lb write there", .path.display())]
    NoBpffs { path: PathBuf, release: String, source: io::Error },
    #[error("cannot use {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("another lb drives layer 4 of this network namespace ({} is locked)", .0.display())]
    Locked(PathBuf),
    #[error("the data plane cannot be read: a fault of this build")]
    Object(#[source] Box<EbpfError>),
    #[error("the data plane has no program `{0}`")]
    NoProgram(&'static str),
    #[error("cannot use the map `{name}`")]
    Map { name: &'static str, source: MapError },
    #[error("cannot map the memory of `{name}`")]
    Memory { name: &'static str, source: io::Error },
    #[error("interface {index} cannot be sent to by XDP: {reason}")]
    Egress { index: u32, reason: String },
    #[error("cannot attach to `{interface}` by {hook}: {reason}")]
    Attach { interface: String, hook: &'static str, reason: String },
    #[error("there is no layer-4 frontend `{0}`")]
    NoFrontend(String),
    #[error("there is no network interface `{0}`")]
    NoInterface(String),
    #[error(
        "no network interface is found for layer 4: none holds an address of a frontend, and no route leads to a backend; name some in `l4.interfaces`"
    )]
    NoInterfaces,
    #[error("cannot ask the kernel about its network")]
    Netlink(#[source] io::Error),
    #[error("`l4.flows` takes effect when lb is restarted: flows would start afresh")]
    FlowsChanged,
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error("somebody else takes samples of packets; try again in some seconds")]
    Sampling,
    #[error("cannot start the thread of layer 4")]
    Thread(#[source] io::Error),
}

impl Error {
    pub fn no_bpffs(path: &Path, source: io::Error) -> Self {
        Self::NoBpffs { path: path.to_owned(), release: Kernel::this().release, source }
    }

    /// Of maps in `maps`, and of `what` over them.
    pub fn object(what: &str, maps: &Path, error: EbpfError) -> Self {
        debug!(what, error = %reason(&error), "the kernel does not take an object");
        match error {
            EbpfError::MapError(MapError::PinError { error, .. }) => Self::Directory {
                path: maps.to_owned(),
                source: os_error(&error)
                    .and_then(io::Error::raw_os_error)
                    .map_or_else(|| io::Error::other(reason(&error)), io::Error::from_raw_os_error),
            },
            EbpfError::MapError(_) | EbpfError::BtfError(_) | EbpfError::ProgramError(_) => {
                Self::Refused(Box::new(Refusal::of_object(what, &error)))
            }
            unreadable => Self::Object(Box::new(unreadable)),
        }
    }

    pub fn program(what: &str, error: &ProgramError) -> Self {
        debug!(what, error = %reason(error), "the kernel does not take a program");
        Self::Refused(Box::new(Refusal::of_program(what, error)))
    }

    /// The verifier had more to say than there was room for.
    pub(crate) fn has_a_cut_log(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.has_a_cut_log)
    }

    /// This process may not load programs, whatever becomes of them.
    pub fn is_for_want_of_capabilities(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_for_want_of_capabilities())
    }
}

/// An error with everything beneath it.
pub(crate) fn reason(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// What the kernel said, somewhere beneath.
pub(crate) fn os_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
