//! The program on interfaces: attached, replaced in place, removed. What is pinned stays when lb ends.
//!
//! `xdp-INDEX` and `tcx-INDEX` are bpf_links. Before Linux 6.6 tc has none: there the program hangs in a
//! filter, which outlives its maker by itself, and `tc-INDEX` (the pinned program) says that it is ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcError, TcHandle,
    qdisc_add_clsact,
};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{LinkOrder, ProgramError, TcAttachType};
use tracing::debug;

use crate::bpf;
use crate::error::{Error, os_error, reason};
use crate::loader::{self, Hook};

/// Of our filter where tc has no links: whoever comes first sees every packet.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x4c34);

/// One attachment, as its pin names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attachment {
    pub how: How,
    pub interface: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    Xdp,
    Tcx,
    Filter,
}

impl How {
    pub fn of(hook: Hook) -> Self {
        match hook {
            Hook::Xdp => How::Xdp,
            Hook::Tc if has_tcx() => How::Tcx,
            Hook::Tc => How::Filter,
        }
    }

    pub fn hook(self) -> Hook {
        match self {
            How::Xdp => Hook::Xdp,
            How::Tcx | How::Filter => Hook::Tc,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            How::Xdp => "xdp-",
            How::Tcx => "tcx-",
            How::Filter => "tc-",
        }
    }
}

/// Asked once. Who may not ask may not attach either.
pub fn has_tcx() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    ANSWER.get().copied().unwrap_or_else(|| bpf::has_tcx().is_none_or(|answer| *ANSWER.get_or_init(|| answer)))
}

/// Why an interface did not take the program.
#[derive(Debug)]
pub enum Refusal {
    /// The driver cannot do it.
    Unsupported(String),
    /// Somebody else's program is there.
    Taken(String),
    Other(String),
}

impl Refusal {
    pub fn reason(&self) -> &str {
        match self {
            Refusal::Unsupported(text) | Refusal::Taken(text) | Refusal::Other(text) => text,
        }
    }
}

/// What is pinned in the directory of links.
pub fn existing(directory: &Path) -> Vec<Attachment> {
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    entries.flatten().filter_map(|entry| parse(&entry.file_name().to_string_lossy())).collect()
}

fn parse(name: &str) -> Option<Attachment> {
    let of = |how: How| Some(Attachment { how, interface: name.strip_prefix(how.prefix())?.parse().ok()? });
    [How::Xdp, How::Tcx, How::Filter].into_iter().find_map(of)
}

fn pin(directory: &Path, attachment: Attachment) -> PathBuf {
    directory.join(format!("{}{}", attachment.how.prefix(), attachment.interface))
}

/// Makes the program the one that runs there: in place of an older one without a packet between them.
pub fn attach(directory: &Path, ebpf: &mut Ebpf, attachment: Attachment, name: &str) -> Result<(), Refusal> {
    let path = pin(directory, attachment);
    match attachment.how {
        How::Xdp => attach_xdp(&path, ebpf, attachment.interface),
        How::Tcx => attach_tcx(&path, ebpf, name),
        How::Filter => attach_filter(&path, ebpf, name),
    }
}

fn attach_xdp(path: &Path, ebpf: &mut Ebpf, interface: u32) -> Result<(), Refusal> {
    let program = loader::xdp(ebpf).map_err(other)?;
    if let Some(link) = pinned(path)? {
        let link = XdpLink::try_from(link).map_err(other)?;
        if program.attach_to_link(link).is_ok_and(|id| program.take_link(id).is_ok()) {
            return Ok(());
        }
        // The interface is gone and came back under its old index.
        unpin(path)?;
    }
    let id = program.attach_to_if_index(interface, XdpMode::Driver).map_err(refusal)?;
    let link = program.take_link(id).map_err(other)?;
    FdLink::try_from(link).map_err(other)?.pin(path).map_err(other).map(drop)
}

fn attach_tcx(path: &Path, ebpf: &mut Ebpf, name: &str) -> Result<(), Refusal> {
    let program = loader::tc(ebpf).map_err(other)?;
    if let Some(link) = pinned(path)? {
        let link = SchedClassifierLink::try_from(link).map_err(other)?;
        if program.attach_to_link(link).is_ok_and(|id| program.take_link(id).is_ok()) {
            return Ok(());
        }
        unpin(path)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(name, TcAttachType::Ingress, options).map_err(refusal)?;
    let link = program.take_link(id).map_err(other)?;
    FdLink::try_from(link).map_err(other)?.pin(path).map_err(other).map(drop)
}

fn attach_filter(path: &Path, ebpf: &mut Ebpf, name: &str) -> Result<(), Refusal> {
    let program = loader::tc(ebpf).map_err(other)?;
    if path.exists() {
        let link = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, HANDLE, None).map_err(other)?;
        let replaced = program.attach_to_link(link);
        unpin(path)?;
        if let Ok(id) = replaced {
            return keep_filter(path, program, id);
        }
        // The interface is gone and came back under its old index.
    }
    // Fails where there is one already, which is as good.
    let clsact = qdisc_add_clsact(name);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let id = program.attach_with_options(name, TcAttachType::Ingress, TcAttachOptions::Netlink(options));
    keep_filter(path, program, id.map_err(|error| clsact.err().and_then(no_clsact).unwrap_or_else(|| refusal(error)))?)
}

/// Why there is no qdisc that a filter could hang in.
fn no_clsact(error: TcError) -> Option<Refusal> {
    let error = ProgramError::TcError(error);
    let missing = "the qdisc clsact cannot be made: the kernel needs its modules sch_ingress and cls_bpf";
    (os_code(&error) != Some(libc::EEXIST)).then(|| Refusal::Unsupported(format!("{missing} ({})", reason(&error))))
}

fn keep_filter(path: &Path, program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Result<(), Refusal> {
    let link = program.take_link(id).map_err(other)?;
    // Dropped it would take the filter away.
    std::mem::forget(link);
    program.pin(path).map_err(other)
}

/// Takes the program away from the interface. It may be gone already, with or without its interface.
pub fn detach(directory: &Path, attachment: Attachment, name: Option<&str>) -> Result<(), Error> {
    let path = pin(directory, attachment);
    if let (How::Filter, Some(name)) = (attachment.how, name)
        && let Ok(link) = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, HANDLE, None)
    {
        // Dropping detaches; whether the filter was still there does not matter.
        drop(link);
    }
    if attachment.how != How::Filter
        && let Err(error) = bpf::detach_pinned(&path)
    {
        debug!(path = %path.display(), %error, "a link is left to go with its pin");
    }
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Directory { path, source }),
        _ => Ok(()),
    }
}

fn pinned(path: &Path) -> Result<Option<FdLink>, Refusal> {
    match PinnedLink::from_pin(path) {
        Ok(link) => Ok(Some(link.into())),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(other(error)),
    }
}

fn unpin(path: &Path) -> Result<(), Refusal> {
    fs::remove_file(path).map_err(other)
}

fn refusal(error: ProgramError) -> Refusal {
    let code = os_code(&error);
    match code {
        Some(libc::EOPNOTSUPP | libc::EINVAL) => Refusal::Unsupported(reason(&error)),
        Some(libc::EBUSY | libc::EEXIST) => Refusal::Taken(reason(&error)),
        _ => Refusal::Other(reason(&error)),
    }
}

fn other(error: impl std::error::Error) -> Refusal {
    Refusal::Other(reason(&error))
}

fn os_code(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::TcError(TcError::NetlinkError(error)) | ProgramError::NetlinkError(error) => error.raw_os_error(),
        ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
        _ => os_error(error)?.raw_os_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_name_hook_and_interface() {
        assert_eq!(parse("xdp-12"), Some(Attachment { how: How::Xdp, interface: 12 }));
        assert_eq!(parse("tcx-3"), Some(Attachment { how: How::Tcx, interface: 3 }));
        assert_eq!(parse("tc-3"), Some(Attachment { how: How::Filter, interface: 3 }));
        assert_eq!(parse("tc-x"), None);
        assert_eq!(parse("maps"), None);
    }
}
