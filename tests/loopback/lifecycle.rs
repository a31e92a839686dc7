//! Start, reload, end.

use vestibule_testkit::{Recorder, Request, Route, until, ws};

use crate::gateway;

#[test]
fn a_reload_decides_the_next_request_and_a_broken_file_changes_nothing() {
    let app = Recorder::start();
    let route = Route::new("wiki", "wiki.example.test").upstream(app.url());
    let mut gateway = gateway().route(route.clone().access("deny")).start();
    let _ = gateway.anonymous().get("/").expect(403);
    assert!(gateway.reload_routes(&[route.clone().access("public")]));
    let _ = gateway.anonymous().get("/").expect(200);
    assert!(!gateway.reload_routes(&[route.access("no-such-policy")]));
    let _ = gateway.anonymous().get("/").expect(200);
    assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(0.0));
}

#[test]
fn an_acknowledged_account_survives_sigkill() {
    let app = Recorder::start();
    let mut gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    gateway.kill();
    gateway.restart();
    let _ = gateway.as_user("ann").get("/").expect(200);
}

#[test]
fn sigterm_ends_the_server_with_code_0() {
    let mut gateway =
        gateway().route(Route::new("wiki", "wiki.example.test").access("deny")).start();
    assert_eq!(gateway.terminate(), 0);
}

#[test]
fn x24_a_bad_file_keeps_the_old_configuration_and_tells_the_place() {
    let app = Recorder::start();
    let mut gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public"))
        .start();
    assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(1.0));
    let good = std::fs::read_to_string(gateway.prepared().file()).unwrap();
    let lines = good.lines().count();
    let broken = [
        ("a syntax error", format!("{good}\n[[route]\n"), lines + 2),
        ("an unknown key", format!("{good}\n[extra]\nx = 1\n"), lines + 2),
        (
            "half a file",
            good[..good.len() / 2].trim_end().trim_end_matches(['"', ']']).to_owned(),
            0,
        ),
        (
            "a bad pattern",
            format!(
                "{good}\n[[route]]\nname = \"b\"\nhost = \"b.example.test\"\n[[route.rule]]\npath = [\"/a?b\"]\naccess = \"public\"\n"
            ),
            lines + 6,
        ),
        (
            "a duplicate route",
            format!("{good}\n[[route]]\nname = \"wiki\"\nhost = \"c.example.test\"\n"),
            lines + 3,
        ),
    ];
    for (what, text, line) in broken {
        let before = gateway.logs().len();
        gateway.prepared().rewrite(&text);
        assert!(!gateway.hang_up(), "{what}: must be rejected");
        let said = gateway.logs();
        let said = said[before..].join("\n");
        let place = if line == 0 {
            "vestibule.toml:".to_owned()
        } else {
            format!("vestibule.toml:{line}:")
        };
        assert!(said.contains(&place), "{what}: {place} in\n{said}");
        assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(0.0), "{what}");
        let _ = gateway.anonymous().get("/").expect(200);
    }
    std::fs::remove_file(gateway.prepared().file()).unwrap();
    assert!(!gateway.hang_up(), "a missing file must be rejected");
    let _ = gateway.anonymous().get("/").expect(200);
    gateway.prepared().rewrite(&good);
    assert!(gateway.hang_up());
    assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(1.0));
}

#[test]
fn x24_a_good_file_is_taken_without_a_signal_and_without_dropping_a_connection() {
    let app = Recorder::start();
    let route =
        |access: &str| Route::new("wiki", "wiki.example.test").upstream(app.url()).access(access);
    let mut gateway = gateway().route(route("public")).start();
    let client = gateway.client();
    let mut conn = client.connect("wiki.example.test");
    let get = Request::get("https://wiki.example.test/a");
    assert_eq!(conn.exchange(&get).status, 200);
    let mut socket = ws::open(&client, &Request::get("https://wiki.example.test/ws")).unwrap();
    socket.send_text("before");
    assert_eq!(socket.text(), "before");

    let text = std::fs::read_to_string(gateway.prepared().file()).unwrap();
    gateway.prepared().rewrite(&text.replace("access = \"public\"", "access = \"deny\""));
    until("the changed file is noticed", || (conn.exchange(&get).status == 403).then_some(()));
    // The same connection all along, and the upgraded one lives.
    socket.send_text("after");
    assert_eq!(socket.text(), "after");
    assert!(gateway.reload_routes(&[route("public")]));
    assert_eq!(conn.exchange(&get).status, 200);
}

#[test]
fn x24_under_reloads_every_request_is_decided_by_one_configuration() {
    let app = Recorder::start();
    // One file opens /a and closes /b, the other the reverse; never both, never none.
    let route = |open: &str| {
        Route::new("wiki", "wiki.example.test").upstream(app.url()).access("deny").rule(
            &[open],
            &[],
            "public",
        )
    };
    let mut gateway = gateway().route(route("/a")).start();
    let client = gateway.client();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for path in ["/a", "/b"] {
            let (client, stop) = (client.clone(), &stop);
            readers.push(scope.spawn(move || {
                let mut conn = client.connect("wiki.example.test");
                let mut seen = std::collections::BTreeSet::new();
                let get = Request::get(&format!("https://wiki.example.test{path}"));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    seen.insert(conn.exchange(&get).status);
                }
                seen
            }));
        }
        for round in 0..30 {
            let open = if round % 2 == 0 { "/b" } else { "/a" };
            assert!(gateway.reload_routes(&[route(open)]), "round {round}");
            // The next request is under the new file.
            let other = if open == "/a" { "/b" } else { "/a" };
            let _ = gateway.anonymous().get(open).expect(200);
            let _ = gateway.anonymous().get(other).expect(403);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            let seen = reader.join().expect("no connection is dropped");
            assert!(seen.iter().all(|status| [200, 403].contains(status)), "{seen:?}");
        }
    });
}

#[test]
fn x24_a_front_proxy_that_is_no_longer_trusted_is_not_believed_at_once() {
    let app = Recorder::start();
    let mut gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public"))
        .start();
    let ask = |gateway: &vestibule_testkit::Gateway| {
        let client = gateway.client().from(vestibule_testkit::TRUSTED);
        let request =
            Request::get("https://wiki.example.test/").header("X-Forwarded-For", "192.0.2.1");
        let _ = client.send(&request).expect(200);
        app.last().header("x-real-ip").map(str::to_owned)
    };
    assert_eq!(ask(&gateway).as_deref(), Some("192.0.2.1"));
    assert!(gateway.reload("[server]\ntrusted_proxies = [\"127.0.0.77\"]"));
    assert_eq!(ask(&gateway).as_deref(), Some(vestibule_testkit::TRUSTED));
}
