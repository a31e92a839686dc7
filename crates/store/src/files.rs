//! Files and directories with the modes that secrets need: 0600 in 0700, whatever the umask.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Bits that let anybody but the owner in.
pub(crate) const OTHERS: u32 = 0o077;

/// Directories of the system whose mode is nobody's to tighten, though a file may lie there.
const SHARED_DIRS: [&str; 12] = [
    "/", "/bin", "/dev", "/etc", "/home", "/opt", "/run", "/srv", "/tmp", "/usr", "/var",
    "/var/lib",
];

/// A file that is being made beside its place: gone when dropped, unless it was renamed.
pub(crate) struct Aside(PathBuf);

impl Aside {
    /// A name beside `path` that no other process uses. Nothing is made yet.
    pub(crate) fn new(path: &Path, word: &str) -> Self {
        let mut random = [0u8; 8];
        let _ = aws_lc_rs::rand::fill(&mut random);
        let random = u64::from_ne_bytes(random);
        Self(with_suffix(path, &format!(".{word}-{random:016x}")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let _ = std::fs::remove_file(with_suffix(&self.0, suffix));
        }
    }
}

/// Makes a new empty file of mode 0600. Fails where the file is there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Writes a new file of mode 0600 in one step: it is there whole or not at all. Fails with
/// [`io::ErrorKind::AlreadyExists`] where the file is there.
pub(crate) fn write_new_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let aside = Aside::new(path, "new");
    let mut file = create_private(aside.path())?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::hard_link(aside.path(), path)?;
    sync_parent(path)
}

/// The path with something added to its last part.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory of a file; `.` where the path names none.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what is in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Makes the directory (0700, with its parents) or tightens its mode to 0700 with a warning,
/// and checks that files can be made in it.
pub(crate) fn prepare_dir(dir: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => {
            return Err(not_writable(dir, "it is not a directory"));
        }
        Ok(meta) => tighten_dir(dir, &meta),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dirs(dir).map_err(|error| not_writable(dir, &error.to_string()))?;
        }
        Err(error) => return Err(not_writable(dir, &error.to_string())),
    }
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, dir, wanted, AtFlags::EACCESS)
        .map_err(|errno| not_writable(dir, &io::Error::from(errno).to_string()))
}

/// Sets a file's mode to 0600 where it lets others in, with a warning. A missing file is fine.
pub(crate) fn tighten_file(path: &Path) -> Result<(), OpenError> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::io(path, &error)),
    };
    let mode = meta.mode() & 0o7777;
    if mode & 0o600 != 0o600 {
        let path = path.display();
        return Err(OpenError::Refused(format!(
            "{path} has mode {mode:04o}: its owner cannot write it, and a store must be written. Run: chmod 600 {path}"
        )));
    }
    if mode == 0o600 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|error| {
        OpenError::Refused(format!(
            "{} has mode {mode:04o} and it cannot be changed ({error}). Run: chmod 600 {}",
            path.display(),
            path.display(),
        ))
    })?;
    tracing::warn!(
        path = %path.display(),
        was = %format_args!("{mode:04o}"),
        "store.mode_tightened: the file could be read by others; it is 0600 now"
    );
    Ok(())
}

/// The error for a directory that cannot be used, with the command that helps.
pub(crate) fn not_writable(dir: &Path, reason: &str) -> OpenError {
    OpenError::NotWritable {
        dir: dir.to_owned(),
        reason: reason.to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// Makes the directory and its missing parents, each 0700 before the next is made in it, so
/// that a strict umask does not lock us out of our own.
fn make_dirs(dir: &Path) -> io::Result<()> {
    let above = parent(dir);
    if above != dir && !above.exists() {
        make_dirs(above)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => std::fs::set_permissions(dir, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn tighten_dir(dir: &Path, meta: &std::fs::Metadata) {
    let mode = meta.mode() & 0o7777;
    let shared = mode & 0o1000 != 0
        || dir.canonicalize().is_ok_and(|dir| SHARED_DIRS.iter().any(|s| dir == Path::new(s)));
    if mode & OTHERS == 0 {
        return;
    }
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    let tightened = ours && !shared && {
        std::fs::set_permissions(dir, Permissions::from_mode(mode & 0o700)).is_ok()
    };
    if tightened {
        tracing::warn!(
            path = %dir.display(),
            was = %format_args!("{mode:04o}"),
            "store.mode_tightened: the directory was open to others; it is 0700 now"
        );
    } else {
        tracing::warn!(
            path = %dir.display(),
            mode = %format_args!("{mode:04o}"),
            "store.directory_open: others can list the directory of the store; give it one of its own with mode 0700"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_003_66_an_unwritable_directory_is_answered_with_the_chown_line() {
        let text = not_writable(Path::new("/data"), "Permission denied").to_string();
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        assert!(text.contains(&format!("chown -R {uid}:{gid} /data")), "{text}");
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_not_writable() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(prepare_dir(&file), Err(OpenError::NotWritable { .. })));
    }

    #[test]
    fn x9_a_file_without_write_permission_is_refused_with_the_chmod_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        create_private(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let refused = tighten_file(&path).unwrap_err().to_string();
        assert!(refused.contains("0444") && refused.contains("chmod 600"), "{refused}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o444);
    }

    #[test]
    fn a_private_file_appears_whole_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_new_private(&path, b"one").unwrap();
        let again = write_new_private(&path, b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
