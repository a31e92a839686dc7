//! What must stop a start, one broken configuration each: exit 1 and a message that names the
//! setting, the same by `check` and by `serve`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use vestibule_testkit::{Cli, Gateway, GatewayBuilder, Route, free_port};

use crate::gateway;

const SECRET: &str = "9f2b7c41d0e85a6634bb17c9e0f3d2a85c6e7f901b2a3d4c5e6f708192a3b4c5";
const PRODUCTION: &str = "[server]\nenvironment = \"production\"";
const PUBLIC: &str = "[[listener]]\naddress = \"0.0.0.0:0\"";

/// Row, configuration, and what the message must hold.
type Case<'a> = (&'a str, GatewayBuilder, &'a [&'a str]);

fn with_route() -> GatewayBuilder {
    gateway().route(wiki())
}

fn wiki() -> Route {
    Route::new("wiki", "wiki.example.test").upstream("http://127.0.0.1:1").access("signed-in")
}

/// A gateway whose secrets come from the environment only.
fn by_variables(variables: &[(&str, &str)]) -> GatewayBuilder {
    let builder = with_route().without("secrets");
    variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

#[track_caller]
fn assert_refused(row: &str, how: &str, said: &Cli, names: &[&str]) {
    let all = format!("{}\n{}", said.stdout, said.stderr);
    assert_eq!(said.code, 1, "{row}: {how} must exit 1:\n{all}");
    for name in names {
        assert!(all.contains(name), "{row}: {how} must name {name}:\n{all}");
    }
    assert!(!all.contains("panicked"), "{row}: {how}:\n{all}");
}

#[track_caller]
fn refused_by_both(cases: &[Case<'_>]) {
    for (row, builder, names) in cases {
        let checked = builder.prepare().cli(&["check"]);
        assert_refused(row, "check", &checked, names);
        let served = builder.start_refused();
        assert_refused(row, "serve", &served, names);
        assert!(!served.stderr.contains("\"ready\""), "{row}: it was ready all the same");
    }
}

#[test]
fn the_configuration_that_the_others_break_is_good() {
    let _ = with_route().prepare().cli(&["check"]).expect(0);
    let _ = by_variables(&[("AUTH_SECRET", SECRET)]).prepare().cli(&["check"]).expect(0);
    let mut gateway = with_route().start();
    assert_eq!(gateway.terminate(), 0);
}

#[test]
fn n_seed_000_03_seed_000_05_seed_002_13_seed_002_70_seed_003_96_secrets_are_there_long_enough_and_none_of_a_document()
 {
    let short = &SECRET[..31];
    let full = "[secrets]\nauth_secret";
    refused_by_both(&[
        ("000-03", by_variables(&[]), &["AUTH_SECRET", "openssl rand -hex 32"]),
        (
            "000-03, mode admin",
            by_variables(&[
                ("AUTH_MODE", "admin"),
                ("AUTH_ADMIN_EMAIL", "root@example.test"),
                ("AUTH_ADMIN_PASSWORD", "a-fine-Password-1"),
            ]),
            &["AUTH_SECRET"],
        ),
        ("000-05", by_variables(&[("AUTH_SECRET", short)]), &["AUTH_SECRET", "32"]),
        (
            "000-05, file",
            with_route().toml(&format!("{full} = \"{short}\"")),
            &["auth_secret", "32"],
        ),
        (
            "003-96",
            by_variables(&[("AUTH_SECRET", "changeme-changeme-changeme-changeme")]),
            &["AUTH_SECRET", "example"],
        ),
        (
            "003-96, a list",
            with_route().toml(&format!(
                "{full} = [\"{SECRET}\", \"your-secret-key-at-least-32-characters\"]"
            )),
            &["auth_secret"],
        ),
        (
            "002-13",
            by_variables(&[
                ("VESTIBULE_PROFILE", "everruns"),
                ("AUTH_MODE", "full"),
                ("AUTH_SECRET", SECRET),
            ]),
            &["AUTH_JWT_SECRET"],
        ),
        (
            "002-70",
            by_variables(&[("AUTH_SECRET", SECRET), ("AUTH_SECRET_FILE", "/nonexistent")]),
            &["AUTH_SECRET", "AUTH_SECRET_FILE"],
        ),
        ("store_key", with_route().toml("[secrets]\nstore_key = \"not hex\""), &["store_key"]),
    ]);
}

#[test]
fn n_seed_001_73_seed_001_74_seed_002_04_seed_002_72_what_is_open_is_refused_in_production_and_off_loopback()
 {
    let secret = ("AUTH_SECRET", SECRET);
    refused_by_both(&[
        (
            "002-72",
            with_route().toml(PRODUCTION).portal("http://auth.example.test"),
            &["portal_url", "https"],
        ),
        (
            "http portal, public listener",
            with_route().portal("http://auth.example.test").without("listener").toml(PUBLIC),
            &["portal_url", "https"],
        ),
        (
            "provider url",
            by_variables(&[
                secret,
                ("OIDC_PROVIDERS", "x"),
                ("OIDC_X_ISSUER", "http://id.example.test"),
                ("OIDC_X_CLIENT_ID", "x"),
                ("OIDC_X_REDIRECT_URI", "https://auth.example.test/api/auth/oidc/x/callback"),
            ])
            .toml(PRODUCTION),
            &["OIDC_X_ISSUER", "https"],
        ),
        (
            "mode none",
            with_route().toml(PRODUCTION).toml("[auth]\nmode = \"none\""),
            &["auth.mode"],
        ),
        ("mode none", by_variables(&[("AUTH_MODE", "none")]).toml(PRODUCTION), &["AUTH_MODE"]),
        (
            "002-04",
            by_variables(&[("AUTH_MODE", "none")]).without("listener").toml(PUBLIC),
            &["AUTH_MODE", "0.0.0.0"],
        ),
        (
            "001-73",
            by_variables(&[secret, ("AUTH_BYPASS", "1")]).toml(PRODUCTION),
            &["AUTH_BYPASS"],
        ),
        (
            "001-73, with the second word",
            by_variables(&[secret, ("AUTH_BYPASS", "1"), ("ALLOW_INSECURE_AUTH_BYPASS", "1")])
                .toml(PRODUCTION),
            &["AUTH_BYPASS"],
        ),
        (
            "001-74",
            by_variables(&[secret, ("AUTH_BYPASS", "1")]).without("listener").toml(PUBLIC),
            &["AUTH_BYPASS", "0.0.0.0"],
        ),
        (
            "000-66, the printed password in public",
            by_variables(&[secret, ("VESTIBULE_PROFILE", "penombre")])
                .toml(PRODUCTION)
                .without("listener")
                .toml(PUBLIC),
            &["ADMIN_PASSWORD"],
        ),
        (
            "002-10",
            by_variables(&[("AUTH_JWT_SECRET", SECRET), ("VESTIBULE_PROFILE", "everruns")])
                .without("listener")
                .toml(PUBLIC),
            &["AUTH_MODE", "none", "admin", "full"],
        ),
    ]);
}

#[test]
fn n_whom_we_trust_and_where_cookies_go_is_said_exactly() {
    let server = |line: &str| {
        with_route().without("server.trusted_proxies").toml(&format!("[server]\n{line}"))
    };
    let cookie =
        |domain: &str| with_route().toml(&format!("[auth.session]\ncookie_domain = \"{domain}\""));
    refused_by_both(&[
        ("empty trust list", server("trusted_proxies = []"), &["trusted_proxies"]),
        (
            "trust of everybody",
            server("trusted_proxies = [\"0.0.0.0/0\"]"),
            &["trusted_proxies", "0.0.0.0/0"],
        ),
        (
            "trust of everybody",
            server("trusted_proxies = [\"::/0\"]"),
            &["trusted_proxies", "::/0"],
        ),
        ("no network", server("trusted_proxies = [\"10.0.0.0/33\"]"), &["trusted_proxies"]),
        (
            "no network",
            by_variables(&[("AUTH_SECRET", SECRET), ("TRUSTED_PROXIES", "everybody")]),
            &["TRUSTED_PROXIES"],
        ),
        (
            "a hook for everybody",
            server("")
                .without("listener")
                .toml("[[listener]]\naddress = \"0.0.0.0:0\"\ndoor = \"forward-auth\""),
            &["trusted_proxies"],
        ),
        ("public suffix", cookie("com"), &["cookie_domain"]),
        ("public suffix", cookie("co.uk"), &["cookie_domain"]),
        ("no parent of the portal", cookie("example.org"), &["cookie_domain"]),
        ("no parent of the portal", cookie("xample.test"), &["cookie_domain"]),
        ("a child of the portal", cookie("deep.auth.example.test"), &["cookie_domain"]),
    ]);
}

#[test]
fn n_rules_and_routes_that_cannot_be_meant_are_errors() {
    let own = free_port();
    let own_text = own.to_string();
    let rule = |path: &str| gateway().route(wiki().rule(&[path], &["GET"], "public"));
    refused_by_both(&[
        ("unknown key", with_route().toml("[auth]\naproval = true"), &["aproval", "approval"]),
        ("unknown section", with_route().toml("[polcy]\na = \"public\""), &["polcy", "policy"]),
        (
            "duplicate rule",
            gateway().route(wiki().rule(&["/a"], &["GET"], "public").rule(
                &["/a"],
                &["GET"],
                "deny",
            )),
            &["rule"],
        ),
        ("a pattern with ?", rule("/a?b"), &["/a?b"]),
        ("a pattern with #", rule("/a#b"), &["/a#b"]),
        ("a pattern with dots", rule("/a/../b"), &["/a/../b"]),
        (
            "a route to the own port",
            gateway().toml(&format!("[telemetry]\nlisten = \"{own}\"")).route(
                Route::new("loop", "loop.example.test")
                    .upstream(format!("http://{own}"))
                    .access("public"),
            ),
            &["upstream", &own_text],
        ),
        ("an unknown word", gateway().route(wiki().access("signd-in")), &["signd-in", "signed-in"]),
        ("an empty list", gateway().route(wiki().access("{ groups = [] }")), &["groups"]),
        (
            "mfa of a key",
            gateway().route(wiki().access("{ credentials = [\"api-key\"], mfa = true }")),
            &["mfa"],
        ),
        (
            "a reserved word as policy",
            with_route().toml("[policy]\npublic = { groups = [\"a\"] }"),
            &["public"],
        ),
        (
            "two routes of one host",
            with_route().route(wiki().set("name", "twin")),
            &["twin", "wiki.example.test"],
        ),
        (
            "two routes of one name",
            with_route().route(Route::new("wiki", "b.example.test")),
            &["wiki"],
        ),
        ("no certificate", with_route().without("tls"), &["tls"]),
        (
            "a certificate that is not there",
            with_route().toml(
                "[[tls.certificate]]\ncert = \"/nonexistent.pem\"\nkey = \"/nonexistent.key\"",
            ),
            &["/nonexistent.pem"],
        ),
        (
            "a template that is not there",
            gateway().route(wiki().set("template", "none-such")),
            &["none-such"],
        ),
    ]);
}

#[test]
fn n_what_is_not_built_is_refused_and_never_ignored() {
    let not_yet: &[&str] = &["not available yet"];
    refused_by_both(&[
        ("postgres", with_route().toml("[store]\nurl = \"postgres://a@b/c\""), not_yet),
        ("redis", with_route().toml("[store]\nredis = \"redis://127.0.0.1:6379\""), not_yet),
        ("otlp", with_route().toml("[telemetry]\notlp = \"http://127.0.0.1:4317\""), not_yet),
        ("acme", with_route().toml("[tls.acme]\nemail = \"ops@example.test\""), not_yet),
        ("totp", with_route().toml("[auth.totp]\nenabled = true"), not_yet),
        ("passkeys", with_route().toml("[auth.passkeys]\nenabled = true"), not_yet),
        (
            "expectations",
            with_route()
                .toml("[[test]]\nrequest = \"GET https://a.example.test/\"\nexpect = \"deny\""),
            not_yet,
        ),
        (
            "health check",
            gateway().route(wiki().set("health_check", "{ path = \"/health\", every = \"10s\" }")),
            not_yet,
        ),
    ]);
    for command in ["test", "who", "tail", "audit", "import"] {
        let said = with_route().prepare().command(&[command]).output().unwrap();
        assert_eq!(said.status.code(), Some(1), "{command}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("not available yet"), "{command}");
    }
}

#[test]
fn n_g_bearer_issuers_name_audience_and_algorithms_and_never_a_shared_secret() {
    let issuer = |audience: &str, algorithms: &str| {
        with_route().toml(&format!(
            "[[jwt_issuer]]\nname = \"ci\"\nissuer = \"https://ci.example.test\"\njwks_url = \"https://ci.example.test/jwks\"\naudience = {audience}\nalgorithms = {algorithms}"
        ))
    };
    refused_by_both(&[
        ("no audience", issuer("[]", "[\"RS256\"]"), &["audience"]),
        ("no algorithm", issuer("[\"a\"]", "[]"), &["algorithms"]),
        ("a shared secret", issuer("[\"a\"]", "[\"RS256\", \"HS256\"]"), &["algorithms", "HS256"]),
    ]);
}

#[test]
fn n_seed_000_20_seed_000_22_seed_000_23_seed_000_24_seed_001_03_seed_001_63_seed_002_09_seed_002_17_seed_002_18_variables_that_lack_or_contradict_are_named()
 {
    let secret = ("AUTH_SECRET", SECRET);
    let mail = [
        ("SMTP_HOST", "000-20"),
        ("SMTP_USER", "000-22"),
        ("SMTP_PASSWORD", "000-23"),
        ("SMTP_FROM", "000-24"),
    ];
    for (missing, row) in mail {
        let mut builder = by_variables(&[secret, ("SMTP_ENABLED", "true")]);
        for (name, _) in mail.iter().filter(|(name, _)| *name != missing) {
            builder = builder.env(name, "value-of-a-secret@example.test");
        }
        refused_by_both(&[(row, builder.clone(), &[missing])]);
        let said = builder.start_refused().stderr;
        assert!(!said.contains("value-of-a-secret"), "000-23: never in the log: {said}");
    }
    let admin = [("AUTH_MODE", "admin"), secret];
    refused_by_both(&[
        (
            "001-03",
            by_variables(&[secret, ("LOCAL_AUTH", "false")]),
            &["LOCAL_AUTH", "OIDC_PROVIDERS"],
        ),
        ("001-63", by_variables(&[secret, ("BOOTSTRAP_ADMIN", "todd")]), &["BOOTSTRAP_ADMIN"]),
        (
            "002-09",
            by_variables(&[secret, ("AUTH_MODE", "foo")]),
            &["AUTH_MODE", "none", "admin", "full"],
        ),
        (
            "002-17",
            by_variables(&admin).env("AUTH_ADMIN_PASSWORD", "a-fine-Password-1"),
            &["AUTH_ADMIN_EMAIL"],
        ),
        (
            "002-18",
            by_variables(&admin).env("AUTH_ADMIN_EMAIL", "root@example.test"),
            &["AUTH_ADMIN_PASSWORD"],
        ),
        (
            "two names that disagree",
            by_variables(&[secret, ("ENABLE_EMAIL_SIGNIN", "true"), ("LOCAL_AUTH", "false")]),
            &["ENABLE_EMAIL_SIGNIN", "LOCAL_AUTH"],
        ),
        (
            "two names that disagree",
            by_variables(&[secret, ("LOCAL_AUTH", "yes"), ("AUTH_DISABLE_PASSWORD", "on")]),
            &["LOCAL_AUTH", "AUTH_DISABLE_PASSWORD"],
        ),
        (
            "two origins that differ",
            by_variables(&[
                secret,
                ("ORIGIN", "https://a.example.test"),
                ("AUTH_BASE_URL", "https://b.example.test/api"),
            ])
            .without("server.portal_url"),
            &["ORIGIN", "AUTH_BASE_URL"],
        ),
        (
            "two client ids",
            by_variables(&[
                secret,
                ("AUTH_GOOGLE_CLIENT_ID", "a"),
                ("AUTH_GOOGLE_CLIENT_SECRET", "s"),
                ("ENABLE_OAUTH_SIGNIN", "true"),
                ("OAUTH_GOOGLE_CLIENT_ID", "b"),
                ("OAUTH_GOOGLE_CLIENT_SECRET", "s"),
                (
                    "OAUTH_GOOGLE_DISCOVERY_URL",
                    "https://accounts.example.test/.well-known/openid-configuration",
                ),
            ]),
            &["AUTH_GOOGLE_CLIENT_ID", "OAUTH_GOOGLE_CLIENT_ID"],
        ),
        (
            "no boolean",
            by_variables(&[secret, ("ENABLE_EMAIL_SIGNIN", "perhaps")]),
            &["ENABLE_EMAIL_SIGNIN"],
        ),
        (
            "no number",
            by_variables(&[secret, ("MIN_PASSWORD_LENGTH", "eight")]),
            &["MIN_PASSWORD_LENGTH"],
        ),
        (
            "no portal in production",
            by_variables(&[secret])
                .without("server.portal_url")
                .toml(PRODUCTION)
                .without("listener")
                .toml(PUBLIC),
            &["portal_url", "ORIGIN"],
        ),
    ]);
}

#[test]
fn n_seed_001_17_seed_001_29_seed_001_30_seed_001_31_check_names_what_a_listed_provider_lacks() {
    let variables = ["OIDC_X_ISSUER", "OIDC_X_CLIENT_ID", "OIDC_X_REDIRECT_URI"];
    let builder = by_variables(&[("AUTH_SECRET", SECRET), ("OIDC_PROVIDERS", "x")]);
    let said = builder.prepare().cli(&["check"]);
    assert_refused("001-17", "check", &said, &variables);
    let redirect = "https://auth.example.test/api/auth/oidc/x/callback";
    assert_refused("001-31, the value to register", "check", &said, &[redirect]);
    let values = ["https://id.example.test", "client", redirect];
    for (missing, row) in variables.iter().zip(["001-29", "001-30", "001-31"]) {
        let mut builder = builder.clone();
        for (name, value) in variables.iter().zip(values).filter(|(name, _)| *name != missing) {
            builder = builder.env(name, value);
        }
        let said = builder.prepare().cli(&["check"]);
        assert_refused(row, "check", &said, &[missing]);
    }
}

#[test]
fn n_files_that_others_may_read_are_refused() {
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in ["vestibule.toml", "leaf.key"] {
        let prepared = with_route().prepare();
        let _ = prepared.cli(&["check"]).expect(0);
        mode(prepared.folder(), 0o755);
        mode(&prepared.folder().join(file), 0o644);
        for command in ["check", "serve"] {
            assert_refused(file, command, &prepared.cli(&[command]), &[file, "chmod"]);
        }
    }
}

#[test]
fn n_seed_003_66_a_data_directory_that_cannot_be_written_is_refused_with_the_line_to_type() {
    let builder =
        by_variables(&[("AUTH_SECRET", SECRET)]).without("tls").listeners(&[("proxy", false)]);
    let prepared = builder.prepare();
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(prepared.folder(), 0o755);
    mode(&prepared.file(), 0o644);
    mode(&prepared.data(), 0o555);
    let file = prepared.file();
    let mut command = prepared.command(&["serve", "-c", file.to_str().unwrap()]);
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere: be the image's user.
        command.uid(10001).gid(10001);
    }
    let said = Cli::run(&mut command, b"");
    assert_refused("003-66", "serve", &said, &["chown"]);
    let uid = if rustix::process::geteuid().is_root() {
        10001
    } else {
        rustix::process::geteuid().as_raw()
    };
    assert!(said.stderr.contains(&uid.to_string()), "003-66: says which uid: {}", said.stderr);
}

/// Runs `serve` once more on the data of a gateway that has ended.
#[track_caller]
fn refused_on_data_of(gateway: &Gateway, row: &str, names: &[&str]) {
    let said = gateway.cli(&["serve"]);
    assert_refused(row, "serve", &said, names);
}

#[test]
fn n_a_second_server_on_one_data_directory_is_refused() {
    let gateway = with_route().start();
    let data = gateway.prepared().data();
    refused_on_data_of(&gateway, "second server", &[data.to_str().unwrap()]);
    let _ = gateway.anonymous().get("/").expect(401);
}

#[test]
fn n_sealed_rows_that_cannot_be_opened_are_refused() {
    let mut gateway = with_route().user("ann", &[]).start();
    assert_eq!(gateway.terminate(), 0);
    let key = gateway.prepared().data().join("store.key");
    let before = std::fs::read_to_string(&key).unwrap();
    for (row, change) in [("another key", Some("0f".repeat(32))), ("no key", None)] {
        match change {
            Some(other) => std::fs::write(&key, other).unwrap(),
            None => std::fs::remove_file(&key).unwrap(),
        }
        refused_on_data_of(&gateway, row, &["store"]);
        std::fs::write(&key, &before).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    gateway.restart();
}

#[test]
fn n_a_schema_newer_than_this_binary_is_refused() {
    let Some(sqlite3) = vestibule_testkit::part("sqlite3", "the Debian package sqlite3") else {
        return;
    };
    let mut gateway = with_route().start();
    assert_eq!(gateway.terminate(), 0);
    let store = gateway.prepared().data().join("vestibule.db");
    let sql = "INSERT INTO vestibule_migrations (version, description, success, checksum, execution_time) \
               VALUES (9999, 'from the future', 1, x'00', 0)";
    let done = std::process::Command::new(sqlite3).arg(&store).arg(sql).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    refused_on_data_of(&gateway, "newer schema", &["schema version 9999"]);
}

#[test]
fn n_another_programs_database_is_never_written() {
    let Some(sqlite3) = vestibule_testkit::part("sqlite3", "the Debian package sqlite3") else {
        return;
    };
    let builder = by_variables(&[("AUTH_SECRET", SECRET), ("VESTIBULE_PROFILE", "openinary")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.db");
    let sql = "CREATE TABLE user (id TEXT PRIMARY KEY, email TEXT); CREATE TABLE apikey (id TEXT);";
    let done = std::process::Command::new(sqlite3).arg(&file).arg(sql).output().unwrap();
    assert!(done.status.success());
    let before = std::fs::read(&file).unwrap();
    let said = builder.env("DB_PATH", file.to_str().unwrap()).start_refused();
    assert_refused("seed 003-08", "serve", &said, &["vestibule import better-auth"]);
    assert_eq!(std::fs::read(&file).unwrap(), before, "003-08: not a byte was written");
}

#[test]
fn a_file_that_is_not_there_is_exit_code_1_and_says_what_to_type() {
    let prepared = gateway().without_file().prepare();
    for command in ["check", "serve"] {
        let said = Cli::run(&mut prepared.command(&[command]), b"");
        assert_refused("no file", command, &said, &["vestibule init"]);
        let said = Cli::run(&mut prepared.command(&[command, "-c", "none-such.toml"]), b"");
        assert_refused("no such file", command, &said, &["none-such.toml"]);
    }
}

#[test]
fn a_check_reports_every_problem_in_one_run_with_its_place() {
    let prepared = gateway().prepare();
    prepared.rewrite(
        "[server]\nportal_url = \"https://auth.example.test\"\nworkrs = 2\n\n[auth]\nmode = \"open\"\n\n[[route]]\nname = \"a\"\nhost = \"a.example.test\"\nacces = \"public\"\n",
    );
    let said = prepared.cli(&["check"]).expect(1).stderr;
    for place in ["vestibule.toml:3:1", "vestibule.toml:6:8", "vestibule.toml:11:1"] {
        assert!(said.contains(place), "{place} in:\n{said}");
    }
    for nearest in ["workers", "access"] {
        assert!(said.contains(nearest), "{nearest} in:\n{said}");
    }
    let json = prepared.cli(&["check", "--format", "json"]).expect(1).json();
    let list = json["diagnostics"].as_array().expect("diagnostics");
    assert!(list.iter().any(|one| one["line"] == 3 && one["column"] == 1), "{json:#}");
}
