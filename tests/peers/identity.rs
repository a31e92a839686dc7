//! What the app learns, and what it must not.

use serde_json::json;
use vestibule_testkit::{MANAGED, Recorded, Request, ws};

use crate::stage::{AUTH, IMG, Stage, WIKI};

crate::with_every_proxy!(
    d7_handoff_leads_back_to_the_first_url_and_into_the_second_host,
    b1_b2_b3_m4_m7_m9_no_spelling_of_a_managed_header_gets_through,
    b9_session_cookie_and_keys_are_taken_out_and_the_apps_own_pass,
    m6_two_hundred_groups_are_told_or_cut_but_never_an_error,
    m5_interleaved_people_never_get_each_others_name,
);

fn d7_handoff_leads_back_to_the_first_url_and_into_the_second_host(stage: &mut Stage) {
    let mut ann = stage.anonymous();
    let first = format!("{WIKI}/a/b?c=d&e=%20f");
    let asked = ann.navigate(&first);
    assert!(asked.url.starts_with(&format!("{AUTH}/login?rd=")), "{:#?}", asked.visited);
    assert_eq!(asked.response.status, 200);
    assert_eq!(stage.reached(), 0);

    let _ = ann.sign_in("ann@example.test", vestibule_testkit::PASSWORD).expect(200);
    let landed = ann.navigate(&first);
    assert_eq!((landed.url.as_str(), landed.response.status), (first.as_str(), 200));
    let seen = stage.wiki.last();
    assert_eq!(seen.target, "/a/b?c=d&e=%20f");
    assert_eq!(seen.header("remote-user"), Some("ann"));
    assert_eq!(seen.header("remote-email"), Some("ann@example.test"));
    assert_eq!(seen.header("remote-groups"), Some("staff"));
    assert_eq!(seen.header("x-forwarded-user").unwrap_or_default(), "");
    let assertion = seen.header("x-vestibule-assertion").expect("a signed assertion");
    assert_eq!(assertion.split('.').count(), 3);
    assert_eq!(seen.header("host"), Some("wiki.example.test"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));

    let second = ann.navigate(&format!("{IMG}/x"));
    assert_eq!(second.response.status, 200, "{:#?}", second.visited);
    assert_eq!(second.url, format!("{IMG}/x"), "a second sign-in: {:#?}", second.visited);
    assert_eq!(stage.img.last().header("x-forwarded-user"), Some("ann"));
    assert_eq!(stage.img.last().header("remote-user").unwrap_or_default(), "");
    no_secret_of(&ann, &[stage.wiki.last(), stage.img.last()]);
    for url in landed.visited.iter().chain(&second.visited) {
        for cookie in ann.jar() {
            assert!(!url.contains(&cookie.value), "a cookie's value in {url}");
        }
    }
}

fn b1_b2_b3_m4_m7_m9_no_spelling_of_a_managed_header_gets_through(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    ann.enter(WIKI);
    let mut nobody = stage.anonymous();
    for name in MANAGED {
        for spelled in spellings(name) {
            let forge = |method: &str, url: String| {
                Request::new(method, &url).header(&spelled, "forged").header(&spelled, "twice")
            };
            stage.wiki.clear();
            let answers = [
                ann.send(forge("GET", format!("{WIKI}/a"))).status,
                ann.send(forge("POST", format!("{WIKI}/a")).body("x")).status,
                nobody.send(forge("GET", format!("{WIKI}/open/a"))).status,
                nobody.send(forge("HEAD", format!("{WIKI}/open"))).status,
            ];
            for seen in stage.wiki.requests() {
                assert!(
                    !seen.holds("forged") && !seen.holds("twice"),
                    "{spelled}: {:?}",
                    seen.headers
                );
                let user: Vec<&str> = seen.all("remote-user").collect();
                let wanted = if seen.target == "/a" { "ann" } else { "" };
                assert_eq!(user.join(","), wanted, "{spelled}: {:?}", seen.headers);
            }
            // Refusing the whole request is as good as dropping the field.
            assert!(
                answers.iter().all(|status| matches!(status, 200 | 400)),
                "{spelled}: {answers:?}"
            );
        }
    }
    let upgrade =
        Request::get(&format!("{WIKI}/ws")).header("Origin", WIKI).header("Remote_User", "forged");
    stage.wiki.clear();
    let mut socket = ws::open(&stage.client(), &ann.dressed(upgrade)).expect("101");
    socket.send_text("x");
    assert_eq!(socket.text(), "x");
    assert!(!stage.wiki.last().holds("forged"));
}

fn b9_session_cookie_and_keys_are_taken_out_and_the_apps_own_pass(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    ann.enter(WIKI);
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    let (access, _) = stage.anonymous().tokens("ann@example.test", vestibule_testkit::PASSWORD);
    let own = "theme=dark; a=\"b; c\"; vestibule-like=1";
    let session = ann.session_cookie("wiki.example.test").expect("a cookie of this host");
    let request = Request::get(&format!("{WIKI}/a"))
        .header("Cookie", format!("{}={}; {own}", session.name, session.value))
        .header("Authorization", "Basic YXBwOmFwcA==")
        .header("X-Api-Key", "the-apps-own");
    let _ = stage.client().send(&request).expect(200);
    let seen = stage.wiki.last();
    assert_eq!(seen.all("cookie").collect::<Vec<_>>(), [own]);
    assert_eq!(seen.header("authorization"), Some("Basic YXBwOmFwcA=="));
    assert_eq!(seen.header("x-api-key"), Some("the-apps-own"));
    assert_eq!(seen.header("remote-user"), Some("ann"));

    for (name, value) in [
        ("X-Api-Key", key.clone()),
        ("Authorization", format!("Bearer {key}")),
        ("Authorization", format!("Bearer {access}")),
    ] {
        let _ = stage
            .client()
            .send(&Request::get(&format!("{WIKI}/k")).header(name, &value))
            .expect(200);
        let seen = stage.wiki.last();
        assert_eq!(seen.header("remote-user"), Some("ann"));
        assert_eq!(seen.header(name), None, "an emptied field must not be sent at all");
        assert!(!seen.holds(&key) && !seen.holds(&access));
    }
    let only_session = Request::get(&format!("{WIKI}/c"))
        .header("Cookie", format!("{}={}", session.name, session.value));
    let _ = stage.client().send(&only_session).expect(200);
    assert_eq!(stage.wiki.last().header("cookie"), None);
    no_secret_of(&ann, &stage.wiki.requests());
}

fn m6_two_hundred_groups_are_told_or_cut_but_never_an_error(stage: &mut Stage) {
    let groups: Vec<String> = (0..200).map(|n| format!("department-of-number-{n:03}")).collect();
    stage.gateway.add_user("eve", "user", &groups);
    let mut eve = stage.signed_in("eve");
    let _ = eve.get(&format!("{WIKI}/a")).expect(200);
    assert_eq!(stage.wiki.last().header("remote-user"), Some("eve"));
    let told = stage.wiki.last().header("remote-groups").unwrap_or_default().len();
    assert!(told <= 4096, "{told}");
}

fn m5_interleaved_people_never_get_each_others_name(stage: &mut Stage) {
    let (mut ann, mut bob) = (stage.signed_in("ann"), stage.signed_in("bob"));
    for round in 0..10 {
        for (actor, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
            let _ = actor.get(&format!("{WIKI}/same")).expect(200);
            assert_eq!(stage.wiki.last().header("remote-user"), Some(name), "round {round}");
        }
        let _ = stage.anonymous().send(Request::get(&format!("{WIKI}/same"))).expect(401);
    }
}

/// Every value in the jar is absent from what the apps received.
fn no_secret_of(actor: &vestibule_testkit::Actor, seen: &[Recorded]) {
    for request in seen {
        for cookie in actor.jar() {
            assert!(!request.holds(&cookie.value), "{} reached the app", cookie.name);
        }
    }
}

/// The name as it is, in capitals, and with each hyphen and all hyphens written otherwise.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned(), name.to_uppercase()];
    for other in ["_", "."] {
        all.push(name.replace('-', other));
        for (at, _) in name.match_indices('-') {
            let mut spelled = name.to_owned();
            spelled.replace_range(at..=at, other);
            all.push(spelled);
        }
    }
    all
}
