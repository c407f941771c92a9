//! What aya keeps to itself of bpf(2).

#![expect(unsafe_code, reason = "three commands of bpf(2)")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd`
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `union bpf_attr` for BPF_OBJ_*.
#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The same for BPF_LINK_DETACH.
#[repr(C)]
struct Link {
    link_fd: u32,
}

/// The same for BPF_PROG_QUERY, as far as it is used.
#[repr(C)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    zero: u32,
}

/// `enum bpf_attach_type`
const BPF_TCX_INGRESS: u32 = 46;

/// Does this kernel have tcx? It is asked what hangs on an interface that every network namespace has; a kernel that
/// does not know the question says EINVAL. `None`: this process may not ask.
pub fn has_tcx() -> Option<bool> {
    let loopback = Query {
        target_ifindex: 1,
        attach_type: BPF_TCX_INGRESS,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: 0,
        count: 0,
        zero: 0,
    };
    match bpf(BPF_PROG_QUERY, &loopback).map_err(|error| error.raw_os_error()) {
        Err(Some(libc::EPERM | libc::EACCES)) => None,
        Err(Some(libc::EINVAL | libc::ENOSYS)) => Some(false),
        // ENOENT: nothing was ever attached there.
        _ => Some(true),
    }
}

/// Takes a pinned bpf_link off its interface at once. Removing the pin does that too, but some time later: its inode
/// waits for other CPUs (bpf_free_inode, kernel/bpf/inode.c).
pub fn detach_pinned(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let pinned = bpf(BPF_OBJ_GET, &Object { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 })?;
    // SAFETY: the kernel has just opened it, for us alone.
    let link = unsafe { OwnedFd::from_raw_fd(pinned) };
    bpf(BPF_LINK_DETACH, &Link { link_fd: link.as_raw_fd() as u32 }).map(drop)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes of `attributes` as are said to be there, and what they point to,
    // both of which outlive the call. Only BPF_PROG_QUERY writes there, integers of `Query`, which nobody reads.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
