//! Notices changed files: the configuration, what it includes and refers to, and certificates.
//!
//! It looks at the files four times a second instead of asking the kernel for events: that
//! works on every file system, sees renames and swapped symbolic links, and costs a few `stat`
//! calls. A change counts once the file has stood still for one round, so that a
//! half-written file is not read.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks.
pub(crate) const ROUND: Duration = Duration::from_millis(250);

type Stamp = Option<(u64, u64, i64, i64)>;

/// What the watched files looked like.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    settled: BTreeMap<PathBuf, Stamp>,
    moving: Option<BTreeMap<PathBuf, Stamp>>,
}

impl Watcher {
    /// Starts from the state of now.
    pub(crate) fn new(files: &[PathBuf], directories: &[PathBuf]) -> Self {
        Self { settled: look(files, directories), moving: None }
    }

    /// Whether the files have changed since the last `true` and stand still now.
    pub(crate) fn has_changed(&mut self, files: &[PathBuf], directories: &[PathBuf]) -> bool {
        let now = look(files, directories);
        if now == self.settled {
            self.moving = None;
            return false;
        }
        if self.moving.as_ref() == Some(&now) {
            self.settled = now;
            self.moving = None;
            return true;
        }
        self.moving = Some(now);
        false
    }
}

fn look(files: &[PathBuf], directories: &[PathBuf]) -> BTreeMap<PathBuf, Stamp> {
    files.iter().chain(directories).map(|path| (path.clone(), stamp(path))).collect()
}

fn stamp(path: &Path) -> Stamp {
    let data = std::fs::metadata(path).ok()?;
    Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}
