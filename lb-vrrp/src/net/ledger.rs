//! What is set below /proc/sys/net, on file: a process that is killed cannot put it back, and to the next one it would
//! look as if it had always been so.
//!
//! The file lies where a restart of the host empties it, as that resets the settings too (/run). It is believed only if
//! nobody else can have written it, and only about settings that lb changes at all; and nothing is put back that is no
//! longer as lb has set it, or on an interface that is another one by now.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::unistd::geteuid;

use super::sysctl::Changed;

/// Bytes; seven lines for each of hundreds of virtual routers.
const LONGEST: u64 = 256 << 10;

/// Clones are one. Without a file it remembers nothing.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Option<Arc<Mutex<Book>>>);

#[derive(Debug)]
struct Book {
    path: PathBuf,
    /// In the order in which it was set.
    changes: Vec<Changed>,
}

impl Ledger {
    /// Puts back what the process before this one has set and not put back. Fails where the file cannot be read, may
    /// not be believed, or could not be written; it is left alone then.
    pub fn open(path: &Path) -> io::Result<Self> {
        let left = read(path)?;
        let book = Book { path: path.to_owned(), changes: Vec::new() };
        book.write(&left)?;
        // What cannot be put back is not there any more, or no longer lb's.
        left.iter().rev().for_each(|changed| drop(changed.undo()));
        book.write(&[])?;
        Ok(Self(Some(Arc::new(Mutex::new(book)))))
    }

    /// Before it is set. Whether that worked decides nothing: better a setting that outlives a crash than a virtual
    /// router that does not work.
    pub(super) fn note(&self, changed: &Changed) {
        self.change(|changes| changes.push(changed.clone()));
    }

    /// It was put back.
    pub(super) fn strike(&self, changed: &Changed) {
        self.change(|changes| changes.retain(|noted| noted != changed));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Changed>)) {
        let Some(mut book) = self.0.as_deref().map(lock) else { return };
        change(&mut book.changes);
        let _ = book.write(&book.changes);
    }
}

impl Book {
    /// By rename: whoever reads it after a crash finds all of the one state or of the other.
    fn write(&self, changes: &[Changed]) -> io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        ignore_missing(fs::remove_file(&new))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(changes.iter().map(|changed| format!("{changed}\n")).collect::<String>().as_bytes())?;
        if changes.is_empty() {
            fs::remove_file(&new)?;
            return ignore_missing(fs::remove_file(&self.path));
        }
        fs::rename(&new, &self.path)
    }
}

fn read(path: &Path) -> io::Result<Vec<Changed>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    if !is_ours_alone(&file)? {
        let why = format!("{} is not a file that only lb can have written", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    // Lines that lb would not have written say nothing.
    Ok(String::from_utf8_lossy(&text).lines().filter_map(|line| line.parse().ok()).collect())
}

fn is_ours_alone(file: &File) -> io::Result<bool> {
    let meta = file.metadata()?;
    let is_ours = [geteuid().as_raw(), 0].contains(&meta.uid());
    Ok(meta.is_file() && is_ours && meta.mode() & 0o022 == 0)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const LINE: &str = "ipv4 eth0 4000000000 arp_ignore 0 1";

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sysctls");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn what_is_noted_is_on_file_until_it_is_struck() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sysctls");
        let ledger = Ledger::open(&path).unwrap();
        let changes: Vec<Changed> = [LINE, "ipv6 eth0 3 accept_ra 1 0"].map(|line| line.parse().ok().unwrap()).into();
        assert!(!path.exists());
        changes.iter().for_each(|changed| ledger.note(changed));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{LINE}\nipv6 eth0 3 accept_ra 1 0\n"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        ledger.strike(&changes[0]);
        assert_eq!(read(&path).unwrap(), changes[1..]);
        ledger.strike(&changes[1]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_another_process_left_is_done_with_after_the_start() {
        let (_dir, path) = file(LINE, 0o600);
        Ledger::open(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_others_can_have_written_is_not_believed() {
        let (dir, path) = file(LINE, 0o620);
        assert!(Ledger::open(&path).is_err());
        assert!(path.exists());
        let link = dir.path().join("link");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        assert!(Ledger::open(&link).is_err());
        assert!(Ledger::open(dir.path()).is_err());
        assert!(Ledger::open(Path::new("/nonexistent/sysctls")).is_err());
    }

    #[test]
    fn lines_that_lb_does_not_write_say_nothing() {
        let strange = [
            "",
            "ipv4 eth0 3 arp_ignore 0",
            "ipv4 eth0 3 arp_ignore 0 1 2",
            "ipv5 eth0 3 arp_ignore 0 1",
            "ipv6 eth0 3 arp_ignore 0 1",
            "ipv4 eth0 3 ip_forward 0 1",
            "ipv4 ../../../kernel 3 arp_ignore 0 1",
            "ipv4 .. 3 arp_ignore 0 1",
            "ipv4 all 3 arp_ignore 0 1",
            "ipv4 a-name-that-is-too-long 3 arp_ignore 0 1",
            "ipv4 eth0 x arp_ignore 0 1",
            "ipv4 eth0 3 arp_ignore -1 1",
            "ipv4 eth0 3 arp_ignore 0 1000",
            "\u{fffd}",
        ];
        let (_dir, path) = file(&format!("{}\n{LINE}\n", strange.join("\n")), 0o600);
        assert_eq!(read(&path).unwrap(), [LINE.parse().ok().unwrap()]);
    }
}
