//! Commands as an operator types them, and that what they change holds in the running server at the
//! next request.

use std::process::Command;

use serde_json::{Value, json};
use vestibule_testkit::{
    Actor, Child, Cli, Client, Gateway, GatewayBuilder, PASSWORD, Recorder, Request, Route, until,
};

use crate::gateway;

fn wiki(app: &Recorder) -> GatewayBuilder {
    gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &["staff"])
}

/// Runs a command with one argument list in an empty environment but for PATH.
fn run(folder: &std::path::Path, arguments: &[&str]) -> Cli {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(arguments).env_clear().env("HOME", folder).current_dir(folder);
    Cli::run(&mut command, b"")
}

#[test]
fn protect_puts_an_app_behind_a_sign_in_with_nothing_to_configure() {
    let app = Recorder::start();
    let folder = tempfile::tempdir().unwrap();
    let start = |app: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.args(["protect", app, "--listen", "127.0.0.1:0", "--data-dir", "data"]);
        Child::start(command.env_clear().env("HOME", folder.path()).current_dir(folder.path()))
    };
    let url_after = |child: &mut Child, text: &str| {
        child.wait_line(text, |line| Some(line.split_once(text)?.1.trim().to_owned()))
    };
    let mut child = start(&app.url());
    let app_url = url_after(&mut child, "The app, behind a sign-in:");
    let setup = url_after(&mut child, "First make yourself an account:");
    let port: u16 = app_url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(app_url, format!("http://app.localhost:{port}/"));
    let portal = format!("http://auth.localhost:{port}");
    assert!(setup.starts_with(&format!("{portal}/setup?token=")), "{setup}");
    let client = Client::plain(std::net::SocketAddr::from(([127, 0, 0, 1], port)));

    // Whoever types the bare name lands at the app; the app itself asks for a sign-in.
    for host in ["localhost", "127.0.0.1"] {
        let answer = client.send(&Request::get(&format!("http://{host}:{port}/")).navigation());
        assert!((300..400).contains(&answer.status), "{host}: {answer:?}");
        assert_eq!(answer.location(), app_url, "{host}");
    }
    let mut person = Actor::new(client.clone(), &portal, format!("app.localhost:{port}"));
    let landing = person.navigate(&format!("{app_url}a?b=1"));
    assert!(landing.url.starts_with(&format!("{portal}/login?rd=")), "{landing:?}");
    assert_eq!(app.count(), 0);

    let _ = person.navigate(&setup).response.expect(200);
    let token = setup.rsplit('=').next().unwrap();
    let form = Request::new("POST", &format!("{portal}/setup"))
        .header("Origin", &portal)
        .header("Sec-Fetch-Site", "same-origin")
        .form(&[
            ("token", token),
            ("email", "me@example.com"),
            ("name", "Me"),
            ("password", PASSWORD),
        ]);
    let made = person.send(form);
    assert!((300..400).contains(&made.status), "{made:?}");
    let landing = person.navigate(&format!("{app_url}a?b=1"));
    assert_eq!(landing.url, format!("{app_url}a?b=1"));
    let _ = landing.response.expect(200);
    assert_eq!(app.last().target, "/a?b=1");
    assert_eq!(app.last().header("remote-email"), Some("me@example.com"));
    for cookie in person.jar() {
        assert!(!app.last().holds(&cookie.value), "{} reached the app", cookie.name);
    }

    // The account is there at the next start, and no setup page any more.
    child.signal(rustix::process::Signal::TERM);
    assert_eq!(child.wait().code(), Some(0));
    let mut child = start(&app.url());
    let _ = url_after(&mut child, "The portal:");
    assert!(!child.lines().concat().contains("/setup"), "{:?}", child.lines());
}

#[test]
fn protect_brings_an_app_of_its_own_for_a_demonstration() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(["protect", "--demo", "--listen", "127.0.0.1:0"]);
    let mut child = Child::start(command.env_clear().current_dir(folder.path()));
    let app_url = child.wait_line("the app's URL", |line| {
        Some(line.split_once("The app, behind a sign-in:")?.1.trim().to_owned())
    });
    let setup = child.wait_line("the setup URL", |line| {
        Some(line.split_once("First make yourself an account:")?.1.trim().to_owned())
    });
    let port: u16 = app_url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    let portal = format!("http://auth.localhost:{port}");
    let client = Client::plain(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    let mut person = Actor::new(client, &portal, format!("app.localhost:{port}"));
    let form = Request::new("POST", &format!("{portal}/setup"))
        .header("Origin", &portal)
        .header("Sec-Fetch-Site", "same-origin")
        .form(&[
            ("token", setup.rsplit('=').next().unwrap()),
            ("email", "me@example.com"),
            ("name", "Me"),
            ("password", PASSWORD),
        ]);
    let _ = person.send(form);
    let page = person.navigate(&app_url);
    assert_eq!(page.url, app_url);
    assert!(page.response.text().contains("me@example.com"), "it shows what it received");
}

#[test]
fn protect_stays_on_loopback_and_says_what_is_wrong_with_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &["protect", "--demo", "--listen", "0.0.0.0:0"]).expect(1);
    assert!(said.stderr.contains("loopback"), "{}", said.stderr);
    let said = run(folder.path(), &["protect", "http://127.0.0.1:3000/path"]).expect(1);
    assert!(said.stderr.contains("http://127.0.0.1:3000"), "{}", said.stderr);
    let _ = run(folder.path(), &["protect"]).expect(2);
}

#[test]
fn init_writes_a_file_that_a_secret_and_certificates_make_good_and_never_twice() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &["init"]).expect(0);
    assert!(said.stdout.contains("vestibule check"), "{}", said.stdout);
    let file = folder.path().join("vestibule.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.parse::<toml::Table>().is_ok(), "{text}");
    std::fs::write(&file, format!("{text}\n# mine\n")).unwrap();
    let said = run(folder.path(), &["init"]).expect(1);
    assert!(said.stderr.contains("exists"), "{}", said.stderr);
    assert!(std::fs::read_to_string(&file).unwrap().ends_with("# mine\n"), "left as it was");
}

#[test]
fn what_the_contract_lists_is_there_and_wrong_usage_is_2() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), &["--help"]).expect(0).stdout;
    for command in [
        "protect",
        "serve",
        "check",
        "explain",
        "test",
        "who",
        "init",
        "snippet",
        "doctor",
        "tail",
        "user",
        "key",
        "session",
        "provider",
        "db",
        "import",
        "audit",
        "health",
        "schema",
        "completions",
    ] {
        assert!(help.lines().any(|line| line.trim().starts_with(command)), "{command} in {help}");
        let code = run(folder.path(), &[command, "--no-such-option"]).code;
        assert!(matches!(code, 1 | 2), "{command}: {code}");
    }
    for wrong in [&["check", "--format", "xml"][..], &["user", "add"], &["key", "create"], &[]] {
        assert_eq!(run(folder.path(), wrong).code, 2, "{wrong:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(folder.path(), &["completions", shell]).expect(0).stdout;
        assert!(script.contains("vestibule") && script.contains("explain"), "{shell}");
    }
}

#[test]
fn health_is_0_for_a_server_that_is_ready_and_1_for_none() {
    let app = Recorder::start();
    let mut gateway = wiki(&app).start();
    for path in ["readyz", "healthz"] {
        let url = format!("http://{}/{path}", gateway.telemetry());
        let _ = gateway.cli(&["health", "--url", &url]).expect(0);
    }
    let missing = format!("http://{}/nothing", gateway.telemetry());
    let _ = gateway.cli(&["health", "--url", &missing]).expect(1);
    let url = format!("http://{}/readyz", gateway.telemetry());
    assert_eq!(gateway.terminate(), 0);
    let said = gateway.cli(&["health", "--url", &url]).expect(1);
    assert!(!said.stderr.is_empty());
}

fn status(actor: &mut Actor, url: &str) -> u16 {
    actor.send(Request::get(url)).status
}

const APP: &str = "https://wiki.example.test/";

#[test]
fn a_user_command_holds_in_the_running_server_at_the_next_request() {
    let app = Recorder::start();
    let gateway = wiki(&app).admin("root").start();
    let mut ann = gateway.as_user("ann");
    ann.enter(APP);
    let email = "ann@example.test";
    let step = |arguments: &[&str]| {
        let _ = gateway.cli(&[&["user"], arguments].concat()).expect(0);
    };
    assert_eq!(status(&mut ann, APP), 200);
    step(&["reject", email]);
    assert_eq!(status(&mut ann, APP), 403);
    step(&["approve", email]);
    assert_eq!(status(&mut ann, APP), 200);
    step(&["groups", email, "editors", "staff"]);
    assert_eq!(status(&mut ann, APP), 200);
    assert_eq!(app.last().header("remote-groups"), Some("editors,staff"));
    step(&["groups", email]);
    assert_eq!(status(&mut ann, APP), 200);
    assert_eq!(app.last().header("remote-groups").unwrap_or_default(), "");
    step(&["disable", email]);
    assert!(matches!(status(&mut ann, APP), 401 | 403));
    step(&["enable", email]);

    let mut ann = gateway.as_user("ann");
    ann.enter(APP);
    assert_eq!(status(&mut ann, APP), 200);
    step(&["sign-out", email]);
    assert_eq!(status(&mut ann, APP), 401);
    let mut ann = gateway.as_user("ann");
    ann.enter(APP);
    let changed = gateway
        .cli_with(&["user", "password", email, "--password-file", "-"], b"another-Passphrase-8\n");
    let _ = changed.expect(0);
    assert_eq!(status(&mut ann, APP), 401, "a new password ends sessions");
    let mut ann = gateway.anonymous();
    let _ = ann.sign_in(email, PASSWORD).expect(401);
    let _ = ann.sign_in(email, "another-Passphrase-8").expect(200);
    ann.enter(APP);
    assert_eq!(status(&mut ann, APP), 200);

    step(&["role", email, "admin"]);
    let shown = gateway.cli(&["user", "show", email, "--format", "json"]).expect(0).json();
    assert_eq!(shown["role"], "admin");
    step(&["role", email, "user"]);
    step(&["delete", email]);
    assert_eq!(status(&mut ann, APP), 401);
    for refused in [
        &["user", "delete", "root@example.test"][..],
        &["user", "role", "root@example.test", "user"],
    ] {
        let said = gateway.cli(refused).expect(1);
        assert!(said.stderr.contains("last"), "the last administrator: {}", said.stderr);
    }
    let _ = gateway.cli(&["user", "show", email]).expect(1);
    let twice = gateway.cli_with(
        &["user", "add", "ROOT@example.test", "--password-file", "-"],
        b"another-Passphrase-8\n",
    );
    let _ = twice.expect(1);
    let weak =
        gateway.cli_with(&["user", "add", "new@example.test", "--password-file", "-"], b"short\n");
    assert!(weak.expect(1).stderr.contains('8'));
}

#[test]
fn a_key_command_makes_lists_and_ends_keys() {
    let app = Recorder::start();
    let gateway = wiki(&app).start();
    let create = |more: &[&str]| {
        let base =
            ["key", "create", "--owner", "ann@example.test", "--name", "ci", "--format", "json"];
        gateway.cli(&[&base[..], more].concat()).expect(0).json()
    };
    let made = create(&["--expires", "90d", "--scope", "route:wiki:GET"]);
    let key = made["key"].as_str().unwrap();
    let expires: jiff::Timestamp = made["expires_at"].as_str().unwrap().parse().unwrap();
    let days = (expires.as_second() - jiff::Timestamp::now().as_second()) / 86_400;
    assert!((89..=90).contains(&days), "{expires}");
    let _ = gateway.with_key(key).get("/").expect(200);
    let _ = gateway.with_key(key).send(Request::new("POST", APP).body("x")).expect(403);
    let list = gateway.cli(&["key", "list", "--format", "json"]).expect(0);
    assert_eq!(list.json().as_array().unwrap().len(), 1);
    assert!(!list.stdout.contains(key));
    let _ = gateway.cli(&["key", "revoke", made["id"].as_str().unwrap()]).expect(0);
    let _ = gateway.with_key(key).get("/").expect(401);
    let short = create(&["--expires", "1s"]);
    let short = short["key"].as_str().unwrap();
    until("its end", || (gateway.with_key(short).get("/").status == 401).then_some(()));
    let _ =
        gateway.cli(&["key", "create", "--owner", "nobody@example.test", "--name", "x"]).expect(1);
}

fn explain(gateway: &Gateway, arguments: &[&str]) -> Value {
    let all = [&["explain"], arguments, &["--format", "json"]].concat();
    gateway.cli(&all).expect(0).json()
}

#[test]
fn explain_says_what_the_server_does() {
    let app = Recorder::start();
    let route = Route::new("wiki", "wiki.example.test")
        .upstream(app.url())
        .access("{ groups = [\"staff\"] }")
        .rule(&["/open/*"], &["GET"], "public")
        .rule(&["/key"], &[], "api-key")
        .rule(&["/admin"], &[], "admin")
        .rule(&["/mfa"], &[], "mfa")
        .rule(&["/closed"], &[], "deny");
    let gateway = gateway().route(route).user("ann", &["staff"]).user("bob", &[]).start();
    let (mut ann, mut bob) = (gateway.as_user("ann"), gateway.as_user("bob"));
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    ann.enter(APP);
    bob.enter(APP);
    let mut people = [
        (gateway.anonymous(), vec![]),
        (ann, vec!["--as", "ann@example.test"]),
        (bob, vec!["--as", "bob@example.test"]),
        (gateway.with_key(&key), vec!["--as", "ann@example.test", "--credential", "api-key"]),
    ];
    for path in ["", "open/a", "open", "opened", "key", "admin", "mfa", "closed", "a/../b"] {
        for (actor, arguments) in &mut people {
            for method in ["GET", "POST"] {
                let url = format!("{APP}{path}");
                let real = actor.send(Request::new(method, &url)).status;
                let said = explain(&gateway, &[&[method, url.as_str()], &arguments[..]].concat());
                // The app answers 200; what is not allowed has the status of a program's answer.
                assert_eq!(said["status"], real, "{method} {url} {arguments:?}: {said:#}");
            }
        }
    }
    let said = explain(
        &gateway,
        &["GET", "https://wiki.example.test/mfa", "--as", "ann@example.test", "--mfa"],
    );
    assert_eq!(said["verdict"], "allow", "{said}");
    let said = explain(&gateway, &["GET", APP, "--as", "new@example.test", "--group", "staff"]);
    assert_eq!(said["verdict"], "allow", "{said}");
    let said = explain(&gateway, &["GET", "https://nowhere.example.test/"]);
    assert_eq!((&said["status"], &said["route"]), (&json!(404), &Value::Null), "{said}");
    for member in ["verdict", "reason", "status", "route", "rule", "trace"] {
        assert!(said.get(member).is_some(), "{member} in {said}");
    }
}

#[test]
fn the_store_key_can_be_changed_without_losing_a_key() {
    let app = Recorder::start();
    let (old, new) = ("0a".repeat(32), "5c".repeat(32));
    let mut gateway = wiki(&app).toml(&format!("[secrets]\nstore_key = \"{old}\"")).start();
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "script" }));
    gateway.amend(&format!("[secrets]\nstore_key = [\"{new}\", \"{old}\"]"));
    gateway.restart();
    let _ = gateway.with_key(&key).get("/").expect(200);
    let _ = gateway.cli(&["db", "reseal"]).expect(0);
    gateway.amend(&format!("[secrets]\nstore_key = \"{new}\""));
    gateway.restart();
    let _ = gateway.as_user("ann").get("/").expect(200);
    let (_, fresh) = gateway.as_user("ann").create_key(&json!({ "name": "fresh" }));
    let _ = gateway.with_key(&fresh).get("/").expect(200);
}
