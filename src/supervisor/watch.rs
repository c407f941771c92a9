//! Notices that the configuration file changed, however it was written: in place, by a rename over
//! it (editors), or by a swap of a symlink on the way to it (Kubernetes config maps).
//!
//! Directories are watched, not the file, because a rename would leave the watch on the old one.
//! Every event there, once things are quiet, leads to one look at the file itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::config::Reload;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

/// A file is read after nothing happened around it for this long: an editor may still be writing.
const QUIET: Duration = Duration::from_millis(200);
/// Not even constant noise in the directory puts it off any longer.
const LONGEST: usize = 25;

/// Stops when it is dropped.
pub struct FileWatch {
    task: JoinHandle<()>,
}

/// Changes whenever the file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

struct Watched {
    path: PathBuf,
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    seen: Option<Fingerprint>,
}

impl FileWatch {
    /// Where the configuration asks for it.
    pub fn wanted(reload: &Reload, path: &Path, changed: &Arc<Notify>) -> Result<Option<Self>> {
        reload.watch.then(|| Self::start(path, changed.clone())).transpose()
    }

    /// Notifies `changed` of each change of the file from now on. On a runtime.
    fn start(path: &Path, changed: Arc<Notify>) -> Result<Self> {
        let (noise, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|e| !matches!(e.kind, EventKind::Access(_))) {
                // Full: a look at the file is due anyway.
                let _ = noise.try_send(());
            }
        })
        .context("cannot watch files")?;
        let mut watched = Watched { path: path.to_owned(), watcher, directories: BTreeSet::new(), seen: None };
        watched.seen = watched.fingerprint();
        watched.follow().with_context(|| format!("cannot watch {}", path.display()))?;
        Ok(Self { task: tokio::spawn(watched.run(events, changed)) })
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watched {
    async fn run(mut self, mut events: mpsc::Receiver<()>, changed: Arc<Notify>) {
        while events.recv().await.is_some() {
            until_quiet(&mut events).await;
            if let Err(error) = self.follow() {
                warn!(%error, path = %self.path.display(), "cannot watch the configuration file");
            }
            let now = self.fingerprint();
            // A file that is gone for a moment is no change; what comes after it is.
            if now.is_some() && now != self.seen {
                self.seen = now;
                changed.notify_one();
            }
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let meta = fs::metadata(&self.path).ok()?;
        Some(Fingerprint {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }

    /// Watches every directory on the way to the file, and no other.
    fn follow(&mut self) -> notify::Result<()> {
        let wanted = directories(&self.path);
        for gone in self.directories.difference(&wanted) {
            // It may not exist any more, and then neither does its watch.
            let _ = self.watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.directories) {
            self.watcher.watch(new, RecursiveMode::NonRecursive)?;
        }
        self.directories = wanted;
        Ok(())
    }
}

async fn until_quiet(events: &mut mpsc::Receiver<()>) {
    for _ in 0..LONGEST {
        if !matches!(timeout(QUIET, events.recv()).await, Ok(Some(()))) {
            return;
        }
    }
}

/// Of the file as named, of what it links to, and of each link in between.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut next = path.to_owned();
    for _ in 0..8 {
        let parent = next.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let target = fs::read_link(&next);
        found.insert(parent.clone());
        match target {
            Ok(target) => next = parent.join(target),
            Err(_) => break,
        }
    }
    // A link may stand anywhere in the path, so also where it ends.
    found.extend(fs::canonicalize(path).ok().and_then(|real| real.parent().map(Path::to_owned)));
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn sees_a_write_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lb.yaml");
        fs::write(&file, "one").unwrap();
        let (_watch, changed) = watch(&file);

        fs::write(&file, "two, longer").unwrap();
        assert_changed(&changed).await;
    }

    #[tokio::test]
    async fn sees_every_rename_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lb.yaml");
        fs::write(&file, "one").unwrap();
        let (_watch, changed) = watch(&file);

        for text in ["two", "three"] {
            let new = dir.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &file).unwrap();
            assert_changed(&changed).await;
        }
    }

    /// lb.yaml -> ..data/lb.yaml, ..data -> v1: an update renames a new ..data over the old one.
    #[tokio::test]
    async fn sees_the_swap_of_a_symlinked_directory() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["v1", "v2", "v3"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("lb.yaml"), version).unwrap();
        }
        symlink("v1", dir.path().join("..data")).unwrap();
        symlink("..data/lb.yaml", dir.path().join("lb.yaml")).unwrap();
        let (_watch, changed) = watch(&dir.path().join("lb.yaml"));

        for version in ["v2", "v3"] {
            symlink(version, dir.path().join("..data_tmp")).unwrap();
            fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
            assert_changed(&changed).await;
        }
    }

    fn watch(file: &Path) -> (FileWatch, Arc<Notify>) {
        let changed = Arc::new(Notify::new());
        (FileWatch::start(file, changed.clone()).unwrap(), changed)
    }

    async fn assert_changed(changed: &Notify) {
        timeout(DEADLINE, changed.notified()).await.expect("the change was not noticed");
    }
}
