//! The house rules that a compiler does not hold: who may depend on whom, which versions are too
//! old, what the packaging must say. Reads `cargo metadata`, the lock file and plain text files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails loudly, at the line that is wrong"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Edges between our crates, without dev-dependencies. Whatever is not here is refused.
const EDGES: &[(&str, &[&str])] = &[
    ("vestibule", &["authn", "config", "core", "portal", "proxy", "store"]),
    ("vestibule-authn", &["core"]),
    ("vestibule-config", &["core"]),
    ("vestibule-core", &[]),
    ("vestibule-portal", &["authn", "core"]),
    ("vestibule-proxy", &["authn", "core"]),
    ("vestibule-store", &["authn", "core"]),
    ("vestibule-testkit", &["core"]),
];

/// What the lock file must not undercut (SECURITY.md).
const FLOORS: &[(&str, [u64; 3])] = &[
    ("h2", [0, 4, 16]),
    ("hyper", [1, 11, 0]),
    ("idna", [1, 0, 3]),
    ("jsonwebtoken", [10, 3, 0]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("sqlx", [0, 8, 1]),
    ("time", [0, 3, 47]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn cargo_metadata(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Each of our crates and the ones of ours that it depends on.
fn metadata() -> BTreeMap<String, BTreeSet<String>> {
    let json = cargo_metadata(&["--no-deps"]);
    let ours = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str()?.strip_prefix("vestibule-"))
            .map(str::to_owned)
            .collect()
    };
    let packages = json["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap().to_owned(), ours(package))).collect()
}

fn locked() -> BTreeMap<String, Vec<String>> {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in lock["package"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    versions
}

#[test]
fn crates_depend_one_way_only() {
    let packages = metadata();
    let names: Vec<&str> = packages.keys().map(String::as_str).collect();
    let known: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known, "a crate came or went: put it into EDGES and docs/ARCHITECTURE.md");
    for (name, allowed) in EDGES {
        for edge in &packages[*name] {
            assert!(allowed.contains(&edge.as_str()), "{name} must not depend on vestibule-{edge}");
        }
    }
}

#[test]
fn no_locked_version_is_below_its_floor() {
    let locked = locked();
    for (name, floor) in FLOORS {
        for version in locked.get(*name).into_iter().flatten() {
            let core = version.split(['-', '+']).next().unwrap();
            let parts: Vec<u64> = core.split('.').map(|part| part.parse().unwrap()).collect();
            assert!(parts.as_slice() >= floor.as_slice(), "{name} {version} is below {floor:?}");
        }
    }
    assert!(locked.contains_key("hyper") && locked.contains_key("rustls"), "read the right file");
}

#[test]
fn what_deny_toml_bans_is_not_built() {
    // The lock file also names what no enabled feature brings; `cargo tree` is what is built.
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--offline",
            "--locked",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    let built: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(built.contains("rustls") && built.len() > 100, "read the whole tree");
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let banned = deny["bans"]["deny"].as_array().unwrap();
    for name in banned.iter().map(|ban| ban["name"].as_str().unwrap()) {
        assert!(!built.contains(name), "{name} must not be a dependency");
    }
    assert!(banned.len() >= 5);
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
    let json = cargo_metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let packages = json["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "read the whole tree");
    for package in packages {
        let (name, licence) = (&package["name"], package["license"].as_str());
        // `A OR B` and the older `A/B`: one of them is enough. `A AND B`: all.
        let good = licence.is_some_and(|text| {
            let all = |part: &str| {
                let ids = part.split(" AND ").map(|id| id.trim().trim_matches(['(', ')']));
                ids.into_iter().all(|id| allowed.contains(&id))
            };
            let alternatives = text.replace('/', " OR ");
            alternatives.split(" OR ").any(all)
                || text.split(" AND ").all(|part| part.split(" OR ").any(all))
        });
        assert!(good, "{name}: licence {licence:?} is not in deny.toml");
    }
}

#[test]
fn only_config_reads_the_environment_and_only_store_has_sql() {
    let mut wrong = Vec::new();
    for (room, file, text) in sources() {
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in shipped.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("//") {
                continue;
            }
            let environment =
                line.contains("env::var") && !matches!(room.as_str(), "config" | "testkit");
            let sql = room != "store"
                && ["sqlx::", "SELECT ", "INSERT INTO", "DELETE FROM"]
                    .iter()
                    .any(|s| line.contains(s));
            if environment || sql {
                wrong.push(format!("{file}:{}: {line}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "in the wrong room:\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| !text.starts_with("//!"))
        .map(|(_, file, _)| file)
        .collect();
    assert!(silent.is_empty(), "no `//!` at the head of: {silent:?}");
}

#[test]
fn seed_003_65_seed_003_67_seed_003_97_the_image_runs_as_nobody_on_a_read_only_root() {
    let text = read("Dockerfile");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for wanted in ["USER 10001:10001", "VOLUME /data"] {
        assert!(lines.contains(&wanted), "the Dockerfile lacks `{wanted}`");
    }
    let after_user: Vec<&&str> =
        lines.iter().skip_while(|line| **line != "USER 10001:10001").collect();
    assert!(
        !after_user.iter().any(|line| line.starts_with("USER ") && **line != "USER 10001:10001")
    );
    let health = lines.iter().find(|line| line.starts_with("HEALTHCHECK")).expect("HEALTHCHECK");
    assert!(text[text.find(health).unwrap()..].contains("\"health\""), "{health}");
    assert!(
        lines.iter().any(|line| line.starts_with("ENTRYPOINT [\"/")),
        "an exec-form ENTRYPOINT"
    );
    assert!(!text.contains(":latest"), "pin the images");
    // Nothing but /data is written: compose and the unit start it so.
    assert!(read("deploy/compose.yaml").contains("read_only: true"));
    let unit = read("deploy/systemd/vestibule.service");
    for wanted in
        ["ProtectSystem=strict", "NoNewPrivileges=yes", "ExecReload=/bin/kill -HUP $MAINPID"]
    {
        assert!(unit.lines().any(|line| line.trim() == wanted), "the unit lacks `{wanted}`");
    }
}

/// Room, path and text of every shipped source file.
fn sources() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for room in std::fs::read_dir(root().join("crates")).unwrap() {
        let room = room.unwrap();
        let name = room.file_name().into_string().unwrap();
        let folder = if name == "gateway" { room.path() } else { room.path().join("src") };
        walk(&folder, &mut |path| {
            let text = std::fs::read_to_string(path).unwrap();
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name.clone(), shown, text));
        });
    }
    assert!(found.len() > 30, "read the right folder");
    found
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_none_or(|stem| stem != "tests")
        {
            visit(&path);
        }
    }
}
