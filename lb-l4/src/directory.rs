//! Where layer 4 lives on while lb is not there: a directory on a bpf file system.
//!
//! `maps-vN/` has the maps of one layout, `links/` what holds the program on each interface.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::abi::LAYOUT;
use crate::error::Error;

/// Where systemd and everybody else mount it.
const BPFFS: &str = "/sys/fs/bpf";

/// Held by one process at a time.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Taken before anything is touched; the kernel gives it up with the process.
    _lock: Flock<File>,
}

/// Each network namespace has one of its own, so that an lb in each of them may share the file system.
pub fn default_path() -> PathBuf {
    let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |m| m.ino());
    PathBuf::from(BPFFS).join("lb").join(format!("net-{namespace}"))
}

impl Directory {
    /// Makes it where it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        ensure_bpffs(path)?;
        for part in [path.to_owned(), path.join("links")] {
            fs::create_dir_all(&part).map_err(|source| Error::Directory { path: part, source })?;
        }
        Self::lock(path)
    }

    /// `None`: nothing was ever left there.
    pub fn existing(path: &Path) -> Result<Option<Self>, Error> {
        if path.is_dir() { Self::lock(path).map(Some) } else { Ok(None) }
    }

    fn lock(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Directory { path: path.to_owned(), source })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Error::Locked(path.to_owned())),
            Err((_, errno)) => Err(Error::Directory { path: path.to_owned(), source: errno.into() }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn maps(&self) -> PathBuf {
        self.path.join(format!("maps-v{LAYOUT}"))
    }

    /// In which maps of another size are prepared beside those that serve. (bpffs takes no dots in names.)
    pub fn new_maps(&self) -> PathBuf {
        self.path.join(format!("maps-v{LAYOUT}-new"))
    }

    pub fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    /// What was prepared takes the place of what served; maps of another layout go.
    pub fn adopt_new_maps(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_maps = name.to_string_lossy().starts_with("maps-");
            if is_maps && entry.path() != self.new_maps() {
                remove(&entry.path())?;
            }
        }
        fs::rename(self.new_maps(), self.maps())
    }

    /// Are there maps of another layout?
    pub fn has_other_layout(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.path) else { return false };
        let ours = [self.maps(), self.new_maps()];
        entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with("maps-") && !ours.contains(&e.path()))
    }

    /// With everything in it.
    pub fn remove(self) -> Result<(), Error> {
        remove(&self.path).map_err(|source| Error::Directory { path: self.path.clone(), source })?;
        // The one above is shared with other network namespaces.
        let _ = self.path.parent().map(fs::remove_dir);
        Ok(())
    }
}

/// A bpf file system takes files away one by one.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Mounts one at its usual place where that is empty and it may.
fn ensure_bpffs(path: &Path) -> Result<(), Error> {
    let nearest = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    if is_bpffs(nearest) {
        return Ok(());
    }
    let usual = path.starts_with(BPFFS).then(|| mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>));
    match usual {
        Some(Ok(())) => {
            tracing::info!(path = BPFFS, "mounted a bpf file system, on which layer 4 lives");
            Ok(())
        }
        Some(Err(errno)) => Err(Error::no_bpffs(path, errno.into())),
        None => Err(Error::no_bpffs(path, io::ErrorKind::Unsupported.into())),
    }
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}
