//! Why layer 4 cannot do something, and what would let it.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::plan::TooMuch;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "layer 4 needs the capabilities CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON: run lb as root, or give them to its unit (AmbientCapabilities=)"
    )]
    NotAllowed(#[source] io::Error),
    #[error("{} is not on a bpf file system, which keeps layer 4 forwarding while lb restarts: `mount -t bpf bpf /sys/fs/bpf`, and let lb write there", .path.display())]
    NoBpffs { path: PathBuf, source: io::Error },
    #[error("cannot use {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("another lb drives layer 4 of this network namespace ({} is locked)", .0.display())]
    Locked(PathBuf),
    #[error("the kernel does not take lb's data plane; it needs Linux 6.1 or newer")]
    Object(#[source] Box<EbpfError>),
    #[error("the kernel does not take lb's data plane; it needs Linux 6.1 or newer")]
    Program(#[source] Box<ProgramError>),
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
    pub fn object(error: EbpfError) -> Self {
        match not_permitted(&error) {
            true => Self::NotAllowed(io::ErrorKind::PermissionDenied.into()),
            false => Self::Object(Box::new(error)),
        }
    }

    pub fn program(error: ProgramError) -> Self {
        match not_permitted(&error) {
            true => Self::NotAllowed(io::ErrorKind::PermissionDenied.into()),
            false => Self::Program(Box::new(error)),
        }
    }
}

/// Is EPERM somewhere beneath?
fn not_permitted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = error.source();
    }
    false
}
