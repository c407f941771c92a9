//! The admin socket: who may connect is a matter of its file's owner, group and mode.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const MODE: u32 = 0o660;

/// A socket that is bound.
pub struct Socket {
    pub listener: UnixListener,
    pub file: SocketFile,
}

/// The socket's place in the file system, which is empty again when this is dropped.
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Socket {
    /// Replaces what a dead process left behind, never what somebody listens on.
    pub fn bind(path: &Path) -> Result<Self> {
        let context = || format!("cannot open the admin socket {}", path.display());
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).with_context(context)?;
        }
        refuse_taken(path).with_context(context)?;
        Self::create(path).with_context(context)
    }

    /// Bound under another name first, so that nobody finds it before its mode is right.
    fn create(path: &Path) -> io::Result<Self> {
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(".new");
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden)?;
        fs::set_permissions(&hidden, Permissions::from_mode(MODE))?;
        fs::rename(&hidden, path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), identity: identity(path)? } })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another lb may have put its own there by now.
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

fn refuse_taken(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(meta) if !meta.file_type().is_socket() => bail!("there is a file in its place that is no socket"),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => bail!("another lb is running and listens on it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_and_group_may_connect_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/on/the/way/admin.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn takes_the_place_of_a_dead_socket_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let living = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());

        let error = format!("{:#}", Socket::bind(&path).err().unwrap());
        assert!(error.contains("another lb is running"), "{error}");
        drop(living);

        fs::write(&path, "precious").unwrap();
        let error = format!("{:#}", Socket::bind(&path).err().unwrap());
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn leaves_the_successors_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _new = Socket::bind(&path).unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
    }
}
