//! Files are for their owner only.

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use vestibule_authn::ports::Store as _;
use vestibule_core::account::Role;
use vestibule_store::sqlite::SqliteStore;

use crate::fixture::{NOW, Place, account, key};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn seed_003_09_seed_003_92_files_are_0600_in_0700_under_any_umask() {
    for umask in ["000", "022", "077", "777"] {
        let place = Place::new();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "modes::child_makes_a_store_and_looks_at_its_modes", "--ignored"])
            .current_dir(place.dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "umask {umask}: {said}");
    }
}

#[tokio::test]
#[ignore = "a part of the test above, run by it in a process of its own"]
async fn child_makes_a_store_and_looks_at_its_modes() {
    let dir = Path::new("data/deep");
    let file = dir.join("vestibule.db");
    let store = SqliteStore::open(&file, &[key(1)]).await.unwrap();
    account(&store, "ann", Role::Admin).await;
    let gz = store.backup_regularly(Path::new("backups"), 3, NOW).await.unwrap();
    let plain = store.backup(Path::new("backups/plain.db"), NOW).await.unwrap();
    assert_eq!((mode(Path::new("data")), mode(dir)), (0o700, 0o700));
    assert_eq!(mode(Path::new("backups")), 0o700);
    for path in [
        file.as_path(),
        &dir.join("vestibule.db-wal"),
        &dir.join("vestibule.db-shm"),
        &gz,
        &plain,
        Path::new("backups/latest.db.gz"),
    ] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn seed_003_05_seed_003_68_a_missing_directory_is_made_0700() {
    let place = Place::new();
    let file = place.dir.path().join("a/b/vestibule.db");
    SqliteStore::open(&file, &[key(1)]).await.unwrap();
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(&place.dir.path().join("a")), 0o700);
    assert_eq!(mode(&file), 0o600);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn seed_003_10_seed_003_69_a_looser_mode_is_tightened_at_every_start_with_a_warning() {
    let place = Place::new();
    place.open().await.close().await;
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let store = place.open().await;
    store.close().await;
    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!said.contains("store.mode_tightened"), "{said}");

    for _ in 0..2 {
        lines.0.lock().unwrap().clear();
        set_mode(&place.file(), 0o644);
        set_mode(place.dir.path(), 0o755);
        let store = place.open().await;
        assert_eq!((mode(&place.file()), mode(place.dir.path())), (0o600, 0o700));
        assert_eq!(store.health().await.unwrap().mode, "0600");
        store.close().await;
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(
            said.contains("WARN") && said.matches("store.mode_tightened").count() == 2,
            "{said}"
        );
        assert!(said.contains("0644") && said.contains("0755"), "{said}");
    }
}

#[tokio::test]
async fn seed_003_11_seed_003_98_health_tells_engine_schema_mode_integrity_size_and_backup() {
    let place = Place::new();
    let store = place.open().await;
    let health = store.health().await.unwrap();
    assert_eq!((health.engine, health.schema_version), ("sqlite", 2));
    assert_eq!((health.mode.as_str(), health.integrity.as_str()), ("0600", "ok"));
    assert!(health.size > 4096 && health.last_backup.is_none());
    store.backup(&place.dir.path().join("copy.db.gz"), NOW).await.unwrap();
    set_mode(&place.file(), 0o640);
    let health = store.health().await.unwrap();
    assert_eq!((health.mode.as_str(), health.last_backup), ("0640", Some(NOW)));
}
