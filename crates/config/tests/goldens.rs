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

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

/// Compares one report with the file beside it.
#[track_caller]
fn golden(name: &str) {
    let path = folder().join(name).with_extension("toml");
    let expected = path.with_extension("txt");
    let found = report(&path);
    assert!(!found.contains(SECRET), "{name} shows a secret");
    if std::env::var_os("VESTIBULE_BLESS").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&expected).unwrap_or_default();
    assert!(expected == found, "{name} expected:\n{expected}\nbut found:\n{found}");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

/// One test for each file of the folder, under its name.
macro_rules! goldens {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                golden(stringify!($name));
            }
        )*

        #[test]
        fn every_file_of_the_folder_is_a_test() {
            let listed: BTreeSet<String> = [$(stringify!($name).to_owned()),*].into();
            let toml = |path: &PathBuf| path.extension().is_some_and(|e| e == "toml");
            let there: BTreeSet<String> = std::fs::read_dir(folder())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(toml)
                .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            assert_eq!(listed, there);
        }
    };
}

goldens! {
    access_contradictions
    all_at_once
    bad_certificate
    bad_jwt_issuers
    bad_providers
    bad_upstreams
    bad_values
    bad_variables
    conflicting_variables
    cookie_domain_over_http
    duplicate_key
    duplicate_listener
    env_both_set
    env_not_set
    equal_routes
    file_not_there
    file_variable_not_there
    first_user_account_without_admin
    half_an_admin
    http_portal_off_loopback
    include_missing
    include_problem
    include_twice
    missing_keys
    mode_none_in_production
    n1_bad_patterns
    n1_config_readable_by_others
    n1_cookie_domain_no_parent
    n1_cookie_domain_public_suffix
    n1_duplicate_rule
    n1_empty_trust_list
    n1_hook_without_trust
    n1_http_portal_in_production
    n1_jwt_issuer_open
    n1_key_readable_by_others
    n1_route_to_own_port
    n1_secret_file_readable_by_others
    n1_seed_003_96_example_secret
    n1_short_secret_in_file
    n1_trust_everybody
    n1_unbelievable_networks
    no_configuration
    no_portal_url
    not_available_yet
    open_signup
    origin_and_base_url_disagree
    origin_loses_to_the_file
    password_lengths
    portal_url_with_path
    provider_families_disagree
    provider_open_signup
    provider_shared_callback
    provider_variables_of_wrong_form
    provider_warnings
    reserved_headers
    second_secret_short
    secret_variable_file_loose
    seed_000_03_no_secret
    seed_000_05_short_secret
    seed_000_20_smtp_incomplete
    seed_000_66_documented_password
    seed_001_03_no_way_to_sign_in
    seed_001_03_provider_incomplete
    seed_001_17_oidc_incomplete
    seed_001_26_redirect_uri_elsewhere
    seed_001_31_redirect_uri_missing
    seed_001_63_bootstrap_admin
    seed_001_73_bypass_in_production
    seed_001_74_bypass_off_loopback
    seed_001_75_bypass_off_loopback_allowed
    seed_002_04_mode_none_off_loopback
    seed_002_09_unknown_mode
    seed_002_10_everruns_public_listener
    seed_002_11_seed_002_12_default_base_url
    seed_002_13_everruns_needs_jwt_secret
    seed_002_15_short_jwt_secret
    seed_002_17_seed_002_18_mode_admin_without_account
    seed_002_19_admin_variables_in_mode_full
    seed_002_27_half_a_pair
    seed_002_70_jwt_secret_both_set
    seed_004_63_provider_over_http
    shadowed_route
    shared_origin
    strip_prefix
    syntax
    tls_without_certificate
    unknown_key
    unknown_section
    unknown_template
    unknown_variables
    unreachable_rule
    wrong_type
}
