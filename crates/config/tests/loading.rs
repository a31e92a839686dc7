//! What good configurations become: defaults, profiles, precedence, the documents' variables, the examples.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vestibule_config::{Environment, Loaded};
use vestibule_core::facts::Scheme;
use vestibule_core::settings::auth::{FirstUser, LinkVerifiedEmail, Mode, Require};
use vestibule_core::settings::server::TrustedProxies;

const SECRET: &str = "6f1c0a9be27d4853b8f1e09c7ad25634f08e91ab37dc5260";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("vestibule-loading-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

#[track_caller]
fn from_environment(pairs: &[(&str, &str)]) -> Loaded {
    match vestibule_config::load(None, &environment(pairs)) {
        Ok(loaded) => loaded,
        Err(report) => panic!("{}", vestibule_config::render(&report.diagnostics)),
    }
}

/// What the report of a refusal says.
#[track_caller]
fn refusal(pairs: &[(&str, &str)]) -> String {
    match vestibule_config::load(None, &environment(pairs)) {
        Ok(_) => panic!("it starts"),
        Err(report) => vestibule_config::render(&report.diagnostics),
    }
}

#[track_caller]
fn from_file(text: &str, pairs: &[(&str, &str)]) -> Loaded {
    let at = std::panic::Location::caller();
    let folder = Folder::new(&format!("{}-{}", at.line(), at.column()));
    let path = folder.write("vestibule.toml", text);
    let mut all = vec![("AUTH_SECRET", SECRET)];
    all.extend(pairs);
    match vestibule_config::load(Some(&path), &environment(&all)) {
        Ok(loaded) => loaded,
        Err(report) => panic!("{}", vestibule_config::render(&report.diagnostics)),
    }
}

const SERVER: &str = "[server]\nportal_url = \"https://auth.example.com\"\n";

fn notices(loaded: &Loaded) -> String {
    vestibule_config::render(&loaded.warnings)
}

#[test]
fn seed_000_05_seed_000_09_auth_secret_alone_starts_with_passwords_on() {
    let hex64 = "9f2b7c41d0e85a6634bb17c9e0f3d2a85c6e7f901b2a3d4c5e6f708192a3b4c5";
    let settings = from_environment(&[("AUTH_SECRET", hex64)]).settings;
    assert!(settings.auth.password.enabled && settings.auth.mode == Mode::Full);
    assert_eq!(
        settings.secrets.auth_secret[0].expose_secret(),
        hex64,
        "64 hex digits are taken as text"
    );
    assert_eq!(settings.listeners[0].address, "127.0.0.1:8080".parse::<SocketAddr>().unwrap());
    assert_eq!(settings.server.portal.to_string(), "http://127.0.0.1:8080");
}

#[test]
fn seed_002_07_the_three_variables_of_mode_full_start_as_printed() {
    let settings = from_environment(&[
        ("AUTH_MODE", "full"),
        ("AUTH_BASE_URL", "https://your-domain.com"),
        ("AUTH_JWT_SECRET", SECRET),
    ])
    .settings;
    assert_eq!(settings.server.portal.to_string(), "https://your-domain.com");
    assert!(settings.secrets.auth_secret_derived);
    assert_eq!(settings.secrets.auth_secret, settings.secrets.jwt_secret);
}

#[test]
fn seed_002_05_the_printed_block_of_mode_admin_starts() {
    let settings = from_environment(&[
        ("AUTH_MODE", "admin"),
        ("AUTH_ADMIN_EMAIL", "Admin@example.com"),
        ("AUTH_ADMIN_PASSWORD", "your-secure-password"),
        ("AUTH_JWT_SECRET", SECRET),
    ])
    .settings;
    let admin = settings.auth.admin.unwrap();
    assert_eq!(
        (&*admin.email, admin.password.expose_secret()),
        ("admin@example.com", "your-secure-password")
    );
    assert!(!settings.auth.password.signup, "nobody signs up in mode admin");
}

#[test]
fn seed_002_02_seed_002_14_mode_none_starts_without_any_secret_in_development() {
    let settings = from_environment(&[
        ("AUTH_MODE", "none"),
        ("VESTIBULE_SERVER__ENVIRONMENT", "development"),
    ])
    .settings;
    assert!(settings.auth.is_off() && settings.secrets.auth_secret.is_empty());
}

#[test]
fn seed_001_71_bypass_starts_on_loopback_in_development() {
    let settings =
        from_environment(&[("AUTH_BYPASS", "1"), ("VESTIBULE_SERVER__ENVIRONMENT", "development")])
            .settings;
    assert!(settings.auth.bypass && settings.auth.is_off());
}

#[test]
fn in_development_any_listener_stands_in_for_the_portal() {
    let open = [
        ("AUTH_BYPASS", "1"),
        ("ALLOW_INSECURE_AUTH_BYPASS", "1"),
        ("VESTIBULE_SERVER__ENVIRONMENT", "development"),
        ("VESTIBULE_LISTENER__0__ADDRESS", "0.0.0.0:8081"),
    ];
    let settings = from_environment(&open).settings;
    assert_eq!(settings.server.portal.to_string(), "http://localhost:8081");
}

#[test]
fn seed_002_10_seed_002_12_everruns_is_open_on_loopback_in_development_and_has_its_base_url() {
    let settings = from_environment(&[
        ("VESTIBULE_PROFILE", "everruns"),
        ("VESTIBULE_SERVER__ENVIRONMENT", "development"),
    ])
    .settings;
    assert_eq!(settings.auth.mode, Mode::None);
    assert_eq!(settings.server.portal.to_string(), "http://localhost:9300");
    assert_eq!(
        settings.listeners[0].address.port(),
        9300,
        "something answers at the portal's port"
    );
}

#[test]
fn seed_002_20_seed_002_21_seed_002_75_lifetimes_are_bare_seconds() {
    let auth = from_environment(&[("AUTH_SECRET", SECRET)]).settings.auth;
    assert_eq!((auth.access_lifetime.as_secs(), auth.refresh_lifetime.as_secs()), (900, 2_592_000));
    let auth = from_environment(&[
        ("AUTH_SECRET", SECRET),
        ("AUTH_JWT_ACCESS_TOKEN_LIFETIME", "60"),
        ("AUTH_JWT_REFRESH_TOKEN_LIFETIME", "5"),
    ])
    .settings
    .auth;
    assert_eq!((auth.access_lifetime.as_secs(), auth.refresh_lifetime.as_secs()), (60, 5));
}

#[test]
fn seed_002_24_everruns_signs_up_unless_told_otherwise() {
    let base =
        [("AUTH_MODE", "full"), ("AUTH_JWT_SECRET", SECRET), ("VESTIBULE_PROFILE", "everruns")];
    assert!(from_environment(&base).settings.auth.password.signup);
    let off = [&base[..], &[("AUTH_DISABLE_SIGNUP", "TRUE")]].concat();
    assert!(!from_environment(&off).settings.auth.password.signup);
}

#[test]
fn seed_000_65_seed_000_66_penombre_has_its_documented_administrator() {
    let settings =
        from_environment(&[("AUTH_SECRET", SECRET), ("VESTIBULE_PROFILE", "penombre")]).settings;
    let admin = settings.auth.admin.unwrap();
    assert_eq!(settings.auth.first_user, FirstUser::Account);
    assert_eq!(&*admin.email, "admin@example.com");
    assert!(admin.password.matches("Admin1234!") && admin.is_documented_default);
    assert_eq!(&*settings.api_keys.prefix, "pen");
    assert!(settings.auth.password.signup && !settings.auth.approval);
}

#[test]
fn seed_000_64_both_admin_variables_select_the_account_under_every_profile() {
    let pair = [
        ("AUTH_SECRET", SECRET),
        ("ADMIN_EMAIL", "ann@example.com"),
        ("ADMIN_PASSWORD", "correct horse"),
    ];
    for profile in ["", "narratorr-requests", "pantrie"] {
        let settings =
            from_environment(&[&pair[..], &[("VESTIBULE_PROFILE", profile)]].concat()).settings;
        assert_eq!(settings.auth.first_user, FirstUser::Account, "{profile}");
        assert!(!settings.auth.admin.unwrap().is_documented_default);
    }
}

#[test]
fn every_profile_has_the_defaults_of_its_document() {
    let of = |profile: &str| {
        from_environment(&[("AUTH_SECRET", SECRET), ("VESTIBULE_PROFILE", profile)]).settings
    };
    let none = of("");
    assert_eq!(
        (none.auth.first_user, none.auth.approval, none.auth.password.signup),
        (FirstUser::Setup, true, false)
    );
    assert_eq!((none.auth.password.min_length, none.auth.password.max_length), (8, 200));
    assert_eq!(none.store.sqlite, Path::new("/data/vestibule.db"));
    let requests = of("narratorr-requests");
    assert_eq!((requests.auth.first_user, requests.auth.approval), (FirstUser::Admin, true));
    assert!(requests.auth.password.signup);
    let openinary = of("openinary");
    assert_eq!(
        openinary.auth.password.require,
        [Require::MixedCase, Require::Number, Require::Symbol]
    );
    assert_eq!((&*openinary.api_keys.prefix, openinary.auth.approval), ("sk", false));
    assert_eq!(openinary.store.sqlite, Path::new("/data/auth.db"), "003-03");
    let backup = openinary.store.backup.unwrap();
    assert_eq!((backup.every, backup.keep), (Duration::from_secs(86_400), 7));
    assert!(!openinary.auth.password.signup, "003-99");
    let pantrie = of("pantrie");
    assert_eq!(pantrie.auth.link_verified_email, LinkVerifiedEmail::Always);
    assert!(!pantrie.auth.approval && !pantrie.auth.password.signup);
}

#[test]
fn seed_003_08_db_path_moves_the_store_under_openinary_only() {
    let at = |profile: &str| {
        from_environment(&[
            ("AUTH_SECRET", SECRET),
            ("VESTIBULE_PROFILE", profile),
            ("DB_PATH", "/x/a.db"),
        ])
    };
    assert_eq!(at("openinary").settings.store.sqlite, Path::new("/x/a.db"));
    let elsewhere = at("");
    assert_eq!(elsewhere.settings.store.sqlite, Path::new("/data/vestibule.db"));
    assert!(notices(&elsewhere).contains("DB_PATH"));
}

#[test]
fn seed_002_66_database_url_is_the_store_under_everruns_only() {
    let base = [("AUTH_MODE", "full"), ("AUTH_JWT_SECRET", SECRET)];
    let sqlite = [("DATABASE_URL", "sqlite:///x/b.db"), ("VESTIBULE_PROFILE", "everruns")];
    let settings = from_environment(&[&base[..], &sqlite[..]].concat()).settings;
    assert_eq!(settings.store.sqlite, Path::new("/x/b.db"));
    let postgres = [("DATABASE_URL", "postgres://db/app"), ("VESTIBULE_PROFILE", "everruns")];
    assert!(refusal(&[&base[..], &postgres[..]].concat()).contains("not available yet"));
    let elsewhere =
        from_environment(&[&base[..], &[("DATABASE_URL", "postgres://db/app")]].concat());
    assert!(notices(&elsewhere).contains("DATABASE_URL"));
}

#[test]
fn seed_003_20_mode_is_the_apps_variable() {
    let loaded = from_environment(&[("AUTH_SECRET", SECRET), ("MODE", "fullstack")]);
    assert!(!notices(&loaded).contains("MODE"), "{}", notices(&loaded));
}

#[test]
fn seed_001_65_seed_001_66_seed_001_67_seed_001_68_trusted_proxies_has_four_forms() {
    let of = |text: &str| {
        from_environment(&[("AUTH_SECRET", SECRET), ("TRUSTED_PROXIES", text)])
            .settings
            .server
            .trusted_proxies
    };
    assert_eq!(of("true"), TrustedProxies::All);
    assert_eq!(of("2"), TrustedProxies::Hops(2));
    let list = ["10.0.0.0/8", "192.0.2.7/32", "::1/128"].map(|n| n.parse().unwrap()).to_vec();
    assert_eq!(of("10.1.2.3/8, 192.0.2.7,::1"), TrustedProxies::List(list));
    assert_eq!(of("false"), TrustedProxies::Nobody);
    assert_eq!(of(""), TrustedProxies::Nobody);
}

#[test]
fn seed_001_02_seed_001_04_local_accounts_are_on_by_themselves() {
    assert!(from_environment(&[("AUTH_SECRET", SECRET)]).settings.auth.password.enabled);
    assert!(
        from_environment(&[("AUTH_SECRET", SECRET), ("LOCAL_AUTH", "true")])
            .settings
            .auth
            .password
            .enabled
    );
}

#[test]
fn seed_000_11_seed_000_13_seed_000_14_password_variables() {
    let of = |pairs: &[(&str, &str)]| {
        from_environment(&[&[("AUTH_SECRET", SECRET)], pairs].concat()).settings.auth.password
    };
    assert_eq!(of(&[]).min_length, 8);
    assert_eq!(of(&[("MIN_PASSWORD_LENGTH", "12"), ("ENABLE_EMAIL_SIGNIN", "on")]).min_length, 12);
}

#[test]
fn seed_000_19_smtp_host_alone_sends_nothing() {
    assert!(
        from_environment(&[("AUTH_SECRET", SECRET), ("SMTP_HOST", "mail")]).settings.smtp.is_none()
    );
}

#[test]
fn seed_000_20_seed_000_22_seed_000_23_seed_000_24_mail_names_what_it_lacks() {
    let all = [
        ("SMTP_HOST", "h"),
        ("SMTP_USER", "u"),
        ("SMTP_PASSWORD", "hunter22"),
        ("SMTP_FROM", "f@example.com"),
    ];
    for (missing, _) in all {
        let mut pairs = vec![("AUTH_SECRET", SECRET), ("SMTP_ENABLED", "true")];
        pairs.extend(all.iter().filter(|(n, _)| *n != missing));
        let text = refusal(&pairs);
        assert!(text.contains(missing) && !text.contains("hunter22"), "{text}");
    }
}

#[test]
fn seed_000_72_sign_in_is_unlimited_in_development_on_loopback_unless_written() {
    let development = ("VESTIBULE_SERVER__ENVIRONMENT", "development");
    let of = |pairs: &[(&str, &str)]| {
        from_environment(&[&[("AUTH_SECRET", SECRET)], pairs].concat()).settings.auth
    };
    assert_eq!(of(&[development]).rate_limit, None);
    assert_eq!(of(&[]).rate_limit.unwrap().requests, 100, "000-70");
    assert_eq!(of(&[]).rate_limit.unwrap().window, Duration::from_secs(900));
    let written = of(&[development, ("VESTIBULE_AUTH__RATE_LIMIT__REQUESTS", "5")]);
    assert_eq!(written.rate_limit.unwrap().requests, 5);
}

#[test]
fn seed_000_61_keys_are_limited_but_for_penombre_in_development() {
    let of = |pairs: &[(&str, &str)]| {
        from_environment(&[&[("AUTH_SECRET", SECRET)], pairs].concat()).settings.api_keys
    };
    let development = ("VESTIBULE_SERVER__ENVIRONMENT", "development");
    let limit = of(&[development]).rate_limit.unwrap();
    assert_eq!((limit.requests, limit.window), (100, Duration::from_secs(60)));
    assert_eq!(of(&[development, ("VESTIBULE_PROFILE", "penombre")]).rate_limit, None);
    assert!(of(&[("VESTIBULE_PROFILE", "penombre")]).rate_limit.is_some());
}

#[test]
fn seed_002_70_seed_004_60_a_file_variable_is_read_and_watched() {
    let folder = Folder::new("file-variable");
    let path = folder.write("secret", &format!("{SECRET}\n"));
    let loaded = from_environment(&[("AUTH_JWT_SECRET_FILE", path.to_str().unwrap())]);
    assert!(loaded.settings.secrets.jwt_secret[0].matches(SECRET));
    assert!(loaded.files.contains(&path));
}

#[test]
fn an_empty_variable_is_unset() {
    let settings =
        from_environment(&[("AUTH_SECRET", SECRET), ("AUTH_MODE", ""), ("ADMIN_EMAIL", "")])
            .settings;
    assert_eq!((settings.auth.mode, settings.auth.admin), (Mode::Full, None));
}

#[test]
fn ignored_names_are_not_read() {
    let settings = from_environment(&[
        ("AUTH_SECRET", SECRET),
        ("ORIGIN", "https://app.example.com"),
        ("VESTIBULE_IGNORE_ENV", "ORIGIN, ADMIN_*"),
    ])
    .settings;
    assert_eq!(settings.server.portal.scheme, Scheme::Http);
}

#[test]
fn precedence_is_vestibule_name_documented_name_file_profile_default() {
    let file = "[server]\nportal_url = \"https://auth.example.com\"\nprofile = \"penombre\"\n[api_keys]\nprefix = \"file\"\n[auth.password]\nmin_length = 10\n";
    let of = |pairs: &[(&str, &str)]| from_file(file, pairs);
    assert_eq!(of(&[]).settings.auth.password.min_length, 10);
    assert_eq!(of(&[("MIN_PASSWORD_LENGTH", "11")]).settings.auth.password.min_length, 11);
    let both = of(&[("MIN_PASSWORD_LENGTH", "11"), ("VESTIBULE_AUTH__PASSWORD__MIN_LENGTH", "12")]);
    assert_eq!(both.settings.auth.password.min_length, 12);
    assert_eq!(&*both.settings.api_keys.prefix, "file");
    let origin = |key: &str| both.effective[key]["origin"].as_str().unwrap().to_owned();
    assert_eq!(origin("auth.password.min_length"), "env:VESTIBULE_AUTH__PASSWORD__MIN_LENGTH");
    assert!(
        origin("api_keys.prefix").ends_with("vestibule.toml:5"),
        "{}",
        origin("api_keys.prefix")
    );
    assert_eq!(origin("auth.password.signup"), "profile");
    assert_eq!(origin("auth.session.lifetime"), "default");
}

#[test]
fn seed_002_51_effective_values_never_hold_a_secret() {
    let loaded = from_file(
        &format!(
            "{SERVER}[secrets]\nauth_secret = [\"env:AUTH_SECRET\", \"aaaabbbbccccddddeeee-7777-ffff-9999\"]\n[auth.admin]\nemail = \"a@example.com\"\npassword = \"correct horse battery\"\n"
        ),
        &[],
    );
    let text = loaded.effective.to_string();
    assert!(
        !text.contains(SECRET) && !text.contains("7777") && !text.contains("correct horse"),
        "{text}"
    );
    assert_eq!(loaded.effective["secrets.auth_secret"]["value"], "[secret]");
    assert!(!format!("{:?}", loaded.settings).contains(SECRET));
}

#[test]
fn a_variable_that_the_file_itself_reads_does_not_replace_the_list() {
    let loaded = from_file(
        &format!("{SERVER}[secrets]\nauth_secret = [\"env:NEW_SECRET\", \"env:AUTH_SECRET\"]\n"),
        &[("NEW_SECRET", "0f9e8d7c6b5a49382716051423324150-new")],
    );
    assert_eq!(loaded.settings.secrets.auth_secret.len(), 2, "rotation keeps the old one");
}

#[test]
fn listeners_and_routes_can_come_from_variables() {
    let settings = from_environment(&[
        ("AUTH_SECRET", SECRET),
        ("VESTIBULE_LISTENER__0__ADDRESS", "127.0.0.1:0"),
        ("VESTIBULE_LISTENER__1__ADDRESS", "127.0.0.1:9091"),
        ("VESTIBULE_LISTENER__1__DOOR", "forward-auth"),
        ("VESTIBULE_ROUTE", "[{ host = 'app.localhost', upstream = 'http://127.0.0.1:3000', access = 'signed-in' }]"),
    ])
    .settings;
    assert_eq!(settings.listeners.len(), 2);
    assert_eq!(&*settings.routes[0].name, "app.localhost");
}

#[test]
fn includes_are_added_in_order_and_watched() {
    let folder = Folder::new("includes");
    let route = |name: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nhost = \"{name}.example.com\"\nupstream = \"http://127.0.0.1:3000\"\naccess = \"staff\"\n"
        )
    };
    folder.write("routes.d/b.toml", &route("b"));
    folder.write(
        "routes.d/a.toml",
        &format!("{}\n[policy]\nstaff = {{ groups = [\"staff\"] }}\n", route("a")),
    );
    folder.write("routes.d/ignored.txt", "no TOML");
    let main =
        folder.write("vestibule.toml", &format!("include = [\"routes.d/*.toml\"]\n{SERVER}"));
    let loaded =
        vestibule_config::load(Some(&main), &environment(&[("AUTH_SECRET", SECRET)])).unwrap();
    let names: Vec<&str> = loaded.settings.routes.iter().map(|r| &*r.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(loaded.files.contains(&folder.0.join("routes.d/b.toml")));
    assert!(loaded.include_dirs.contains(&folder.0.join("routes.d")), "{:?}", loaded.include_dirs);
    assert!(loaded.settings.routes[1].origin.ends_with("routes.d/b.toml:1"));
}

#[test]
fn a_route_stands_over_its_template_and_that_over_the_defaults() {
    let loaded = from_file(
        &format!(
            "{SERVER}
[identity_headers]
groups = [\"app-*\"]
[defaults.route]
timeouts = {{ response = \"1m\", idle = \"1m\", connect = \"1s\" }}
allow_in_path = [\"semicolon\"]
[template.node]
timeouts = {{ response = \"2m\", idle = \"2m\" }}
preserve_host = false
[[route]]
name = \"app\"
host = [\"app.example.com\", \"*.apps.example.com\"]
upstream = \"h2c://127.0.0.1:3000\"
template = \"node\"
timeouts = {{ response = \"3m\" }}
allow_in_path = [\"double-slash\"]
identity_headers = {{ preset = \"x-forwarded\" }}
max_body = \"10MiB\"
"
        ),
        &[],
    );
    let route = &loaded.settings.routes[0];
    let secs = |time: Duration| time.as_secs();
    assert_eq!(
        (secs(route.response_timeout), secs(route.idle_timeout), secs(route.connect_timeout)),
        (180, 120, 1)
    );
    assert!(
        route.allow_in_path.double_slash && !route.allow_in_path.semicolon,
        "lists are replaced"
    );
    assert!(!route.preserve_host);
    assert_eq!(route.max_body, Some(10 << 20));
    assert_eq!(route.preset, vestibule_core::assertion::Preset::XForwarded);
    assert_eq!(route.told_groups, [Arc::from("app-*")], "the global table, key by key");
    assert_eq!(route.access, vestibule_core::policy::Access::Deny, "left out is deny");
}

#[test]
fn literal_escapes_what_looks_like_a_pointer() {
    let loaded = from_file(
        &format!(
            "{SERVER}[auth]\nfirst_user = \"account\"\n[auth.admin]\nemail = \"a@example.com\"\npassword = \"literal:env:NOT_A_NAME\"\n"
        ),
        &[],
    );
    assert!(loaded.settings.auth.admin.unwrap().password.matches("env:NOT_A_NAME"));
}

#[test]
fn values_of_every_type_may_come_by_env_and_file() {
    let folder = Folder::new("pointers");
    let main = folder.write("vestibule.toml", &format!("{SERVER}workers = \"env:WORKERS\"\ntrusted_proxies = \"file:proxies\"\n[auth]\napproval = \"env:APPROVAL\"\n"));
    folder.write("proxies", "10.0.0.0/8, 192.0.2.1\n");
    let all = environment(&[("AUTH_SECRET", SECRET), ("WORKERS", "3"), ("APPROVAL", "no")]);
    let settings = vestibule_config::load(Some(&main), &all).unwrap().settings;
    assert_eq!((settings.server.workers, settings.auth.approval), (3, false));
    assert!(
        matches!(settings.server.trusted_proxies, TrustedProxies::List(list) if list.len() == 2)
    );
}

#[test]
fn relative_paths_start_at_the_file_that_names_them() {
    let folder = Folder::new("relative");
    let main = folder.write("vestibule.toml", &format!("{SERVER}data_dir = \"data\"\n"));
    let settings = vestibule_config::load(Some(&main), &environment(&[("AUTH_SECRET", SECRET)]))
        .unwrap()
        .settings;
    assert_eq!(settings.server.data_dir, folder.0.join("data"));
    assert_eq!(settings.store.sqlite, folder.0.join("data/vestibule.db"));
}

#[test]
fn disabled_routes_are_left_out() {
    let loaded =
        from_file(&format!("{SERVER}[[route]]\nhost = \"a.example.com\"\nenabled = false\n"), &[]);
    assert!(loaded.settings.routes.is_empty());
}

#[test]
fn a_certificate_is_read_and_hosts_it_does_not_cover_are_named() {
    let folder = Folder::new("certificates");
    let made = rcgen::generate_simple_self_signed(vec![
        "auth.example.com".to_owned(),
        "*.apps.example.com".to_owned(),
    ])
    .unwrap();
    folder.write("cert.pem", &made.cert.pem());
    folder.write("key.pem", &made.signing_key.serialize_pem());
    let route = |host: &str| {
        format!(
            "[[route]]\nhost = \"{host}\"\nupstream = \"http://127.0.0.1:3000\"\naccess = \"signed-in\"\n"
        )
    };
    let main = folder.write(
        "vestibule.toml",
        &format!(
            "{SERVER}[[listener]]\naddress = \"127.0.0.1:8443\"\ntls = true\n[[tls.certificate]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{}{}",
            route("x.apps.example.com"),
            route("other.example.com")
        ),
    );
    let loaded =
        vestibule_config::load(Some(&main), &environment(&[("AUTH_SECRET", SECRET)])).unwrap();
    let codes: Vec<_> =
        loaded.warnings.iter().map(|d| (d.code, d.message.contains("other.example.com"))).collect();
    assert_eq!(codes, [("host-without-certificate", true)]);
    assert!(loaded.files.contains(&folder.0.join("key.pem")));
}

#[test]
fn a_group_readable_key_is_taken_and_a_loose_one_in_a_closed_folder_draws_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("modes");
    let secret = folder.write("auth.secret", SECRET);
    let main = folder.write(
        "vestibule.toml",
        &format!("{SERVER}[secrets]\nauth_secret = \"file:auth.secret\"\n"),
    );
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    mode(&secret, 0o640);
    assert!(vestibule_config::load(Some(&main), &environment(&[])).unwrap().warnings.is_empty());
    mode(&secret, 0o644);
    mode(&folder.0, 0o700);
    let shielded = vestibule_config::load(Some(&main), &environment(&[])).unwrap();
    assert_eq!(shielded.warnings[0].code, "readable-by-others");
    mode(&folder.0, 0o755);
    assert!(vestibule_config::load(Some(&main), &environment(&[])).is_err());
}

#[test]
fn every_example_loads_without_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let mut secrets = environment(&[
            ("AUTH_SECRET", SECRET),
            ("AUTH_JWT_SECRET", "0f9e8d7c6b5a49382716051423324150-jwt"),
        ]);
        // Of providers: whatever the file asks the environment for.
        for rest in text.split("\"env:").skip(1) {
            let variable = rest.split('"').next().unwrap();
            secrets.entry(variable.to_owned()).or_insert_with(|| "s3cret".to_owned());
        }
        if let Err(report) = vestibule_config::load(Some(&path), &secrets) {
            panic!("{name}: {}", vestibule_config::render(&report.diagnostics));
        }
        if !matches!(name, "minimal" | "forward-auth" | "providers") {
            assert!(
                text.contains(&format!("profile         = \"{name}\"")),
                "{name} begins with its profile"
            );
        }
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn the_starter_file_and_the_reference_load() {
    let folder = Folder::new("starter");
    for text in [vestibule_config::starter_file(), vestibule_config::reference_file()] {
        let path = folder.write("vestibule.toml", &text);
        if let Err(report) =
            vestibule_config::load(Some(&path), &environment(&[("AUTH_SECRET", SECRET)]))
        {
            panic!("{}", vestibule_config::render(&report.diagnostics));
        }
    }
}

#[test]
fn seed_003_22_openinary_adds_the_portals_paths_on_the_apps_host() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples/openinary.toml");
    let settings = vestibule_config::load(Some(&path), &environment(&[("AUTH_SECRET", SECRET)]))
        .unwrap()
        .settings;
    let portal: Vec<&str> = settings.routes[0].portal.iter().map(|p| p.as_str()).collect();
    assert_eq!(portal, ["/setup", "/api-keys", "/api-keys/*", "/health/database"]);
}
