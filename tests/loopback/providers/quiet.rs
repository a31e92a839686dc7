//! What must not be seen: secrets in logs, tokens in URLs, ways elsewhere in `rd`.

use vestibule_testkit::provider::{Endpoint, Mutant, Op};
use vestibule_testkit::{Actor, Recorder, Request, Route, parameter};

use super::{AUTH, WIKI, let_in, open_to, turned_away, visitor, wiki_answer};
use crate::gateway;
use crate::trust_sessions::{elsewhere, lands_at_home};

#[test]
fn j10_no_secret_code_token_or_verifier_stands_in_a_log_at_trace_level() {
    let app = Recorder::start();
    let (op, bad, hub) =
        (Op::start(), Op::mutated(Mutant::NonceWrong), vestibule_testkit::github::Github::start());
    hub.user(vestibule_testkit::github::GithubUser::new(1, "ann"));
    op.access_lifetime(1);
    let pieces = [op.toml("op"), bad.toml("bad"), hub.toml("hub")];
    let gateway = open_to(&app, &pieces)
        .toml("[telemetry]\nlog = { format = \"json\", level = \"trace\" }")
        .start();
    let mut canaries: Vec<(&str, String)> = Vec::new();
    let mut ann = visitor(&gateway, "ann");
    for provider in ["op", "bad", "hub"] {
        let mut actor = visitor(&gateway, "ann");
        let callback = actor.callback_of(provider, &format!("{WIKI}/?secret=in-the-way-back"));
        for name in ["state", "code"] {
            canaries.push((name, parameter(&callback, name).unwrap()));
        }
        for cookie in actor.jar().iter().filter(|cookie| cookie.name != "person") {
            canaries.push(("a cookie of the flow", cookie.value.clone()));
        }
        let landing = actor.travel(&callback);
        if provider == "op" {
            assert_eq!(landing.response.status, 200);
            ann = actor;
        } else if provider == "bad" {
            turned_away(&gateway, &actor, &landing, 401, "PROVIDER_SIGNIN_FAILED", "bad");
        }
    }
    canaries.push(("the way back", "in-the-way-back".to_owned()));
    for cookie in ann.jar().iter().filter(|cookie| cookie.name != "person") {
        canaries.push(("a cookie", cookie.value.clone()));
    }
    // A refresh, a sign-out at the provider, good and bad logout tokens, a bad callback.
    let end = std::time::Instant::now() + std::time::Duration::from_millis(1_200);
    vestibule_testkit::until("a refresh", || {
        let _ = wiki_answer(&mut ann);
        (std::time::Instant::now() > end && op.refreshes() > 0).then_some(())
    });
    for token in [op.logout_token(Some("nobody"), None), "eyJhbGciOiJub25lIn0.e30.".to_owned()] {
        let url = format!("{}/api/v1/auth/backchannel-logout/op", gateway.portal());
        gateway.client().send(&Request::new("POST", &url).form(&[("logout_token", &token)]));
        canaries.push(("a logout token", token));
    }
    let url = format!(
        "{}/api/v1/auth/callback/op?code=code-of-a-stranger&state=state-of-a-stranger",
        gateway.portal()
    );
    ann.visit(&url);
    canaries.push(("a code", "code-of-a-stranger".to_owned()));
    canaries.push(("a state", "state-of-a-stranger".to_owned()));
    let _ = ann.travel(&format!("{}/logout", gateway.portal()));
    for (what, provider) in [("of the provider", &op), ("of the bad provider", &bad)] {
        canaries.extend(provider.secrets().into_iter().map(|secret| (what, secret)));
        for asked in provider.asked() {
            for name in ["nonce", "state", "code_challenge"] {
                canaries.push((name, asked.get(name).unwrap().to_owned()));
            }
        }
    }
    canaries.push(("GitHub's secret", hub.client_secret().to_owned()));
    for heard in hub.heard() {
        canaries.extend(heard.bearer().map(|token| ("GitHub's token", token.to_owned())));
    }
    assert!(canaries.len() > 40, "{}", canaries.len());

    let metrics = format!("http://{}/metrics", gateway.telemetry());
    let client = vestibule_testkit::Client::plain(gateway.telemetry());
    let mut said = gateway.logs();
    said.push(client.send(&Request::get(&metrics)).text());
    let deep = said.iter().filter(|line| line.contains("\"DEBUG\"") || line.contains("\"TRACE\""));
    assert!(deep.count() > 0, "the level is trace: {:#?}", said.first());
    for line in &said {
        for (what, secret) in &canaries {
            assert!(!line.contains(secret.as_str()), "{what} in the log: {line}");
        }
    }
    // Nor does the app get any of it.
    for seen in app.requests() {
        for (what, secret) in canaries.iter().filter(|(what, _)| *what != "the way back") {
            assert!(!seen.holds(secret), "{what} at the app: {}", seen.target);
        }
    }
}

#[test]
fn j10_tokens_of_a_provider_are_sealed_in_the_store() {
    let app = Recorder::start();
    let op = Op::start();
    let mut gateway = open_to(&app, &[op.toml("op")]).start();
    let _ = let_in(&mut visitor(&gateway, "ann"), "op", &format!("{WIKI}/"));
    gateway.terminate();
    let data = gateway.prepared().data();
    for secret in op.secrets() {
        let found = crate::rows::files_that_hold(&data, &secret);
        assert!(found.is_empty(), "{secret} in {found:?}");
    }
}

#[test]
fn e1_e2_no_spelling_of_rd_leads_away_after_a_provider() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    for vector in elsewhere() {
        let mut actor = visitor(&gateway, "ann");
        let start = actor.start_with("op", &vector).expect(302);
        assert!(start.location().starts_with(&op.url(Endpoint::Authorize)), "{vector:?}");
        assert!(!start.location().contains("evil"), "{vector:?}: told to the provider");
        let back = actor.visit(start.location());
        let end = actor.visit(back.location());
        assert!(matches!(end.status, 302 | 303), "{vector:?}: {end:?}");
        lands_at_home(end.location(), &vector);
    }
    // Good places are kept, byte for byte.
    for rd in [format!("{WIKI}/a?b=c%20d&e=%2F"), format!("{}/settings", gateway.portal())] {
        let mut actor = visitor(&gateway, "ann");
        let landing = let_in(&mut actor, "op", &rd);
        assert_eq!(landing.url, rd);
    }
    // Parameters of the callback lead nowhere.
    let mut actor = visitor(&gateway, "ann");
    let callback = actor.callback_of("op", "");
    let end = actor.visit(&format!("{callback}&rd=https%3A%2F%2Fevil.test%2F"));
    lands_at_home(end.location(), "rd at the callback");
}

#[test]
fn e4_nothing_secret_stands_in_a_url_that_leaves() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut actor = visitor(&gateway, "ann");
    let landing = let_in(&mut actor, "op", &format!("{WIKI}/"));
    let verifier = op.exchanged()[0].get("code_verifier").unwrap().to_owned();
    let session = actor.session_cookie(AUTH).unwrap().value;
    let tokens: Vec<String> = op.secrets();
    let code = tokens[0].clone();
    for url in &landing.visited {
        assert!(!url.contains(&verifier) && !url.contains(&session), "{url}");
        let is_callback = url.contains("/callback/op");
        for secret in &tokens {
            assert!(!url.contains(secret.as_str()) || (is_callback && *secret == code), "{url}");
        }
    }
    let asked = &op.asked()[0];
    let names: Vec<&str> = asked.parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!names.contains(&"client_secret") && !names.contains(&"code_verifier"), "{names:?}");
    // What leads to the provider tells it nothing of where the person came from.
    assert_eq!(
        asked.get("redirect_uri").unwrap(),
        format!("{}/api/v1/auth/callback/op", gateway.portal())
    );
    assert!(!asked.parameters.iter().any(|(_, value)| value.contains("wiki")), "{asked:?}");
}

#[test]
fn j8_what_a_provider_calls_a_person_is_inert_in_pages_headers_and_logs() {
    let app = Recorder::start();
    let op = Op::start();
    let name = "<img src=x onerror=alert(1)>\r\nX-Injected: 1\u{0}\u{1b}[31m\"'";
    op.person(
        vestibule_testkit::provider::Person::new("ann")
            .claim("name", name)
            .claim("preferred_username", "ann\r\nRemote-Groups: admins")
            .groups(&["a,b", "c|d", "e;f", "good", "bad\nline", ""]),
    );
    op.answers_error(None);
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let seen = app.last();
    assert_eq!(seen.header("x-injected"), None);
    assert_eq!(seen.header("remote-groups"), Some("good"), "names with separators are dropped");
    let user = seen.header("remote-user").unwrap();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@+-".contains(&b);
    assert!(user.bytes().all(plain), "{user:?}");
    let page = ann.navigate(&format!("{}/settings", gateway.portal())).response.text();
    assert!(!page.contains("<img src=x"), "{page}");
    for line in gateway.logs() {
        serde_json::from_str::<serde_json::Value>(&line)
            .unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    // An error's description is for nobody's eyes.
    op.answers_error(Some("<script>alert(1)</script>"));
    let mut bob = visitor(&gateway, "bob");
    let landing = bob.sign_in_with("op", "");
    turned_away(&gateway, &bob, &landing, 401, "PROVIDER_SIGNIN_FAILED", "a script");
    assert!(!landing.response.text().contains("<script>alert"), "{}", landing.response.text());
}

#[test]
fn g1_no_session_begins_where_nobody_sees_it() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let url = format!("{}/api/v1/auth/login/op", gateway.portal());
    let mut actor: Actor = visitor(&gateway, "ann");
    let hidden = Request::get(&url)
        .header("Accept", "text/html")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "iframe")
        .header("Sec-Fetch-Site", "cross-site");
    let answer = actor.send(hidden);
    assert!(!matches!(answer.status, 301..=308), "ASVS 7.6.2: {answer:?}");
    assert_eq!(op.asked().len(), 0);
}

#[test]
fn a_route_may_hand_the_providers_token_on_and_no_other_does() {
    let (app, api) = (Recorder::start(), Recorder::start());
    let op = Op::start();
    let gateway = gateway()
        .toml("[auth]\napproval = false")
        .toml(&op.toml("op"))
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .route(
            Route::new("api", "img.example.test")
                .upstream(api.url())
                .access("signed-in")
                .set("provider_token", "access"),
        )
        .user("joe", &[])
        .start();
    let forged = |actor: &mut Actor, host: &str| {
        actor.enter(&format!("https://{host}/"));
        let request = Request::get(&format!("https://{host}/"))
            .header("X-Forwarded-Access-Token", "forged")
            .header("X-Forwarded-Id-Token", "forged");
        actor.send(request).expect(200)
    };
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    forged(&mut ann, "wiki.example.test");
    let seen = app.last();
    assert_eq!(seen.header("x-forwarded-access-token").unwrap_or_default(), "");
    assert_eq!(seen.header("x-forwarded-id-token").unwrap_or_default(), "");
    forged(&mut ann, "img.example.test");
    let token = api.last().header("x-forwarded-access-token").unwrap_or_default().to_owned();
    assert!(op.secrets().contains(&token), "the provider's: {token:?}");
    // Whoever came by password has none.
    let mut joe = gateway.as_user("joe");
    forged(&mut joe, "img.example.test");
    assert_eq!(api.last().header("x-forwarded-access-token").unwrap_or_default(), "");
}
