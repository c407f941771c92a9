//! Looking at files as another user, with that user's rights and no others.

use std::ffi::CString;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Gid, Uid, User, faccessat, getgrouplist, getgroups, setfsgid, setfsuid, setgroups};

/// A user whose rights on files this process can take on: it is root.
pub struct Eyes {
    user: User,
    groups: Vec<Gid>,
}

impl Eyes {
    /// `None`: there is no such user, or it is this one.
    pub fn of(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten().filter(|user| !user.uid.is_root())?;
        let groups = getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
        Some(Self { user, groups })
    }

    /// Runs `look` with the user's rights on files: with its ids, capabilities over files go as well (setfsuid(2)).
    pub fn see<T>(&self, look: impl FnOnce() -> T) -> T {
        let own = getgroups().unwrap_or_default();
        let is_like_the_user = setgroups(&self.groups).is_ok();
        debug_assert!(is_like_the_user, "root may");
        let gid = setfsgid(self.user.gid);
        let uid = setfsuid(self.user.uid);
        let seen = look();
        setfsuid(uid);
        setfsgid(gid);
        let _ = setgroups(&own);
        seen
    }
}

/// access(2) asks for the real user; this asks for the one who looks.
pub fn may(path: &Path, what: AccessFlags) -> Result<(), Errno> {
    faccessat(AT_FDCWD, path, what, AtFlags::AT_EACCESS)
}

pub fn is_root() -> bool {
    Uid::effective().is_root()
}
