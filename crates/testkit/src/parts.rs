//! Programs that only some machines have. An absent one is a skip that is printed and counted;
//! with `VESTIBULE_TEST_REQUIRE=all` it is a failure.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// The path of a program, searched in `VESTIBULE_TEST_PARTS` (a folder), `PATH` and the
/// system's sbin folders. Absent: prints which package has it, counts the skip, and answers
/// `None`, so that the test returns.
///
/// # Panics
/// Under `VESTIBULE_TEST_REQUIRE=all`.
#[track_caller]
pub fn part(program: &str, package: &str) -> Option<PathBuf> {
    let extra = std::env::var_os("VESTIBULE_TEST_PARTS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = extra
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(program))
        .find(|candidate| is_program(candidate));
    if found.is_none() {
        skip(&format!("`{program}` is not installed; it comes with {package}"));
    }
    found
}

/// Prints and counts a skip.
///
/// # Panics
/// Under `VESTIBULE_TEST_REQUIRE=all`.
#[track_caller]
pub fn skip(why: &str) {
    let required = std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!required, "VESTIBULE_TEST_REQUIRE=all, and {why}");
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    eprintln!("SKIPPED {count}: {test}: {why}");
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
