//! Broken configurations, `bad/*.toml`, each beside the exact report that an operator sees.
//!
//! Lines of the form `# env NAME=VALUE` set the environment; `# file PATH MODE TEXT` makes a file beside the
//! configuration; `# mode 0644` makes the configuration itself so readable. Every file says in its first
//! line what it is about. To accept changed reports: `VESTIBULE_BLESS=1 cargo test -p vestibule-config`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use vestibule_config::Environment;

/// The good secret that the files use.
const SECRET: &str = "6f1c0a9be27d4853b8f1e09c7ad25634f08e91ab37dc5260";

struct Folder(std::path::PathBuf);

impl Folder {
    /// An open folder, so that what counts is the mode of the files.
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("vestibule-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn report(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap().replace("@SECRET@", SECRET);
    let name = path.file_stem().unwrap().to_str().unwrap();
    let folder = Folder::new(name);
    let here = folder.0.to_str().unwrap().to_owned();
    let mut environment = Environment::new();
    let mut mode = 0o600;
    let mut is_env_only = false;
    for line in text.lines() {
        if let Some((name, value)) = line.strip_prefix("# env ").and_then(|l| l.split_once('=')) {
            environment.insert(name.to_owned(), value.replace("@HERE@", &here));
        }
        if let Some(rest) = line.strip_prefix("# file ") {
            let mut parts = rest.splitn(3, ' ');
            let (file, bits) = (parts.next().unwrap(), parts.next().unwrap());
            let text = parts.next().unwrap_or_default().replace("\\n", "\n");
            folder.write(file, &text, u32::from_str_radix(bits, 8).unwrap());
        }
        if let Some(bits) = line.strip_prefix("# mode ") {
            mode = u32::from_str_radix(bits, 8).unwrap();
        }
        is_env_only |= line == "# no file";
    }
    folder.write("vestibule.toml", &text.replace("@HERE@", &here), mode);
    let file = folder.0.join("vestibule.toml");
    let loaded = vestibule_config::load((!is_env_only).then_some(file.as_path()), &environment);
    let text = match loaded {
        Ok(loaded) => format!("starts\n\n{}", vestibule_config::render(&loaded.warnings)),
        Err(report) => vestibule_config::render(&report.diagnostics),
    };
    text.replace(&format!("{here}/"), "")
}

#[test]
fn every_broken_configuration_has_its_exact_report() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let bless = std::env::var_os("VESTIBULE_BLESS").is_some();
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "only {} goldens", names.len());
    let mut wrong = Vec::new();
    for path in names {
        let expected = path.with_extension("txt");
        let found = report(&path);
        if bless {
            std::fs::write(&expected, &found).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("--- {}\n{found}", path.display()));
        }
        assert!(!found.contains(SECRET), "{} shows a secret", path.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
