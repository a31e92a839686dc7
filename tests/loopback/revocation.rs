//! What is ended is ended: by the API and by the command line, at the next request and on open
//! connections; and what was acknowledged stays done.

use serde_json::json;
use vestibule_testkit::{Door, Gateway, PASSWORD, Recorder, Request, ws};

use crate::gateway;
use crate::rows::{Portal, account_id, accounts, admin_api, wiki};

/// What can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Session,
    Key,
    Account,
}

struct Holder {
    person: vestibule_testkit::Actor,
    session: String,
    key: String,
    key_id: String,
}

fn holder(gateway: &Gateway, name: &str) -> Holder {
    let mut person = gateway.as_user(name);
    person.enter("https://wiki.example.test/");
    let (key_id, key) = person.create_key(&json!({ "name": name }));
    let sessions = person.api("GET", "/sessions", None).expect(200).json();
    let current = sessions.as_array().unwrap().iter().find(|one| one["current"] == true).unwrap();
    let session = current["id"].as_str().unwrap().to_owned();
    Holder { person, session, key, key_id }
}

fn upgrade(holder: &Holder, gateway: &Gateway, held: Held) -> ws::Socket {
    let request = Request::get("https://wiki.example.test/ws");
    let request = if held == Held::Key {
        gateway.with_key(&holder.key).dressed(request)
    } else {
        holder.person.dressed(request.header("Origin", "https://wiki.example.test"))
    };
    let mut socket = ws::open(&gateway.client(), &request).expect("an open socket");
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    socket
}

fn assert_ended(
    holder: &mut Holder,
    gateway: &Gateway,
    held: Held,
    mut socket: ws::Socket,
    how: &str,
) {
    for door in Door::ALL {
        let mut actor = match held {
            Held::Key => gateway.with_key(&holder.key),
            Held::Session | Held::Account => holder.person.clone(),
        };
        let answer = actor.ask(door, "GET", "/");
        assert!(matches!(answer.status, 401 | 403), "{held:?} {how} at {door:?}: {answer:?}");
    }
    let soon = std::time::Duration::from_secs(5);
    assert!(socket.conn.closes_within(soon), "{held:?} {how}: the open WebSocket ends");
}

#[test]
fn f2_f3_what_is_revoked_by_the_api_ends_at_the_next_request_and_on_open_connections() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(wiki(&app))
        .user("ann", &[])
        .user("bob", &[])
        .user("eve", &[])
        .admin("root")
        .start();
    let mut root = gateway.as_user("root");
    for (held, name) in [(Held::Session, "ann"), (Held::Key, "bob"), (Held::Account, "eve")] {
        let mut holder = holder(&gateway, name);
        let socket = upgrade(&holder, &gateway, held);
        let answer = match held {
            Held::Session => {
                holder.person.api("DELETE", &format!("/sessions/{}", holder.session), None)
            }
            Held::Key => holder.person.api("DELETE", &format!("/api-keys/{}", holder.key_id), None),
            Held::Account => {
                let id = account_id(&gateway, &format!("{name}@example.test"));
                let body = json!({ "status": "disabled" });
                admin_api(
                    &mut root,
                    gateway.portal(),
                    "PATCH",
                    &format!("/users/{id}"),
                    Some(&body),
                )
            }
        };
        assert!((200..300).contains(&answer.status), "{held:?}: {answer:?}");
        assert_ended(&mut holder, &gateway, held, socket, "by the API");
    }
}

#[test]
fn f2_f3_what_is_revoked_by_the_command_line_ends_at_the_next_request_and_on_open_connections() {
    let app = Recorder::start();
    let gateway =
        gateway().route(wiki(&app)).user("ann", &[]).user("bob", &[]).user("eve", &[]).start();
    for (held, name) in [(Held::Session, "ann"), (Held::Key, "bob"), (Held::Account, "eve")] {
        let mut holder = holder(&gateway, name);
        let socket = upgrade(&holder, &gateway, held);
        let email = format!("{name}@example.test");
        let _ = match held {
            Held::Session => gateway.cli(&["session", "revoke", &holder.session]),
            Held::Key => gateway.cli(&["key", "revoke", &holder.key_id]),
            Held::Account => gateway.cli(&["user", "disable", &email]),
        }
        .expect(0);
        assert_ended(&mut holder, &gateway, held, socket, "by the command line");
    }
    // A change of groups holds at the next request too, without a new sign-in.
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let _ = gateway.cli(&["user", "groups", "ann@example.test", "editors"]).expect(0);
    let _ = ann.get("/").expect(200);
    assert_eq!(app.last().header("remote-groups"), Some("editors"));
}

#[test]
fn x_an_acknowledged_write_survives_sigkill_twenty_times() {
    let app = Recorder::start();
    let mut gateway = gateway()
        .toml("[auth]\napproval = false\n[auth.password]\nsignup = true")
        .route(wiki(&app))
        .user("ann", &[])
        .start();
    let mut made = Vec::new();
    for round in 0..20 {
        let portal = Portal::of(&gateway);
        let (access, _) = portal.tokens("ann@example.test", PASSWORD);
        let body = json!({ "name": format!("round {round}") });
        let key = portal.with_bearer(&access, "POST", "/api/v1/auth/api-keys", Some(&body));
        let key = key.expect(201).json();
        let path = format!("/api/v1/auth/api-keys/{}", key["id"].as_str().unwrap());
        if round % 2 == 1 {
            let _ = portal.with_bearer(&access, "DELETE", &path, None).expect(204);
        }
        gateway.kill();
        made.push((key["key"].as_str().unwrap().to_owned(), round % 2 == 0));
        gateway.restart();
        let (key, is_live) = made.last().unwrap();
        let answer = gateway.with_key(key).get("/");
        assert_eq!(answer.status, if *is_live { 200 } else { 401 }, "round {round}");
    }
    for (round, (key, is_live)) in made.iter().enumerate() {
        let answer = gateway.with_key(key).get("/");
        assert_eq!(answer.status, if *is_live { 200 } else { 401 }, "round {round}, at the end");
    }
    assert_eq!(accounts(&gateway).len(), 1);
    let _ = gateway.cli(&["db", "check"]).expect(0);
}

#[test]
fn d2_a_store_that_is_gone_is_503_and_never_an_allow() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).user("bob", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let (_, key) = ann.create_key(&json!({ "name": "unused" }));
    let bob = gateway.as_user("bob");
    let before = app.count();

    // The file is replaced by what is no database: every read of it fails from now on.
    let data = gateway.prepared().data();
    for entry in std::fs::read_dir(&data).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("vestibule.db") {
            let file = std::fs::OpenOptions::new().write(true).open(entry.path()).unwrap();
            let length = file.metadata().unwrap().len();
            std::os::unix::fs::FileExt::write_all_at(
                &file,
                &vec![0xA5; usize::try_from(length).unwrap()],
                0,
            )
            .unwrap();
        }
    }
    let answer = gateway.with_key(&key).get("/").expect(503);
    assert_eq!(answer.code().as_deref(), Some("STORE_UNAVAILABLE"));
    let mut bob = bob;
    for door in [Door::Proxy, Door::ForwardAuth, Door::AuthRequest] {
        let answer = gateway.with_key(&key).ask(door, "GET", "/");
        assert_eq!(answer.status, 503, "{door:?}: {answer:?}");
        let mut stranger = bob.clone();
        stranger.enter("https://wiki.example.test/");
        let answer = stranger.ask(door, "GET", "/");
        assert!(answer.status >= 400, "{door:?}: never an allow: {answer:?}");
    }
    let answer = bob.api("GET", "/me", None);
    assert!(answer.status == 503 || answer.status == 200, "never signed out: {answer:?}");
    let login = Portal::of(&gateway).login("ann@example.test", PASSWORD).expect(503);
    assert_eq!(login.code().as_deref(), Some("STORE_UNAVAILABLE"));
    assert_eq!(app.count(), before, "nobody got through");
}
