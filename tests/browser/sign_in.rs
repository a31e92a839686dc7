//! The main job, seen by a person: one sign-in opens every app, one sign-out closes them.

use vestibule_testkit::{Actor, Door, PASSWORD, Recorder};

use crate::stage::{AUTH, IMG, Stage, WIKI};

#[test]
fn d7_b9_f2_one_sign_in_opens_both_hosts_and_one_sign_out_closes_them_for_replayed_cookies() {
    let Some(stage) = Stage::new() else { return };
    let browser = &stage.browser;
    let first = format!("{WIKI}/notes/2026?page=2&q=a%20b");
    browser.open(&first);
    browser.wait_url(&format!("{AUTH}/login?rd="));
    assert_eq!(stage.wiki.connections(), 0, "the app was asked before anybody signed in");
    stage.picture("sign-in");

    stage.sign_in("ann@example.test", PASSWORD);
    assert_eq!(browser.wait_url(WIKI), first, "not the URL that was asked for first");
    stage.picture("app");
    let seen = stage.wiki.wait_for(1)[0].clone();
    assert_eq!(seen.target, "/notes/2026?page=2&q=a%20b");
    assert_eq!(seen.header("remote-user"), Some("ann"));
    assert_eq!(seen.header("remote-email"), Some("ann@example.test"));
    assert_eq!(seen.header("remote-groups"), Some("staff"));
    assert!(seen.header("x-vestibule-assertion").is_some());

    browser.open(&format!("{IMG}/gallery"));
    assert_eq!(browser.url(), format!("{IMG}/gallery"), "a second sign-in was asked for");
    let seen = stage.img.wait_for(1)[0].clone();
    assert_eq!(seen.header("x-forwarded-user"), Some("ann"));
    assert_eq!(seen.header("remote-user"), None);

    // What the browser holds is what a thief would replay.
    let jars = jars(&stage);
    let (mut secrets, mut thief) = (Vec::new(), stage.gateway.anonymous());
    for (host, name, value) in &jars {
        thief.set_cookie(host, name, value);
        secrets.push(value.clone());
    }
    assert!(secrets.len() >= 3, "the portal and both apps have a cookie each: {jars:?}");
    no_secret(&stage.wiki, &secrets);
    no_secret(&stage.img, &secrets);
    for door in Door::ALL {
        for host in [WIKI, IMG] {
            let _ = thief.ask(door, "GET", &format!("{host}/replayed")).expect(200);
        }
    }

    browser.open(&format!("{AUTH}/"));
    stage.picture("launcher");
    browser.click("form[action$='/logout'] button");
    browser.wait_url(&format!("{AUTH}/login"));
    stage.picture("signed-out");
    let portal_cookies = browser.cookies();
    let session = portal_cookies.iter().find(|cookie| cookie["name"] == "__Host-vestibule");
    assert_eq!(session, None, "the browser still holds the portal's session");

    let before = (stage.wiki.count(), stage.img.count());
    for door in Door::ALL {
        for host in [WIKI, IMG] {
            refused(&mut thief, door, host);
        }
    }
    assert_eq!((stage.wiki.count(), stage.img.count()), before);
    for host in [WIKI, IMG] {
        browser.open(&format!("{host}/again"));
        browser.wait_url(&format!("{AUTH}/login?rd="));
    }
}

#[test]
fn d7_signing_in_works_without_scripts() {
    let no_scripts = ["--blink-settings=scriptEnabled=false"];
    let Some(stage) = Stage::with(|builder| builder.user("ann", &[]), &no_scripts) else { return };
    stage.browser.open(&format!("{WIKI}/a"));
    stage.browser.wait_url(&format!("{AUTH}/login?rd="));
    stage.sign_in("ann@example.test", PASSWORD);
    assert_eq!(stage.browser.wait_url(WIKI), format!("{WIKI}/a"));
    assert_eq!(stage.wiki.wait_for(1)[0].header("remote-user"), Some("ann"));
}

#[test]
fn a_wrong_password_is_told_without_saying_which_half_was_wrong() {
    let Some(stage) = Stage::new() else { return };
    let mut told = Vec::new();
    for email in ["ann@example.test", "nobody@example.test"] {
        stage.browser.open(&format!("{WIKI}/a"));
        stage.browser.wait_url(&format!("{AUTH}/login?rd="));
        stage.sign_in(email, "wrong-Password-1");
        told.push(stage.browser.text_of("[role=alert]"));
        stage.picture("wrong-password");
        // The way back is not lost.
        stage.sign_in("ann@example.test", PASSWORD);
        stage.browser.wait_url(&format!("{WIKI}/a"));
        stage.browser.open(&format!("{AUTH}/"));
        stage.browser.click("form[action$='/logout'] button");
        stage.browser.wait_url(&format!("{AUTH}/login"));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("Invalid email or password"), "{}", told[0]);
}

#[test]
fn somebody_without_the_group_sees_a_page_that_says_so() {
    let Some(stage) = Stage::with(|builder| builder.user("bob", &[]), &[]) else { return };
    stage.browser.open(&format!("{IMG}/a"));
    stage.browser.wait_url(&format!("{AUTH}/login?rd="));
    stage.sign_in("bob@example.test", PASSWORD);
    stage.browser.wait_url(IMG);
    let text = stage.browser.text();
    assert!(text.contains("FORBIDDEN"), "{text}");
    stage.picture("forbidden");
    assert_eq!(stage.img.connections(), 0);
}

#[test]
fn b3_a_page_of_an_app_opens_its_websocket_and_another_apps_page_does_not() {
    let Some(stage) = Stage::new() else { return };
    let browser = &stage.browser;
    browser.open(&format!("{WIKI}/"));
    browser.wait_url(&format!("{AUTH}/login"));
    stage.sign_in("ann@example.test", PASSWORD);
    browser.wait_url(WIKI);
    let talk = r#"
        const [url, done] = arguments;
        const socket = new WebSocket(url);
        socket.onopen = () => socket.send("hello");
        socket.onmessage = event => done(event.data);
        socket.onerror = () => done("refused");
    "#;
    let url = serde_json::json!("wss://wiki.example.test/ws");
    assert_eq!(browser.run_async(talk, std::slice::from_ref(&url)), "hello");
    browser.open(&format!("{IMG}/"));
    browser.wait_url(IMG);
    let before = stage.wiki.count();
    assert_eq!(browser.run_async(talk, &[url]), "refused");
    assert_eq!(stage.wiki.count(), before);
}

/// Host, name and value of every cookie that the browser holds for the three hosts.
fn jars(stage: &Stage) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (host, path) in [(AUTH, "/api-keys"), (WIKI, "/jar"), (IMG, "/jar")] {
        stage.browser.open(&format!("{host}{path}"));
        for cookie in stage.browser.cookies() {
            let text = |key: &str| cookie[key].as_str().unwrap_or_default().to_owned();
            assert_eq!(cookie["httpOnly"], true, "{cookie}");
            assert_eq!(cookie["secure"], true, "{cookie}");
            all.push((host.trim_start_matches("https://").to_owned(), text("name"), text("value")));
        }
    }
    all
}

#[track_caller]
fn refused(thief: &mut Actor, door: Door, host: &str) {
    let answer = thief.ask(door, "GET", &format!("{host}/replayed"));
    assert_eq!(answer.status, 401, "{door:?} {host}: {answer:?}");
}

fn no_secret(app: &Recorder, secrets: &[String]) {
    for request in app.requests() {
        for secret in secrets {
            assert!(!request.holds(secret), "a cookie of ours in {}", request.target);
        }
    }
}
